"""A VAE in half precision: what overflowed comes out as single precision decodes it, and what did not need mending is the same bits."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from tiny_models import FakeFaces, tiny_model
from torch import Tensor

import backend
from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.half_vae import SMALLER, fit_half_precision
from backend.models.parts import Parts
from backend.pipelines.decoding import looked_after
from backend.pipelines.engine import Engine
from protocol.jobs import Canvas, Photos, PictureJob, Sampling, Subject
from protocol.planes import Layout, Plane

HALF, SINGLE = torch.float16, torch.float32
LOUD = 3e4
"""How many times larger than usual the numbers within a VAE are that overflows: half precision ends at 65,504."""


def vae(loud: float = 1.0, **changes: object) -> diffusers.AutoencoderKL:
    """A VAE with all kinds of layers, whose numbers are `loud` times larger within its halves, as SDXL's are: in front of norms only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = diffusers.AutoencoderKL(
            block_out_channels=(8, 16, 32), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4, norm_num_groups=8, layers_per_block=2, sample_size=64, **changes,
        ).requires_grad_(False).eval()  # fmt: skip
    for half in (made.encoder, made.decoder):
        half.conv_in.weight *= loud
        half.conv_in.bias *= loud
        for name, layer in half.named_modules():
            if name.endswith(("conv2", "to_out.0", "conv1")):
                layer.weight *= loud
                layer.bias *= loud
    return made


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def decoded(made: diffusers.AutoencoderKL, latents: Tensor) -> Tensor:
    return made.decode(latents.to(made.dtype), return_dict=False)[0].float()


def encoded(made: diffusers.AutoencoderKL, picture: Tensor) -> Tensor:
    return made.encode(picture.to(made.dtype)).latent_dist.mean.float()


WAYS = [(decoded, noise(1, 4, 8, 8)), (encoded, noise(1, 3, 32, 32))]


@pytest.mark.parametrize(("way", "given"), WAYS)
@pytest.mark.parametrize("attention", [True, False])
def test_in_single_precision_not_one_bit_changes(way: Callable[..., Tensor], given: Tensor, attention: bool) -> None:
    plain = vae(mid_block_add_attention=attention)
    made = copy.deepcopy(plain)
    assert fit_half_precision(made)
    assert torch.equal(way(made, given), way(plain, given))
    assert torch.equal(made.decoder.conv_in.weight, plain.decoder.conv_in.weight * SMALLER)
    assert made.config.force_upcast is False


@pytest.mark.parametrize(("way", "given"), WAYS)
def test_what_overflows_in_half_precision_comes_out_as_single_precision_has_it(way: Callable[..., Tensor], given: Tensor) -> None:
    loud = vae(LOUD)
    wanted, usual = way(loud, given), vae()
    rounding = (way(copy.deepcopy(usual).to(HALF), given) - way(usual, given)).abs().max()
    assert not torch.isfinite(way(copy.deepcopy(loud).to(HALF), given)).all(), "or nothing would be shown"
    assert fit_half_precision(loud)
    assert (way(loud.to(HALF), given) - wanted).abs().max() < 3 * rounding, "half precision's own rounding, and no more"


def test_weights_that_are_smaller_lose_no_more_than_half_precision_rounds() -> None:
    latents = noise(1, 4, 16, 16)
    plain = vae()
    made = copy.deepcopy(plain)
    wanted = decoded(plain, latents)
    rounding = (decoded(plain.to(HALF), latents) - wanted).square().mean().sqrt()
    assert fit_half_precision(made.to(HALF))
    assert (decoded(made, latents) - wanted).square().mean().sqrt() < 1.5 * rounding


