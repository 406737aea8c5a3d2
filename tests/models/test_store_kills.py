"""Pulls that are killed with SIGKILL, at every point where something gets its final name and in the middle of bytes.

What stands under a final name is always whole, and the next pull goes on with what came.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import FakeHub, Fault, running

from backend.models.catalog import Catalog
from backend.models.store import Store
from backend.models.store_fetch import Patience
from backend.models.store_http import Hub
from backend.models.store_pull import Pull, plan

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a word of Unix")

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = {"a.json": b'{"a": 1}', "b.bin": random.Random(1).randbytes(200_000), "c.bin": random.Random(2).randbytes(150_000)}
UNKNOWN = "c.bin"
"""The catalogue has no hash of this one."""
PULL = """
import os, signal, sys
from pathlib import Path
from backend.models import store_fetch, store_pull
from backend.models.catalog import Catalog
from backend.models.store import Store
from backend.models.store_fetch import Patience
from backend.models.store_http import Hub

models, catalogue, endpoint, mode = sys.argv[1:]

def pull(models):
    store, catalog = Store(Path(models)), Catalog.load(Path(catalogue))
    with store.locked():
        todo, record = store_pull.plan(store, store.read(), catalog.set("all").files)
        store.write(store_pull.Pull(store, Hub(endpoint), Patience(3, 0.0), connections=1).run(record, todo))

def die_at(point):
    calls, real = [0], os.replace
    def replace(source, target):
        calls[0] += 1
        if calls[0] == point:
            if mode == "twin":  # the unsafe way: the final name is there from the first byte on
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(target).write_bytes(Path(source).read_bytes()[:-1])
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)
    os.replace = replace

if mode == "once":
    pull(models)
else:
    point, killed = 0, True
    while killed:  # each point in a process and a store of its own
        point += 1
        child = os.fork()
        if child == 0:
            die_at(point)
            pull(models + str(point))
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        print(point, "killed" if killed else "done", flush=True)
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "*")  # else macOS asks its settings, which a forked process must not


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running(FakeHub()) as server:
        for path, content in CONTENTS.items():
            server.put("org/repo", path, content)
        yield server


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    def line(path: str) -> str:
        content = CONTENTS[path]
        known = "" if path == UNKNOWN else f', bytes = {len(content)}, sha256 = "{hashlib.sha256(content).hexdigest()}"'
        return f'{{ path = "{path}"{known} }}'

    file = tmp_path / "catalog.toml"
    file.write_text(
        '[licence.free]\nname = "free"\nurl = "u"\ncommercial = true\nforbids = "nothing"\n'
        '[part.all]\ntitle = "all"\nfamily = "any"\nlicence = "free"\nrepository = "org/repo"\nrevision = "main"\n'
        f"files = [{', '.join(map(line, CONTENTS))}]\n"
        '[set.all]\npurpose = "all"\nfamily = "sdxl"\nparts = ["all"]\n'
    )
    return file


def start(models: Path, catalogue: Path, hub: FakeHub, mode: str = "once") -> subprocess.Popen[str]:
    words = [sys.executable, "-c", PULL, str(models), str(catalogue), hub.endpoint, mode]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_at_every_point(folder: Path, catalogue: Path, hub: FakeHub, mode: str) -> list[Path]:
    """The stores of pulls that were killed where something was about to get its final name: cards, blobs and records."""
    process = start(folder / "m", catalogue, hub, mode)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    *killed, last = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert (last[1], {word for _, word in killed}) == ("done", {"killed"})
    return [folder / f"m{point}" for point, _ in killed]


def finish(models: Path, catalogue: Path, hub: FakeHub) -> None:
    store, files = Store(models), Catalog.load(catalogue).set("all").files
    with store.locked():  # the system let go of the killed one's
        todo, record = plan(store, store.read(), files)
        record = Pull(store, Hub(hub.endpoint), Patience(3, 0.0)).run(record, todo)
    held = {key.rpartition("/")[2]: store.path(entry).read_bytes() for key, entry in record.files.items()}
    assert held == CONTENTS
    assert list(store.partial.iterdir()) == []
    assert all(store.is_there(record, file) for file in files)


def wrong_blobs(models: Path) -> list[str]:
    blobs = models / ".store" / "blobs"
    return [path.name for path in blobs.glob("*") if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


def test_a_kill_wherever_something_gets_its_final_name_leaves_nothing_half(tmp_path: Path, catalogue: Path, hub: FakeHub) -> None:
    stores = killed_at_every_point(tmp_path, catalogue, hub, "every point")
    assert len(stores) >= 3 * len(CONTENTS)
    for models in stores:
        assert wrong_blobs(models) == []
        record = models / ".store" / "record.json"
        assert not record.exists() or json.loads(record.read_text())["version"] == 1
        finish(models, catalogue, hub)


def test_writing_under_the_final_name_would_leave_a_half_file(tmp_path: Path, catalogue: Path, hub: FakeHub) -> None:
    stores = killed_at_every_point(tmp_path, catalogue, hub, "twin")
    assert [name for models in stores for name in wrong_blobs(models)]


@pytest.mark.parametrize("came", [0, 1, 131_072, 199_999, 200_000])
def test_a_kill_in_the_middle_of_the_bytes_costs_none_of_them(tmp_path: Path, catalogue: Path, hub: FakeHub, came: int) -> None:
    let_go = threading.Event()
    hub.put("org/repo", "b.bin", CONTENTS["b.bin"], Fault(cut_after=came, hold=let_go))
    process = start(tmp_path / "models", catalogue, hub)
    part = tmp_path / "models" / ".store" / "partial" / f"{hashlib.sha256(CONTENTS['b.bin']).hexdigest()}.part"
    assert hub.sent.acquire(timeout=300)
    final = tmp_path / "models" / ".store" / "blobs" / part.stem
    waited = threading.Event()
    while process.poll() is None and not (final.exists() or (part.exists() and part.stat().st_size == came)):
        waited.wait(0.01)
    process.kill()
    process.communicate(timeout=300)
    let_go.set()
    assert wrong_blobs(tmp_path / "models") == []
    asked = len(hub.asked)
    finish(tmp_path / "models", catalogue, hub)
    again = [one.start for one in hub.asked[asked:] if one.path.endswith("b.bin")]
    assert again == ([] if came == 200_000 else [came])
