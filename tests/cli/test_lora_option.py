"""LoRAs and textual inversions by the command: put into a model, asked for by name, kept in the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lora_makers import UNET, diffusers_file, kohya_file, peft_state
from PIL import Image
from safetensors.torch import save_file

from backend.cli.main import main
from backend.models.bundle import Model
from backend.models.parts import Parts


def run(*words: object) -> int:
    return main([str(word) for word in words])


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def lora(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    unet = Parts(Model.open(models / "tiny")).unet
    path = tmp_path_factory.mktemp("downloads") / "ink_v2.safetensors"
    return kohya_file(path, {"unet": peft_state(unet, 1, UNET)})


@pytest.fixture
def with_lora(models: Path, lora: Path):
    folder = models / "tiny" / "loras"
    folder.mkdir()
    shutil.copy(lora, folder / "ink.safetensors")
    yield folder / "ink.safetensors"
    shutil.rmtree(folder)


def test_a_lora_is_part_of_the_picture_and_of_what_again_makes(tmp_path, photo, with_lora):
    for name, words in (("plain", ()), ("half", ("--lora", "ink:0.5")), ("full", ("--lora", "ink")), ("none", ("--lora", "ink:0"))):
        assert run("portrait", "--face", photo, "--seed", 3, *words, "-o", tmp_path / f"{name}.png") == 0
    plain, half, full, none = (pixels(tmp_path / f"{name}.png") for name in ("plain", "half", "full", "none"))
    assert np.array_equal(plain, none)
    assert not np.array_equal(plain, half)
    assert not np.array_equal(half, full)
    assert run("again", tmp_path / "half.png") == 0
    assert (tmp_path / "half-again.png").read_bytes() == (tmp_path / "half.png").read_bytes()


def test_a_weight_that_is_no_number_is_told_from_a_name(tmp_path, photo, with_lora, refused):
    said = refused("portrait", "--face", photo, "--lora", "ink:much", "-o", tmp_path / "a.png")
    assert "the weight 'much' of ink is no number from -4 to 4" in said
    said = refused("portrait", "--face", photo, "--image-prompt", tmp_path / "no.png", "-o", tmp_path / "a.png")
    assert "no.png cannot be read: there is no such file or folder" in said


def test_again_says_so_when_the_lora_has_changed_or_gone(tmp_path, photo, with_lora, refused, capsys, models):
    assert run("portrait", "--face", photo, "--seed", 3, "--lora", "ink:0.5", "-o", tmp_path / "a.png") == 0
    capsys.readouterr()
    diffusers_file(with_lora, {"unet": peft_state(Parts(Model.open(models / "tiny")).unet, 2, UNET)})
    assert "'ink' of tiny-sdxl has changed" in refused("again", tmp_path / "a.png")
    with_lora.unlink()
    assert "no LoRA called 'ink'" in refused("again", tmp_path / "a.png")


def test_an_inpainted_picture_takes_loras_too(tmp_path, scene, with_lora):
    image, mask = scene
    for name, words in (("plain", ()), ("styled", ("--lora", "ink:-0.8"))):
        assert run("inpaint", "--image", image, "--mask", mask, "--seed", 3, *words, "-o", tmp_path / f"{name}.png") == 0
    assert not np.array_equal(pixels(tmp_path / "plain.png"), pixels(tmp_path / "styled.png"))


@pytest.mark.parametrize(("given", "words"), [("oil", "no LoRA called 'oil'"), ("ink:9", "outside -4 to 4"), ("x" * 90, "1 to 80")])
def test_what_cannot_be_meant_is_refused(given, words, photo, tmp_path, refused, with_lora):
    assert words in refused("portrait", "--face", photo, "--lora", given, "-o", tmp_path / "a.png")


def test_a_few_step_lora_is_sampled_as_it_wants_and_the_recipe_says_how(tmp_path, photo, with_lora):
    fast = with_lora.rename(with_lora.with_name("sdxl_lightning_4step_lora.safetensors"))
    assert run("portrait", "--face", photo, "--seed", 3, "--lora", fast.stem, "-o", tmp_path / "a.png") == 0
    from backend.images import read_metadata

    recipe = read_metadata(tmp_path / "a.png")
    assert (recipe["steps"], recipe["guidance_scale"], recipe["scheduler"]) == (4, 1.0, "euler-trailing")
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_files_that_lie_anywhere_are_put_into_a_model(models, lora, tmp_path, photo, capsys, refused):
    word = tmp_path / "zebra.safetensors"
    save_file({"clip_l": torch.randn(2, 16), "clip_g": torch.randn(2, 16)}, word)
    try:
        assert run("models", "add", lora) == 0
        assert "ink_v2.safetensors is a LoRA: likeness portrait --model tiny-sdxl --lora ink_v2" in capsys.readouterr().out
        assert run("models", "add", word, "--into", "tiny") == 0
        assert "a textual inversion" in capsys.readouterr().out
        assert lora.is_file()
        for name, prompt in (("with", "a hat zebra"), ("without", "a hat zebr")):
            words = ("--seed", 3, "--lora", "ink_v2", "--prompt", prompt)
            assert run("portrait", "--face", photo, *words, "-o", tmp_path / f"{name}.png") == 0
        assert not np.array_equal(pixels(tmp_path / "with.png"), pixels(tmp_path / "without.png"))
        other = tmp_path / "other" / "zebra.safetensors"
        other.parent.mkdir()
        save_file({"clip_l": torch.randn(1, 16), "clip_g": torch.randn(1, 16)}, other)
        capsys.readouterr()
        assert "another zebra.safetensors" in refused("models", "add", other)
        assert "no model 'none'" in refused("models", "add", lora, "--into", "none")
    finally:
        for folder in ("loras", "embeddings"):
            shutil.rmtree(models / "tiny" / folder, ignore_errors=True)


def test_again_says_so_when_a_word_of_the_prompts_has_changed_or_gone(models, tmp_path, photo, capsys, refused):
    from backend.images import read_metadata

    words = models / "tiny" / "embeddings"
    words.mkdir()
    path = words / "zebra.safetensors"

    def write(seed):
        generator = torch.Generator().manual_seed(seed)
        save_file({name: torch.randn(2, 16, generator=generator) for name in ("clip_l", "clip_g")}, path)

    try:
        write(1)
        told = ("--prompt", "a hat", "--negative", "blurry, <Zebra>", "--seed", 3)
        assert run("portrait", "--face", photo, *told, "-o", tmp_path / "a.png") == 0
        assert run("portrait", "--face", photo, "--prompt", "zebras", "--seed", 3, "-o", tmp_path / "plain.png") == 0
        assert [word["name"] for word in read_metadata(tmp_path / "a.png")["words"]] == ["zebra"]
        assert "words" not in read_metadata(tmp_path / "plain.png")
        assert run("again", tmp_path / "a.png") == 0
        write(2)
        capsys.readouterr()
        assert "inversion 'zebra' of tiny-sdxl has changed" in refused("again", tmp_path / "a.png")
        write(1)
        assert run("again", tmp_path / "a.png") == 0
        path.unlink()
        capsys.readouterr()
        assert "inversion 'zebra', which tiny-sdxl no longer has" in refused("again", tmp_path / "a.png")
        assert run("again", tmp_path / "plain.png") == 0
    finally:
        shutil.rmtree(words)
