"""With TAESD beside a model, a decoded preview comes every few steps, as stock diffusers decodes it; nothing else changes."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from tiny_models import FakeFaces, tiny_model

from backend.models.bundle import Model
from backend.pipelines import engine as engine_module
from backend.pipelines.arriving import Arrivals
from backend.pipelines.engine import Engine
from backend.pipelines.preview import latents_to_rgb
from backend.pipelines.tiny_decoder import LONGEST_SIDE, decoded
from protocol.errors import ModelError
from protocol.jobs import PictureJob, Sampling


def small_decoder(channels: int = 4, **more: object) -> diffusers.AutoencoderTiny:
    """Random weights, in TAESD's layout, for the tiny VAE's factor of 4."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=(16, 16, 16), decoder_block_out_channels=(16, 16, 16), num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1), latent_channels=channels, **more,
        ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return tiny_model(tmp_path_factory.mktemp("with_decoder") / "tiny")


@pytest.fixture(scope="module")
def with_decoder(folder):
    small_decoder().save_pretrained(folder / "preview_decoder")
    return Engine(Model.open(folder), FakeFaces())


class Viewer:
    """Keeps the previews."""

    def __init__(self) -> None:
        self.shown: dict[int, np.ndarray] = {}

    def step(self, done, total):
        pass

    def preview(self, pixels, step):
        self.shown[step] = pixels

    def cancelled(self):
        return False


@pytest.fixture
def estimates(monkeypatch):
    """What the engine had before it made a preview of it, by step."""
    kept: dict[int, torch.Tensor] = {}

    class Kept(engine_module.Previewer):
        def numbers(self, latents, done):
            kept[done] = latents.clone()
            return super().numbers(latents, done)

    monkeypatch.setattr(engine_module, "Previewer", Kept)
    return kept


def job(steps: int = 9, every: int = 1) -> PictureJob:
    return PictureJob("a hat", sampling=Sampling(steps=steps, seed=4), preview_every=every)


def test_every_fourth_step_is_decoded_as_diffusers_does_it_and_the_others_are_the_matrix(with_decoder, estimates):
    viewer = Viewer()
    with_decoder.run(job(), viewer)
    assert list(viewer.shown) == [1, 2, 3, 4, 5, 6, 7, 8]
    stock = diffusers.AutoencoderTiny.from_pretrained(str(with_decoder.parts.model.folder / "preview_decoder"))
    processor = diffusers.image_processor.VaeImageProcessor()
    for step, preview in viewer.shown.items():
        if step % 4:
            assert np.array_equal(preview, latents_to_rgb(estimates[step], with_decoder.parts.preview_table))
        else:
            with torch.no_grad():
                oracle = processor.postprocess(stock.decode(estimates[step] / stock.config.scaling_factor).sample, "pil")[0]
            assert np.array_equal(preview, np.asarray(oracle)), f"after step {step}"


@pytest.mark.parametrize(("every", "decoded_at"), [(2, [4, 8]), (3, [6]), (4, [4, 8]), (5, [5])])
def test_however_often_previews_are_asked_for_four_steps_lie_between_two_decoded_ones(with_decoder, every, decoded_at):
    viewer = Viewer()
    with_decoder.run(job(every=every), viewer)
    assert [step for step, preview in viewer.shown.items() if preview.shape == (64, 64, 3)] == decoded_at
    assert all(preview.shape == (16, 16, 3) for step, preview in viewer.shown.items() if step not in decoded_at)


def test_the_picture_is_the_same_bytes_with_and_without_a_decoder(with_decoder, tmp_path):
    plain = Engine(Model.open(tiny_model(tmp_path / "tiny")), FakeFaces())
    assert plain.parts.preview_decoder is None
    pictures = [engine.run(asked, Viewer())[0].pixels for engine in (plain, with_decoder) for asked in (job(), job(every=0))]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_without_previews_nothing_is_decoded_for_them(with_decoder):
    calls = []
    handle = with_decoder.parts.preview_decoder.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        with_decoder.run(job(every=0))
        assert calls == []
        with_decoder.run(job(), Viewer())
        assert len(calls) == 2
    finally:
        handle.remove()


def test_nobody_waits_for_a_decoded_preview(with_decoder, monkeypatch):
    """Copies that never come: the picture is drawn to its end, and no preview is shown."""

    class Never:
        def __init__(self, numbers) -> None:
            self.numbers = numbers

        def ready(self) -> bool:
            return False

    monkeypatch.setattr(engine_module, "Arrivals", lambda show: Arrivals(show, Never))
    viewer = Viewer()
    assert with_decoder.run(job(), viewer)
    assert viewer.shown == {}


def test_what_is_copied_from_the_device_is_small():
    """Of 1024 x 1024 pixels a quarter, in bytes, made there."""
    latents = torch.randn(2, 4, 256, 128, generator=torch.Generator().manual_seed(1))
    made = decoded(small_decoder(), latents)
    assert (made.dtype, tuple(made.shape)) == (torch.uint8, (LONGEST_SIDE, LONGEST_SIDE // 2, 3))
    whole = decoded(small_decoder(), latents[:, :, :128, :128])
    assert tuple(whole.shape) == (512, 512, 3)


def test_numbers_that_are_none_become_black_not_an_error():
    assert decoded(small_decoder(), torch.full((1, 4, 8, 8), float("nan"))).max() == 0


def test_a_decoder_for_other_latents_is_refused_with_a_sentence(tmp_path):
    folder = tiny_model(tmp_path / "tiny")
    small_decoder(16).save_pretrained(folder / "preview_decoder")
    engine = Engine(Model.open(folder), FakeFaces())
    with pytest.raises(ModelError, match="latents of 16 channels"):
        engine.run(job())
    assert engine.run(job(every=0)), "without previews it does no harm"


def test_a_damaged_decoder_is_named(tmp_path):
    folder = tiny_model(tmp_path / "tiny")
    small_decoder().save_pretrained(folder / "preview_decoder")
    (folder / "preview_decoder" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(ModelError, match="preview_decoder cannot be loaded"):
        Engine(Model.open(folder), FakeFaces()).run(job())
