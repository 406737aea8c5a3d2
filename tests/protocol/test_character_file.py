"""Character files: written and read bit for bit, by the library of the format too; and whatever is wrong with one is a sentence."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from safetensors import safe_open
from saved_people import kept, reading, thumbnail

from backend.character_files import read_character, write_character
from protocol.desk import tensors
from protocol.desk.character_file import CharacterFile, character_bytes, exported, read_character_file, write_character_file
from protocol.errors import BadPicture, InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import About, ImportCharacter, MakeCharacter
from protocol.planes import Layout, Plane

ABOUT = About("Anna said yes,\nfor the play.", "CC BY 4.0")


def photo(value: int = 90, side: int = 8) -> Plane:
    return Plane(Layout.RGB8, Extent(side, side), bytes([value]) * (3 * side * side))


def png(width: int = 8, height: int = 8) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(data, "PNG")
    return data.getvalue()


def anna(photos: int = 2) -> CharacterFile:
    readings = (reading(photos=2), reading(0.25, 2, "buffalo_l", "b"))
    return CharacterFile(
        "Anna", readings, (png(),) * photos, thumbnail(), (0.5, 0.75), ABOUT, "2026-11-22T10:00:00+00:00", "Likeness 0.1.0"
    )


def parts(data: bytes) -> tuple[dict[str, object], bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def whole(header: object, numbers: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "anna.likeness"


def refused(file: Path, data: bytes) -> str:
    file.write_bytes(data)
    with pytest.raises(BadPicture) as caught:
        read_character_file(file)
    sentence = str(caught.value)
    assert sentence.startswith("anna.likeness is no character that Likeness exported, or it is damaged: ")
    assert sentence.endswith("Export it again.")
    return sentence


def test_what_is_written_is_read_again_bit_for_bit(file: Path) -> None:
    for photos in (0, 2, 16):
        write_character_file(file, anna(photos))
        assert read_character_file(file) == anna(photos)
    assert list(file.parent.iterdir()) == [file]


def test_the_formats_own_library_reads_the_same_numbers(file: Path) -> None:
    write_character_file(file, anna())
    theirs = safetensors.numpy.load_file(file)
    assert theirs["reading.1.mean"].dtype == np.float32
    assert np.array_equal(theirs["reading.1.mean"], np.full(512, 0.25, np.float32))
    assert np.array_equal(theirs["reading.0.embeddings"], np.repeat([[1.5], [2.5]], 512, axis=1).astype(np.float32))
    assert theirs["reading.0.norms"] == pytest.approx(np.linalg.norm(theirs["reading.0.embeddings"], axis=1))
    assert theirs["reading.0.keypoints"].shape == (2, 5, 2)
    assert theirs["reading.0.extents"].tolist() == [[40, 30], [40, 30]]
    assert theirs["thumbnail"].shape == (4, 4, 3)
    assert theirs["photo.1"].tobytes() == png()
    with safe_open(file, "numpy") as opened:
        notes = opened.metadata()
    assert (notes["name"], notes["consent"], notes["made_by"]) == ("Anna", ABOUT.consent, "Likeness 0.1.0")
    recognisers = json.loads(notes["recognisers"])
    assert recognisers[0] == {"name": "antelopev2", "sha256": "a" * 64, "embedding": 512, "photos": 2}


def test_a_file_that_the_library_writes_is_read(file: Path) -> None:
    """Its tensors are in another order, and its header is filled up with spaces."""
    write_character_file(file, anna())
    with safe_open(file, "numpy") as opened:
        notes = opened.metadata()
    safetensors.numpy.save_file(safetensors.numpy.load_file(file), file, notes)
    assert read_character_file(file) == anna()


def test_photos_stay_behind_unless_they_are_asked_for(file: Path) -> None:
    answer = kept(photos=(photo(), photo(91)), readings=(reading(photos=2),))
    write_character(file, answer)
    assert read_character_file(file).photos == ()
    assert png()[:8] not in file.read_bytes()
    write_character(file, answer, photos=True)
    found, photos = read_character(file)
    assert [bytes(one.data) for one in photos] == [bytes(photo().data), bytes(photo(91).data)]
    assert found.job(photos) == ImportCharacter("Anna", thumbnail(), answer.readings, photos, (0.5, 0.5), About())
    assert found.job((), "Ben", True, "sketch").name == "Ben"


def test_a_character_that_was_never_read_takes_its_photos_along_and_one_without_any_is_refused(file: Path) -> None:
    write_character(file, kept(photos=(photo(),), readings=()))
    found, photos = read_character(file)
    assert (found.readings, found.job(photos)) == ((), MakeCharacter("Anna", photos))
    with pytest.raises(InvalidRequest, match="Blend it again"):
        write_character(file, kept(readings=()))


def test_notes_are_given_away_only_as_they_are_meant(file: Path) -> None:
    write_character(file, kept(about=ABOUT))
    assert read_character_file(file).about == ABOUT
    write_character(file, kept(about=ABOUT), about=About("No.", ""))
    assert read_character_file(file).about == About("No.", "")
    assert read_character_file(file).notice.endswith("Consent: No.")


def test_a_thumbnail_of_every_layout_keeps_its_colours() -> None:
    colours = bytes([10, 20, 30, 255] * 4)
    for layout, given in ((Layout.RGBA8, colours), (Layout.BGRA8, bytes([30, 20, 10, 255] * 4)), (Layout.RGB8, bytes([10, 20, 30] * 4))):
        written = exported(kept(), (), "", None)
        data = character_bytes(CharacterFile(written.name, written.readings, thumbnail=Plane(layout, Extent(2, 2), given)))
        header, numbers = parts(data)
        place = header["thumbnail"]["data_offsets"]
        assert numbers[place[0] : place[1]] == bytes([10, 20, 30] * 4)


# Older files ---------------------------------------------------------------------------------------------------------------------------
def old(file: Path, photos: int = 2, **note: object) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("character.json", json.dumps({"format": 1, "name": "Anna", "photos": photos, **note}))
        for number in range(1, photos + 1):
            archive.writestr(f"photo-{number}.png", png())


def test_the_zip_of_the_first_version_is_still_read(file: Path) -> None:
    old(file)
    found, photos = read_character(file)
    assert (found.name, found.readings, len(photos)) == ("Anna", (), 2)
    assert isinstance(found.job(photos), MakeCharacter)


@pytest.mark.parametrize("note", [{"format": 2}, {"photos": 3}, {"name": ""}, {"name": "x" * 5000}, {"photos": "two"}])
def test_a_zip_that_lies_is_refused(file: Path, note: dict[str, object]) -> None:
    old(file, **{"photos": 2, **note} if "photos" not in note else {})
    if "photos" in note:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("character.json", json.dumps({"format": 1, "name": "Anna", **note}))
    refused(file, file.read_bytes())


# Damage --------------------------------------------------------------------------------------------------------------------------------
def test_a_file_that_is_cut_off_anywhere_is_a_sentence(file: Path) -> None:
    data = character_bytes(anna())
    for length in [0, 4, 7, 8, 9, *random.Random(1).sample(range(10, len(data)), 20), len(data) - 1]:
        refused(file, data[:length])
    refused(file, data + b"\0")


def test_a_flipped_byte_never_gives_another_error_than_a_sentence(file: Path) -> None:
    """Where it hits a text or a number within its bounds, the file may be read; nothing else than a `BadPicture` comes of it."""
    data, rng = character_bytes(anna()), random.Random(2)
    (header,) = struct.unpack("<Q", data[:8])
    for _ in range(300):
        place = rng.randrange(8 + header) if rng.random() < 0.8 else rng.randrange(len(data))
        file.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        try:
            read_character_file(file)
        except BadPicture:
            continue


@pytest.mark.parametrize(
    ("length", "said"), [(2**63, "are the most"), (70_000, "are the most"), (60_000, "cut off within its header"), (3, "no JSON")]
)
def test_a_header_that_lies_about_its_length_takes_no_memory(file: Path, length: int, said: str) -> None:
    assert said in refused(file, struct.pack("<Q", length) + character_bytes(anna())[8:2000])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 30_000 + b"]" * 30_000, "no JSON"),
        (b"[]", "no list of tensors"),
        (b'{"a":1}', "does not say"),
        (b'{"__metadata__":{"format":1}}', "no texts"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":1}', "twice"),
        (b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', "NaN"),
        (b'{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', "F64"),
        (b'{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}', "of the type"),
        (b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', "no usable shape"),
        (b'{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', "no usable shape"),
        (b'{"a":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', "no usable shape"),
        (b'{"a":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}}', "no usable shape"),
        (b'{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}', "no usable shape"),
        (b'{"a":{"dtype":"F32","shape":[300000000,300000000],"data_offsets":[0,4]}}', "another length than its shape"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', "another length than its shape"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', "no usable shape or place"),
        (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', "begins at 1"),
        (b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}', "begins at 2"),
        (b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}', "speaks of 3 bytes"),
        (b'{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', "speaks of 9 bytes"),
        (b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', "do not say that it is a character"),
        (b"\xff\xfe", "no JSON"),
    ],
)
def test_a_header_that_lies_is_refused_by_what_is_wrong(file: Path, text: bytes, said: str) -> None:
    assert said in refused(file, whole(text, b"\0\0\0\0"))


def changed(note: str, value: str) -> bytes:
    header, numbers = parts(character_bytes(anna()))
    header["__metadata__"][note] = value
    return whole(header, numbers)


def recognisers(**changes: object) -> str:
    """The note on recognisers with the first one changed."""
    entries = json.loads(parts(character_bytes(anna()))[0]["__metadata__"]["recognisers"])
    return json.dumps([{**entries[0], **changes}, *entries[1:]])


@pytest.mark.parametrize(
    ("note", "value", "said"),
    [
        ("version", "2", "update Likeness"),
        ("name", "", "no usable name"),
        ("name", "x" * 81, "no usable name"),
        ("name", "A\nB", "no usable name"),
        ("consent", "x" * 1001, "too long"),
        ("licence", "\x1b[2J", "no text"),
        ("recognisers", "", "cannot be read"),
        ("recognisers", "{}", "which no character has"),
        ("recognisers", "[1]", "cannot be read"),
        ("recognisers", recognisers(sha256="b" * 64), "two readings of one recogniser"),
        ("recognisers", recognisers(sha256="x" * 64), "which recognisers"),
        ("recognisers", recognisers(photos=0), "more readings or photos"),
        ("recognisers", recognisers(photos=17), "more readings or photos"),
        ("recognisers", recognisers(photos=1), "of shape"),
        ("recognisers", recognisers(embedding=256), "have 256, 512 numbers"),
        ("recognisers", json.dumps([{"name": "x", "sha256": "c" * 64, "embedding": 512, "photos": 1}] * 9), "more readings or photos"),
    ],
)
def test_notes_that_lie_are_refused_by_what_is_wrong(file: Path, note: str, value: str, said: str) -> None:
    assert said in refused(file, changed(note, value))


def with_tensor(name: str, tensor: tensors.Tensor | None) -> bytes:
    notes, found = tensors.unpack(character_bytes(anna()))
    if tensor is None:
        del found[name]
    else:
        found[name] = tensor
    return tensors.pack(notes, found)


def floats(value: float, *shape: int) -> tensors.Tensor:
    return tensors.Tensor.floats((value,) * int(np.prod(shape)), *shape)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("reading.0.mean", floats(float("nan"), 512), "none (NaN"),
        ("reading.0.mean", floats(float("inf"), 512), "none (NaN"),
        ("reading.0.mean", floats(0.0, 512), "lengths"),
        ("reading.0.mean", floats(1.0, 511), "of shape"),
        ("reading.0.mean", tensors.Tensor.whole((1,) * 512, 512), "is I32"),
        ("reading.0.mean", None, "is missing"),
        ("reading.0.embeddings", floats(0.0, 2, 512), "lengths"),
        ("reading.0.embeddings", floats(1.0, 3, 512), "of shape"),
        ("reading.0.norms", floats(5.0, 2), "lengths"),
        ("reading.0.keypoints", floats(1e9, 2, 5, 2), "outside of every picture"),
        ("reading.0.extents", tensors.Tensor.whole((0, 1, 1, 1), 2, 2), "outside of every picture"),
        ("scores", floats(1.5, 2), "scores outside"),
        ("scores", floats(0.5, 17), "more photos"),
        ("thumbnail", tensors.Tensor("U8", (2, 2, 4), bytes(16)), "no small picture"),
        ("thumbnail", tensors.Tensor("U8", (1, 600, 3), bytes(1800)), "no small picture"),
        ("photo.0", tensors.Tensor("U8", (4,), b"GIF8"), "no PNG"),
        ("photo.0", tensors.Tensor("U8", (len(png()),), png()[:16] + b"\xff" * 8 + png()[24:]), "too large"),
        ("photo.7", tensors.Tensor("U8", (len(png()),), png()), "photo.2 is missing"),
        ("pickle", tensors.Tensor("U8", (4,), b"\x80\x04K\x01"), "'pickle', which no character has"),
    ],
)
def test_tensors_that_lie_are_refused_by_what_is_wrong(file: Path, name: str, tensor: tensors.Tensor | None, said: str) -> None:
    assert said in refused(file, with_tensor(name, tensor))


def test_the_unsafe_twin_that_does_not_look_for_numbers_that_are_none_reads_them(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors.math, "isfinite", lambda value: True)
    file.write_bytes(with_tensor("reading.0.mean", floats(float("nan"), 512)))
    assert np.isnan(np.frombuffer(read_character_file(file).readings[0].numbers.data, "<f4")).any()


def test_a_photo_that_is_damaged_behind_its_header_is_a_sentence(file: Path) -> None:
    data = png()[:40] + bytes(20) + png()[60:]
    file.write_bytes(with_tensor("photo.0", tensors.Tensor("U8", (len(data),), data)))
    with pytest.raises(BadPicture, match="cannot be opened"):
        read_character(file)


def test_a_file_larger_than_any_character_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(character_bytes(anna()))
    monkeypatch.setattr(tensors, "MOST_BYTES", 1000)
    with pytest.raises(BadPicture, match="1000 are the most"):
        read_character_file(file)


def test_a_folder_and_a_missing_file_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match="cannot be read"):
        read_character_file(tmp_path)
    with pytest.raises(BadPicture, match="cannot be read"):
        read_character_file(tmp_path / "gone.likeness")


def test_a_place_that_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "anna.likeness").mkdir()
    with pytest.raises(InvalidRequest, match="cannot be written"):
        write_character_file(tmp_path / "anna.likeness", anna())
    assert [path.name for path in tmp_path.iterdir()] == ["anna.likeness"]
