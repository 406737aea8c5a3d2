"""`likeness krita`: the docker in the user's Krita and out of it again, and the ZIP, with the real pip and without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from addon_wheels import pip_sees_only, write_pyzmq
from plugin_krita.protocol.desk.launcher import Launcher

from backend.addons.wheels import pip_words
from backend.cli.main import main
from backend.krita import places
from backend.krita.wheels import _copyable, targets_here

KRITA = {"host": "Krita", "install": "run `likeness krita install` once"}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyzmq(tmp_path_factory.mktemp("pyzmq"))


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests share that are not about downloading."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, wheels: Path, downloads: Path) -> None:
    pip_sees_only(monkeypatch, wheels)
    monkeypatch.setenv("XDG_CACHE_HOME", str(downloads))
    monkeypatch.setattr("backend.krita.places.python_of_krita", lambda: None)


@pytest.fixture
def nothing_downloaded(offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "artist"
    folder.mkdir()
    return folder


def here(home: Path) -> places.Place:
    return places.places({}, sys.platform, home, home / "state")[0]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_docker_is_put_into_krita_and_switched_on(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["krita", "install", "--home", str(home)]) == 0
    place = here(home)
    plugin = place.resources / "pykrita" / "likeness"
    assert (plugin / "protocol" / "client.py").is_file()
    assert "X-KDE-Library=likeness" in (place.resources / "pykrita" / "likeness.desktop").read_text()
    assert 'name="likeness_generate"' in (place.resources / "actions" / "likeness.action").read_text()
    assert place.kritarc.read_text() == "[python]\nenable_likeness=true\n"
    for target in targets_here():
        assert f"which = {target.folder!r}" in (plugin / "_wheels" / target.folder / "zmq" / "__init__.py").read_text()
    assert not list(plugin.rglob("test_much.py"))
    assert {path.suffix for path in (plugin / "_wheels" / "any" / "msgpack").iterdir()} == {".py"}
    said = capsys.readouterr().out
    assert str(plugin.parent) in said
    assert "Python 3.10, " in said


def test_a_second_time_changes_nothing(home: Path) -> None:
    assert main(["krita", "install", "--home", str(home)]) == 0
    before = tree(home)
    assert main(["krita", "install", "--home", str(home)]) == 0
    assert tree(home) == before


def test_removal_leaves_nothing_and_keeps_what_is_not_ours(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = here(home)
    other = place.resources / "pykrita" / "other" / "__init__.py"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    place.kritarc.parent.mkdir(parents=True)
    place.kritarc.write_text("[python]\nenable_other=true\n\n[theme]\nTheme=Krita dark\n")
    before = tree(home)
    assert main(["krita", "install", "--home", str(home)]) == 0
    assert tree(home) != before
    assert main(["krita", "install", "--remove", "--home", str(home)]) == 0
    assert tree(home) == before
    capsys.readouterr()
    assert main(["krita", "install", "--remove", "--home", str(home)]) == 0
    assert "was in no Krita" in capsys.readouterr().out


def test_where_krita_never_ran_removal_leaves_no_file_at_all(home: Path) -> None:
    assert main(["krita", "install", "--home", str(home)]) == 0
    assert main(["krita", "install", "--home", str(home), "--remove"]) == 0
    assert tree(home) == {}


def test_without_home_it_is_this_users_krita(tmp_path: Path) -> None:
    assert main(["krita", "install"]) == 0  # the fixture of this folder gives every test a home and places of its own
    assert list((tmp_path / "home").rglob("likeness.desktop"))
    assert main(["krita", "install", "--remove"]) == 0


def test_the_words_in_backend_json_start_this_likeness_from_any_folder(home: Path, tmp_path: Path) -> None:
    assert main(["krita", "install", "--home", str(home)]) == 0
    backend = json.loads((here(home).resources / "pykrita" / "likeness" / "backend.json").read_text())
    assert backend["state"] is None
    assert backend["command"][-2:] == ["serve", "--detach"]
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "__init__.py").write_text("raise SystemExit('not this one')")
    done = subprocess.run([*backend["command"][:-2], "--version"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("likeness "), done.stderr


def test_the_docker_starts_it_without_the_folders_that_krita_gives_to_its_own_python(home: Path, tmp_path: Path) -> None:
    assert main(["krita", "install", "--home", str(home)]) == 0
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(command: list[str], **how: Any) -> None:
        started.append((command, how["env"]))

    krita = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "pykrita"), "PYTHONHOME": str(tmp_path)}
    launcher = Launcher(here(home).resources / "pykrita" / "likeness", krita, run=start, **KRITA)
    assert launcher.available() == ""
    launcher.start()
    [(command, environment)] = started
    shown = subprocess.run([*command[:-2], "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert shown.stdout.startswith("likeness "), shown.stderr
    assert not environment["PYTHONPATH"]


@pytest.mark.usefixtures("nothing_downloaded")
def test_what_was_downloaded_once_is_not_downloaded_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["krita", "zip", "-o", str(home / "a.zip")]) == 0
    pip_sees_only(monkeypatch, None)
    assert main(["krita", "zip", "-o", str(home / "b.zip")]) == 0
    assert (home / "a.zip").read_bytes() == (home / "b.zip").read_bytes()
    newer = write_pyzmq(home / "newer", version="27.10")
    pip_sees_only(monkeypatch, newer)
    assert main(["krita", "zip", "-o", str(home / "c.zip"), "--fresh"]) == 0
    with zipfile.ZipFile(home / "c.zip") as archive:
        assert b"27.10" in archive.read("likeness/_wheels/cp310-win_amd64/zmq/__init__.py")


@pytest.mark.usefixtures("nothing_downloaded")
def test_without_a_connection_the_zip_is_refused_with_pips_reason(home: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    pip_sees_only(monkeypatch, home)
    sentence = refused("krita", "zip", "-o", home / "a.zip")
    assert "No matching distribution found for pyzmq" in sentence
    assert "connection to the internet" in sentence
    assert not (home / "a.zip").exists()


@pytest.mark.usefixtures("nothing_downloaded")
def test_without_a_connection_this_environments_own_pyzmq_serves_where_it_fits(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from importlib import metadata

    fitting = [target for target in targets_here() if _copyable(metadata.distribution("pyzmq"), target)]
    if not fitting:
        pytest.skip("the pyzmq of this environment is of a kind that no Krita has")
    pip_sees_only(monkeypatch, home)
    assert main(["krita", "install", "--home", str(home)]) == 0
    folder = here(home).resources / "pykrita" / "likeness" / "_wheels"
    assert {path.name for path in folder.iterdir()} == {"any", fitting[0].folder}
    assert list((folder / fitting[0].folder / "zmq").rglob("_zmq.*"))
    assert "Not there: pyzmq for Python 3.10" in capsys.readouterr().out


@pytest.mark.usefixtures("nothing_downloaded")
def test_when_the_installed_krita_would_get_nothing_that_it_can_load_nothing_is_written(home: Path, monkeypatch, refused) -> None:
    pip_sees_only(monkeypatch, home)
    monkeypatch.setattr("backend.krita.places.python_of_krita", lambda: (3, 10))
    assert "pyzmq for Python 3.10" in refused("krita", "install", "--home", home)
    assert tree(home) == {}


@pytest.mark.usefixtures("nothing_downloaded")
def test_an_environment_without_pip_uses_the_one_that_waits_in_ensurepip(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments made by uv have no pip."""
    pytest.importorskip("ensurepip", reason="Debian's Python comes without ensurepip")
    monkeypatch.setattr("backend.addons.wheels.has_pip", lambda: False)
    assert "_bundled" in (pip_words() or ["", ""])[1]
    assert main(["krita", "install", "--home", str(home)]) == 0
    assert list(home.rglob("cp310-*/zmq/__init__.py"))


@pytest.mark.usefixtures("nothing_downloaded")
def test_an_environment_without_any_pip_says_so(home: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("backend.addons.wheels.has_pip", lambda: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find(name))
    assert "This Python has no pip" in refused("krita", "zip", "-o", home / "a.zip")


def test_a_home_that_is_not_there(refused, tmp_path: Path) -> None:
    assert "does not exist" in refused("krita", "install", "--home", tmp_path / "nobody")


def test_a_zip_in_a_folder_that_is_not_there(refused, tmp_path: Path) -> None:
    assert "does not exist" in refused("krita", "zip", "-o", tmp_path / "nowhere" / "a.zip")


def test_settings_that_cannot_be_written(home: Path, refused) -> None:
    here(home).kritarc.mkdir(parents=True)
    assert "cannot be written" in refused("krita", "install", "--home", home)
