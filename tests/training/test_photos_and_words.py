"""What training reads: captioned photos in two layouts, drawn people, and the tokenizer's words."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import FakeFaces

from backend.training.data import Plan
from backend.training.parts import min_snr_weight
from backend.training.people import People
from backend.training.photos import Shape, build_photos, cut, find_photos
from backend.training.tokens import encode, vary, write_tokenizer
from backend.training.world import FIRST_EVALUATION_PERSON, vocabulary
from protocol.errors import InvalidRequest


def test_photos_of_one_folder_are_one_person(people: People) -> None:
    assert people.persons.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert people.pictures.shape == (8, 64, 64, 3)
    assert people.captions[3] == "portrait of person 1, picture 1"


def test_a_listing_names_photos_and_captions(tmp_path: Path) -> None:
    Image.new("RGB", (70, 90), "red").save(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "somebody"}\n', encoding="utf-8")
    photo = find_photos(tmp_path)[0]
    assert (photo.path.name, photo.caption) == ("a.png", "somebody")


def test_a_bad_line_of_a_listing_is_named(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n{"file_name": 3\n', encoding="utf-8")
    with pytest.raises(InvalidRequest, match="Line 2"):
        find_photos(tmp_path)


def test_a_folder_without_captions_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Image.new("RGB", (70, 90)).save(tmp_path / "a.png")
    with pytest.raises(InvalidRequest, match="text file with the caption"):
        find_photos(tmp_path)


def test_photos_without_a_face_are_left_out_where_faces_are_asked_for(tmp_path: Path) -> None:
    for name, colour in (("face", "green"), ("black", "black")):
        Image.new("RGB", (70, 90), colour).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(name, encoding="utf-8")
    assert build_photos(tmp_path, tmp_path / "faces", 64, FakeFaces()).captions == ["face"]  # type: ignore[arg-type]
    assert len(build_photos(tmp_path, tmp_path / "all", 64).captions) == 2


def test_keypoints_stay_on_the_pixels_they_name_when_a_photo_is_cut() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[38:43, 248:253] = 255
    points = np.full((5, 2), 250.0, np.float32)
    points[:, 1] = 40.0
    shape = cut(Shape(picture, points, np.array([200, 10, 299, 90], np.float32), np.zeros(512, np.float32)), 50)
    x, y = shape.keypoints[0].round().astype(int)
    assert shape.picture.shape == (50, 50, 3)
    assert shape.picture[y, x].min() > 100
    assert shape.picture[0, 0].max() == 0


def test_every_word_of_the_world_is_one_token_and_unknown_words_are_still_read(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path, vocabulary())
    assert [word for word in vocabulary() if len(tokenizer(word).input_ids) != 3] == []
    known, unknown = encode(tokenizer, ["smiling person", "smiling zebra person"])
    assert known.shape == (77,)
    assert (known != unknown).any()
    assert unknown.max() < len(tokenizer)


def test_a_varied_caption_says_nothing_that_the_caption_does_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [vary("portrait of a sad person, red cap, at the sea", rng) for _ in range(200)]
    assert sum("red cap" in text for text in texts) > 150
    assert not any("glasses" in text or "blue" in text for text in texts)


def test_training_never_draws_evaluation_persons_unasked() -> None:
    with pytest.raises(InvalidRequest, match="evaluation"):
        Plan(persons=10, shots_each=1, first=FIRST_EVALUATION_PERSON - 5)
    assert Plan(persons=10, shots_each=1, first=FIRST_EVALUATION_PERSON).pictures == 10


def test_the_weights_of_noisy_times_are_one_and_of_clean_times_small() -> None:
    import torch

    weight = min_snr_weight(torch.linspace(0.999, 0.005, 1000))
    assert weight[-1] == 1
    assert weight[0] < 0.01
