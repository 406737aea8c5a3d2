"""`likeness serve`, `likeness status`: the command in processes of its own, with a worker that draws nothing."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_backend import FakeBackend, pump

from backend.cli import serve, status
from backend.cli.status import describe
from backend.config import load_settings
from backend.launch import nobody_serves
from protocol.client import Client
from protocol.errors import ServiceError
from protocol.events import Link
from protocol.messages import Done
from protocol.results import DeviceStatus, Status, WorkerStage

ROOT = Path(__file__).resolve().parent.parent.parent


class Command:
    """`likeness` with a state folder of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "backend", *words, "--state", str(self.state)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def likeness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    made = Command(tmp_path_factory.mktemp("serve") / "state")
    yield made
    made("status", "--stop")


def test_it_starts_once_tells_of_itself_and_ends(likeness: Command) -> None:
    absent = likeness("status")
    assert absent.returncode == 2
    assert "not running" in absent.stderr
    started = likeness("serve", "--detach", "--pipeline", "nothing")
    assert started.returncode == 0, started.stderr
    again = likeness("serve", "--pipeline", "nothing")
    assert (again.returncode, "already" in again.stdout) == (0, True)
    stopped = likeness("status", "--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "Backend" in stopped.stdout
    assert "nothing is drawn" in stopped.stdout or "starting" in stopped.stdout
    assert "has ended" in stopped.stdout
    assert nobody_serves(likeness.state)
    assert not (likeness.state / "connection.json").exists()


def test_a_device_that_is_named_twice_is_refused(likeness: Command) -> None:
    refused = likeness("serve", "--pipeline", "nothing", "--device", "cpu", "--device", "cpu")
    assert refused.returncode == 2
    assert "The device cpu is named twice" in refused.stderr


def test_what_a_settings_file_says_reaches_the_backend_that_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "own.toml"
    lines = f'models = "{(tmp_path / "models").as_posix()}"', 'dtype = "float16"', 'model = "mine"'
    file.write_text("\n".join(lines), encoding="utf-8")
    settings, started = load_settings({"device": "cpu"}, {}, file), {}
    monkeypatch.setattr("backend.launch.connect", lambda state, **given: started.update(given) or SimpleNamespace(close=lambda: None))
    asked = Namespace(state=tmp_path, detach=True, on=None, pipeline="studio", idle_minutes=None)
    assert serve.run(asked, settings) == 0
    assert load_settings({}, started["environ"]) == settings


def test_a_backend_that_does_not_end_is_said_and_not_called_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers, and goes on."""
    monkeypatch.setattr(status, "_END_S", 1.0)
    backend = FakeBackend(tmp_path, lambda request: [Done(request.request)])
    client = Client(tmp_path, "c" * 32)
    pump(client, backend, lambda events: client.link is Link.CONNECTED)
    with pytest.raises(ServiceError, match="has not within"):
        status._stop(client, tmp_path, pid=1)
    client.close()
    backend.stop()


def test_a_status_is_told_in_words() -> None:
    devices = (
        DeviceStatus("cuda:0", WorkerStage.WORKING, "a card", 12 * 10**9, 3 * 10**9, ("sketch",), "a" * 32, plan="sketch: all at once"),
        DeviceStatus("cuda:1", WorkerStage.UNAVAILABLE, sentence="It ended five times. Run `likeness doctor`."),
    )
    lines = describe(Status("0.2", 7, 120.0, devices, 3, 1, 2, 5_000_000, 10**10))
    assert lines == [
        "Backend 0.2, process 7, up for 2 min",
        "  cuda:0: working, a card, 3.0 of 12.0 GB free, loaded: sketch",
        "    memory: sketch: all at once",
        "  cuda:1: unavailable",
        "    It ended five times. Run `likeness doctor`.",
        "  3 queued, 1 running, 2 kept (5 MB)",
    ]


def test_the_server_never_imports_torch_or_pixels() -> None:
    code = (
        "import sys; import backend.service, backend.cli.serve, backend.cli.status, backend.launch;"
        "print([name for name in ('torch', 'numpy', 'PIL', 'diffusers', 'insightface') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "[]", done.stderr