def test_the_published_vae_of_sdxl_is_of_a_known_build() -> None:
    words = json.loads((Path(backend.__file__).parent / "models" / "stock" / "sdxl" / "vae" / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        assert fit_half_precision(diffusers.AutoencoderKL.from_config(words))


def test_a_build_that_is_not_known_is_left_as_it_is() -> None:
    made = vae()
    made.decoder.extra = torch.nn.Conv2d(8, 8, 1)
    before = {name: weight.clone() for name, weight in made.state_dict().items()}
    assert not fit_half_precision(made)
    assert made.config.force_upcast
    assert all(torch.equal(weight, before[name]) for name, weight in made.state_dict().items())


@pytest.mark.parametrize(("way", "given"), WAYS)
def test_what_still_overflows_is_computed_once_more_in_single_precision(way: Callable[..., Tensor], given: Tensor) -> None:
    loud = vae(LOUD)
    wanted = way(loud, given)
    loud.to(HALF)
    kinds: list[torch.dtype] = []
    handle = loud.quant_conv.register_forward_hook(lambda module, args, out: kinds.append(out.dtype))
    handle_too = loud.post_quant_conv.register_forward_hook(lambda module, args, out: kinds.append(out.dtype))
    with looked_after(loud):
        assert (way(loud, given) - wanted).abs().max() < 1e-2 * wanted.abs().max()
        assert loud.dtype is HALF
    handle.remove()
    handle_too.remove()
    assert kinds == [HALF, SINGLE]
    assert {"encode", "decode"}.isdisjoint(vars(loud))


def test_latents_that_are_no_numbers_are_not_decoded_twice() -> None:
    made, calls = vae().to(HALF), []
    made.post_quant_conv.register_forward_hook(lambda module, args, out: calls.append(1))
    with looked_after(made):
        assert torch.isnan(decoded(made, torch.full((1, 4, 8, 8), torch.nan))).any()
    assert calls == [1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def test_sdxls_vae_fits_once_it_is_read_in_half_precision_and_others_stay(folder, tmp_path) -> None:
    assert Parts(Model.open(folder), dtype=HALF).base["vae"].config.force_upcast is False
    for dtype in (SINGLE, torch.bfloat16):
        assert Parts(Model.open(folder), dtype=dtype).base["vae"].config.force_upcast is True
    other = Parts(Model.open(tiny_model(tmp_path / "sd15", "sd15")), dtype=HALF).base["vae"]
    assert other.decoder.conv_norm_out.eps == 1e-6


def canvas_job() -> PictureJob:
    canvas = to_plane((torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(1)) * 255).byte().numpy())
    mask = Plane(Layout.A8, canvas.extent, bytes(64 * 32) + b"\xff" * (64 * 32))
    return PictureJob("a hat", canvas=Canvas(canvas, mask, strength=0.8), sampling=Sampling(steps=2, seed=1), preview_every=0)


def test_pictures_are_drawn_in_half_precision_alone(folder) -> None:
    engine = Engine(Model.open(folder), FakeFaces(), dtype=HALF)
    net = engine.parts.base["vae"]
    kinds: set[torch.dtype] = set()
    for part in (net.encoder, net.decoder):
        part.register_forward_hook(lambda module, args, out: kinds.add(out.dtype))
    engine.run(canvas_job())
    assert kinds == {HALF}


def test_a_vae_that_a_pipeline_left_in_single_precision_is_put_back(folder) -> None:
    """diffusers 0.42.1 does that after inpainting with ControlNets, and draws no picture without a canvas from then on."""
    engine = Engine(Model.open(folder), FakeFaces(), dtype=HALF)
    net = engine.parts.base["vae"]
    net.register_to_config(force_upcast=True)  # as of a VAE that is built otherwise
    plain = PictureJob("a hat", sampling=Sampling(steps=2, seed=1), preview_every=0)
    first = engine.run(plain)[0].pixels
    job = canvas_job()
    engine.run(PictureJob("a hat", canvas=job.canvas, subjects=(Subject(Photos((job.canvas.picture,))),), sampling=job.sampling))
    assert net.dtype is HALF
    assert (engine.run(plain)[0].pixels == first).all()
