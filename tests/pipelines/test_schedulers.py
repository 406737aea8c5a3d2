"""Schedulers by the names that artists know: each runs, is what diffusers' documentation says it is, and gives the same bytes twice."""

from __future__ import annotations

import inspect

import diffusers
import numpy as np
import pytest
import torch

from backend.pipelines.build import scheduler
from backend.pipelines.plan import plan
from backend.pipelines.sample import Recipe, draw_latents
from backend.pipelines.schedulers import ETAS, METHODS, OFFERED, SAMPLERS, find
from protocol.errors import InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Sampling
from protocol.results import ModelInfo

SIZE = Extent(64, 64)
DPM, SINGLE = diffusers.DPMSolverMultistepScheduler, diffusers.DPMSolverSinglestepScheduler
# The table "A1111/k-diffusion" of diffusers' documentation on schedulers, and its table of noise schedules.
DOCUMENTED = {
    "DPM++ 2M": (DPM, {}),
    "DPM++ 2M Karras": (DPM, {"use_karras_sigmas": True}),
    "DPM++ 2M SDE": (DPM, {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 2M SDE Karras": (DPM, {"use_karras_sigmas": True, "algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 3M SDE": (DPM, {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 3M SDE Exponential": (DPM, {"solver_order": 3, "algorithm_type": "sde-dpmsolver++", "use_exponential_sigmas": True}),
    "DPM2": (diffusers.KDPM2DiscreteScheduler, {}),
    "DPM2 Karras": (diffusers.KDPM2DiscreteScheduler, {"use_karras_sigmas": True}),
    "DPM2 a": (diffusers.KDPM2AncestralDiscreteScheduler, {}),
    "Euler": (diffusers.EulerDiscreteScheduler, {}),
    "Euler a": (diffusers.EulerAncestralDiscreteScheduler, {}),
    "Euler SGM Uniform": (diffusers.EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "Heun": (diffusers.HeunDiscreteScheduler, {}),
    "LMS": (diffusers.LMSDiscreteScheduler, {}),
    "LMS Karras": (diffusers.LMSDiscreteScheduler, {"use_karras_sigmas": True}),
    "DEIS": (diffusers.DEISMultistepScheduler, {}),
    "UniPC": (diffusers.UniPCMultistepScheduler, {}),
    "DPM++ SDE": (SINGLE, {"algorithm_type": "sde-dpmsolver++"}),
    "LCM": (diffusers.LCMScheduler, {}),
    "TCD": (diffusers.TCDScheduler, {}),
}  # fmt: skip


def latents(parts, name, seed=7):
    return draw_latents(parts, Recipe(SIZE, "a hat", "blurry", 4, 3.0, scheduler=name), seed=seed).numpy()


@pytest.mark.parametrize(
    ("written", "short"),
    [
        ("Euler a", "euler-a"), ("euler_ancestral", "euler-a"), ("EULER A", "euler-a"), ("k_euler", "euler"), ("dpmpp_2m", "dpm++2m"),
        ("DPM++ 2M Karras", "dpm++2m-karras"), ("dpmpp_2m_sde_gpu karras", "dpm++2m-sde-karras"), ("dpm++ 3m sde", "dpm++3m-sde"),
        ("DPM++ 2M SDE Heun Exponential", "dpm++2m-sde-heun-exponential"), ("uni_pc_bh2", "unipc"), ("euler sgm_uniform", "euler-trailing"),
        ("DPM++ SDE Karras", "dpm++sde-karras"), ("DDIM ddim_uniform", "ddim-leading"), ("LMS  karras", "lms-karras"), ("tcd", "tcd"),
    ],
)  # fmt: skip
def test_a_name_is_known_however_it_is_written(written, short):
    assert find(written).id == short


def test_the_short_names_of_before_mean_what_they_meant():
    before = ("euler", "euler-a", "ddim", "dpm++2m", "dpm++2m-karras", "unipc", "lcm")
    assert [find(name).id for name in before] == list(before)
    assert set(before) <= {one.id for one in SAMPLERS}


def test_no_two_names_are_one_and_every_title_is_known():
    assert len({one.id for one in SAMPLERS}) == len(SAMPLERS) == len({one.title for one in SAMPLERS})
    assert [find(one.title).id for one in SAMPLERS] == [one.id for one in SAMPLERS]
    assert [find(one.id).id for one in SAMPLERS] == [one.id for one in SAMPLERS]


def test_what_is_offered_is_known_and_fits_the_wire():
    assert all(find(title).title == title for title in OFFERED)
    ModelInfo("m", "m", "sdxl", SIZE, schedulers=OFFERED)
    assert len(OFFERED) == len(set(OFFERED)) <= 64


@pytest.mark.parametrize(("wrong", "near"), [("Eulr", "Euler"), ("DPM++ 2S a", "DPM++ 2S"), ("dpm++2m-carras", "DPM++ 2M Karras")])
def test_an_unknown_name_is_answered_with_the_nearest(wrong, near):
    with pytest.raises(InvalidRequest, match="Did you mean") as caught:
        find(wrong)
    assert near in str(caught.value)


def test_a_spacing_that_a_method_does_not_have_is_said():
    with pytest.raises(InvalidRequest, match="Euler a cannot be spaced as Karras"):
        find("Euler a Karras")


def test_a_plan_keeps_the_short_name(parts):
    decided = plan(PictureJob(sampling=Sampling(scheduler="DPM++ 2M SDE Karras")), parts["sdxl"].model)
    assert decided.scheduler == "dpm++2m-sde-karras"
    with pytest.raises(InvalidRequest, match="Did you mean"):
        plan(PictureJob(sampling=Sampling(scheduler="DPM++ 2N")), parts["sdxl"].model)


@pytest.mark.parametrize("one", SAMPLERS, ids=lambda one: one.id)
def test_diffusers_knows_every_setting_of_every_name(one):
    assert set(one.changes) <= set(inspect.signature(getattr(diffusers, one.kind).__init__).parameters)


@pytest.mark.parametrize("title", DOCUMENTED)
def test_a_name_is_the_scheduler_that_the_documentation_says(title, parts, tiny_folders):
    kind, settings = DOCUMENTED[title]
    config = diffusers.EulerDiscreteScheduler.from_pretrained(tiny_folders["sd15"] / "scheduler").config
    by_hand, ours = kind.from_config(config, **settings), scheduler(parts["sd15"], title)
    assert type(ours) is kind
    assert stepped(ours) == stepped(by_hand)


def test_a_model_whose_own_scheduler_is_karras_does_not_make_every_other_one_so(parts, monkeypatch):
    own = diffusers.EulerDiscreteScheduler(use_karras_sigmas=True)
    monkeypatch.setitem(parts["sd15"]._loaded, "scheduler", own)
    assert not scheduler(parts["sd15"], "DPM++ 2M").config.use_karras_sigmas
    assert scheduler(parts["sd15"], "default").config.use_karras_sigmas


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.id)
@pytest.mark.parametrize("spaced", ["", "karras", "trailing"], ids=["plain", "karras", "trailing"])
def test_every_scheduler_draws_and_the_same_seed_gives_the_same_bytes(method, spaced, parts):
    if spaced and spaced not in method.spacings:
        pytest.skip(f"{method.title} has no such spacing")
    name = f"{method.id}-{spaced}" if spaced else method.id
    first = latents(parts["sd15"], name)
    assert np.isfinite(first).all()
    assert np.array_equal(first, latents(parts["sd15"], name))
    assert not np.array_equal(first, latents(parts["sd15"], name, seed=8))


def test_tcd_adds_the_noise_that_it_was_made_for(parts, monkeypatch):
    usual = latents(parts["sd15"], "tcd")
    monkeypatch.setitem(ETAS, "TCDScheduler", 0.0)
    assert not np.array_equal(latents(parts["sd15"], "tcd"), usual)


def stepped(schedule) -> list[list[float]]:
    """What a scheduler makes of four made-up predictions."""
    schedule.set_timesteps(4)
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(1, 4, 4, 4, generator=generator) * schedule.init_noise_sigma
    takes = inspect.signature(schedule.step).parameters
    seen = []
    for moment in schedule.timesteps:
        prediction = torch.randn(1, 4, 4, 4, generator=generator)
        scaled = schedule.scale_model_input(sample, moment)
        extra = {"generator": generator} if "generator" in takes else {}
        sample = schedule.step(prediction + 0 * scaled, moment, sample, **extra).prev_sample
        seen.append(sample.flatten().tolist())
    return seen
