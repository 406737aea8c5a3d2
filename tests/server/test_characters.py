from __future__ import annotations

import array
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backend.characters import CharacterStore, Record
from protocol.errors import NameTaken, UnknownModel
from protocol.geometry import Extent, Point
from protocol.jobs import About, Reading
from protocol.planes import Layout, Plane

EXTENT = Extent(4, 2)


def plane(value: int) -> Plane:
    return Plane(Layout.RGB8, EXTENT, bytes([value]) * 24)


def floats(count: int, value: float) -> bytes:
    return array.array("f", [value] * count).tobytes()


def record(name: str = "Anna", made_by: str = "1" * 32, value: int = 7) -> Record:
    return Record(name, made_by, plane(value), EXTENT, photos=(plane(value), plane(value + 1)), scores=(0.9, 0.8), alike=(0.7, 0.6))


def readings(value: float = 0.5, photos: int = 2, recogniser: str = "antelopev2", digit: str = "a") -> tuple[Reading, ...]:
    numbers = Plane(Layout.A8, Extent(2048, 1 + photos), floats(512 * (1 + photos), value))
    points = tuple(Point(float(i), value) for i in range(5 * photos))
    return (Reading(recogniser, digit * 64, numbers, points, (EXTENT,) * photos),)


@pytest.fixture
def store(tmp_path: Path) -> CharacterStore:
    return CharacterStore(tmp_path / "characters")


def test_an_empty_store_has_nobody(store: CharacterStore) -> None:
    assert store.cards() == []
    with pytest.raises(UnknownModel, match="none yet"):
        store.kept("Anna")


def test_what_is_saved_is_there_for_every_process(store: CharacterStore, tmp_path: Path) -> None:
    saved = store.save(record(), readings())
    other = CharacterStore(tmp_path / "characters")
    assert other.cards() == [saved]
    assert [bytes(photo.data) for photo in other.kept("Anna")[0].photos] == [b"\7" * 24, b"\10" * 24]
    assert other.kept("Anna")[1] == readings()


@pytest.mark.parametrize("photos", [1, 2, 16])
def test_embeddings_of_any_number_of_photos_come_back_bit_for_bit(store: CharacterStore, photos: int) -> None:
    store.save(record(), readings(0.25, photos))
    assert store.kept("Anna")[1] == readings(0.25, photos)


def test_a_name_that_is_taken_is_refused_unless_the_same_job_runs_again(store: CharacterStore) -> None:
    store.save(record(), readings())
    with pytest.raises(NameTaken):
        store.save(record(made_by="2" * 32), readings())
    store.save(record(), readings())
    store.save(record(made_by="2" * 32, value=9), readings(), replace_it=True)
    assert [bytes(card.thumbnail.data[:1]) for card in store.cards()] == [b"\t"]


def test_renaming_keeps_everything_else_and_never_overwrites_another(store: CharacterStore) -> None:
    store.save(record(), readings())
    store.save(record("Ben"), readings(0.75))
    with pytest.raises(NameTaken):
        store.rename("Anna", "Ben")
    store.rename("Anna", "Anna B.")
    assert [card.name for card in store.cards()] == ["Anna B.", "Ben"]
    assert store.kept("Anna B.")[1] == readings()
    assert len(store.kept("Anna B.")[0].photos) == 2


def test_deleting_deletes_every_file(store: CharacterStore, tmp_path: Path) -> None:
    store.save(record(), readings())
    store.delete("Anna")
    assert list((tmp_path / "characters").rglob("*")) == []
    with pytest.raises(UnknownModel):
        store.delete("Anna")


@pytest.mark.parametrize("name", ["../../x", "C:\\x", "//host/share", "nul", "a/b", ".", "漢字 🙂", "con.txt"])
def test_a_name_is_never_a_path(store: CharacterStore, tmp_path: Path, name: str) -> None:
    store.save(record(name), readings())
    assert [card.name for card in store.cards()] == [name]
    assert {path.parent.parent for path in tmp_path.rglob("record")} == {tmp_path / "characters"}
    store.delete(name)


def test_a_death_between_two_steps_of_replacing_leaves_one_whole_character(store: CharacterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(record(), readings())
    monkeypatch.setattr("backend.characters.shutil.rmtree", lambda path, ignore_errors: None)
    store.save(record(made_by="2" * 32, value=9), readings(0.75), replace_it=True)
    assert len(store.cards()) == 1
    assert store.kept("Anna")[1] == readings(0.75)


def test_a_half_made_or_damaged_folder_hides_nobody(store: CharacterStore, tmp_path: Path) -> None:
    store.save(record(), readings())
    store.save(record("Ben"), readings())
    home = next(path.parent for path in (tmp_path / "characters").rglob("record"))
    (home / "record").write_bytes(b"damaged")
    (tmp_path / "characters" / "half.new").mkdir()
    (tmp_path / "characters" / "empty").mkdir()
    assert len(store.cards()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_faces_are_for_this_user_alone(store: CharacterStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store.save(record(), readings())
    finally:
        os.umask(before)
    for path in (tmp_path / "characters").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_blend_without_photos_is_kept_too(store: CharacterStore) -> None:
    store.save(replace(record("Twin"), photos=(), scores=(), alike=()), readings(photos=1))
    assert store.kept("Twin")[0].photos == ()
    assert store.kept("Twin")[1] == readings(photos=1)


def test_another_recognisers_reading_is_added_and_a_replaced_character_does_not_get_it(store: CharacterStore) -> None:
    store.save(record(), readings())
    stamp, (other,) = store.stamp("Anna"), readings(0.125, recogniser="buffalo_l", digit="b")
    store.add_reading(stamp, other)
    assert store.kept("Anna")[1] == (*readings(), other)
    store.save(record(made_by="2" * 32), readings(0.75), replace_it=True)
    store.add_reading(stamp, other)
    assert store.kept("Anna")[1] == readings(0.75)
    store.delete("Anna")
    store.add_reading(stamp, other)
    assert store.cards() == []


def test_a_damaged_reading_is_as_if_it_were_not_there(store: CharacterStore, tmp_path: Path) -> None:
    store.save(record(), (*readings(), *readings(digit="b")))
    for file in (tmp_path / "characters").glob("*/reading-aaaa*"):
        file.write_bytes(file.read_bytes()[:-1])
    assert [reading.sha256[0] for reading in store.kept("Anna")[1]] == ["b"]


def test_notes_on_consent_and_licence_stay_with_the_character(store: CharacterStore) -> None:
    about = About("Anna said yes,\nfor the play.", "CC BY 4.0")
    store.save(replace(record(), about=about), readings())
    store.rename("Anna", "Anna B.")
    assert store.kept("Anna B.")[0].about == about


def test_a_character_of_an_older_version_is_read_with_its_numbers(store: CharacterStore, tmp_path: Path) -> None:
    """Its folder has one file `identity`, and its record no notes."""
    store.save(record(), ())
    (home,) = [path.parent for path in (tmp_path / "characters").glob("*/record")]
    parts = floats(512, 0.5), floats(1024, 0.25), floats(10, 3.0)
    (home / "identity").write_bytes(b"".join(parts))
    old = store.old_numbers("Anna")
    assert old is not None
    assert (old[0].embedding, old[0].embeddings, old[0].keypoints) == parts
    assert old[1] == EXTENT
    assert store.kept("Anna")[1] == ()
