"""Shortcuts, against pipelines that take none: what rests is bit-equal to what is not there, and nothing is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.images import to_plane
from backend.models.bundle import Model
from backend.pipelines import control
from backend.pipelines.cast import cast_of
from backend.pipelines.choices import Mode
from backend.pipelines.identity import IdentityNet
from backend.pipelines.plan import plan
from backend.pipelines.quick import FEW_SCHEDULER, Shortening, shortened
from backend.pipelines.sample import Hooks, Recipe, draw, draw_latents
from protocol.geometry import Extent
from protocol.jobs import Canvas, Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Shortcut, Subject, Window
from protocol.planes import Layout, Plane
from protocol.weights import Lora

NEVER = Shortening(guided=Window(0.0, 0.0))
EVERY = Shortening(guided=Window(0.0, 1.0))


@pytest.fixture
def wish(photo):
    """Everything at once: a person with IdentityNet, an image prompt, a depth guide."""
    guides = (Guide(GuideKind.DEPTH, to_plane(np.full((64, 64, 3), 90, np.uint8)), weight=0.7),)
    prompts = (ImagePrompt(photo(4), weight=0.5, adapter="plus"),)
    return PictureJob(
        "a person", "", subjects=(Subject(Photos((photo(1),))),), image_prompts=prompts, guides=guides, sampling=Sampling(steps=4, seed=3)
    )


def recipe(engine, job: PictureJob, shortening: Shortening, guidance_scale: float = 3.0) -> Recipe:
    """The job's recipe, with a shortening that no shortcut stands for."""
    job = replace(job, sampling=replace(job.sampling, guidance_scale=guidance_scale))
    decided = plan(job, engine.parts.model)
    people = cast_of(decided, [engine._sights.identity(one.who) for one in job.subjects], engine._faces)
    return replace(engine._recipe(decided, people), shortening=shortening)


def latents(engine, made: Recipe) -> torch.Tensor:
    return draw_latents(engine.parts, made, seed=5)


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Up to rounding: a person's tokens are projected together with those of nobody where there is guidance."""
    return float((one - other).abs().max()) < 1e-4


def test_guidance_that_never_acts_is_no_guidance(engine, wish) -> None:
    resting = latents(engine, recipe(engine, wish, NEVER))
    assert alike(resting, latents(engine, recipe(engine, wish, Shortening(), guidance_scale=1.0)))
    assert not alike(resting, latents(engine, recipe(engine, wish, Shortening())))


def test_guidance_that_always_acts_is_the_usual_picture_bit_for_bit(engine, wish) -> None:
    assert torch.equal(latents(engine, recipe(engine, wish, EVERY)), latents(engine, recipe(engine, wish, Shortening())))


@pytest.mark.parametrize("mode", [Mode.IMAGE, Mode.INPAINT])
def test_it_holds_for_pictures_that_start_from_a_canvas_too(engine, wish, photo, mode: Mode) -> None:
    mask = Plane(Layout.A8, Extent(64, 64), bytes(64 * 32) + b"\xff" * (64 * 32)) if mode is Mode.INPAINT else None
    wish = replace(wish, canvas=Canvas(photo(9, 64, 64), mask, strength=0.8))
    made = recipe(engine, wish, NEVER)
    assert made.mode is mode
    assert alike(latents(engine, made), latents(engine, recipe(engine, wish, Shortening(), guidance_scale=1.0)))


def test_it_holds_for_sd15_bit_for_bit(engine_15, photo) -> None:
    job = PictureJob("a person", "", image_prompts=(ImagePrompt(photo(4), adapter="plus"),), sampling=Sampling(steps=3, seed=3))
    plain = latents(engine_15, recipe(engine_15, job, Shortening(), guidance_scale=1.0))
    assert torch.equal(latents(engine_15, recipe(engine_15, job, NEVER)), plain)


def test_the_unet_and_the_nets_compute_half_while_guidance_rests(engine, wish) -> None:
    batches: list[int] = []
    handle = engine.parts.unet.conv_in.register_forward_hook(lambda module, args, out: batches.append(len(args[0])))
    latents(engine, recipe(engine, wish, Shortening(guided=Window(0.25, 0.75))))
    handle.remove()
    assert batches == [1, 2, 2, 1]


def test_text_keys_are_computed_once_for_each_half(engine, wish) -> None:
    calls: list[int] = []
    layer = next(module for name, module in engine.parts.unet.named_modules() if name.endswith("attn2.to_k"))
    handle = layer.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    latents(engine, recipe(engine, wish, Shortening(guided=Window(0.25, 0.75))))
    handle.remove()
    assert calls == [1, 2]


