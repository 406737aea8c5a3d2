"""Krita's thread never waits: every call returns within five milliseconds, with the backend dead, silent, or not there at all.

What is measured is the processor time of the calling thread. A computer with other work has colder caches and slower pages, which only ever
adds to it: so each promise is tried several times, and kept when it was kept once.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from krita_host import Document, FakeHost, plane_of
from krita_people import PeopleBackend, photo
from krita_stage import Stage
from plugin_krita.protocol.geometry import Bounds, Extent
from plugin_krita.protocol.planes import Plane

from plugin_krita.background import Background
from plugin_krita.form import Mode
from plugin_krita.host import Capture, Glimpse
from protocol.geometry import Extent as TheirExtent
from protocol.messages import Fetched, JobUpdate, Preview
from protocol.messages import Stage as JobStage
from protocol.planes import Layout as TheirLayout
from protocol.planes import Plane as TheirPlane
from protocol.results import MadePicture, Pictures

LIMIT_S = 0.005
TRIES = 5
SIDE = 2048


class QuickHost(FakeHost):
    """A canvas of 2048 x 2048 that answers at once, so that what is measured is ours; what it takes is taken off where it is slow."""

    def __init__(self) -> None:
        super().__init__(Document("big", SIDE, SIDE))
        self.whole = plane_of(np.full((SIDE, SIDE, 4), 200, np.uint8))
        self.mask = plane_of(np.full((SIDE, SIDE), 255, np.uint8))
        self.pieces: dict[Extent, Plane] = {}

    def glance(self, bounds: Bounds, layer: str | None = None) -> Glimpse:
        self.glances.append((bounds, layer))
        if bounds.extent not in self.pieces:
            self.pieces[bounds.extent] = plane_of(np.full((bounds.height, bounds.width, 4), 200, np.uint8))
        return Glimpse("big", self.pieces[bounds.extent])

    def capture(self, bounds: Bounds) -> Capture:
        return Capture("big", bounds, self.whole, self.mask if self.documents["big"].selection is not None else None)

    def show_preview(self, document: str, bounds: Bounds, picture: Plane) -> None:
        self.documents[document].preview = (bounds, self.mask)  # a canvas copies the pixels and lets go of them

    def apply(self, document: str, bounds: Bounds, picture: Plane, name: str, mask: Plane | None = None) -> None:
        self.documents[document].undo.append(name)
        self.documents[document].preview = None  # it has become the layer

    def scaled(self, plane: Plane, extent: Extent, background: int | None = None) -> Plane:
        same = plane.extent == extent and plane.layout.channels == 4
        return plane if same else plane_of(np.zeros((extent.height, extent.width, 4), np.uint8))


class Watch:
    """Measures the processor time of the calling thread: what Krita's thread spends with us, whatever else runs on this computer."""

    def __init__(self) -> None:
        self.slowest, self.what = 0.0, ""

    @classmethod
    def best_of(cls, play: Callable[[Watch], None], tries: int = TRIES) -> Watch:
        """The quickest of several plays; the first that keeps the limit ends it."""
        best = cls()
        best.slowest = float("inf")
        for _ in range(tries):
            play(now := cls())
            best = min(best, now, key=lambda one: one.slowest)
            if best.slowest < LIMIT_S:
                break
        return best

    def __call__(self, what: str, act: Callable[[], object]) -> None:
        start = time.thread_time()
        act()
        took = time.thread_time() - start
        if took > self.slowest:
            self.slowest, self.what = took, what


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "krita", tmp_path / "state", host=QuickHost())
    gc.collect()
    gc.freeze()  # a test run has a hundred times the objects of a Krita, and looking through them all takes milliseconds
    yield made
    gc.unfreeze()
    made.presenter.close()


@pytest.fixture
def backend(stage: Stage, tmp_path: Path) -> Iterator[PeopleBackend]:
    made = PeopleBackend(tmp_path / "state")
    stage.turn = made.serve
    yield made
    made.stop()


