"""What `likeness blender zip` made, in real Blenders: checked by Blender's own tool, installed, and loaded with what it brought."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from backend.blender.index import entries, write_index
from backend.blender.package import Package, builds_for, package, platform_here, wheels_for
from backend.blender.tool import Tool, find_tool
from protocol.errors import InvalidRequest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The ZIP for this machine, with the real libraries."""
    try:
        name = platform_here()
        return package([name], wheels_for([name], tmp_path_factory.mktemp("wheels")))
    except InvalidRequest as why_not:
        pytest.skip(f"The ZIP needs real wheels. {why_not}")


@pytest.fixture(scope="session")
def archive(made: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("zip") / made.name
    file.write_bytes(made.data)
    return file


@pytest.fixture
def tool(blender_python: str) -> Tool:
    found = find_tool(Path(blender_python), os.environ)
    assert found is not None
    return found


def test_blenders_own_tool_finds_nothing_wrong(tool: Tool, archive: Path) -> None:
    assert tool.tags, "the tags are not checked"
    assert "Success" in tool.validate(archive)


def test_blenders_own_tool_would_have_seen_a_mistake(tool: Tool, tmp_path: Path) -> None:
    """The unsafe twin: a tag that Blender does not know, and a tagline that ends in a full stop."""
    source = Path(__file__).resolve().parents[3] / "plugin_blender" / "blender_manifest.toml"
    for wrong in ('tags = ["Portraits"]', 'tagline = "Portraits."'):
        lines = source.read_text(encoding="utf-8").splitlines()
        (tmp_path / "__init__.py").touch()
        changed = [wrong if line.split(" ")[0] == wrong.split(" ")[0] else line for line in lines]
        (tmp_path / "blender_manifest.toml").write_text("\n".join(changed), encoding="utf-8")
        with pytest.raises(InvalidRequest, match="refuses"):
            tool.validate(tmp_path)


def test_the_index_is_what_blender_itself_writes(tool: Tool, tmp_path: Path) -> None:
    for platform in ("windows-x64", "macos-arm64", "linux-x64"):
        names = {
            f"{build.project.name}-27.9-{_tag(build.project.name, build.python)}-{build.system}.whl" for build in builds_for([platform])
        }
        part = package([platform], dict.fromkeys(names, b""))
        (tmp_path / part.name).write_bytes(part.data)
    ours = entries(tmp_path)
    tool.run("server-generate", "--repo-dir", str(tmp_path))
    theirs = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert sorted(theirs["data"], key=lambda entry: entry["archive_url"]) == ours
    write_index(tmp_path)
    mine = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert {name: value for name, value in mine.items() if name != "data"} == {
        name: value for name, value in theirs.items() if name != "data"
    }


def test_blender_reads_our_index(tool: Tool, archive: Path, tmp_path: Path) -> None:
    (tmp_path / archive.name).write_bytes(archive.read_bytes())
    write_index(tmp_path)
    assert "likeness(" in tool.run("list", "--remote-url", tmp_path.as_uri(), "--local-dir", str(tmp_path))


def _tag(project: str, python: tuple[int, int]) -> str:
    own = f"cp{python[0]}{python[1]}"
    return "cp312-abi3" if project == "pyzmq" and python >= (3, 12) else f"{own}-{own}"


def test_it_is_installed_and_switched_on(play, archive: Path) -> None:
    played = play("installed", archive)
    assert played["installed"] == ["FINISHED"]
    assert played["enabled"] is True
    assert played["before"]["classes"] == []


def test_the_libraries_are_those_that_it_brought(play, archive: Path) -> None:
    played = play("installed", archive)
    for library in ("zmq", "msgpack"):
        assert Path(played[library]).is_relative_to(played.folder / "resources"), played[library]
    assert played["packer"] == "msgpack._cmsgpack", "msgpack's compiled part is not loaded"
    assert (played["curve"], played["links"]) == (True, ["not running"])


def test_nothing_of_it_has_a_common_name_and_blender_finds_no_fault(play, archive: Path) -> None:
    played = play("installed", archive)
    assert (played["common"], played["warnings"]) == ([], [])


def test_switched_off_nothing_of_it_is_left_and_on_again_all_is_there(play, archive: Path) -> None:
    played = play("installed", archive)
    assert played["off"] == {"classes": [], "handlers": [], "properties": False}
    assert played["on again"] == played["on"]


def test_it_can_be_put_in_over_itself_and_taken_away(play, archive: Path) -> None:
    played = play("installed", archive)
    assert (played["upgraded"], played["on after that"]) == (["FINISHED"], played["on"])
    assert (played["removed"], played["after"], played["left"]) == (["FINISHED"], played["off"], [])
