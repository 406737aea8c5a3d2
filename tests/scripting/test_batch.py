"""Many jobs: one photo a device in memory, no result that overwrites another, and nothing drawn twice when the script is killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_backend import ROOT, setup
from scripted_worker import let_go

from backend import batch
from backend.batch import Order, from_csv, from_folder, run_batch
from backend.batchwork import BatchSession, Record
from backend.scripting import Studio, portrait_job
from backend.service import Service
from protocol.errors import BadPicture, InvalidRequest, NoFace
from protocol.jobs import PictureJob


def folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path / name)
    return path


def row(name: str, seed: int, prompt: str = "steps=1") -> Order:
    return Order(name, lambda: portrait_job(None, prompt, seed=seed, size=(8, 8)))


def begun(studio: Studio, seed: int) -> int:
    """How often a worker began this picture."""
    count = studio._folder / "script" / str(seed)
    return count.stat().st_size if count.exists() else 0


def test_photos_of_a_folder_are_read_one_at_a_time_when_it_is_their_turn(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, out = batch.picture_plane, tmp_path / "out"
    there: list[int] = []
    monkeypatch.setattr(batch, "picture_plane", lambda path: there.append(len(list(out.glob("*.png")))) or read(path))
    orders = from_folder(folder(tmp_path / "in", "a.png", "b.jpg", "c.webp"), "a portrait", size=(8, 8))
    assert there == []
    made = run_batch(studio, orders, out, bar=False)
    assert [path.name for path in made] == ["a.png", "b.png", "c.png"]
    assert there == [0, 1, 2]


def test_what_is_there_already_is_not_even_read(studio: Studio, tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", "a.png", "b.png")
    run_batch(studio, from_folder(photos, "x", size=(8, 8)), tmp_path / "out", bar=False)
    (photos / "a.png").write_bytes(b"damaged")
    assert run_batch(studio, from_folder(photos, "x", size=(8, 8)), tmp_path / "out", bar=False) == []


def test_a_photo_that_cannot_be_read_ends_the_batch_there_with_its_name(studio: Studio, tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", "a.png", "b.png", "c.png")
    (photos / "b.png").write_bytes(b"damaged")
    with pytest.raises(BadPicture, match=r"^b: .*b\.png"):
        run_batch(studio, from_folder(photos, "x", size=(8, 8)), tmp_path / "out", bar=False)
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["a.png"]


def test_an_order_that_fails_ends_the_batch_with_its_own_error_and_the_orders_name_and_is_begun_anew(
    studio: Studio, tmp_path: Path
) -> None:
    orders = [row("anna", 800, "face_at=0 times=1"), row("ben", 801)]
    with pytest.raises(NoFace, match=r"^anna: Photo 1 shows no face\.$"):
        run_batch(studio, orders, tmp_path, bar=False)
    assert begun(studio, 801) == 0
    assert len(run_batch(studio, orders, tmp_path, bar=False)) == 2


@pytest.fixture
def two_devices(tmp_path: Path) -> Iterator[Path]:
    """The state folder of a backend with two workers, in a thread of its own."""
    made, leave = setup(tmp_path / "state", devices=("a", "b")), threading.Event()

    def serve() -> None:
        with Service(made) as service:
            service.run(leave.is_set)

    thread = threading.Thread(target=serve)
    thread.start()
    while not (made.state / "connection.json").exists():
        assert thread.is_alive()
        time.sleep(0.02)
    yield made.state
    leave.set()
    thread.join()


def test_a_batch_has_both_devices_at_work_and_its_results_in_the_orders_order(two_devices: Path, tmp_path: Path) -> None:
    """The second order is held until both devices are at work, and the first until the others are done, as if it took that long."""
    out, both = tmp_path / "out", threading.Event()

    def watch() -> None:
        end = time.monotonic() + 300
        with Studio(two_devices, start=False) as watcher:
            while not both.is_set() and time.monotonic() < end:
                if all(one.job_id for one in watcher.status().devices):
                    both.set()
                time.sleep(0.05)  # the workers need the processor too, which may be the same one
        let_go(two_devices, "both")
        while len(list(out.glob("quick *.png"))) < 4 and time.monotonic() < end:
            time.sleep(0.02)
        let_go(two_devices, "others")

    watching = threading.Thread(target=watch)
    watching.start()
    with Studio(two_devices, start=False) as own:
        orders = [row("slow", 1, "hold=others"), row("quick 2", 2, "hold=both"), *(row(f"quick {n}", n) for n in range(3, 6))]
        made = run_batch(own, orders, out, bar=False)
    watching.join()
    assert both.is_set()
    assert [path.stem for path in made] == [order.name for order in orders]
    first, last = (out / f"{name}.png" for name in ("quick 5", "slow"))
    assert first.stat().st_mtime_ns <= last.stat().st_mtime_ns, "the second device did not wait for the first"


SCRIPT = """
import sys
from backend.batch import Order, run_batch
from backend.scripting import Studio, portrait_job

