"""`likeness blender`: the ZIPs, their index, and what it asks of a Blender, with the real pip and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from addon_wheels import pip_sees_only, write_msgpack, write_pyzmq

from backend.blender.package import PLATFORMS, platform_here
from backend.cli.main import main

BLENDER = """#!{python}
import json, sys
from pathlib import Path

said, kept = Path({log!r}), Path({log!r}).with_name("kept")
words = sys.argv[1:]
said.open("a").write(json.dumps(words) + chr(10))
if words == ["--version"]:
    print("Blender {version} LTS")
elif words[:3] == ["--command", "extension", "install-file"]:
    kept.write_bytes(Path(words[-1]).read_bytes())
elif words[:3] == ["--command", "extension", "remove"]:
    kept.unlink()
elif words[:3] == ["--command", "extension", "list"] and kept.exists():
    print('  likeness [installed]: "Likeness", Portraits')
elif words[:3] == ["--command", "extension", "validate"] and {refuses}:
    sys.exit("this tagline is too long")
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_msgpack(write_pyzmq(tmp_path_factory.mktemp("wheels")))


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests share that are not about downloading."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, wheels: Path, tmp_path: Path, downloads: Path) -> None:
    pip_sees_only(monkeypatch, wheels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(downloads))
    monkeypatch.setenv("PATH", "/usr/bin" if not Path("/usr/bin/blender").exists() else str(tmp_path))


@pytest.fixture
def nothing_downloaded(offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def blender(tmp_path: Path):
    """A stand-in for Blender's program, which notes what it is asked."""
    if os.name == "nt":
        pytest.skip("a script is no program there")

    def make(version: str = "5.2.3", refuses: bool = False) -> Path:
        program = tmp_path / "programs" / "blender"
        program.parent.mkdir()
        log = str(tmp_path / "asked")
        program.write_text(BLENDER.format(python=sys.executable, log=log, version=version, refuses=refuses))
        program.chmod(0o755)
        return program

    return make


def asked(tmp_path: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]


def test_there_is_a_zip_for_each_platform_one_for_all_and_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blender", "zip", "--out", str(tmp_path / "out")]) == 0
    repository = tmp_path / "out" / "repository"
    assert {path.name.rsplit("-", 1)[1] for path in repository.glob("*.zip")} == {f"{name.replace('-', '_')}.zip" for name in PLATFORMS}
    assert {entry["platforms"][0] for entry in json.loads((repository / "index.json").read_text())["data"]} == set(PLATFORMS)
    [every] = (tmp_path / "out").glob("*.zip")
    with zipfile.ZipFile(every) as archive:
        inside = {name for name in archive.namelist() if name.startswith("wheels/") and name.endswith(".whl")}
    apart: set[str] = set()
    for path in repository.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            apart |= {name for name in archive.namelist() if name.endswith(".whl")}
    assert inside == apart
    assert len(inside) == 12 + 6, "msgpack for three Pythons on four platforms; pyzmq for two, and one for both kinds of Mac"
    said = capsys.readouterr().out
    assert str(every) in said
    assert "Not checked by Blender" in said


@pytest.mark.usefixtures("nothing_downloaded")
def test_a_second_time_needs_no_download_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["blender", "zip", "--platform", "linux-x64", "--out", str(tmp_path / "a")]) == 0
    pip_sees_only(monkeypatch, None)
    assert main(["blender", "zip", "--platform", "linux-x64", "--out", str(tmp_path / "b")]) == 0
    [first], [second] = (tmp_path / "a").iterdir(), (tmp_path / "b").iterdir()
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())


def test_a_new_index_is_made_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], refused) -> None:
    assert main(["blender", "zip", "--platform", "macos-arm64", "--out", str(tmp_path)]) == 0
    assert main(["blender", "index", str(tmp_path)]) == 0
    assert "lists 1 ZIP." in capsys.readouterr().out
    assert "does not exist" in refused("blender", "index", tmp_path / "nowhere")


