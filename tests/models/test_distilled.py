"""Few-step models are told by their names, and sampled as their makers say."""

from __future__ import annotations

import diffusers
import pytest

from backend.models.distilled import Distillation, Told, regimen, told_by_metadata, told_by_name
from backend.pipelines.schedulers import find

LCM, LIGHTNING, TURBO, HYPER, TCD = Distillation


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sdxl_lightning_4step", Told(LIGHTNING, 4)), ("sdxl_lightning_1step_x0", Told(LIGHTNING, 1, clean=True)),
        ("sdxl_lightning_8step_lora", Told(LIGHTNING, 8)), ("realvisxlV50_v50LightningBakedvae", Told(LIGHTNING)),
        ("dreamshaperXL_v21TurboDPMSDE", Told(TURBO)), ("sd_xl_turbo_1.0_fp16", Told(TURBO)), ("SDXLTurbo", Told(TURBO)),
        ("Hyper-SDXL-8steps-CFG-lora", Told(HYPER, 8, guided=True)), ("TCD-SDXL-LoRA", Told(TCD)),
        ("Hyper-SDXL-8steps-lora", Told(HYPER, 8)), ("Hyper-SD15-1step-lora", Told(HYPER, 1)), ("HyperSDXL_4-steps", Told(HYPER, 4)),
        ("lcm-lora-sdxl", Told(LCM)), ("LCM_Dreamshaper_v7_4k", Told(LCM)), ("dreamshaper_8LCM", Told(LCM)),
    ],
)  # fmt: skip
def test_the_names_that_are_in_use_are_understood(name, told):
    assert told_by_name(name) == told


@pytest.mark.parametrize("name", ["hyperrealism_v3", "sd_xl_base_1.0", "juggernautXL_v9", "alchemist", "turbocharged", "v1-5-pruned"])
def test_a_word_inside_another_word_says_nothing(name):
    assert told_by_name(name) is None


def test_a_count_that_cannot_be_the_distilled_steps_is_not_taken():
    assert told_by_name("turbo_50step") == Told(TURBO)


def test_the_metadata_say_it_where_the_name_does_not():
    assert told_by_metadata({"modelspec.title": "My SDXL Lightning 4-step merge"}) == Told(LIGHTNING, 4)
    assert told_by_metadata({"ss_output_name": "portraits"}) is None


@pytest.mark.parametrize("method", Distillation)
@pytest.mark.parametrize("steps", [None, 1, 2, 4, 8])
def test_every_regimen_is_one_that_the_schedulers_know(method, steps):
    found = regimen(Told(method, steps))
    sampler = find(found.scheduler)
    assert sampler.id == found.scheduler
    made = getattr(diffusers, sampler.kind)(**{**sampler.changes, **found.changes})
    made.set_timesteps(found.steps)
    assert len(made.timesteps) == found.steps == (steps or found.steps)
    assert found.guidance_scale == 1


def test_lightning_is_sampled_as_its_card_says():
    """ByteDance/SDXL-Lightning: EulerDiscreteScheduler, timestep_spacing="trailing", guidance 0; one step predicts the sample."""
    four = regimen(Told(LIGHTNING, 4))
    assert (four.steps, four.scheduler, dict(four.changes)) == (4, "euler", {"timestep_spacing": "trailing"})
    assert regimen(Told(LIGHTNING, 1, clean=True)).changes["prediction_type"] == "sample"


def test_hyper_is_sampled_as_its_card_says():
    """ByteDance/Hyper-SD: TCDScheduler for one step, DDIMScheduler with timestep_spacing="trailing" for more."""
    assert regimen(Told(HYPER, 1)).scheduler == "tcd"
    assert regimen(Told(HYPER, 8, guided=True)).guidance_scale == 5.0
    assert (regimen(Told(HYPER, 4)).scheduler, regimen(Told(HYPER, 4)).changes["timestep_spacing"]) == ("ddim", "trailing")


def test_what_the_user_wants_goes_before_what_the_name_says():
    assert regimen(Told(LIGHTNING, 4), steps=8).steps == 8
