"""The add-on as Blender is given it: manifest, files, which wheels are for whom, and the index of a repository. Without a Blender."""

from __future__ import annotations

import ast
import io
import tomllib
import zipfile
from pathlib import Path

import pytest

from backend.addons.wheels import MSGPACK, PYZMQ, Build
from backend.blender.index import entries, page, write_index
from backend.blender.package import MANIFEST, PLATFORMS, PYTHONS, builds_for, manifest, package, platform_here
from protocol.errors import InvalidRequest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = (ROOT / "plugin_blender" / MANIFEST).read_text(encoding="utf-8")
WHEELS = {"msgpack-1.9-cp311-cp311-win_amd64.whl": b"one", "pyzmq-27.9-cp312-abi3-win_amd64.whl": b"other"}


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


# The manifest


def test_the_add_on_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert tomllib.loads(SOURCE)["version"] == project["version"]
    tree = ast.parse((ROOT / "plugin_blender" / "__init__.py").read_text(encoding="utf-8"))
    [info] = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "bl_info"]
    assert ast.literal_eval(info.value)["version"] == tuple(map(int, project["version"].split(".")))
    assert ast.literal_eval(info.value)["blender"] == tuple(map(int, tomllib.loads(SOURCE)["blender_version_min"].split(".")))


def test_the_manifest_asks_for_files_and_network_alone_and_says_what_for() -> None:
    read = tomllib.loads(SOURCE)
    assert set(read["permissions"]) == {"files", "network"}
    assert all(0 < len(reason) <= 64 and reason[-1].isalnum() for reason in read["permissions"].values())
    assert read["license"] == ["SPDX:GPL-3.0-or-later"]
    assert read["platforms"] == list(PLATFORMS)


def test_the_manifest_in_a_zip_is_the_sources_but_for_platforms_and_wheels() -> None:
    read = tomllib.loads(manifest(SOURCE, ["windows-x64"], list(WHEELS)))
    assert read == tomllib.loads(SOURCE) | {"platforms": ["windows-x64"], "wheels": [f"./wheels/{name}" for name in WHEELS]}


# The files


def test_the_zip_has_every_source_the_contract_and_the_wheels_and_nothing_else() -> None:
    made = package(["windows-x64"], WHEELS)
    files = contents(made.data)
    sources = {path.name for path in (ROOT / "plugin_blender").glob("*.py")}
    assert made.name == f"likeness-{tomllib.loads(SOURCE)['version']}-windows_x64.zip"
    assert {path for path in files if "/" not in path} == sources | {MANIFEST, "LICENSE", "NOTICE"}
    contract = {path.relative_to(ROOT).as_posix() for path in (ROOT / "protocol").rglob("*.py")}
    assert {path for path in files if path.startswith("protocol/")} == contract
    assert {path: data for path, data in files.items() if path.startswith("wheels/")} == {f"wheels/{name}": WHEELS[name] for name in WHEELS}
    assert len(files) == len(sources) + 3 + len(contract) + len(WHEELS)
    assert not [path for path in (ROOT / "plugin_blender").rglob("*.py") if path.parent != ROOT / "plugin_blender"], "takes no sub-folders"
    assert b"GNU GENERAL PUBLIC LICENSE" in files["LICENSE"]
    assert all(name.encode() in files["NOTICE"] for name in WHEELS)


def test_the_same_files_give_the_same_bytes() -> None:
    assert package(["linux-x64"], WHEELS) == package(["linux-x64"], dict(reversed(WHEELS.items())))


def test_every_source_is_readable_for_the_oldest_python_of_blender() -> None:
    for path, data in contents(package(["linux-x64"], {}).data).items():
        if path.endswith(".py"):
            ast.parse(data, path, feature_version=min(PYTHONS))


def test_only_the_zip_for_this_computer_says_how_its_backend_is_started() -> None:
    assert "backend.json" not in contents(package(["linux-x64"], {}).data)
    here = package(["linux-x64"], {}, {"command": ["python"]})
    assert contents(here.data)["backend.json"] == b'{\n "command": [\n  "python"\n ]\n}\n'
    assert here.name.endswith("-here.zip")


