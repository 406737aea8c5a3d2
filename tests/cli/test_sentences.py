"""Whatever is wrong with files, sizes, numbers and names: one sentence that says so, exit code 2, and no picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_faces import blank
from PIL import Image

from backend.cli.image_prompts import image_prompt
from backend.cli.main import main
from protocol.discovery import make_private_folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.png"


def test_a_photo_that_is_not_there(refused, out):
    assert "missing.png" in refused("portrait", "--face", "missing.png", "-o", out)
    assert not out.exists()


def test_a_photo_that_is_no_picture(refused, out, tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    assert "a.png is not a picture" in refused("portrait", "--face", tmp_path / "a.png", "-o", out)


def test_a_photo_without_a_face(refused, out, tmp_path):
    Image.fromarray(blank(90, 90)).save(tmp_path / "wall.png")
    assert "No face was found" in refused("portrait", "--face", tmp_path / "wall.png", "-o", out)


def test_of_several_people_it_is_said_whose_photo_shows_no_face(refused, out, photo, tmp_path):
    Image.fromarray(blank(90, 90)).save(tmp_path / "wall.png")
    said = refused("portrait", "--person", photo, "--person", tmp_path / "wall.png", "-o", out)
    assert "wall.png: No face was found" in said


def test_a_pose_without_a_face(refused, out, photo, tmp_path):
    Image.fromarray(blank(90, 90)).save(tmp_path / "wall.png")
    assert "leave --pose out" in refused("portrait", "--face", photo, "--pose", tmp_path / "wall.png", "-o", out)


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (("--face", "anna.png", "-o", "anna.png"), "anna.png"),
        (("--face", "anna.png", "--face", "anna-2.png", "--count", 2, "-o", "./anna-more/../anna.png"), "anna.png"),
        (("--person", "a.png", "out-2.png", "--count", 3, "-o", "out.png"), "out-2.png"),
        (("--face", "a.png", "--pose", "out.png", "-o", "out.png"), "out.png"),
        (("--face", "a.png", "--image-prompt", "out.png:0.5", "-o", "out.png"), "out.png"),
        (("--face", "a.png", "--image-prompt", "a.png,negative=out.png", "-o", "out.png"), "out.png"),
    ],
)
def test_a_portrait_never_takes_the_place_of_a_picture_that_it_is_made_from(refused, photo, tmp_path, monkeypatch, words, own):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anna-more").mkdir()
    for name in ("a.png", "anna.png", "anna-2.png", "out.png", "out-2.png"):
        shutil.copy(photo, tmp_path / name)
    before = (tmp_path / own).read_bytes()
    assert "would overwrite" in refused("portrait", *words)
    assert (tmp_path / own).read_bytes() == before


@pytest.mark.parametrize("own", ["picture.png", "mask.png"])
def test_an_inpainted_picture_never_takes_the_place_of_what_it_was_painted_into(refused, scene, tmp_path, own):
    for source, name in zip(scene, ("picture.png", "mask.png"), strict=True):
        shutil.copy(source, tmp_path / name)
    before = (tmp_path / own).read_bytes()
    words = ("--image", tmp_path / "picture.png", "--mask", tmp_path / "mask.png", "-o", tmp_path / own)
    assert "would overwrite" in refused("inpaint", *words)
    assert (tmp_path / own).read_bytes() == before


def test_a_missing_option(refused):
    assert "--face" in refused("portrait", "-o", "a.png")


@pytest.mark.parametrize("number", ["0", "-3", "1000000", "many", "1.5"])
def test_a_number_of_pictures_that_makes_no_sense(refused, photo, out, number):
    assert "number of pictures" in refused("portrait", "--face", photo, "--count", number, "-o", out)


@pytest.mark.parametrize("number", ["-1", "99999999999", "blue"])
def test_a_seed_that_is_none(refused, photo, out, number):
    assert "seed" in refused("portrait", "--face", photo, "--seed", number, "-o", out)


def test_seeds_that_count_past_the_end(refused, photo, out):
    assert "smaller" in refused("portrait", "--face", photo, "--seed", 2**32 - 2, "--count", 5, "-o", out)


def test_a_weight_out_of_range(refused, photo, out):
    assert "outside 0 to 2" in refused("portrait", "--face", photo, "--image-prompt", f"{photo}:7", "-o", out)
    assert "is no number" in refused("portrait", "--face", photo, "--image-prompt", f"{photo}:much", "-o", out)
    assert "without a name" in refused("portrait", "--face", photo, "--image-prompt", "", "-o", out)


def test_one_measurement_at_a_time(refused):
    assert "not allowed with" in refused("evaluate", "--shortcuts", "--small-faces")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lends=soul", "choose all, style, composition"),
        ("weigth=3", "weigth= is not known; choose lends=, crop="),
        ("lends=style,blocks=x:1", "blocks= is not known; choose lends=, crop="),
        ("crop=left", "choose squash, centre, top, pad or face"),
        ("crop=top,crop=pad", "give it once"),
        ("schedule=soon", "choose constant, ease-in"),
        ("schedule=0:1/0:0", "rising order"),
        ("schedule=0:1/2:0", "outside 0 to 1"),
        ("block=mid_block", "no factor"),
        ("block=mid_block:much", "not a number"),
        ("block=roof:1", "There is no block 'roof'"),
        ("lends=style,block=mid_block:1", "Leave one"),
        ("negative=missing.png", "missing.png"),
        ("adapter=nobody", "called 'nobody'"),
    ],
)
def test_an_image_prompt_that_cannot_be_meant(refused, photo, out, words, said):
    assert said in refused("portrait", "--face", photo, "--image-prompt", f"{photo}:0.5,{words}", "-o", out)


def test_a_picture_may_be_called_like_an_option(photo, out):
    odd = out.with_name("a,b=c.png")
    shutil.copy(photo, odd)
    given = (odd, f"{odd}:0.5", f"{odd}:0.5,negative={odd}")
    assert [image_prompt(str(text)).file for text in given] == [odd] * 3


def test_people_and_regions_that_do_not_fit_each_other(refused, photo, out):
    two = ("portrait", "--person", photo, "--person", photo, "-o", out)
    assert "one --region for each" in refused(*two, "--region", "0,0,0.5,1")
    assert "Give each person by --person" in refused(*two, "--face", photo)
    assert "left half" in refused(*two, "--region", "left")
    assert "outside of the picture" in refused(*two, "--region", "0.5,0,0.2,1")
    assert "too many" in refused("portrait", *["--person", photo] * 9, "-o", out)
    assert "1 of the 2 faces" in refused(*two, "--pose", photo)


def test_an_endless_prompt(refused, photo, out):
    assert "shorten" in refused("portrait", "--face", photo, "--prompt", "a" * 5000, "-o", out)


@pytest.mark.parametrize("name", ["nobody", "../tiny", "tiny-sdxl:oil", "", ":"])
def test_a_model_that_there_is_not(refused, photo, out, name):
    assert "called" in refused("portrait", "--face", photo, "--model", name, "-o", out)


def test_a_result_that_is_no_png(refused, photo):
    assert ".png" in refused("portrait", "--face", photo, "-o", "a.jpg")


def test_a_folder_for_the_result_that_does_not_exist(refused, photo, tmp_path):
    assert "does not exist" in refused("portrait", "--face", photo, "-o", tmp_path / "nowhere" / "a.png")


def test_a_device_that_is_not_there(refused, photo, out):
    assert "device" in refused("--device", "cuda:77", "portrait", "--face", photo, "-o", out)
    assert "Choose auto, cpu, cuda" in refused("--device", "toaster", "portrait", "--face", photo, "-o", out)


def test_a_mask_of_another_size(refused, scene, photo, out):
    assert "96 x 96" in refused("inpaint", "--image", scene[0], "--mask", photo, "-o", out)


def test_a_black_mask(refused, scene, out, tmp_path):
    Image.fromarray(np.zeros((90, 120), np.uint8)).save(tmp_path / "black.png")
    assert "nothing to paint" in refused("inpaint", "--image", scene[0], "--mask", tmp_path / "black.png", "-o", out)


def test_a_picture_that_does_not_say_how_it_was_made(refused, photo):
    assert "does not say how it was made" in refused("again", photo)


def test_a_command_that_there_is_not(refused):
    assert "dance" in refused("dance")


def test_a_part_to_train_that_there_is_not(refused):
    assert "unicorn" in refused("train", "unicorn")


def test_a_folder_that_cannot_be_made(refused, photo):
    assert "cannot be made" in refused("demo", "--out", photo / "inside")


@pytest.mark.parametrize(
    ("content", "word"),
    [("modle = 'a'", "model"), ("model = 3", "text"), ("model = ", "TOML"), ("\xff", "settings file")],
)
def test_a_wrong_settings_file(refused, tmp_path, content, word):
    file = tmp_path / "config.toml"
    file.write_bytes(content.encode("latin-1"))
    assert word in refused("--config", file, "doctor")


def test_a_settings_file_that_is_not_there(refused, tmp_path):
    assert "cannot be read" in refused("--config", tmp_path / "none.toml", "doctor")


def test_an_unexpected_error_leaves_a_report_and_no_traceback(monkeypatch, capsys, tmp_path, photo, out):
    def broken(*_):
        raise ZeroDivisionError("the moon is in the way")

    monkeypatch.setattr("backend.workbench.open_workbench", broken)
    assert main(["portrait", "--face", str(photo), "-o", str(out)]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "the moon is in the way" in err
    (report,) = (tmp_path / "logs").glob("*.log")
    assert str(report) in err
    assert "Traceback" in report.read_text()


def test_a_report_does_not_make_a_folder_that_the_backend_then_refuses(monkeypatch, tmp_path, photo, out):
    """On Linux both lie in one folder, and a command may be the first to make it."""

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("backend.workbench.open_workbench", broken)
    monkeypatch.setenv("LIKENESS_LOGS", str(tmp_path / "likeness" / "logs"))
    assert main(["portrait", "--face", str(photo), "-o", str(out)]) == 1
    assert list((tmp_path / "likeness" / "logs").glob("*.log"))
    make_private_folder(tmp_path / "likeness")
    make_private_folder(tmp_path / "likeness" / "logs")
