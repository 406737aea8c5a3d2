"""Without --alone, the commands paint at the backend: one is started when none runs, and the next command finds its models loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.cli.main import main
from backend.images import read_metadata
from backend.scripting import Studio


def words(*parts: object) -> list[str]:
    return [str(part) for part in parts]


def test_portrait_inpaint_again_and_demo_share_one_backend(
    backend: Path,
    tmp_path: Path,
    photo: Path,
    scene: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "anna.png"
    assert main(words("portrait", "--face", photo, "--pose", photo, "--prompt", "a portrait", "--seed", 5, "-o", out)) == 0
    with Studio(backend, start=False) as studio:
        first = studio.status()
    assert first.devices[0].loaded == ("tiny-sdxl",)

    assert main(words("again", out)) == 0
    assert "the same bytes" in capsys.readouterr().out
    painted = tmp_path / "scene-with-anna.png"
    picture, mask = scene
    assert main(words("inpaint", "--image", picture, "--mask", mask, "--face", photo, "-o", painted)) == 0
    kept = np.asarray(Image.open(mask)) == 0
    assert np.array_equal(np.asarray(Image.open(painted))[kept], np.asarray(Image.open(picture).convert("RGB"))[kept])
    assert main(words("demo", "--out", tmp_path / "demo")) == 0
    assert len(json.loads((tmp_path / "demo" / "demo.json").read_text())["pictures"]) == 19

    with Studio(backend, start=False) as studio:
        assert studio.status().pid == first.pid

    # The same picture without the backend: the same bytes, since the same engine made it.
    monkeypatch.setenv("LIKENESS_ALONE", "yes")
    alone = tmp_path / "alone.png"
    assert main(words("again", out, "-o", alone)) == 0
    assert alone.read_bytes() == out.read_bytes()


def test_a_photo_without_a_face_is_refused_in_the_same_words(backend: Path, tmp_path: Path, refused) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (96, 96), "white").save(blank)
    sentence = refused("portrait", "--face", blank, "-o", tmp_path / "out.png")
    assert "face" in sentence
    assert not (tmp_path / "out.png").exists()


def test_another_device_than_the_one_that_runs_is_said(backend: Path, tmp_path: Path, photo: Path, refused) -> None:
    with Studio(backend, options=["--on", "cpu"]):
        sentence = refused("--device", "cuda:7", "portrait", "--face", photo, "-o", tmp_path / "two.png")
    assert "computes on cpu, not on cuda:7" in sentence


def test_a_character_is_made_listed_carried_in_a_file_and_forgotten(
    backend: Path, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], refused
) -> None:
    assert main(words("character", "make", "Anna", "--face", photo)) == 0
    assert main(words("character", "list")) == 0
    assert "Anna: 1 photo (1: detector" in capsys.readouterr().out
    file = tmp_path / "anna.likeness"
    assert main(words("character", "export", "Anna", "-o", file, "--consent", "Anna said yes.", "--licence", "CC0")) == 0
    assert "has Anna, as read by tiny-sdxl, and no photos." in capsys.readouterr().out
    assert main(words("character", "rename", "Anna", "Captain")) == 0
    assert main(words("character", "import", file)) == 0
    assert "Consent: Anna said yes. Licence: CC0" in capsys.readouterr().out
    assert main(words("character", "export", "Captain", "-o", file, "--photos")) == 0
    assert "and 1 photo." in capsys.readouterr().out
    assert main(words("character", "list")) == 0
    listed = capsys.readouterr().out
    assert "Anna: 1 photo" in listed
    assert "Captain: 1 photo" in listed
    for name in ("Anna", "Captain"):
        assert main(words("character", "delete", name)) == 0
    capsys.readouterr()
    assert "Anna" in refused("character", "delete", "Anna")


def test_two_people_are_compared_averaged_blended_and_shown_in_a_row(
    backend: Path, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], refused
) -> None:
    other = photo.with_name("ben.png")
    for name, file in (("Ada", photo), ("Bruno", other)):
        assert main(words("character", "make", name, "--face", file)) == 0
    capsys.readouterr()
    assert main(words("character", "compare", "Ada", photo)) == 0
    assert "Cosine 1.00 by tiny-sdxl: nobody has measured" in capsys.readouterr().out
    assert main(words("character", "compare", "Ada", "Bruno")) == 0
    apart = float(capsys.readouterr().out.split("Cosine ")[1].split()[0])
    assert apart < 0.95
    row = tmp_path / "row.png"
    assert main(words("character", "blend", "Ada", "Bruno", "--weights", "1", "3", "--as", "Kid", "--row", row, "--pictures", "2")) == 0
    said = capsys.readouterr().out
    assert "Kid is 25% Ada and 75% Bruno." in said
    assert "2 pictures from Ada to Bruno" in said
    assert read_metadata(row)["people"] == ["Ada", "Bruno"]
    assert main(words("character", "average", "Ada", "--face", other, "--as", "Mean")) == 0
    assert main(words("character", "compare", "Mean", "Ada")) == 0
    assert apart < float(capsys.readouterr().out.split("Cosine ")[1].split()[0]) < 1.0
    assert "--as NEW saves the blend" in refused("character", "blend", "Ada", "Bruno")
    assert "one weight for each" in refused("character", "blend", "Ada", "Bruno", "--weights", "1", "--as", "X")
    assert "neither a character nor a photo called 'Nobody'. Saved: Ada, Bruno" in refused("character", "compare", "Ada", "Nobody")
    for name in ("Ada", "Bruno", "Kid", "Mean"):
        assert main(words("character", "delete", name)) == 0


def test_a_saved_person_is_painted_as_their_photo_is_by_either_adapter_and_made_again_after_they_are_forgotten(
    backend: Path, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(words("character", "make", "Anna", "--face", photo)) == 0
    ways = {"photo": ("--face", photo), "name": ("--character", "Anna"), "prompt": ("--face-prompt", "Anna:0.7,adapter=faceid")}
    for name, way in ways.items():
        assert main(words("portrait", *way, "--prompt", "x", "--seed", 5, "-o", tmp_path / f"{name}.png")) == 0
    pixels = {name: np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ways}
    assert np.array_equal(pixels["photo"], pixels["name"])
    assert not np.array_equal(pixels["name"], pixels["prompt"])
    capsys.readouterr()
    assert "not both" in refused("portrait", "--face", photo, "--character", "Anna", "-o", tmp_path / "x.png")
    assert main(words("character", "delete", "Anna")) == 0
    capsys.readouterr()
    assert "'Anna'" in refused("portrait", "--character", "Anna", "-o", tmp_path / "x.png")
    for name in ("name", "prompt"):
        assert main(words("again", tmp_path / f"{name}.png")) == 0
    monkeypatch.setenv("LIKENESS_ALONE", "yes")
    assert main(words("again", tmp_path / "prompt.png", "-o", tmp_path / "alone.png")) == 0
    capsys.readouterr()
    assert "kept by the backend" in refused("portrait", "--character", "Anna", "-o", tmp_path / "x.png")


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x03\x04 half of one"])
def test_a_file_that_is_no_character_gets_a_sentence(backend: Path, tmp_path: Path, damage: bytes, refused) -> None:
    file = tmp_path / "anna.likeness"
    file.write_bytes(damage)
    assert "no character that Likeness exported" in refused("character", "import", file)