def test_an_installation_without_the_add_on_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="not whole"):
        package(["linux-x64"], {}, root=tmp_path)


# Which wheel for whom


@pytest.mark.parametrize(
    ("build", "fitting", "other"),
    [
        (Build(PYZMQ, (3, 11), "win_amd64"), "cp311-cp311-win_amd64", "cp311-cp311-win_arm64"),
        (Build(PYZMQ, (3, 13), "linux_x86_64"), "cp312-abi3-manylinux_2_28_x86_64", "cp313-cp313t-manylinux_2_28_x86_64"),
        (Build(PYZMQ, (3, 13), "macosx_arm64"), "cp312-abi3-macosx_10_15_universal2", "cp312-abi3-macosx_10_15_x86_64"),
        (Build(MSGPACK, (3, 13), "macosx_arm64"), "cp313-cp313-macosx_11_0_arm64", "cp313-cp313-macosx_10_13_x86_64"),
        (Build(MSGPACK, (3, 11), "macosx_x86_64"), "cp311-cp311-macosx_10_9_x86_64", "cp311-cp311-macosx_11_0_arm64"),
        (Build(MSGPACK, (3, 14), "linux_x86_64"), "cp314-cp314-manylinux_2_28_x86_64", "cp314-cp314-musllinux_1_2_x86_64"),
    ],
    ids=str,
)
def test_a_build_is_told_from_its_neighbours(build: Build, fitting: str, other: str) -> None:
    assert build.fits([fitting])
    assert not build.fits([other])


def test_every_platform_has_both_libraries_for_every_python_of_blender() -> None:
    wanted = {(build.project.name, build.python, build.system) for build in builds_for(list(PLATFORMS))}
    assert wanted == {(name, python, system) for name in ("msgpack", "pyzmq") for python in PYTHONS for system in PLATFORMS.values()}


@pytest.mark.parametrize(
    ("system", "machine", "name"),
    [
        ("Windows", "AMD64", "windows-x64"),
        ("Darwin", "arm64", "macos-arm64"),
        ("Darwin", "x86_64", "macos-x64"),
        ("Linux", "x86_64", "linux-x64"),
    ],
)
def test_this_computer_is_named_as_blender_names_it(system: str, machine: str, name: str) -> None:
    assert platform_here(system, machine) == name


def test_a_computer_that_the_add_on_is_not_made_for_is_named() -> None:
    with pytest.raises(InvalidRequest, match="linux-riscv64"):
        platform_here("Linux", "riscv64")


# The repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("windows-x64", "linux-x64"):
        made = package([name], WHEELS)
        (tmp_path / made.name).write_bytes(made.data)
    return tmp_path


def test_the_index_lists_every_zip_once_and_its_page_links_to_it(repository: Path) -> None:
    listed = write_index(repository)
    assert [entry["platforms"] for entry in listed] == [["linux-x64"], ["windows-x64"]]
    assert [entry["python_versions"] for entry in listed] == [["3.11"], ["3.11"]], "the stable build of pyzmq adds nothing to that"
    assert all((repository / entry["archive_url"]).is_file() for entry in listed)
    assert page(listed).count('<a href="./likeness-') == 2


def test_two_zips_for_one_platform_are_refused_by_their_names(repository: Path) -> None:
    (repository / "older.zip").write_bytes(package(["linux-x64", "macos-x64"], {}).data)
    with pytest.raises(InvalidRequest, match=r"likeness-.*linux_x64\.zip and older\.zip are both for linux-x64"):
        entries(repository)


@pytest.mark.parametrize("data", [b"half a ZI", b""])
def test_what_is_no_extension_is_named(repository: Path, data: bytes) -> None:
    (repository / "other.zip").write_bytes(data)
    with pytest.raises(InvalidRequest, match=r"other\.zip is no extension for Blender"):
        entries(repository)


def test_an_empty_folder_says_how_the_zips_are_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="likeness blender zip"):
        entries(tmp_path)
