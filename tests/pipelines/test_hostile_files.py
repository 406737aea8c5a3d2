"""Malicious and damaged files in a model's folder: a sentence each; no code runs, and the next picture is as if they were not there."""

from __future__ import annotations

import json

import lora_makers as makers
import numpy as np
import pytest
import torch
from pickle_bomb import Bomb
from safetensors.torch import save_file
from tiny_models import FakeFaces, tiny_model

from backend.models.bundle import Model
from backend.models.parts import Parts
from backend.pipelines.engine import Engine
from protocol.errors import LikenessError
from protocol.jobs import ImagePrompt, Lora, PictureJob


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine(Model.open(tiny_model(tmp_path_factory.mktemp("hostile") / "model")), FakeFaces())


def lying(header, rest=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


HOSTILE = {
    "empty": b"",
    "rubbish": b"\x00" * 64,
    "a header without end": (2**62).to_bytes(8, "little") + b"{}",
    "a tensor of 4 TiB": lying({"a.lora_down.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, bytes(64)),
    "tensors over one another": lying(
        {name: {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]} for name in ("a.lora_up.weight", "a.lora_down.weight")}, bytes(32)
    ),
    "a number that no size has": lying({"a.lora_down.weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)),
    "a page": b"<!doctype html><html>please log in</html>",
}
PLACES = {
    "loras": lambda photo: PictureJob(loras=(Lora("hostile"),), preview_every=0),
    "embeddings": lambda photo: PictureJob(prompt="a hostile hat", preview_every=0),
    "ip_adapter": lambda photo: PictureJob(image_prompts=(ImagePrompt(photo(1), adapter="hostile"),), preview_every=0),
}


def put(engine, place, name, content):
    """The file within the model, and an engine that sees it: a model's adapters are listed when it is opened."""
    folder = engine.parts.model.folder / place
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    return path


def refusal(engine, job):
    fresh = Engine(Model.open(engine.parts.model.folder), FakeFaces())
    with pytest.raises(LikenessError) as caught:
        fresh.run(job)
    return str(caught.value)


@pytest.mark.parametrize("content", HOSTILE)
@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_file_is_a_sentence_and_the_next_picture_is_the_same(place, content, engine, photo):
    plain = engine.run(PictureJob(prompt="a hat", preview_every=0))[0].pixels
    path = put(engine, place, "hostile.safetensors", HOSTILE[content])
    try:
        said = refusal(engine, PLACES[place](photo))
        assert "hostile.safetensors" in said
        assert said.endswith(".")
        assert np.array_equal(engine.run(PictureJob(prompt="a hat", preview_every=0))[0].pixels, plain)
    finally:
        path.unlink()


@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_with_code_in_it_is_never_run(place, engine, photo, tmp_path):
    canary = tmp_path / "exploded"
    path = put(engine, place, "hostile.bin", lambda path: torch.save({"image_proj": Bomb(canary)}, path))
    try:
        assert "hostile.bin" in refusal(engine, PLACES[place](photo))
        assert not canary.exists()
        torch.load(path, weights_only=False)  # the unsafe twin: the same file does run when it is let
        assert canary.exists()
    finally:
        path.unlink()


def test_jobs_with_loras_between_equal_jobs_change_nothing(engine, tmp_path):
    unet = Parts(engine.parts.model).unet
    files = [
        makers.diffusers_file(put(engine, "loras", f"{name}.safetensors", b""), {"unet": makers.peft_state(unet, seed, makers.UNET)})
        for name, seed in (("one", 1), ("other", 2))
    ]
    save_file({"lora_unet_nowhere.lora_down.weight": torch.ones(2), "lora_unet_nowhere.lora_up.weight": torch.ones(2)},
              put(engine, "loras", "wrong.safetensors", b""))  # fmt: skip

    def drawn(*loras):
        return engine.run(PictureJob(prompt="a hat", loras=loras, preview_every=0))[0].pixels

    plain, both = drawn(), drawn(Lora("one", 0.7), Lora("other", -0.4))
    before = {key: value.clone() for key, value in engine.parts.unet.state_dict().items()}
    one = drawn(Lora("one", 0.7))
    with pytest.raises(LikenessError, match="another base"):
        drawn(Lora("one", 0.7), Lora("wrong"))
    assert np.array_equal(drawn(), plain)
    assert np.array_equal(drawn(Lora("one", 0.7), Lora("other", -0.4)), both)
    assert np.array_equal(drawn(Lora("one", 0.7)), one)
    assert len({picture.tobytes() for picture in (plain, one, both)}) == 3
    assert all(torch.equal(value, engine.parts.unet.state_dict()[key]) for key, value in before.items())
    for file in files:
        file.unlink()