def everything(stage: Stage) -> list[tuple[str, Callable[[], object]]]:
    one = stage.presenter
    return [
        ("change", lambda: one.change(prompt="x" * 4000, count=3)),
        ("generate", one.generate),
        ("cancel", one.cancel),
        ("show", lambda: one.show("nothing")),
        ("hide", lambda: one.show(None)),
        ("apply", lambda: one.apply("nothing")),
        ("discard", lambda: one.discard("nothing")),
        ("reuse", lambda: one.reuse("nothing")),
        ("files", lambda: one.draft_from_files(["a.png"] * 3)),
        ("save", one.draft_save),
        ("clear", one.draft_clear),
        ("add", lambda: one.add_person("Anna")),
        ("remove", lambda: one.remove_person(0)),
        ("rename", lambda: one.rename_character("a", "b")),
        ("delete", lambda: one.delete_character("a")),
        ("export", lambda: one.export_character("a", "a.likeness")),
        ("import", lambda: one.import_character("gone.likeness")),
        ("start", one.start_backend),
        ("live", lambda: one.turn_live(True)),
        ("dice", one.throw_live_dice),
        ("keep", one.keep_live),
        ("in full", one.live_in_full),
        ("hidden", lambda: one.watched(False)),
        ("seen", lambda: one.watched(True)),
        ("tick", one.tick),
    ]


def press_everything(stage: Stage, watch: Watch, times: int = 20) -> None:
    for _ in range(times):
        for what, act in everything(stage):
            watch(what, act)
        for _ in range(3):
            watch("tick", stage.presenter.tick)
            stage.turn()


def test_without_a_backend(stage: Stage):
    watch = Watch.best_of(lambda watch: press_everything(stage, watch))
    assert watch.slowest < LIMIT_S, watch.what


def test_with_a_backend_that_says_nothing_any_more(stage: Stage, backend: PeopleBackend):
    stage.ready()
    backend.mute = True
    watch = Watch.best_of(lambda watch: press_everything(stage, watch))
    assert watch.slowest < LIMIT_S, watch.what


def test_with_a_backend_that_dies(stage: Stage, backend: PeopleBackend):
    stage.ready()
    stage.presenter.generate()
    backend.socket.close()
    stage.turn = lambda: None
    watch = Watch.best_of(lambda watch: press_everything(stage, watch))
    assert watch.slowest < LIMIT_S, watch.what


def from_the_button_to_the_layer(stage: Stage, backend: PeopleBackend, watch: Watch) -> None:
    """One job of two pictures of four megapixels: asked for, previewed, fetched, shown and applied."""

    def until(done: Callable[[], object]) -> None:
        end = time.monotonic() + 300
        while not done():
            assert time.monotonic() < end, stage.presenter.notice
            watch("tick", stage.presenter.tick)
            stage.turn()
            time.sleep(0.001)

    known, results, steps = len(backend.pictures), len(stage.presenter.results), len(stage.document.undo)
    acknowledged = len(backend.acknowledged)
    watch("generate", stage.presenter.generate)
    until(lambda: len(backend.pictures) > known)
    submitted = next(one for one in backend.heard if getattr(one, "job", None) is backend.pictures[-1])
    extent = TheirExtent(SIDE, SIDE)
    backend.say(JobUpdate(submitted.job_id, JobStage.RUNNING, step=1, steps=4, note=submitted.note))
    backend.say(Preview(submitted.job_id, 1, photo(1, 128, TheirLayout.RGB8)))
    until(lambda: stage.document.preview is not None)
    made = tuple(MadePicture(TheirPlane(TheirLayout.RGB8, extent, bytes(SIDE * SIDE * 3)), seed) for seed in (1, 2))
    backend.outcomes[submitted.job_id] = Pictures(made, "m")
    backend.say(JobUpdate(submitted.job_id, JobStage.DONE, note=submitted.note))
    until(lambda: len(stage.presenter.results) == results + 2)
    key = stage.presenter.results[0].key
    watch("show", lambda: stage.presenter.show(key))
    watch("apply", lambda: stage.presenter.apply(key, transparency_mask=False))
    until(lambda: len(stage.document.undo) > steps and len(backend.acknowledged) > acknowledged)


