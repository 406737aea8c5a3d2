"""The trainer: losses fall, a resumed run is the run that never stopped, a frozen base stays as it is, exports load in diffusers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from backend.training import base, instantid, ip_adapter, loop, style
from backend.training.adapters import face_areas, read_embeddings
from backend.training.budget import Budget, Muon
from backend.training.inherit import begin_with
from backend.training.parts import Base, Parts
from backend.training.people import People
from backend.training.taught import TaughtTask
from backend.training.tokens import write_tokenizer
from protocol.errors import InvalidRequest

FOREVER = float("inf")


def settings(out: Path, steps: int, **more: object) -> loop.Settings:
    return loop.Settings(out, Budget(FOREVER, steps, peak=2e-3), sheet_every=1e9, precision="no", **more)  # type: ignore[arg-type]


@pytest.fixture
def frozen(model: Path, people: People, tmp_path: Path) -> Base:
    torch.manual_seed(0)
    return base.load_base(model, people, tmp_path / "cache")


def stock(model: Path) -> StableDiffusionXLPipeline:
    """Diffusers' own pipeline over the model's parts."""
    parts = base.load_parts(model)[0]
    parts.unet.set_default_attn_processor()
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    scheduler = EulerDiscreteScheduler.from_pretrained(model / "scheduler")
    vae = AutoencoderKL.from_pretrained(model / "vae")
    return StableDiffusionXLPipeline(vae, parts.text, parts.text_2, tokenizer, tokenizer, parts.unet, scheduler, add_watermarker=False)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_a_loss_falls_and_the_base_stays_bit_equal(frozen: Base, people: People, tmp_path: Path) -> None:
    before = weights_of(frozen.parts)
    task = ip_adapter.IpAdapterTask(people, frozen, read_embeddings(people.folder / "image_embeds.npy", 8), batch=4, held=1)

    def mean_loss() -> float:
        with torch.no_grad():
            return sum(float(task.loss(0, torch.Generator().manual_seed(seed))) for seed in range(12)) / 12

    untrained = mean_loss()
    loop.train(task, settings(tmp_path / "out", 40))
    assert mean_loss() < untrained
    assert equal(before, weights_of(frozen.parts))
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_an_exported_ip_adapter_loads_in_stock_diffusers_and_does_the_same(
    model: Path, frozen: Base, people: People, tmp_path: Path
) -> None:
    task = ip_adapter.IpAdapterTask(people, frozen, read_embeddings(people.folder / "image_embeds.npy", 8), batch=2, held=1)
    loop.train(task, settings(tmp_path, 2, average=0.0))
    pipe = stock(model)
    pipe.load_ip_adapter(str(tmp_path), subfolder="", weight_name="ip_adapter.safetensors", image_encoder_folder=None)
    image, x, t = torch.randn(2, 20), torch.randn(2, 4, 16, 16), torch.tensor([10, 900])
    text, pooled = torch.randn(2, 77, 32), torch.randn(2, 16)
    added = {"text_embeds": pooled, "time_ids": torch.zeros(2, 6)}
    ours = frozen.parts.unet(x, t, (text, [task.trained.projection(image)]), added_cond_kwargs=added).sample
    theirs = pipe.unet(x, t, text, added_cond_kwargs={**added, "image_embeds": [image[:, None]]}).sample
    assert float((ours - theirs).abs().max()) < 5e-3  # the file is in half precision
    assert (
        float((theirs - frozen.parts.unet(x, t, (text, [0 * task.trained.projection(image)]), added_cond_kwargs=added).sample).abs().max())
        > 0.01
    )


def test_both_layouts_of_an_exported_instantid_hold_the_same_numbers(frozen: Base, people: People, tmp_path: Path) -> None:
    task = instantid.InstantIdTask(people, frozen, read_embeddings(people.folder / "embeddings.npy", 8), batch=2, held=1)
    loop.train(task, settings(tmp_path, 1))
    pickled, flat = torch.load(tmp_path / "instantid.bin", weights_only=True), load_file(tmp_path / "instantid.safetensors")
    assert set(pickled) == {"image_proj", "ip_adapter"}
    assert len(pickled["image_proj"]) == 51  # as in the official ip-adapter.bin
    assert all(torch.equal(flat[f"{part}.{key}"], value) for part, state in pickled.items() for key, value in state.items())
    cross = [i for i, name in enumerate(frozen.parts.unet.attn_processors) if "attn2" in name]
    assert {int(key.split(".")[0]) for key in pickled["ip_adapter"]} == set(cross)


def test_an_exported_instantid_loads_in_stock_diffusers_and_does_the_same(
    model: Path, frozen: Base, people: People, tmp_path: Path
) -> None:
    task = instantid.InstantIdTask(people, frozen, read_embeddings(people.folder / "embeddings.npy", 8), batch=2, held=1)
    loop.train(task, settings(tmp_path, 2, average=0.0))
    pipe = stock(model)
    pipe.load_ip_adapter(str(tmp_path), subfolder="", weight_name="instantid.bin", image_encoder_folder=None)
    face = torch.randn(2, 1, 512)
    theirs = pipe.unet.encoder_hid_proj.image_projection_layers[0](face)
    assert float((task.trained.projection(face) - theirs).abs().max()) < 5e-3
    net = ControlNetModel.from_pretrained(tmp_path / "identitynet")
    assert len(net.config.conditioning_embedding_out_channels) == len(frozen.vae.config.block_out_channels)
    added = {"text_embeds": torch.zeros(1, 16), "time_ids": torch.zeros(1, 6)}
    out = net(torch.randn(1, 4, 16, 16), 3, theirs[:1], torch.rand(1, 3, 64, 64), added_cond_kwargs=added)
    assert out.mid_block_res_sample.shape[-1] == 8


class Stopping:
    """A task that is stopped at its fourth batch."""

    def __init__(self, task: loop.Task) -> None:
        self.task, self.trained = task, task.trained

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        if step == 3:
            raise KeyboardInterrupt
        return self.task.loss(step, draw)

    def sheet(self, path: Path) -> None:
        self.task.sheet(path)

    def export(self, folder: Path) -> None:
        self.task.export(folder)


def fresh_style(model: Path, people: People, cache: Path) -> style.StyleTask:
    frozen = base.load_base(model, people, cache)
    torch.manual_seed(3)
    return style.StyleTask(frozen, batch=2, rank=2)


def test_a_resumed_training_equals_one_that_was_never_stopped(model: Path, people: People, tmp_path: Path) -> None:
    whole = fresh_style(model, people, tmp_path / "cache")
    loop.train(whole, settings(tmp_path / "whole", 6))
    with pytest.raises(KeyboardInterrupt):
        loop.train(Stopping(fresh_style(model, people, tmp_path / "cache")), settings(tmp_path / "parts", 6))
    again = fresh_style(model, people, tmp_path / "cache")
    assert loop.train(again, settings(tmp_path / "parts", 6)).step == 6
    assert equal(weights_of(whole.trained), weights_of(again.trained))
    one, other = (load_file(tmp_path / name / "style.safetensors") for name in ("whole", "parts"))
    assert one
    assert equal(one, other)


def fresh_instantid(model: Path, people: People, cache: Path) -> instantid.InstantIdTask:
    frozen = base.load_base(model, people, cache)
    torch.manual_seed(4)
    return instantid.InstantIdTask(people, frozen, read_embeddings(people.folder / "embeddings.npy", 8), batch=2, held=1)


def test_muon_changes_kernels_and_all_else_and_a_resumed_run_is_the_same(model: Path, people: People, tmp_path: Path) -> None:
    whole = fresh_instantid(model, people, tmp_path / "cache")
    before = weights_of(whole.trained)
    loop.train(whole, settings(tmp_path / "whole", 6, muon=True))
    after = weights_of(whole.trained)
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    trained = {key for key, parameter in whole.trained.named_parameters() if parameter.requires_grad and parameter.grad is not None}
    assert trained
    assert trained <= moved
    with pytest.raises(KeyboardInterrupt):
        loop.train(Stopping(fresh_instantid(model, people, tmp_path / "cache")), settings(tmp_path / "parts", 6, muon=True))
    again = fresh_instantid(model, people, tmp_path / "cache")
    loop.train(again, settings(tmp_path / "parts", 6, muon=True))
    assert equal(after, weights_of(again.trained))


def test_muons_update_is_the_gradients_nearest_orthogonal_matrix() -> None:
    module = nn.Conv2d(16, 16, 3, bias=False)
    before = module.weight.detach().clone()
    module.weight.grad = torch.randn(module.weight.shape)
    Muon(module, Budget(1, 1, peak=1.0, decay=0.0)).step()
    change = (before - module.weight.detach()).reshape(16, -1)
    u, _, v = torch.linalg.svd(module.weight.grad.reshape(16, -1), full_matrices=False)
    alike = functional.cosine_similarity(change.flatten(), (u @ v).flatten(), 0)
    assert float(alike) > 0.9  # Newton and Schulz's iteration leaves singular values between about 0.7 and 1.2


def test_a_base_that_begins_with_another_keeps_the_words_that_it_knew(model: Path, tmp_path: Path) -> None:
    known, _, words = base.load_parts(model)
    more = write_tokenizer(tmp_path / "tokenizer", ["portrait", "zebra", "person"])
    parts = Parts(
        UNet2DConditionModel.from_config(known.unet.config),
        CLIPTextModel(CLIPTextConfig(**{**known.text.config.to_dict(), "vocab_size": len(more)})),
        CLIPTextModelWithProjection(CLIPTextConfig(**{**known.text_2.config.to_dict(), "vocab_size": len(more)})),
    )
    new = begin_with(parts, more, model)
    old, own = words.get_vocab(), more.get_vocab()
    shared = [word for word in own if word in old]
    assert new == len(own) - len(shared)
    assert shared
    was, now = (dict(which.text.named_parameters()) for which in (known, parts))
    (name,) = [key for key in now if key.endswith("token_embedding.weight")]
    assert all(torch.equal(now[name][own[word]], was[name][old[word]]) for word in shared)
    assert equal(weights_of(parts.unet), weights_of(known.unet))
    parts.unet = UNet2DConditionModel.from_config({**known.unet.config, "block_out_channels": (32, 96)})
    with pytest.raises(InvalidRequest, match="another form"):
        begin_with(parts, more, model)


def test_a_taught_adapter_comes_closer_to_what_words_do_and_the_base_stays_bit_equal(model: Path, people: People, tmp_path: Path) -> None:
    task = fresh_instantid(model, people, tmp_path / "cache")
    before = weights_of(task.base.parts.text)
    taught = TaughtTask(task)
    taught.traits = [f"person number {number}" for number in range(8)]

    def mean_loss() -> float:
        with torch.no_grad():
            return sum(float(taught.loss(0, torch.Generator().manual_seed(seed))) for seed in range(8)) / 8

    untaught = mean_loss()
    loop.train(taught, settings(tmp_path / "taught", 30))
    assert mean_loss() < untaught
    assert equal(before, weights_of(task.base.parts.text))
    net = weights_of(task.trained.identitynet)
    assert equal(net, weights_of(fresh_instantid(model, people, tmp_path / "cache").trained.identitynet))


def test_an_error_in_the_face_counts_more_and_the_mean_stays_one() -> None:
    keypoints = np.array([[[28, 28], [36, 28], [32, 32], [29, 37], [35, 37]]], np.float32)
    area = face_areas(keypoints, 64, 16, 2.5)
    assert float(area.mean()) == pytest.approx(1.0)
    assert float(area[0, 0, 8, 8] / area[0, 0, 0, 0]) == pytest.approx(2.5)


def test_a_style_loads_as_a_lora_and_changes_the_picture(model: Path, people: People, tmp_path: Path) -> None:
    loop.train(fresh_style(model, people, tmp_path / "cache"), settings(tmp_path / "style", 3))
    pipe = stock(model)
    x, added = torch.randn(1, 4, 16, 16), {"text_embeds": torch.zeros(1, 16), "time_ids": torch.zeros(1, 6)}
    before = pipe.unet(x, 5, torch.ones(1, 77, 32), added_cond_kwargs=added).sample
    pipe.load_lora_weights(str(tmp_path / "style"), weight_name="style.safetensors")
    assert not torch.equal(before, pipe.unet(x, 5, torch.ones(1, 77, 32), added_cond_kwargs=added).sample)


def test_accumulated_batches_have_the_gradient_of_their_mean(model: Path, people: People, tmp_path: Path) -> None:
    task = fresh_style(model, people, tmp_path / "cache")
    run = loop.Run(task, settings(tmp_path / "a", 4, accumulate=3, clip=1e9))
    run.step(0.0)
    gradients = [p.grad.clone() for p in run.average.source if p.grad is not None]
    again = fresh_style(model, people, tmp_path / "cache")
    mean = sum(again.loss(0, torch.Generator().manual_seed(part)) for part in range(3)) / 3
    assert isinstance(mean, Tensor)
    mean.backward()
    expected = [p.grad for p in again.trained.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients, expected, strict=True))


def test_the_average_is_shown_and_the_own_weights_come_back(model: Path) -> None:
    module = nn.Linear(3, 3)
    average = loop.Average(module, 0.9)
    own = weights_of(module)
    with torch.no_grad():
        module.weight.add_(1.0)
    changed = weights_of(module)
    with average.applied():
        assert torch.equal(module.weight, own["weight"])
    assert torch.equal(module.weight, changed["weight"])


def test_a_real_base_is_fine_tuned_from_photos_into_a_folder_that_loads(model: Path, photos: Path, tmp_path: Path) -> None:
    from argparse import ArgumentParser

    parser = ArgumentParser()
    base.add_arguments(parser)
    argv = [
        "--data",
        str(photos),
        "--model",
        str(model),
        "--size",
        "64",
        "--out",
        str(tmp_path),
        "--steps",
        "2",
        "--batch",
        "2",
        "--precision",
        "no",
    ]
    base.run(parser.parse_args(argv))
    tuned = UNet2DConditionModel.from_pretrained(tmp_path / "model" / "unet").float()
    assert not equal(weights_of(tuned), weights_of(UNet2DConditionModel.from_pretrained(model / "unet")))
    assert stock(tmp_path / "model").unet.dtype == torch.float32
    history = [json.loads(line) for line in (tmp_path / "loss.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 2
    assert np.isfinite(history[-1]["loss"])
