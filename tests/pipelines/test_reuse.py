"""Features that are reused: the same numbers as when everything is computed and the inner blocks' word is then replaced by hand."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from tape import TapeCapturer
from tiny_models import FakeFaces

from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.memory_plan import Level
from backend.pipelines.attention import Clock
from backend.pipelines.control import GatedControlNet
from backend.pipelines.engine import Engine, Unwatched
from backend.pipelines.graphs import Graphs
from backend.pipelines.quick import LEAST, Shortening
from backend.pipelines.reuse import Turns
from protocol.errors import Cancelled
from protocol.geometry import Extent
from protocol.jobs import Canvas, Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Shortcut, Subject, Window

STEPS = 12
FRESH = [0, 2, 4, 6, 8, 10, 11]
REUSE = (Shortcut.FEATURE_REUSE,)


def wish(photo, *shortcuts: Shortcut, steps: int = STEPS) -> PictureJob:
    """A person with IdentityNet for a part of the steps, an image prompt, and a guide."""
    guides = (Guide(GuideKind.DEPTH, to_plane(np.full((64, 64, 3), 90, np.uint8)), weight=0.7, window=Window(0.3, 1.0)),)
    person = Subject(Photos((photo(1),)), identity_net_window=Window(0.0, 0.6))
    sampling = Sampling(steps=steps, seed=3, shortcuts=shortcuts)
    prompts = (ImagePrompt(photo(4), weight=0.5, adapter="plus"),)
    return PictureJob("a person", subjects=(person,), image_prompts=prompts, guides=guides, sampling=sampling, preview_every=0)


def drawn(engine: Engine, job: PictureJob) -> np.ndarray:
    return engine.run(job)[0].pixels


@contextmanager
def replaced_by_hand(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """The oracle: all blocks compute in all steps, and in every second one the last inner block's word, and that of the nets to the
    outermost block, are thrown away for the ones before. Steps are counted by the UNet's own calls."""
    unet, step, kept = engine.parts.unet, [0], {}

    def word(module, args, out):
        if step[0] in FRESH:
            kept["unet"] = out
        return kept["unet"]

    def next_step(module, args, out):
        step[0] += 1

    plain = GatedControlNet.answer

    def answer(self, sample, timestep, text, picture, scale, rest):
        down, middle = plain(self, sample, timestep, text, picture, scale, rest)
        if step[0] in FRESH:
            kept[id(self)] = down
        return (kept[id(self)] if scale else down), middle

    handles = [unet.up_blocks[-2].register_forward_hook(word), unet.register_forward_hook(next_step)]
    with monkeypatch.context() as patch:
        patch.setattr(GatedControlNet, "answer", answer)
        yield
    for handle in handles:
        handle.remove()


def test_what_is_reused_is_what_was_said_the_step_before(engine, photo, monkeypatch: pytest.MonkeyPatch) -> None:
    with replaced_by_hand(engine, monkeypatch):
        by_hand = drawn(engine, wish(photo))
    quick, usual = drawn(engine, wish(photo, *REUSE)), drawn(engine, wish(photo))
    assert np.array_equal(quick, by_hand)
    assert not np.array_equal(quick, usual), "or nothing was reused"


def test_it_holds_for_sd15_whose_outermost_blocks_attend_and_for_a_canvas(engine_15, photo, monkeypatch: pytest.MonkeyPatch) -> None:
    job = replace(wish(photo), subjects=(), extent=None, canvas=Canvas(photo(9, 64, 64), strength=1.0))
    with replaced_by_hand(engine_15, monkeypatch):
        by_hand = drawn(engine_15, job)
    assert np.array_equal(drawn(engine_15, replace(job, sampling=replace(job.sampling, shortcuts=REUSE))), by_hand)


def count(engine: Engine, job: PictureJob) -> dict[str, int]:
    modules = {"outermost": engine.parts.unet.conv_in, "inner": engine.parts.unet.mid_block.resnets[0]}
    modules |= {"identity": engine.parts.identity_net.conv_in, "depth": engine.parts.control_net(GuideKind.DEPTH).conv_in}
    found = dict.fromkeys(modules, 0)

    def counted(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            found[name] += 1

        return hook

    handles = [module.register_forward_pre_hook(counted(name)) for name, module in modules.items()]
    engine.run(job)
    for handle in handles:
        handle.remove()
    return found


def test_inner_blocks_and_nets_rest_in_every_second_step_and_nets_outside_their_window_too(engine, photo) -> None:
    assert count(engine, wish(photo, *REUSE)) == {"outermost": STEPS, "inner": len(FRESH), "identity": 4, "depth": 5}
    assert count(engine, wish(photo)) == {"outermost": STEPS, "inner": STEPS, "identity": 7, "depth": 8}


def test_few_steps_are_all_computed(engine, photo) -> None:
    few = wish(photo, *REUSE, steps=LEAST - 1)
    assert np.array_equal(drawn(engine, few), drawn(engine, wish(photo, steps=LEAST - 1)))


def test_where_guidance_begins_or_ends_a_step_computes_everything() -> None:
    clock = Clock(steps=lambda: 20)
    turns = Turns(clock, Shortening(guided=Window(0.15, 0.75), every=4))
    fresh: list[int] = []
    for clock.step in range(20):
        if turns.fresh:
            fresh.append(clock.step)
        assert turns.fresh == (clock.step in fresh), "all nets of a step are told the same"
    assert fresh == [0, 3, 4, 8, 12, 15, 16, 19]


def test_with_guidance_that_rests_and_half_an_identity_net_pictures_come_as_well(engine, photo) -> None:
    all_but_few = tuple(shortcut for shortcut in Shortcut if shortcut is not Shortcut.FEW_STEPS)
    without = tuple(shortcut for shortcut in all_but_few if shortcut is not Shortcut.FEATURE_REUSE)
    assert not np.array_equal(drawn(engine, wish(photo, *all_but_few)), drawn(engine, wish(photo, *without)))


def test_a_size_that_halves_unevenly_is_drawn(engine, photo) -> None:
    job = replace(wish(photo, *REUSE), extent=Extent(76, 52), guides=())
    assert drawn(engine, job).shape == (52, 76, 3)


def test_nothing_is_left_behind_also_when_it_is_cancelled(engine, photo) -> None:
    class Impatient(Unwatched):
        asked = 0

        def cancelled(self) -> bool:
            self.asked += 1
            return self.asked > 40

    usual = drawn(engine, wish(photo))
    with pytest.raises(Cancelled):
        engine.run(wish(photo, *REUSE), Impatient())
    assert all("forward" not in vars(block) for block in engine.parts.unet.modules())
    assert "answer" not in vars(engine.parts.identity_net)
    assert np.array_equal(drawn(engine, wish(photo)), usual)


def test_the_same_bytes_where_layers_are_streamed(tiny_folders, engine, photo) -> None:
    streamed = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    streamed.parts.residency.change(Level.STREAMED)
    assert np.array_equal(drawn(streamed, wish(photo, *REUSE)), drawn(engine, wish(photo, *REUSE)))


def test_a_net_that_rests_is_not_captured_and_those_that_are_stay(tiny_folders, engine, photo) -> None:
    """A graph repeats all that it was captured with: one of a step that computes everything would make the other steps compute it too."""
    captured = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    captured.parts.graphs = Graphs(TapeCapturer())
    drawn(captured, wish(photo, steps=4))
    kept = len(captured.parts.graphs)
    assert kept
    assert np.array_equal(drawn(captured, wish(photo, *REUSE)), drawn(engine, wish(photo, *REUSE)))
    assert len(captured.parts.graphs) == kept
