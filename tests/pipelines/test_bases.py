"""Bases that want to be sampled in their own way are: v-prediction, few steps, inpainting only. Stock diffusers is what they must equal."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from ldm_layout import card, checkpoint_state, keep_configs, write_checkpoint
from PIL import Image
from safetensors.torch import save_file
from tiny_models import tiny_model

from backend.images import to_plane
from backend.models.base import weight_count
from backend.models.bundle import Model
from backend.models.parts import Parts
from backend.pipelines.build import scheduler
from backend.pipelines.engine import Engine
from backend.pipelines.plan import plan
from backend.pipelines.sample import Recipe, draw_latents
from backend.pipelines.schedulers import METHODS
from protocol.errors import InvalidRequest, ModelError
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob, Sampling

EXTENT = Extent(64, 64)
TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
"""What the tiny models were not trained with, but say."""


def single(folder, name="base.safetensors", family="sdxl", edit=None, **more):
    """A tiny base in one file, without defaults of its own."""
    tiny_model(folder, family)
    base = Parts(Model.open(folder)).base
    if edit is None:
        write_checkpoint(folder / name, base, **more)
    else:
        state = checkpoint_state(base)
        edit(state)
        save_file(state, folder / name)
    keep_configs(folder)
    (folder / "model.toml").write_text((folder / "model.toml").read_text().partition("[defaults]")[0])
    card(folder, checkpoint=name)
    for file in (folder / "scheduler").iterdir():
        file.unlink()
    return folder


def stock_latents(parts, schedule, steps, guidance_scale):
    pipe = diffusers.StableDiffusionXLPipeline(**parts.base, scheduler=schedule, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(5)
    with torch.no_grad():
        return pipe(
            "a cat", num_inference_steps=steps, guidance_scale=guidance_scale, generator=noise, width=64, height=64, output_type="latent"
        ).images


def our_latents(parts, steps, guidance_scale, name="default"):
    return draw_latents(parts, Recipe(EXTENT, "a cat", "", steps, guidance_scale, name), seed=5)


@pytest.fixture(scope="module")
def velocity(tmp_path_factory):
    folder = single(tmp_path_factory.mktemp("v") / "m", v_pred=torch.tensor([]), ztsnr=torch.tensor([]))
    return Parts(Model.open(folder))


def test_a_base_that_predicts_velocity_is_sampled_so_by_itself(velocity):
    stock = diffusers.EulerDiscreteScheduler(
        **TRAINED, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    assert torch.equal(our_latents(velocity, 3, 4.0), stock_latents(velocity, stock, 3, 4.0))
    wrong = diffusers.EulerDiscreteScheduler(**TRAINED)
    assert not torch.allclose(our_latents(velocity, 3, 4.0), stock_latents(velocity, wrong, 3, 4.0))


@pytest.mark.parametrize("method", [method.id for method in METHODS])
def test_every_scheduler_that_is_asked_for_predicts_velocity_too(method, velocity):
    assert scheduler(velocity, method).config.prediction_type == "v_prediction"


def test_model_toml_says_it_for_a_file_that_does_not(tmp_path):
    folder = single(tmp_path / "m")
    assert Parts(Model.open(folder)).scheduler.config.prediction_type == "epsilon"
    card(folder, prediction="v", zero_snr=True)
    config = Parts(Model.open(folder)).scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)


def test_model_toml_says_it_for_folders_too(tmp_path):
    folder = tiny_model(tmp_path / "m")
    card(folder, prediction="v", distilled="turbo")
    config = Parts(Model.open(folder)).scheduler.config
    assert (config.prediction_type, config.timestep_spacing) == ("v_prediction", "trailing")


@pytest.fixture(scope="module")
def lightning(tmp_path_factory):
    return Parts(Model.open(single(tmp_path_factory.mktemp("l") / "m", "tiny_lightning_4step.safetensors")))


def test_a_distilled_base_gets_its_steps_scheduler_and_no_guidance(lightning):
    decided = plan(PictureJob("a cat", extent=EXTENT), lightning.model)
    assert (decided.steps, decided.guidance_scale, decided.scheduler, decided.guided) == (4, 1.0, "euler", False)
    stock = diffusers.EulerDiscreteScheduler(**TRAINED, timestep_spacing="trailing")  # as SDXL-Lightning's card has it
    found = our_latents(lightning, decided.steps, decided.guidance_scale, decided.scheduler)
    assert torch.equal(found, stock_latents(lightning, stock, 4, 0.0))


def test_what_a_job_says_goes_before_it(lightning):
    decided = plan(PictureJob("a cat", extent=EXTENT, sampling=Sampling(steps=9, guidance_scale=2.5, scheduler="ddim")), lightning.model)
    assert (decided.steps, decided.guidance_scale, decided.scheduler) == (9, 2.5, "ddim")


def test_what_model_toml_says_goes_before_what_the_name_says(tmp_path):
    folder = single(tmp_path / "m", "tiny_lightning_4step.safetensors")
    (folder / "model.toml").write_text((folder / "model.toml").read_text() + "\n[defaults]\nsteps = 6\n")
    assert Model.open(folder).defaults.steps == 6
    card(folder, distilled="none")
    model = Model.open(folder)
    assert (model.base.told, model.defaults.guidance_scale, model.defaults.scheduler) == (None, 5.0, "default")
    (folder / "model.toml").write_text((folder / "model.toml").read_text().replace('"none"', '"quick"'))
    with pytest.raises(ModelError, match="lcm, lightning, turbo, hyper or tcd"):
        Model.open(folder)


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory):
    name = "model.diffusion_model.input_blocks.0.0.weight"

    def nine(state):
        state[name] = torch.randn(state[name].shape[0], 9, 3, 3, generator=torch.Generator().manual_seed(1)) * 0.1

    return Model.open(single(tmp_path_factory.mktemp("i") / "m", family="sd15", edit=nine))


def test_a_base_for_inpainting_says_that_it_needs_a_mask(inpainting):
    picture = to_plane(np.zeros((64, 64, 3), np.uint8))
    for canvas in (None, Canvas(picture)):
        with pytest.raises(InvalidRequest, match="made for inpainting"):
            plan(PictureJob("a cat", extent=EXTENT, canvas=canvas), inpainting)


def test_a_base_for_inpainting_repaints_as_diffusers_does(inpainting):
    engine = Engine(inpainting, None)
    pixels = np.random.default_rng(2).integers(0, 255, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    job = PictureJob(
        "a cat", negative="", extent=EXTENT, canvas=Canvas(to_plane(pixels), to_plane(mask), feather=0, grow=0),
        sampling=Sampling(steps=2, guidance_scale=3.0, seed=4), preview_every=0,
    )  # fmt: skip
    decided = plan(job, inpainting)
    assert decided.frame.extent == EXTENT
    pipe = diffusers.StableDiffusionInpaintPipeline(
        **engine.parts.base, scheduler=scheduler(engine.parts, "default"), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        stock = pipe(
            "a cat", image=Image.fromarray(pixels), mask_image=Image.fromarray(decided.repainted), width=64, height=64, strength=1.0,
            num_inference_steps=2, guidance_scale=3.0, generator=torch.Generator().manual_seed(4), output_type="np",
        ).images[0]  # fmt: skip
    found = engine.run(job)[0].pixels
    assert np.array_equal(found[:, 32:], (stock.clip(0, 1) * 255).round().astype(np.uint8)[:, 32:])
    assert np.array_equal(found[:, :32], pixels[:, :32])


def test_the_weights_of_a_checkpoint_are_counted_before_they_are_read(tmp_path):
    model = Model.open(single(tmp_path / "m"))
    base = Parts(model).base
    real = sum(parameter.numel() for part in base.values() if isinstance(part, torch.nn.Module) for parameter in part.parameters())
    assert 0 <= weight_count(model.base) - real < 200  # CLIP's counted positions
