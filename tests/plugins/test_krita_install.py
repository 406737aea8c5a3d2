"""What `likeness krita` made, in the real Krita: imported by its importer, and loaded with nothing but the libraries that it brought."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from addon_wheels import pip_sees_only, write_pyzmq
from krita_runs import RunningKrita, enable_plugins, environment, kept_home, krita, why_no_krita

from backend.cli.main import main
from backend.krita.places import python_of_krita

pytestmark = pytest.mark.slow
IMPORTER = """
import json, sys
import krita
from plugin_importer.plugin_importer import PluginImporter

def main(args):
    archive, resources, out = args
    asked = []
    imported = PluginImporter(archive, resources, lambda plugin: asked.append(plugin["name"]) or True).import_all()
    json.dump([[plugin["name"], plugin["action"]] for plugin in imported], open(out, "w"))
"""
LOADED = """
import json, sys

def main(args):
    state, out = args
    before = list(sys.path)
    import likeness
    found = {"modules": [name for name in sys.modules if name.startswith("likeness")], "python": sys.version_info[:2]}
    found["kept"] = sys.path[:len(before)] == before
    try:
        import msgpack, zmq
        from pathlib import Path
        from likeness.protocol.client import Client
        client = Client(Path(state), "b" * 32)
        found.update(zmq=zmq.__file__, msgpack=msgpack.__file__, curve=zmq.has("curve"), links=[e.link.value for e in client.poll()])
        client.close()
    except ImportError as error:
        found["error"] = str(error)
    json.dump(found, open(out, "w"))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HOME that Krita's libraries have been started in, so that only the first test waits for that."""
    if why_not := why_no_krita("kritarunner"):
        pytest.skip(why_not)
    return kept_home(tmp_path_factory.mktemp("krita"))


def in_krita(home: Path, folder: Path, source: str, *words: object, path: tuple[Path, ...] = ()) -> object:
    """Run `main` of a script in kritarunner; what it wrote into the last of its words, which is the file for that."""
    folder.mkdir()
    (folder / "the_script.py").write_text(source)
    values = environment(home, QT_QPA_PLATFORM="offscreen", PYTHONPATH=":".join(map(str, (folder, *path))))
    command = ["kritarunner", "-s", "the_script", "-f", "main", *map(str, words), str(folder / "out.json")]
    done = subprocess.run(command, env=values, capture_output=True, text=True, timeout=600, check=False)
    assert (folder / "out.json").is_file(), done.stdout + done.stderr
    return json.loads((folder / "out.json").read_text())


def system_has(module: str) -> bool:
    """Whether the system's Python, which Krita uses here, has a module of its own."""
    return subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def test_kritas_own_importer_takes_the_zip(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_sees_only(monkeypatch, write_pyzmq(tmp_path / "wheels"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    archive, resources = tmp_path / "likeness.zip", tmp_path / "resources"
    resources.mkdir()
    assert main(["krita", "zip", "-o", str(archive)]) == 0
    krita = Path("/usr/share/krita/pykrita")
    assert in_krita(home, tmp_path / "run", IMPORTER, archive, resources, path=(krita,)) == [["likeness", "likeness.action"]]
    assert (resources / "pykrita" / "likeness" / "protocol" / "client.py").is_file()
    assert (resources / "pykrita" / "likeness" / "_wheels" / "cp310-win_amd64" / "zmq" / "__init__.py").is_file()
    assert (resources / "pykrita" / "likeness.desktop").is_file()
    assert (resources / "actions" / "likeness.action").is_file()


def test_the_installed_plug_in_loads_with_nothing_but_what_it_brought(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network the libraries are this environment's own, so it must have Krita's Python."""
    if python_of_krita("/usr/bin/krita") != sys.version_info[:2]:
        pytest.skip(f"Krita here has Python {python_of_krita('/usr/bin/krita')}, and the tests run on another one")
    artist = tmp_path / "artist"
    artist.mkdir()
    pip_sees_only(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["krita", "install", "--home", str(artist)]) == 0
    pykrita = artist / ".local" / "share" / "krita" / "pykrita"
    found = in_krita(home, tmp_path / "run", LOADED, tmp_path / "state", path=(pykrita,))
    assert isinstance(found, dict)
    assert found["python"] == list(sys.version_info[:2])
    assert "likeness.plugin" in found["modules"]
    assert (found["curve"], found["links"], found["kept"]) == (True, ["not running"], True)
    for module in ("zmq", "msgpack"):
        assert found[module].startswith(str(pykrita / "likeness" / "_wheels")) or system_has(module)


def test_a_plug_in_without_its_libraries_loads_all_the_same_and_shows_a_sentence_instead(home: Path, tmp_path: Path) -> None:
    if system_has("zmq") and system_has("msgpack"):
        pytest.skip("the system's Python has both libraries, so nothing is missing")
    from backend.krita.install import install
    from backend.krita.package import plugin_files, side_files
    from backend.krita.places import places

    place = places({}, "linux", tmp_path / "artist", tmp_path)[0]
    install(place, plugin_files({}), side_files())
    found = in_krita(home, tmp_path / "run", LOADED, tmp_path / "state", path=(place.resources / "pykrita",))
    assert isinstance(found, dict)
    assert "likeness.trouble" in found["modules"]
    assert "likeness.plugin" not in found["modules"]


def quit_krita(running: RunningKrita) -> None:
    """As a person does it, with the keyboard; there is no window manager, so the window gets the focus by a click into its middle."""
    for _ in range(40):
        running.xdotool("mousemove", "800", "250", "click", "1")
        running.xdotool("key", "ctrl+q")
        try:
            assert running.process.wait(5) == 0, running.log()
            return
        except subprocess.TimeoutExpired:
            continue
    pytest.fail(f"Krita did not end: {running.log()}")


def wait_until_shown(running: RunningKrita) -> None:
    """Krita's window is on the screen."""
    for _ in range(600):
        command = ["xdotool", "search", "--onlyvisible", "--class", "krita"]
        found = subprocess.run(command, env=running.env, capture_output=True, check=False)
        if found.stdout.strip():
            return
        assert running.process.poll() is None, running.log()
        time.sleep(0.5)
    pytest.fail("Krita showed no window within 300 s")


def test_put_in_while_krita_runs_the_docker_is_there_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Krita writes kritarc when it ends; our line stays, since it reads the file again before."""
    if why_not := why_no_krita("krita", "Xvfb", "xdotool"):
        pytest.skip(why_not)
    if python_of_krita("/usr/bin/krita") != sys.version_info[:2]:
        pytest.skip(f"Krita here has Python {python_of_krita('/usr/bin/krita')}, and the tests run on another one")
    pip_sees_only(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    artist = tmp_path / "artist"
    enable_plugins(artist)
    loaded = artist / ".local" / "share" / "krita" / "pykrita" / "likeness" / "__pycache__"
    with krita(artist, tmp_path / "first") as running:
        wait_until_shown(running)
        assert main(["krita", "install", "--home", str(artist)]) == 0
        quit_krita(running)
    kritarc = (artist / ".config" / "kritarc").read_text()
    assert "enable_likeness=true" in kritarc
    assert "[MainWindow]" in kritarc, "Krita wrote nothing of its own, so this test shows nothing"
    assert not loaded.exists()
    with krita(artist, tmp_path / "second") as running:
        wait_until_shown(running)
    assert list(loaded.glob("plugin.*.pyc"))
