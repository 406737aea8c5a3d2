"""`likeness train PART` hands its options to the part's own module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import backend.training
from backend.cli.main import main
from backend.cli.train import PARTS


def test_the_samples_are_drawn_again_as_they_are_in_the_repository(tmp_path):
    assert main(["train", "samples", "--out", str(tmp_path)]) == 0
    shipped = Path(backend.training.__file__).parent.parent / "sketch" / "samples"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in shipped.iterdir())
    for path in tmp_path.iterdir():
        drawn, kept = (np.asarray(Image.open(place / path.name)).astype(int) for place in (tmp_path, shipped))
        assert abs(drawn - kept).max() <= 2, "processors round differently, but no more than this"


def test_every_part_has_its_module():
    folder = Path(backend.training.__file__).parent
    modules = [name for names, _ in PARTS.values() for name in names.split()]
    assert [name for name in modules if not (folder / f"{name}.py").is_file()] == []


def test_the_parts_that_the_papers_name_can_be_trained():
    assert {"base", "ip-adapter", "instantid", "faces"} <= set(PARTS)


def test_a_part_tells_its_own_options(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["train", "samples", "--help"])
    assert leave.value.code == 0
    assert "--size" in capsys.readouterr().out


def test_a_wrong_option_of_a_part_is_one_sentence(refused):
    assert "--brush" in refused("train", "samples", "--out", "somewhere", "--brush", "3")


IP_ADAPTER = ("train", "ip-adapter", "--data", "{photos}", "--base", "{photos}", "--encoder", "{encoder}", "--out", "{out}")


@pytest.fixture
def places(tmp_path):
    """Folders by name: photos with captions, what looks like an encoder, and a training that has not begun."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (70, 90), "red").save(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "a.txt").write_text("somebody", encoding="utf-8")
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text("{}", encoding="utf-8")
    return {"photos": tmp_path / "photos", "encoder": tmp_path / "encoder", "out": tmp_path / "out", "file": tmp_path / "photos" / "a.png"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--steps", "0"), "--steps 0 makes no sense"),
        (("--batch", "-1"), "--batch"),
        (("--rate", "nan"), "--rate"),
        (("--minutes", "-3"), "--minutes"),
        (("--seed", "-1"), "--seed"),
        (("--size", "0"), "--size"),
        (("--sheet-every", "0"), "--sheet-every"),
        (("--data", "nowhere"), "nowhere does not exist"),
        (("--data", "{file}"), "is no folder"),
        (("--encoder", "nowhere"), "nowhere does not exist"),
        (("--encoder", "{photos}"), "holds no config.json"),
        (("--out", "{file}"), "is a file"),
        (("--out", "{file}/below"), "is a file"),
        ((), "is no diffusers folder"),
    ],
)
def test_what_a_training_cannot_use_is_one_sentence(refused, places, words, said, monkeypatch):
    """And nothing is looked for elsewhere: a name that is no folder here could be one on the Internet."""
    monkeypatch.setattr(
        "backend.training.ip_adapter.embed_photos", lambda people, _, path: np.save(path, np.zeros((len(people.pictures), 8)))
    )
    assert said in refused(*(word.format(**places) for word in (*IP_ADAPTER, *words)))


def test_photos_need_an_encoder_and_words_in_utf_8(refused, places):
    words = [word.format(**places) for word in IP_ADAPTER]
    assert "--encoder" in refused(*(word for word in words if word not in ("--encoder", str(places["encoder"]))))
    (places["photos"] / "a.txt").write_bytes(b"caf\xe9")
    assert "UTF-8" in refused(*words)


def test_a_training_that_goes_on_keeps_the_size_of_its_photos(refused, places, monkeypatch):
    monkeypatch.setattr(
        "backend.training.ip_adapter.embed_photos", lambda people, _, path: np.save(path, np.zeros((len(people.pictures), 8)))
    )
    words = [word.format(**places) for word in IP_ADAPTER]
    assert "diffusers folder" in refused(*words, "--size", "64"), "the photos are cut before the base is read"
    assert "--size 64" in refused(*words, "--size", "96")


def test_a_photo_that_cannot_be_read_is_one_sentence_on_a_line_of_its_own(refused, places):
    places["file"].write_text("no picture")
    assert "a.png is not a picture" in refused(*(word.format(**places) for word in IP_ADAPTER))


@pytest.mark.parametrize("part", ["faces", "recogniser", "clip"])
def test_a_part_without_data_or_without_what_it_has_learned_says_so(refused, places, part):
    assert "--data is missing" in refused("train", part, "--out", places["out"])
    if part != "faces":
        assert "Train it first" in refused("train", part, "--out", places["out"], "--embed", places["photos"])


def test_the_two_models_of_faces_take_each_others_options_and_are_refused_before_one_is_trained(refused, tmp_path, monkeypatch):
    trained = []
    for name in ("recogniser", "detector"):
        monkeypatch.setattr(f"backend.training.{name}.run", trained.append)
    words = ("train", "faces", "--data", str(tmp_path), "--out", str(tmp_path / "faces"))
    assert "--brush" in refused(*words, "--brush", "3")
    assert "--count 0" in refused(*words, "--count", "0")
    assert trained == []
    assert main([*words, "--batch", "7", "--pixels", "99", "--steps", "5"]) == 0
    recogniser, detector = trained
    assert (recogniser.out.name, recogniser.batch, recogniser.steps, recogniser.minutes) == ("recogniser", 7, 5, 10.0)
    assert (detector.out.name, detector.pixels, detector.steps, detector.minutes) == ("detector", 99, 5, 6.0)


def test_only_the_recogniser_of_faces_embeds_a_data_set(tmp_path, monkeypatch):
    ran = []
    for name in ("recogniser", "detector"):
        monkeypatch.setattr(f"backend.training.{name}.run", ran.append)
    assert main(["train", "faces", "--out", str(tmp_path), "--embed", str(tmp_path)]) == 0
    assert [(one.out.name, one.embed) for one in ran] == [("recogniser", tmp_path)]


def test_the_help_of_faces_has_the_options_of_both(capsys):
    with pytest.raises(SystemExit):
        main(["train", "faces", "--help"])
    said = capsys.readouterr().out
    assert "--pixels" in said
    assert "--batch" in said
