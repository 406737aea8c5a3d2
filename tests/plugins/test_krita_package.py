"""The plug-in for Krita as it is installed: its places, its files, the line that switches it on, and the libraries that it finds."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from addon_wheels import write_pyzmq

import plugin_krita.wheels as chooser
from backend.addons.wheels import NoWheel
from backend.krita import install as installing
from backend.krita.install import backend_of, install, remove
from backend.krita.kritarc import disable, disabled, enable, enabled
from backend.krita.package import notice, plugin_files, side_files, zip_of
from backend.krita.places import Starts, krita_runs, places, python_of_krita
from backend.krita.wheels import Library, Target, msgpack, read_wheel, system_of, targets_everywhere
from protocol.errors import InvalidRequest

ROOT = Path(__file__).resolve().parents[2]
ZMQ = Library("pyzmq", "27.9", {"zmq/__init__.py": b"def has(what):\n    return what == 'curve'\n"}, {"LICENSE.md": b"BSD, made up"})
LIBRARIES = {"any": msgpack(), **{target.folder: ZMQ for target in targets_everywhere()}}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Places


@pytest.mark.parametrize(
    ("platform", "environment", "resources", "kritarc"),
    [
        ("linux", {}, ".local/share/krita", ".config/kritarc"),
        ("linux", {"XDG_DATA_HOME": "{home}/data", "XDG_CONFIG_HOME": "{home}/conf"}, "data/krita", "conf/kritarc"),
        ("darwin", {}, "Library/Application Support/krita", "Library/Preferences/kritarc"),
        ("win32", {}, "AppData/Roaming/krita", "AppData/Local/kritarc"),
        ("win32", {"APPDATA": "{home}/R", "LOCALAPPDATA": "{home}/L"}, "R/krita", "L/kritarc"),
    ],
)
def test_the_usual_krita_has_its_place_on_each_system(tmp_path: Path, platform, environment, resources, kritarc) -> None:
    given = {name: value.format(home=tmp_path) for name, value in environment.items()}
    [place] = places(given, platform, tmp_path, tmp_path / "state")
    assert (place.resources, place.kritarc) == (tmp_path / resources, tmp_path / kritarc)
    assert (place.starts, place.state) == (Starts.DIRECTLY, None)


def test_flatpaks_krita_is_told_the_folder_and_starts_the_backend_outside_of_its_sandbox(tmp_path: Path) -> None:
    (tmp_path / ".var/app/org.kde.krita").mkdir(parents=True)
    _, place = places({}, "linux", tmp_path, tmp_path / "state")
    assert place.resources == tmp_path / ".var/app/org.kde.krita/data/krita"
    assert place.kritarc == tmp_path / ".var/app/org.kde.krita/config/kritarc"
    backend = backend_of(place, "python")
    assert backend["state"] == str(tmp_path / "state")
    words = backend["command"]
    assert isinstance(words, list)
    assert (words[:3], words[-2:]) == (["flatpak-spawn", "--host", "python"], ["--state", str(tmp_path / "state")])


@pytest.mark.parametrize(
    ("platform", "there", "resources", "state"),
    [
        ("linux", "snap/krita/current", "snap/krita/current/.local/share/krita", "snap/krita/common/likeness"),
        (
            "darwin",
            "Library/Containers/org.kde.krita/Data",
            "Library/Containers/org.kde.krita/Data/Library/Application Support/krita",
            "Library/Containers/org.kde.krita/Data/Library/Application Support/Likeness",
        ),
    ],
)
def test_a_krita_that_sees_only_its_own_folders_gets_one_of_them_for_the_backend(tmp_path: Path, platform, there, resources, state) -> None:
    (tmp_path / there).mkdir(parents=True)
    _, place = places({}, platform, tmp_path, tmp_path / "usual")
    assert place.resources == tmp_path / resources
    assert (backend_of(place)["command"], backend_of(place)["state"]) == ([], str(tmp_path / state))


def test_the_microsoft_store_has_a_place_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "AppData/Local/Packages/49800Krita_abc").mkdir(parents=True)
    _, place = places({}, "win32", tmp_path, tmp_path)
    assert place.kritarc == tmp_path / "AppData/Local/Packages/49800Krita_abc/LocalCache/Local/kritarc"


def test_the_python_of_a_packaged_krita_is_read_from_its_own_plug_in(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/krita").write_bytes(b"")
    assert python_of_krita(str(tmp_path / "bin/krita")) is None
    plugins = tmp_path / "lib/some-linux-gnu/kritaplugins"
    plugins.mkdir(parents=True)
    (plugins / "kritapykrita.so").write_bytes(b"\0libc.so.6\0libpython3.13.so.1.0\0")
    assert python_of_krita(str(tmp_path / "bin/krita")) == (3, 13)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a program under another name is started the way Linux does it")
def test_a_running_krita_is_noticed(tmp_path: Path) -> None:
    program = tmp_path / "krita"
    program.write_text("#!/bin/sh\nread word\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as running:
        assert krita_runs()
        running.kill()


# kritarc

SETTINGS = [
    "",
    "[theme]\nTheme=Krita dark\n",
    "a=1\n[python]\nenable_other=true\n\n[python][likeness]\nenable_likeness=no\n\n[z]\n",
    "[z]\nlist[$i]=a,b\n\n[python]\nenable_tenbrushes=false",
    "# ümlaut\r\n[python]\r\nenable_other=true\r\n\r\n[z]\r\nb=\\x2028\r\n",
    "[a]\nenable_likeness=of another group\n",
]


@pytest.mark.parametrize("text", SETTINGS)
def test_every_other_line_of_the_settings_stays_as_it_is(text: str) -> None:
    on = enabled(text)
    assert [line for line in text.splitlines() if line] == [line for line in on.splitlines() if line and line in text.splitlines()]
    assert "enable_likeness=true" in on.split("[python]", 1)[1].split("\n[")[0]
    assert enabled(on) == on
    assert disabled(on).rstrip("\r\n") == text.rstrip("\r\n")


def test_a_plug_in_that_was_switched_off_is_switched_on_again() -> None:
    assert enabled("[python]\nenable_likeness=false\nenable_a=true\n") == "[python]\nenable_likeness=true\nenable_a=true\n"


def test_settings_in_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    file = tmp_path / "kritarc"
    file.write_bytes(b"[a]\nname=\xff\xfe\n")
    file.chmod(0o600)
    enable(file)
    assert file.read_bytes() == b"[a]\nname=\xff\xfe\n\n[python]\nenable_likeness=true\n"
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600
    disable(file)
    assert file.read_bytes() == b"[a]\nname=\xff\xfe\n"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_settings_behind_a_link_stay_behind_it(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("[a]\n")
    (tmp_path / "kritarc").symlink_to(tmp_path / "real")
    enable(tmp_path / "kritarc")
    assert (tmp_path / "kritarc").is_symlink()
    assert "enable_likeness=true" in (tmp_path / "real").read_text()


# Into the folder and out of it


@pytest.fixture
def place(tmp_path: Path):
    return places({}, "linux", tmp_path, tmp_path / "state")[0]


def test_an_upgrade_leaves_no_file_of_the_old_release(place) -> None:
    install(place, {"__init__.py": b"old", "gone.py": b"old"}, side_files())
    install(place, {"__init__.py": b"new"}, side_files())
    assert tree(place.resources / "pykrita" / "likeness") == {"__init__.py": b"new"}
    assert sorted(path.name for path in (place.resources / "pykrita").iterdir()) == ["likeness", "likeness.desktop"]


@pytest.mark.parametrize("fails_at", ["likeness", ".likeness-old"])
def test_an_upgrade_that_fails_leaves_the_old_release_whole(place, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    install(place, {"__init__.py": b"old"}, side_files())
    before = tree(place.resources)
    rename, failed = os.rename, []

    def refuse(source: Path, target: Path) -> None:
        if Path(target).name.startswith(fails_at) and not failed:
            failed.append(target)
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(installing.os, "rename", refuse)
    with pytest.raises(InvalidRequest, match="Close Krita"):
        install(place, {"__init__.py": b"new"}, side_files())
    assert failed
    assert tree(place.resources) == before


def test_an_upgrade_whose_power_went_is_undone_by_the_next_one(place) -> None:
    install(place, {"__init__.py": b"old"}, side_files())
    pykrita = place.resources / "pykrita"
    os.rename(pykrita / "likeness", pykrita / ".likeness-old-1")
    (pykrita / ".likeness-new-1").mkdir()
    with pytest.raises(TypeError):
        install(place, {"__init__.py": "no bytes"}, side_files())  # type: ignore[dict-item]
    assert tree(pykrita / "likeness") == {"__init__.py": b"old"}
    assert sorted(path.name for path in pykrita.iterdir()) == ["likeness", "likeness.desktop"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_to_a_source_folder_is_replaced_and_the_folder_is_left_alone(place, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "mine.py").write_text("mine")
    (place.resources / "pykrita").mkdir(parents=True)
    (place.resources / "pykrita" / "likeness").symlink_to(tmp_path / "source")
    install(place, {"__init__.py": b"new"}, side_files())
    assert remove(place)
    assert (tmp_path / "source" / "mine.py").read_text() == "mine"
    assert not place.resources.exists()


# The files


def test_the_package_has_every_source_and_nothing_else() -> None:
    files = plugin_files(LIBRARIES)
    sources = {path.name for path in (ROOT / "plugin_krita").glob("*.py")} | {"LICENSE", "Manual.html", "NOTICE"}
    assert {path for path in files if "/" not in path} == sources
    assert {path for path in files if path.startswith("protocol/")} == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "protocol").rglob("*.py")
    }
    assert not [path for path in (ROOT / "plugin_krita").rglob("*.py") if path.parent != ROOT / "plugin_krita"], (
        "package.py takes no sub-folders"
    )
    assert b"GNU GENERAL PUBLIC LICENSE" in files["LICENSE"]


def test_every_source_is_readable_for_the_oldest_python_of_krita() -> None:
    for path, data in plugin_files(LIBRARIES).items():
        if path.endswith(".py"):
            ast.parse(data, path, feature_version=(3, 10))


def test_the_zip_has_an_entry_for_every_folder_and_is_the_same_each_time() -> None:
    data = zip_of(plugin_files(LIBRARIES), side_files())
    assert data == zip_of(dict(reversed(plugin_files(LIBRARIES).items())), side_files())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
    assert {"likeness/", "likeness/protocol/", "likeness/_wheels/abi3-macosx/zmq/", "likeness.desktop", "likeness.action"} <= set(names)
    assert {f"{name.rsplit('/', 1)[0]}/" for name in names if "/" in name.rstrip("/")} <= set(names)


def test_the_notice_names_every_library_and_has_each_licence_once() -> None:
    text = notice(LIBRARIES)
    assert [folder for folder in LIBRARIES if f"_wheels/{folder}" not in text] == []
    assert text.count("BSD, made up") == 1
    assert "INADA Naoki" in text


@pytest.mark.parametrize("path", ["../evil.py", "/evil.py", "a/../../evil.py", "c:evil.py", "a\\evil.py"])
def test_a_wheel_that_wants_to_write_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    wheel = tmp_path / "pyzmq-27.9-cp310-cp310-win_amd64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(path, "")
    with pytest.raises(NoWheel, match="outside"):
        read_wheel(wheel)


def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyzmq-27.9-cp310-cp310-win_amd64.whl").write_bytes(b"half a fi")
    with pytest.raises(NoWheel, match=r"cp310-win_amd64.whl is damaged"):
        read_wheel(tmp_path / "pyzmq-27.9-cp310-cp310-win_amd64.whl")


# What the plug-in chooses


@pytest.mark.parametrize(
    ("version", "platform", "tag", "other"),
    [
        ((3, 10), "win-amd64", "cp310-cp310-win_amd64", "cp310-cp310-win_arm64"),
        ((3, 13), "win-amd64", "cp312-abi3-win_amd64", "cp313-cp313-win_amd64"),
        ((3, 10), "macosx-10.15-universal2", "cp310-cp310-macosx_10_15_universal2", "cp310-cp310-macosx_11_0_arm64"),
        ((3, 13), "macosx-11.0-arm64", "cp312-abi3-macosx_10_15_universal2", "cp310-cp310-macosx_10_15_universal2"),
        ((3, 10), "linux-x86_64", "cp310-cp310-manylinux_2_28_x86_64", "cp310-cp310-musllinux_1_1_x86_64"),
        ((3, 11), "linux-x86_64", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_28_aarch64"),
        ((3, 14), "linux-x86_64", "cp312-abi3-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_x86_64"),
    ],
)
def test_the_folder_that_a_python_looks_for_is_the_one_that_its_build_is_put_into(version, platform, tag, other) -> None:
    target = Target(min(version, (3, 12)), system_of(platform))
    assert target.folder in chooser.fitting(version, platform)
    assert target in targets_everywhere()
    assert target.fits([tag])
    assert not target.fits([other])


WORDS = """
import importlib.util, json, sys
plugin, folder, *earlier = sys.argv[1:]
sys.path.extend(earlier)
before = list(sys.path)
spec = importlib.util.spec_from_file_location("chooser", plugin)
chooser = importlib.util.module_from_spec(spec)
spec.loader.exec_module(chooser)
from pathlib import Path
sentence = chooser.provide(Path(folder))
again = chooser.provide(Path(folder))
zmq = getattr(sys.modules.get("zmq"), "__file__", None)
kept, added = sys.path[:len(before)] == before, sys.path[len(before):]
print(json.dumps({"sentence": sentence, "again": again, "zmq": zmq, "kept": kept, "added": added}))
"""


def provided(folder: Path, *earlier: Path) -> dict:
    """What the chooser does in a Python that has nothing but its standard library and `earlier`."""
    command = [sys.executable, "-I", "-S", "-c", WORDS, str(ROOT / "plugin_krita" / "wheels.py"), str(folder), *map(str, earlier)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    folder = tmp_path / "_wheels"
    for name, library in {"any": msgpack(), chooser.fitting()[-1]: ZMQ}.items():
        for path, data in library.files.items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_bytes(data)
    return folder


def another(folder: Path, name: str, text: str) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)
    return folder


def test_the_libraries_are_found_at_the_end_of_the_path(brought: Path) -> None:
    found = provided(brought)
    assert (found["sentence"], found["again"], found["kept"]) == ("", "", True)
    assert found["added"] == [str(brought / "any"), str(brought / chooser.fitting()[-1])]


def test_a_zmq_that_is_there_already_and_can_encrypt_is_used(brought: Path, tmp_path: Path) -> None:
    found = provided(brought, another(tmp_path / "theirs", "zmq", "def has(what):\n    return True\n"))
    assert found["sentence"] == ""
    assert "theirs" in found["zmq"]


def test_a_zmq_that_cannot_encrypt_is_left_in_its_place_and_named(brought: Path, tmp_path: Path) -> None:
    found = provided(brought, another(tmp_path / "theirs", "zmq", "def has(what):\n    return False\n"))
    assert str(tmp_path / "theirs" / "zmq") in found["sentence"]
    assert "cannot encrypt" in found["sentence"]
    assert found["kept"]


def test_a_zmq_that_loads_for_nobody_is_passed_over(brought: Path, tmp_path: Path) -> None:
    found = provided(brought, another(tmp_path / "theirs", "zmq", "import zmq._of_another_python\n"))
    assert (found["sentence"], found["kept"]) == ("", True)
    assert str(brought) in found["zmq"]


def test_an_old_msgpack_is_named(brought: Path, tmp_path: Path) -> None:
    found = provided(brought, another(tmp_path / "theirs", "msgpack", "version = (0, 6, 2)\n"))
    assert "older than 1.0" in found["sentence"]


def test_a_zip_without_a_build_for_this_python_says_which_are_there_and_what_to_do(brought: Path) -> None:
    (brought / chooser.fitting()[-1]).rename(brought / "cp310-beos")
    sentence = provided(brought)["sentence"]
    assert "cp310-beos" in sentence
    assert "likeness krita install" in sentence


def test_a_build_of_ours_that_does_not_load_says_why(brought: Path) -> None:
    (brought / chooser.fitting()[-1] / "zmq" / "__init__.py").write_text("raise ImportError('GLIBC_2.99 not found')")
    assert "GLIBC_2.99 not found" in provided(brought)["sentence"]


def test_a_bare_copy_of_the_source_says_what_to_do(tmp_path: Path) -> None:
    assert "likeness krita install" in provided(tmp_path / "_wheels")["sentence"]


def test_made_up_wheels_are_what_pip_would_bring(tmp_path: Path) -> None:
    for wheel in write_pyzmq(tmp_path).iterdir():
        assert set(read_wheel(wheel).files) == {"zmq/__init__.py"}
