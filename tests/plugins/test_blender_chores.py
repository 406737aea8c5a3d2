"""What is done in steps: PNGs, long work, and what has time; and pictures that are compressed once they are safe."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from blender_stage import a_shot, grey
from PIL import Image
from plugin_blender.protocol.planes import Layout
from plugin_blender.protocol.results import MadePicture, Pictures

from plugin_blender.chores import Chores, Steps
from plugin_blender.png_steps import png_in_steps
from plugin_blender.shelf import Shelf
from plugin_blender.tickets import Ticket
from plugin_blender.wish import Wish


@pytest.mark.parametrize("layout", list(Layout))
def test_a_png_made_in_steps_has_the_same_pixels_as_pillow_reads(layout: Layout):
    values = np.random.default_rng(1).integers(0, 256, (70, 90, layout.channels), dtype=np.uint8)
    plane = type(grey())(layout, type(a_shot().extent)(90, 70), values.tobytes())
    steps, count = png_in_steps(plane), 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as done:
            read = np.asarray(Image.open(io.BytesIO(done.value)))
            break
    expected = values[..., [2, 1, 0, 3]] if layout is Layout.BGRA8 else values
    assert count >= 1
    assert (read.reshape(expected.shape) == expected).all()


def test_long_work_is_left_for_the_next_tick_when_its_time_is_over():
    clock = iter(range(1000))
    chores, done = Chores(clock=lambda: next(clock) / 1000), []

    def work() -> Steps[int]:
        for number in range(10):
            done.append(number)
            yield
        return 5

    chores.do(work(), done.append)
    chores.turn()
    assert 0 < len(done) < 10
    while chores.waiting:
        chores.turn()
    assert done == [*range(10), 5]


def test_what_has_time_is_done_while_nothing_else_waits():
    chores, done = Chores(), []

    def work(name: str) -> Steps[None]:
        for number in range(2):
            done.append(f"{name} {number}")
            if name == "later" and number == 0:
                chores.do(work("between"))
            yield

    chores.do_later(work("later"))
    chores.do(work("first"))
    while chores.waiting:
        chores.turn()
    assert done == ["first 0", "first 1", "later 0", "between 0", "between 1", "later 1"]


# Compressed once they are safe ---------------------------------------------------------------------------------------------------------
def finished(steps: Steps):
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


@pytest.fixture
def taken(tmp_path: Path):
    """A shelf with two pictures as they lie there at first, and what came."""
    shelf, made = Shelf(tmp_path / "results"), Pictures(tuple(MadePicture(grey(level=level), level) for level in (1, 2)), "m")
    ticket = Ticket("a" * 32, 12, Wish(prompt="someone"), "Camera")
    return shelf, finished(shelf.take(ticket, made, lambda plane: png_in_steps(plane, 0))), made


def pixels(path: Path) -> bytes:
    with Image.open(path) as read:
        return read.tobytes()


def test_pictures_are_safe_at_once_and_become_smaller_later_with_the_same_pixels(taken):
    shelf, results, made = taken
    assert [pixels(result.path) for result in results] == [bytes(one.picture.data) for one in made.pictures]
    before = [result.path.stat().st_size for result in results]
    finished(shelf.compress(results, made, png_in_steps))
    assert [pixels(result.path) for result in results] == [bytes(one.picture.data) for one in made.pictures]
    assert all(result.path.stat().st_size < size / 10 for result, size in zip(results, before, strict=True))
    assert {path.suffix for path in results[0].path.parent.iterdir()} == {".png", ".json"}


def test_a_picture_that_is_thrown_away_while_it_is_written_does_not_come_back(taken):
    shelf, results, made = taken
    steps = shelf.compress(results, made, png_in_steps)
    kept = [path.name for path in sorted(results[0].path.parent.iterdir()) if path.stem == results[1].key]
    while not _is_written(results[0].path):
        next(steps)
    shelf.discard(results[0].key)
    assert sorted(path.name for path in results[1].path.parent.iterdir()) == kept
    finished(steps)
    assert sorted(path.name for path in results[1].path.parent.iterdir()) == kept


def test_one_that_cannot_be_replaced_stays_as_it_is_and_the_next_one_is_compressed(taken, monkeypatch: pytest.MonkeyPatch):
    from plugin_blender import shelf as module

    shelf, results, made = taken
    before, replaced = [result.path.read_bytes() for result in results], module.os.replace

    def refuse(part: Path, path: Path) -> None:
        if path == results[0].path:
            raise PermissionError(13, "somebody reads it", str(path))
        replaced(part, path)

    monkeypatch.setattr(module.os, "replace", refuse)
    finished(shelf.compress(results, made, png_in_steps))
    assert results[0].path.read_bytes() == before[0]
    assert len(results[1].path.read_bytes()) < len(before[1])
    assert {path.suffix for path in results[0].path.parent.iterdir()} == {".png", ".json"}


def test_when_the_add_on_is_switched_off_meanwhile_the_picture_is_whole(taken):
    shelf, results, made = taken
    ticks = iter(range(1000))
    chores = Chores(clock=lambda: next(ticks) * 0.002)  # a step each turn
    chores.do_later(shelf.compress(results, made, png_in_steps))
    while not _is_written(results[0].path):
        chores.turn()
    chores.clear()
    assert pixels(results[0].path) == bytes(made.pictures[0].picture.data)
    assert not _is_written(results[0].path)


def _is_written(path: Path) -> bool:
    return path.with_name(f"{path.name}.part").exists()