@pytest.mark.parametrize("mode", [Mode.FILL, Mode.EXPAND])
def test_with_pictures_of_four_megapixels_from_the_button_to_the_layer(stage: Stage, backend: PeopleBackend, mode: Mode):
    stage.ready()
    stage.document.select(0, 0, SIDE, SIDE)
    stage.presenter.change(mode=mode, count=2)
    watch = Watch.best_of(lambda watch: from_the_button_to_the_layer(stage, backend, watch))
    assert watch.slowest < LIMIT_S, watch.what


def following_a_brush(stage: Stage, backend: PeopleBackend, watch: Watch) -> None:
    """A canvas of four megapixels is read, sent small, its picture comes, and it is kept; then it is painted on, and all that again."""

    def until(done: Callable[[], object]) -> None:
        end = time.monotonic() + 300
        while not done():
            assert time.monotonic() < end, (stage.presenter.notice, stage.presenter.live)
            watch("tick", stage.presenter.tick)
            stage.turn()
            time.sleep(0.001)

    watch("turn live", lambda: stage.presenter.turn_live(True))
    for _ in range(2):
        known, steps, before = len(backend.pictures), len(stage.document.undo), stage.presenter.live.picture
        stage.document.changes += 1
        stage.presenter.throw_live_dice()
        until(lambda known=known: len(backend.pictures) > known)
        job = backend.pictures[-1]
        submitted = next(one for one in backend.heard if getattr(one, "job", None) is job)
        size = job.canvas.picture.extent
        made = MadePicture(TheirPlane(TheirLayout.RGB8, size, bytes(size.area * 3)), 1)
        backend.outcomes[submitted.job_id] = Pictures((made,), "m")
        backend.say(JobUpdate(submitted.job_id, JobStage.DONE, note=submitted.note))
        until(lambda before=before: stage.presenter.live.picture is not None and stage.presenter.live.picture is not before)
        watch("keep", stage.presenter.keep_live)
        until(lambda steps=steps: len(stage.document.undo) > steps)
    watch("off", lambda: stage.presenter.turn_live(False))


def test_live_on_four_megapixels(stage: Stage, backend: PeopleBackend):
    stage.ready()
    watch = Watch.best_of(lambda watch: following_a_brush(stage, backend, watch))
    assert watch.slowest < LIMIT_S, watch.what


def test_words_of_a_newer_backend_are_harmless(stage: Stage, backend: PeopleBackend):
    stage.ready()
    for note in ("", "[]", '{"d":{"x":[1]},"b":"?"}', '{"k":"NewKindOfJob"}', '{"new":true}'):
        for number, stage_ in enumerate(JobStage):
            backend.say(JobUpdate(f"{abs(hash(note)) % 10**9:031x}{number}", stage_, note=note))
    backend.say(Preview("a" * 32, 1, photo(1, 8, TheirLayout.RGB8)))
    backend.say(Fetched(999_999, "a" * 32, Pictures((MadePicture(photo(1, 8, TheirLayout.RGB8), 1),), "m")))
    stage.settle()
    assert stage.presenter.notice == ""
    assert stage.presenter.results == ()


def test_the_unsafe_twin_that_works_in_kritas_thread_is_noticed(stage: Stage, backend: PeopleBackend, monkeypatch: pytest.MonkeyPatch):
    """Best of as many tries as the promises have; finding what is transparent in four megapixels is the work that it does here."""
    stage.ready()
    stage.document.select(0, 0, SIDE, SIDE)
    stage.presenter.change(mode=Mode.EXPAND)

    def do_it_here(self: Background, work: Callable[[], object], then: object = None, failed: object = None) -> None:
        work()

    monkeypatch.setattr(Background, "do", do_it_here)
    watch = Watch.best_of(lambda watch: watch("generate", stage.presenter.generate))
    assert watch.slowest > 2 * LIMIT_S