def row(name, seed, prompt):
    return Order(name, lambda: portrait_job(None, prompt, seed=seed, size=(8, 8)))

with Studio(sys.argv[1], start=False) as studio:
    run_batch(studio, [row("one", 900, sys.argv[3]), row("two", 901, "steps=1")], sys.argv[2], bar=False)
"""


@pytest.mark.parametrize("when", ["at work", "finished"])
def test_the_job_of_a_script_that_is_killed_is_taken_up_by_the_next_run(studio: Studio, tmp_path: Path, when: str) -> None:
    seed = {"at work": 900, "finished": 910}[when]
    script = SCRIPT.replace("900", str(seed)).replace("901", str(seed + 1))
    words = f"hold=go-{seed}"
    killed = subprocess.Popen([sys.executable, "-c", script, str(studio._folder), str(tmp_path), words], cwd=ROOT)
    end = time.monotonic() + 300
    while not begun(studio, seed):
        assert time.monotonic() < end
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    let_go(studio._folder, f"go-{seed}")
    assert not list(tmp_path.glob("*.png"))
    assert (tmp_path / ".likeness-batch").stat().st_mode & 0o077 == 0
    while when == "finished" and studio.status().running:
        assert time.monotonic() < end
        time.sleep(0.05)
    made = run_batch(studio, [row("one", seed, words), row("two", seed + 1)], tmp_path, bar=False)
    assert [path.name for path in made] == ["one.png", "two.png"]
    assert (begun(studio, seed), begun(studio, seed + 1)) == (1, 1)


def test_a_killed_scripts_job_is_cancelled_when_its_order_says_something_else_now(studio: Studio, tmp_path: Path) -> None:
    record = Record(tmp_path)
    first = portrait_job(None, "steps=100000 step_s=0.02", seed=920, size=(8, 8))
    session = studio.beside(BatchSession, record.client)
    old = session.begin(record, "one", first)
    while not begun(studio, 920):
        session.look(old, first)
    session.close()
    run_batch(studio, [row("one", 921)], tmp_path, bar=False)
    assert studio.status().running == 0
    assert Record(tmp_path).known("one") is None


def test_ctrl_c_cancels_what_a_batch_has_at_work(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(session: BatchSession) -> None:
        wait(session)
        if begun(studio, 930):
            raise KeyboardInterrupt

    wait = BatchSession.wait
    monkeypatch.setattr(BatchSession, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_batch(studio, [row("one", 930, "steps=100000 step_s=0.02")], tmp_path, bar=False)
    end = time.monotonic() + 300
    while studio.status().running and time.monotonic() < end:
        time.sleep(0.05)
    assert studio.status().running == 0
    assert Record(tmp_path).known("one") is None


def test_a_disk_that_is_full_when_pictures_are_saved_costs_no_second_drawing(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(batch, "_save", full)
    with pytest.raises(OSError, match="No space"):
        run_batch(studio, [row("one", 940)], tmp_path, bar=False)
    monkeypatch.undo()
    assert len(run_batch(studio, [row("one", 940)], tmp_path, bar=False)) == 1
    assert begun(studio, 940) == 1


@pytest.mark.parametrize("text", [b"", b"[]", b'{"client": "x", "jobs": {}}', b'{"client": 7', b'{"client": "../..", "jobs": {"one": 3}}'])
def test_a_record_that_is_damaged_is_a_new_beginning(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".likeness-batch").write_bytes(text)
    record = Record(tmp_path)
    assert len(record.client) == 32
    assert record.known("one") is None


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("A.png", "a.jpg")])
def test_two_photos_whose_results_would_have_one_name_are_refused_and_named(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"would both be saved as a\.png\. Rename one") as refused:
        from_folder(folder(tmp_path / "in", *names), "x")
    assert all(name in str(refused.value) for name in names)


def test_a_result_that_is_numbered_does_not_overwrite_one_that_is_called_so(tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", "a.png", "a-2.png")
    assert len(from_folder(photos, "x")) == 2
    with pytest.raises(InvalidRequest, match=r"would both be saved as a-2\.png"):
        from_folder(photos, "x", count=2)


def test_two_lines_of_a_table_with_one_name_are_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,prompt\none,x\ntwo,x\none,y\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"line 2 and .*line 4 would both be saved as one\.png"):
        from_csv(tmp_path / "t.csv")


def test_orders_made_by_a_script_are_checked_before_the_first_is_done(studio: Studio, tmp_path: Path) -> None:
    orders = [Order("one", lambda: PictureJob("x")), Order("one", lambda: PictureJob("y"))]
    with pytest.raises(InvalidRequest, match="one and one"):
        run_batch(studio, orders, tmp_path / "out", bar=False)
    assert studio.status().queued == studio.status().running == 0