def test_the_words_in_the_zip_for_this_computer_start_this_likeness(tmp_path: Path) -> None:
    try:
        platform_here()
    except Exception as problem:
        pytest.skip(str(problem))
    assert main(["blender", "zip", "--platform", "here", "--out", str(tmp_path)]) == 0
    [made] = tmp_path.glob("*-here.zip")
    with zipfile.ZipFile(made) as archive:
        backend = json.loads(archive.read("backend.json"))
    assert backend["command"][-2:] == ["serve", "--detach"]
    done = subprocess.run([*backend["command"][:-2], "--version"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("likeness "), done.stderr


def test_a_platform_that_is_not_there_is_named_with_those_that_are(refused, tmp_path: Path) -> None:
    assert "amiga" in refused("blender", "zip", "--platform", "amiga", "--out", tmp_path)


@pytest.mark.usefixtures("nothing_downloaded")
def test_without_a_connection_the_zip_is_refused_with_pips_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    pip_sees_only(monkeypatch, tmp_path)
    sentence = refused("blender", "zip", "--platform", "linux-x64", "--out", tmp_path / "out")
    assert "No matching distribution found for msgpack" in sentence
    assert "connection to the internet" in sentence
    assert not (tmp_path / "out").exists()


def test_blender_checks_every_zip(blender, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blender", "zip", "--out", str(tmp_path / "out"), "--blender", str(blender())]) == 0
    checked = [words[-1] for words in asked(tmp_path) if "validate" in words]
    assert sorted(checked) == sorted(str(path) for path in (tmp_path / "out").rglob("*.zip"))
    assert "Checked by Blender 5.2" in capsys.readouterr().out


def test_what_blender_says_against_a_zip_is_passed_on(blender, tmp_path: Path, refused) -> None:
    sentence = refused("blender", "zip", "--platform", "linux-x64", "--out", tmp_path, "--blender", blender(refuses=True))
    assert "this tagline is too long" in sentence


def test_a_blender_on_the_path_is_found_and_one_without_extensions_passed_over(blender, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", str(blender("3.4.1").parent))
    assert main(["blender", "zip", "--platform", "linux-x64", "--out", str(tmp_path)]) == 0
    assert "Not checked by Blender" in capsys.readouterr().out


@pytest.mark.parametrize(("version", "said"), [("3.4.1", "Extensions need Blender 4.2"), ("", "no Blender")])
def test_a_program_that_cannot_do_it_is_refused(blender, tmp_path: Path, refused, version: str, said: str) -> None:
    assert said in refused("blender", "zip", "--platform", "linux-x64", "--out", tmp_path, "--blender", blender(version))


def test_blender_installs_it_by_its_own_command_and_takes_it_away(blender, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = str(blender())
    assert main(["blender", "install", "--blender", program]) == 0
    [words] = [words for words in asked(tmp_path) if "install-file" in words]
    assert words[:-1] == ["--command", "extension", "install-file", "--repo", "user_default", "--enable"]
    with zipfile.ZipFile(tmp_path / "kept") as archive:
        assert "backend.json" in archive.namelist()
    assert main(["blender", "install", "--remove", "--blender", program]) == 0
    assert not (tmp_path / "kept").exists()
    capsys.readouterr()
    assert main(["blender", "install", "--remove", "--blender", program]) == 0
    assert "was not in" in capsys.readouterr().out


def test_without_a_blender_one_is_told_to_drag_the_zip(refused) -> None:
    if sys.platform != "linux":
        pytest.skip("there may be a Blender in the usual place")
    assert "drag the file into Blender's window" in refused("blender", "install")


def test_a_python_without_bpy_is_no_blender(refused, tmp_path: Path) -> None:
    assert "no bpy" in refused("blender", "zip", "--out", tmp_path, "--blender", sys.executable)