def test_a_conditional_identity_net_adds_nothing_to_the_other_half(engine, wish, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle runs both halves and takes the unconditional one's residuals away by hand."""
    wish = replace(wish, guides=())
    quick = latents(engine, recipe(engine, wish, Shortening(conditional_identity=True)))
    usual = latents(engine, recipe(engine, wish, Shortening()))

    def emptied(self, down, mid):
        keep = torch.tensor([0.0, 1.0])[:, None, None, None]
        return [part * keep for part in down], mid * keep

    monkeypatch.setattr(IdentityNet, "placed", emptied)
    by_hand = latents(engine, recipe(engine, wish, Shortening()))
    assert (quick - by_hand).abs().max() < 1e-4
    assert (usual - by_hand).abs().max() > 1e-2, "or the test would see nothing"


def test_a_conditional_identity_net_leaves_other_nets_whole(engine, wish) -> None:
    batches: dict[str, set[int]] = {"person": set(), "depth": set()}
    nets = {"person": engine.parts.identity_net, "depth": engine.parts.control_net(GuideKind.DEPTH)}
    handles = [
        net.conv_in.register_forward_hook(lambda module, args, out, name=name: batches[name].add(len(args[0])))
        for name, net in nets.items()
    ]
    latents(engine, recipe(engine, wish, Shortening(conditional_identity=True)))
    for handle in handles:
        handle.remove()
    assert batches == {"person": {1}, "depth": {2}}


def test_a_job_with_shortcuts_leaves_nothing_behind_also_when_it_is_cancelled(engine, wish) -> None:
    usual = engine.run(wish)[0].pixels
    quick = replace(wish, sampling=replace(wish.sampling, shortcuts=tuple(Shortcut)))
    first = engine.run(quick)[0].pixels
    assert np.array_equal(engine.run(wish)[0].pixels, usual)
    assert np.array_equal(engine.run(quick)[0].pixels, first)
    assert not np.array_equal(first, usual)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(engine.parts, recipe(engine, wish, NEVER), 1, Hooks(check=stop))
    assert "forward" not in vars(engine.parts.unet)
    assert np.array_equal(engine.run(wish)[0].pixels, usual)


def test_views_of_nets_are_the_ones_that_are_changed_never_the_nets(engine, wish) -> None:
    latents(engine, recipe(engine, wish, NEVER))
    assert {"forward", "context"}.isdisjoint(vars(engine.parts.identity_net))
    assert control.GatedControlNet is not type(engine.parts.identity_net)


# What is asked for ------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def model(tiny_folders, tmp_path: Path) -> Model:
    return replace(Model.open(tiny_folders["sdxl"]), folder=tmp_path)


def few(**more: object) -> PictureJob:
    return PictureJob("a person", sampling=Sampling(shortcuts=(Shortcut.FEW_STEPS,), **more))


def test_few_steps_are_a_part_of_the_models_own_with_a_scheduler_that_bears_it(model: Model) -> None:
    thirty = replace(model, defaults=replace(model.defaults, steps=30))
    sampling = shortened(few(), thirty).sampling
    assert (sampling.steps, sampling.guidance_scale, sampling.scheduler) == (12, None, FEW_SCHEDULER)


def test_a_few_step_lora_of_the_model_is_worn_and_sampled_as_it_was_made_for(model: Model) -> None:
    (model.folder / "loras").mkdir()
    for name in ("ink", "sdxl_lightning_4step_lora"):
        (model.folder / "loras" / f"{name}.safetensors").touch()
    decided = plan(replace(few(), loras=(Lora("ink", 0.5),)), model)
    assert decided.job.loras == (Lora("ink", 0.5), Lora("sdxl_lightning_4step_lora", 1.0))
    assert (decided.steps, decided.guidance_scale, decided.scheduler) == (4, 1.0, "euler-trailing")


def test_a_few_step_lora_that_the_job_chose_itself_is_enough(model: Model) -> None:
    (model.folder / "loras").mkdir()
    for name in ("lcm-lora-sdxl", "Hyper-SDXL-8steps-lora"):
        (model.folder / "loras" / f"{name}.safetensors").touch()
    chosen = replace(few(), loras=(Lora("lcm-lora-sdxl", 0.9),))
    assert shortened(chosen, model) == chosen


def test_what_the_job_says_itself_is_never_changed(model: Model) -> None:
    said = few(steps=25, guidance_scale=4.0, scheduler="euler")
    assert shortened(said, model).sampling == said.sampling
    assert shortened(replace(said, sampling=Sampling(shortcuts=())), model).sampling == Sampling()


def test_a_model_of_few_steps_stays_as_it_is(model: Model) -> None:
    turbo = replace(model, defaults=replace(model.defaults, steps=4, guidance_scale=1.0))
    assert shortened(few(), turbo) == few()


def test_small_pictures_are_drawn_on_fewer_pixels_and_come_in_the_size_that_was_asked_for(model: Model) -> None:
    small = PictureJob("a person", extent=Extent(64, 64), sampling=Sampling(shortcuts=(Shortcut.SMALL,)))
    decided = plan(small, replace(model, bucketed=True))
    assert (decided.frame.extent, decided.extent) == (Extent(40, 40), Extent(64, 64))


def test_a_model_of_one_size_draws_no_smaller(model: Model) -> None:
    small = PictureJob("a person", sampling=Sampling(shortcuts=(Shortcut.SMALL,)))
    assert plan(small, model).frame.extent == Extent(64, 64)
