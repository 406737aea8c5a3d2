"""A PNG is enough to make the same PNG once more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_faces import blank, paint_face
from PIL import Image

from backend.cli.main import main
from backend.images import read_metadata, save_png
from backend.recipe import Recipe


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_again_makes_the_same_bytes_without_the_photos(tmp_path, photo):
    mine = shutil.copy(photo, tmp_path / "mine.png")
    assert run("portrait", "--face", mine, "--face", photo, "--prompt", "a red hat", "--seed", 5, "-o", tmp_path / "a.png") == 0
    Path(mine).unlink()
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_every_picture_of_several_is_made_again_alone(tmp_path, photo):
    assert run("portrait", "--face", photo, "--count", 3, "--seed", 1, "-o", tmp_path / "a.png") == 0
    assert sorted(path.name for path in tmp_path.glob("a*.png")) == ["a-2.png", "a-3.png", "a.png"]
    assert run("again", tmp_path / "a-3.png", "-o", tmp_path / "b.png") == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a-3.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "a-2.png").read_bytes()


def test_the_same_seed_makes_the_same_bytes_and_another_does_not(tmp_path, photo):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        assert run("portrait", "--face", photo, "--seed", seed, "-o", tmp_path / f"{name}.png") == 0
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_a_pose_and_an_image_prompt_are_part_of_it(tmp_path, photo):
    lent = tmp_path / "lent.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(lent)
    pose = tmp_path / "pose.png"
    Image.fromarray(paint_face(blank(128, 96), 60, 30, 40, 4)).save(pose)
    words = ("portrait", "--face", photo, "--seed", 3, "--pose", pose, "--image-prompt", f"{lent}:0.9")
    assert run(*words, "-o", tmp_path / "a.png") == 0
    assert run("portrait", "--face", photo, "--seed", 3, "-o", tmp_path / "plain.png") == 0
    pose.unlink()
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "plain.png")))


def test_two_people_with_their_regions_are_part_of_it(tmp_path, photo):
    other = tmp_path / "other.png"
    Image.fromarray(paint_face(blank(120, 120), 30, 30, 50, 7)).save(other)
    words = ("portrait", "--person", photo, "--person", other, photo, "--seed", 3)
    assert run(*words, "-o", tmp_path / "a.png") == 0
    assert run(*words, "--region", "0,0,0.4,1", "--region", "0.4,0,1,1", "-o", tmp_path / "b.png") == 0
    other.unlink()
    for name in ("a", "b"):
        assert run("again", tmp_path / f"{name}.png") == 0
        assert (tmp_path / f"{name}-again.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png")))


@pytest.mark.parametrize(
    "words",
    [
        "lends=style-and-composition", "crop=top", "crop=face", "schedule=ease-out", "schedule=0:1/0.5:0.3/1:0",
        "block=up_blocks.0.attentions.1:1.5,others=0", "adapter=plus",
    ],
)  # fmt: skip
def test_how_an_image_prompt_is_lent_is_part_of_it(tmp_path, photo, words):
    lent = tmp_path / "lent.png"
    Image.fromarray(paint_face(blank(90, 140), 20, 60, 50, 3)).save(lent)
    pictures = []
    for name, prompt in (("a", f"{lent}:1.2,{words}"), ("b", f"{lent}:1.2")):
        assert run("portrait", "--face", photo, "--seed", 3, "--image-prompt", prompt, "-o", tmp_path / f"{name}.png") == 0
        pictures.append(np.asarray(Image.open(tmp_path / f"{name}.png")))
    assert not np.array_equal(*pictures)
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_a_negative_picture_is_part_of_it_and_refused_when_it_has_changed(tmp_path, photo, refused, capsys):
    lent, unwanted = (Path(shutil.copy(photo, tmp_path / name)) for name in ("lent.png", "unwanted.png"))
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(unwanted)
    words = ("portrait", "--face", photo, "--image-prompt", f"{lent},negative={unwanted}", "-o", tmp_path / "a.png")
    assert run(*words) == 0
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    unwanted.write_bytes(b"another")
    capsys.readouterr()
    assert "has changed" in refused("again", tmp_path / "a.png")


def test_a_recipe_says_nothing_of_what_came_later_and_was_not_asked_for(tmp_path, photo):
    """Pictures of earlier versions are made again byte for byte, recipe and all."""
    lent = shutil.copy(photo, tmp_path / "lent.png")
    assert run("portrait", "--face", photo, "--image-prompt", lent, "-o", tmp_path / "a.png") == 0
    recipe = read_metadata(tmp_path / "a.png")
    assert set(recipe) == {
        "format", "model", "prompt", "negative", "seed", "steps", "guidance_scale", "scheduler", "width", "height", "people",
        "keypoints", "image_prompts", "canvas", "mask", "strength",
    }  # fmt: skip
    assert set(recipe["people"][0]) == {"embedding", "keypoints", "extent", "adapter", "identity_net", "recogniser"}
    older = json.loads(json.dumps(recipe))
    del older["people"][0]["recogniser"]  # earlier versions did not note it
    assert json.loads(json.dumps(Recipe.read(older, "a.png").metadata())) == older
    assert set(recipe["image_prompts"][0]) == {"file", "weight"}


def test_a_changed_image_prompt_is_refused(tmp_path, photo, refused, capsys):
    lent = Path(shutil.copy(photo, tmp_path / "lent.png"))
    assert run("portrait", "--face", photo, "--image-prompt", lent, "-o", tmp_path / "a.png") == 0
    Image.fromarray(blank(30, 30)).save(lent)
    capsys.readouterr()
    assert "has changed" in refused("again", tmp_path / "a.png")


def test_an_inpainted_picture_is_made_again_and_keeps_all_outside_the_mask(tmp_path, photo, scene):
    picture, mask = (Path(shutil.copy(path, tmp_path)) for path in scene)
    assert run("inpaint", "--image", picture, "--mask", mask, "--face", photo, "--seed", 2, "-o", tmp_path / "a.png") == 0
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    before, after = np.asarray(Image.open(picture)), np.asarray(Image.open(tmp_path / "a.png"))
    outside = np.asarray(Image.open(mask)) == 0
    assert np.array_equal(before[outside], after[outside])
    assert not np.array_equal(before, after)


def test_the_png_says_what_made_it_and_nothing_of_where_the_photos_are(tmp_path, photo):
    words = ("--prompt", "a red hat", "--negative", "blue", "--seed", 5)
    assert run("portrait", "--face", photo, *words, "-o", tmp_path / "a.png") == 0
    said = read_metadata(tmp_path / "a.png")
    expected = {"prompt": "a red hat", "negative": "blue", "seed": 5, "model": "tiny-sdxl", "steps": 2}
    assert {key: said[key] for key in expected} == expected
    assert (said["people"][0]["adapter"], said["people"][0]["identity_net"]) == (0.8, 0.8)
    assert photo.stem not in json.dumps(said)
    assert str(tmp_path) not in json.dumps(said)


def test_settings_that_were_tampered_with_are_refused(tmp_path, photo, refused, capsys):
    assert run("portrait", "--face", photo, "-o", tmp_path / "a.png") == 0
    said = read_metadata(tmp_path / "a.png")
    changes = [{"format": 99}, {"people": 3}, {"seed": None, "extra": 1}, {"people": [{"embedding": "AAAA"}]}, {"keypoints": [[1]]}]
    for change in changes:
        save_png(tmp_path / "b.png", np.zeros((8, 8, 3), np.uint8), said | change)
        capsys.readouterr()
        assert "cannot be made again" in refused("again", tmp_path / "b.png")


def test_another_result_is_said_and_not_hidden(tmp_path, photo, capsys):
    assert run("portrait", "--face", photo, "-o", tmp_path / "a.png") == 0
    said = read_metadata(tmp_path / "a.png")
    save_png(tmp_path / "b.png", np.zeros((8, 8, 3), np.uint8), said)
    capsys.readouterr()
    assert run("again", tmp_path / "b.png") == 1
    assert "Another picture" in capsys.readouterr().err


def test_a_clip_skip_is_part_of_it(tmp_path, photo):
    assert run("portrait", "--face", photo, "--seed", 3, "--clip-skip", 2, "-o", tmp_path / "a.png") == 0
    assert read_metadata(tmp_path / "a.png")["clip_skip"] == 2
    assert run("again", tmp_path / "a.png") == 0
    assert (tmp_path / "a-again.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    assert run("portrait", "--face", photo, "--clip-skip", 9, "-o", tmp_path / "b.png") == 2  # the tiny model's encoders have two layers
