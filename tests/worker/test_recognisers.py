"""One character, several recognisers: real ONNX files, a tiny model whose FaceID was trained with another recogniser than its InstantID."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_faces import blank, paint_face, write_pack, write_recogniser
from tiny_models import tiny_model

from backend import images
from backend.character_files import read_character, write_character
from backend.characters import CharacterStore
from backend.config import Settings
from backend.models import recognisers
from backend.models.recognisers import onnx_sha256
from backend.readings import blend_of, identity_of_reading
from backend.worker.serve import Watch
from backend.worker.studio import StudioPipeline
from protocol.errors import InvalidRequest, ModelError, NameTaken
from protocol.jobs import (
    AnalyseFaces,
    BlendCharacters,
    Character,
    Embed,
    Embedding,
    ImagePrompt,
    ImportCharacter,
    MakeCharacter,
    Photos,
    PictureJob,
    Sampling,
    Share,
    Subject,
)
from protocol.messages import CharacterPhotos
from protocol.planes import Plane

CARD = """
[faces]
recogniser = "first"
licence = "free"
same = 0.9
strangers = 0.1

[instantid]
recogniser = "first"

[[recogniser]]
name = "second"
file = "recognisers/second.onnx"
sha256 = "{second}"
input = 112
embedding = 512
normalisation = [127.5, 127.5]

[[ip_adapter]]
name = "faceid"
file = "ip_adapter/faceid.safetensors"
recogniser = "second"

[[ip_adapter]]
name = "faceid-plusv2"
file = "ip_adapter/faceid-plusv2.safetensors"
recogniser = "second"

[[ip_adapter]]
name = "plus"
file = "ip_adapter/plus.safetensors"
"""


class Quiet:
    def step(self, done: int, total: int) -> None: ...
    def show(self, picture: Plane, step: int) -> None: ...
    def cancelled(self) -> bool:
        return False


WATCH: Watch = Quiet()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` with both recognisers, and `single` with the first one alone."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("tiny", "single"):
        model = tiny_model(folder / name)
        write_pack(model / "faces")
        card = (model / "model.toml").read_text().replace("tiny-sdxl", name)
        if name == "tiny":
            card += CARD.format(second=onnx_sha256(write_recogniser(model / "recognisers" / "second.onnx", 9)))
        (model / "model.toml").write_text(card, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


def worker(models: Path, home: Path, name: str) -> StudioPipeline:
    """A worker with characters of its own, in the folder of this name."""
    return StudioPipeline(Settings(models=models, logs=home, model="tiny", device="cpu"), home / name)


@pytest.fixture(scope="module")
def both(models: Path, home: Path) -> tuple[StudioPipeline, StudioPipeline]:
    return worker(models, home, "here"), worker(models, home, "there")


@pytest.fixture
def studio(both: tuple[StudioPipeline, StudioPipeline], home: Path) -> StudioPipeline:
    for name in ("here", "there"):
        shutil.rmtree(home / name, ignore_errors=True)
    return both[0]


@pytest.fixture
def elsewhere(both: tuple[StudioPipeline, StudioPipeline], studio: StudioPipeline) -> StudioPipeline:
    """Another machine with the same models."""
    return both[1]


def store(home: Path, name: str = "here") -> CharacterStore:
    return CharacterStore(home / name)


def photo(person: int, *others: int) -> Plane:
    """`person` is the largest face; others stand right below, so that squares share no rows or columns."""
    picture = paint_face(blank(400, 400), 20, 20, 70, person)
    for number, other in enumerate(others):
        paint_face(picture, 180 + 100 * number, 180 + 100 * number, 50, other)
    return images.to_plane(picture)


def make(studio: StudioPipeline, name: str, *photos: Plane, face: int | None = None) -> None:
    studio.run(MakeCharacter(name, photos, face), WATCH, None)


def painted(studio: StudioPipeline, **more: object) -> bytes:
    job = PictureJob("a person", sampling=Sampling(seed=5), preview_every=0, **more)
    return bytes(studio.run(job, WATCH, None).pictures[0].picture.data)


def as_subject(who: Character | Photos | Embedding) -> dict[str, object]:
    return {"subjects": (Subject(who),)}


def as_prompt(who: Character | Photos | Embedding, adapter: str = "faceid", reference: Plane | None = None) -> dict[str, object]:
    return {"image_prompts": (ImagePrompt(reference, who=who, adapter=adapter),)}


def kept(home: Path, name: str, folder: str = "here") -> CharacterPhotos:
    """What the backend answers to `ExportCharacter`."""
    record, readings = store(home, folder).kept(name)
    return CharacterPhotos(1, name, record.photos, record.thumbnail, readings, record.scores, record.about, "0.1.0")


def carried(home: Path, name: str, *, photos: bool = False) -> ImportCharacter | MakeCharacter:
    """The job that brings a character in which was written to a file here."""
    file = home / f"{name}.likeness"
    write_character(file, kept(home, name), photos)
    found, pictures = read_character(file)
    return found.job(pictures)


# Both ways of painting -----------------------------------------------------------------------------------------------------------------
def test_one_character_works_with_instantid_and_faceid_alike_each_by_its_own_recogniser(studio: StudioPipeline, home: Path) -> None:
    photos = Photos((photo(1), photo(2)))
    make(studio, "Anna", *photos.pictures)
    assert [reading.recogniser for reading in store(home).kept("Anna")[1]] == ["first"]
    assert painted(studio, **as_subject(Character("Anna"))) == painted(studio, **as_subject(photos))
    assert painted(studio, **as_prompt(Character("Anna"))) == painted(studio, **as_prompt(photos))
    readings = {reading.recogniser: identity_of_reading(reading) for reading in store(home).kept("Anna")[1]}
    assert set(readings) == {"first", "second"}
    one, other = (readings[name].embedding for name in ("first", "second"))
    assert abs(float(one @ other) / np.linalg.norm(one) / np.linalg.norm(other)) < 0.3
    assert np.array_equal(readings["first"].places[0], readings["second"].places[0])


def test_a_faceid_prompt_of_a_person_is_the_same_as_of_their_photo(studio: StudioPipeline) -> None:
    assert painted(studio, **as_prompt(Photos((photo(1),)))) == painted(studio, image_prompts=(ImagePrompt(photo(1), adapter="faceid"),))
    assert painted(studio, **as_prompt(Photos((photo(1),)))) != painted(studio, **as_prompt(Photos((photo(2),))))


def test_a_character_of_embeddings_alone_paints_the_same_bytes_as_the_original(
    studio: StudioPipeline, elsewhere: StudioPipeline, home: Path
) -> None:
    make(studio, "Anna", photo(1), photo(2))
    both = [painted(studio, **way(Character("Anna"))) for way in (as_subject, as_prompt)]
    elsewhere.run(carried(home, "Anna"), WATCH, None)
    assert store(home, "there").kept("Anna")[0].photos == ()
    assert [painted(elsewhere, **way(Character("Anna"))) for way in (as_subject, as_prompt)] == both


def test_faceid_plus_looks_at_the_characters_first_photo_or_at_a_picture_beside_it(
    studio: StudioPipeline, elsewhere: StudioPipeline, home: Path
) -> None:
    make(studio, "Anna", photo(1), photo(2))
    by_name = painted(studio, **as_prompt(Character("Anna"), "faceid-plusv2"))
    assert by_name == painted(studio, **as_prompt(Photos((photo(1), photo(2))), "faceid-plusv2"))
    elsewhere.run(carried(home, "Anna"), WATCH, None)
    with pytest.raises(InvalidRequest, match="of this person no photo is kept"):
        painted(elsewhere, **as_prompt(Character("Anna"), "faceid-plusv2"))
    assert by_name == painted(elsewhere, **as_prompt(Character("Anna"), "faceid-plusv2", photo(1)))


def test_the_second_recogniser_reads_the_face_that_was_chosen_for_the_first(studio: StudioPipeline) -> None:
    make(studio, "Ben", photo(1, 2), face=1)
    make(studio, "Alone", photo(2))

    def read(name: str) -> np.ndarray:
        who = studio.run(Embed(shares=(Share(name),), adapter="faceid"), WATCH, None).who
        return np.frombuffer(bytes.fromhex(who.numbers), "<f4")

    assert read("Ben") @ read("Alone") / np.linalg.norm(read("Ben")) / np.linalg.norm(read("Alone")) > 0.99


def test_an_adapter_that_looks_at_pictures_does_not_take_a_person(studio: StudioPipeline) -> None:
    make(studio, "Anna", photo(1))
    with pytest.raises(InvalidRequest, match="not at who somebody is"):
        painted(studio, **as_prompt(Character("Anna"), "plus"))


# Mismatches ----------------------------------------------------------------------------------------------------------------------------
def test_numbers_of_another_recogniser_are_refused_wherever_they_come_from(studio: StudioPipeline) -> None:
    make(studio, "Anna", photo(1))
    first, second = (studio.run(Embed(shares=(Share("Anna"),), adapter=adapter), WATCH, None).who for adapter in (None, "faceid"))
    assert len({first.recogniser, second.recogniser}) == 2
    assert painted(studio, **as_subject(first)) == painted(studio, **as_subject(Character("Anna")))
    assert painted(studio, **as_prompt(second)) == painted(studio, **as_prompt(Character("Anna")))
    for way, wrong, name in ((as_subject, second, "first"), (as_prompt, first, "second")):
        with pytest.raises(ModelError, match=f"another recogniser than {name}"):
            painted(studio, **way(wrong))
    # The unsafe twin: numbers that do not say whose they are paint somebody.
    assert painted(studio, **as_subject(replace(second, recogniser=""))) != painted(studio, **as_subject(first))


def test_a_character_that_another_recogniser_read_is_refused_with_its_name_unless_photos_are_there(
    studio: StudioPipeline, elsewhere: StudioPipeline, home: Path
) -> None:
    make(studio, "Anna", photo(1))
    elsewhere.run(carried(home, "Anna"), WATCH, None)  # read by `first` alone
    with pytest.raises(ModelError, match="Anna was read by first and not by second"):
        painted(elsewhere, **as_prompt(Character("Anna")))
    elsewhere.run(replace(carried(home, "Anna", photos=True), replace=True), WATCH, None)
    assert painted(elsewhere, **as_prompt(Character("Anna"))) == painted(studio, **as_prompt(Character("Anna")))


def test_a_file_of_a_recogniser_that_is_not_installed_needs_its_photos(
    studio: StudioPipeline, elsewhere: StudioPipeline, home: Path
) -> None:
    make(studio, "Anna", photo(1))
    foreign = replace(store(home).kept("Anna")[1][0], recogniser="free-faces", sha256="f" * 64)
    job = replace(carried(home, "Anna"), readings=(foreign,))
    with pytest.raises(ModelError, match=r"read by free-faces and comes without photos.*installed: drawn-faces, second, single"):
        elsewhere.run(job, WATCH, None)
    assert store(home, "there").cards() == []
    elsewhere.run(replace(job, photos=(photo(1),)), WATCH, None)
    assert {one.recogniser for one in store(home, "there").kept("Anna")[1]} == {"first", "free-faces"}
    assert painted(elsewhere, **as_subject(Character("Anna"))) == painted(studio, **as_subject(Character("Anna")))


def test_a_model_without_the_adapters_recogniser_says_which_one_it_needs(models: Path, home: Path) -> None:
    card = models / "tiny" / "model.toml"
    text = card.read_text()
    try:
        card.write_text(text.replace('recogniser = "second"', 'recogniser = "buffalo_l"'))
        with pytest.raises(ModelError, match=r"'faceid' was trained with the recogniser buffalo_l.*'tiny' has only first, second"):
            painted(worker(models, home, "here"), **as_prompt(Photos((photo(1),))))
    finally:
        card.write_text(text)


def test_a_recogniser_that_is_not_the_file_of_model_toml_is_refused(models: Path, home: Path) -> None:
    file = models / "tiny" / "recognisers" / "second.onnx"
    data = file.read_bytes()
    try:
        write_recogniser(file, 11)
        with pytest.raises(ModelError, match="its sha256 is another"):
            painted(worker(models, home, "here"), **as_prompt(Photos((photo(1),))))
    finally:
        file.write_bytes(data)


# Blends, lists, older versions ---------------------------------------------------------------------------------------------------------
def test_a_blend_is_one_for_every_recogniser_of_the_model(studio: StudioPipeline, home: Path) -> None:
    make(studio, "Anna", photo(1))
    make(studio, "Ben", photo(2))
    shares = Share("Anna", 1.0), Share("Ben", 0.5)
    card = studio.run(BlendCharacters("Child", shares), WATCH, None).card
    assert (card.scores, card.alike) == ((), ())
    anna, ben, child = ({one.sha256: identity_of_reading(one) for one in store(home).kept(name)[1]} for name in ("Anna", "Ben", "Child"))
    assert len(child) == 2
    for sha256, between in child.items():
        assert np.array_equal(between.embedding, blend_of([(anna[sha256], 1.0), (ben[sha256], 0.5)]).embedding)
    for adapter in (None, "faceid"):
        read = studio.run(Embed(shares=shares, adapter=adapter), WATCH, None).who
        assert np.array_equal(np.frombuffer(bytes.fromhex(read.numbers), "<f4"), child[read.recogniser].embedding)
    assert painted(studio, **as_prompt(Character("Child"))) != painted(studio, **as_prompt(Character("Anna")))


def test_an_average_counts_photos_as_people(studio: StudioPipeline) -> None:
    make(studio, "Anna", photo(1))
    make(studio, "Ben", photo(2))
    studio.run(BlendCharacters("Both", (Share("Anna"), Share("Ben"))), WATCH, None)
    studio.run(BlendCharacters("Also", (Share("Anna"),), photos=(photo(2),)), WATCH, None)
    assert painted(studio, **as_subject(Character("Both"))) == painted(studio, **as_subject(Character("Also")))
    with pytest.raises(NameTaken):
        studio.run(BlendCharacters("Also", (Share("Anna"),), photos=(photo(3),)), WATCH, None)


def test_models_are_told_with_their_recognisers_and_who_reads_with_them(studio: StudioPipeline, models: Path) -> None:
    tiny = next(model for model in studio.models() if model.id == "tiny")
    assert [(one.name, one.readers, one.licence) for one in tiny.recognisers] == [
        ("first", ("instantid",), "free"),
        ("second", ("faceid", "faceid-plusv2"), ""),
    ]
    assert (tiny.recognisers[0].same, tiny.recognisers[0].strangers) == (0.9, 0.1)
    assert tiny.recognisers[0].sha256 == onnx_sha256(models / "tiny" / "faces" / "rec.onnx")


def as_an_older_version_kept_it(home: Path, name: str) -> None:
    """One file of raw numbers, of the first recogniser, instead of readings."""
    found = next(identity_of_reading(one) for one in store(home).kept(name)[1] if one.recogniser == "first")
    folder = home / "here" / store(home).stamp(name)
    (folder / "identity").write_bytes(np.concatenate([found.embedding, *found.embeddings, found.keypoints.ravel()]).tobytes())
    for file in folder.glob("reading-*"):
        file.unlink()


@pytest.mark.parametrize("face", [None, 1])
def test_a_character_of_an_older_version_is_painted_as_before_and_known_by_its_recogniser_from_then_on(
    studio: StudioPipeline, home: Path, face: int | None
) -> None:
    make(studio, "Anna", photo(1, 3), photo(2, 4), face=face)
    before, (reading,) = painted(studio, **as_subject(Character("Anna"))), store(home).kept("Anna")[1]
    as_an_older_version_kept_it(home, "Anna")
    assert store(home).kept("Anna")[1] == ()
    assert painted(studio, **as_subject(Character("Anna"))) == before
    assert store(home).kept("Anna")[1] == (reading,)


def test_a_blend_of_an_older_version_is_painted_as_before(studio: StudioPipeline, home: Path) -> None:
    make(studio, "Anna", photo(1))
    make(studio, "Ben", photo(2))
    studio.run(BlendCharacters("Child", (Share("Anna"), Share("Ben"))), WATCH, None)
    for name in ("Anna", "Ben"):
        store(home).delete(name)
    before = painted(studio, **as_subject(Character("Child")))
    as_an_older_version_kept_it(home, "Child")
    assert painted(studio, **as_subject(Character("Child"))) == before
    assert studio.run(AnalyseFaces(photo(1), "Child"), WATCH, None).faces[0].similarity is not None


def test_what_is_known_by_its_file_name_needs_no_name_in_model_toml(tmp_path: Path) -> None:
    write_pack(tmp_path / "faces")
    (tmp_path / "faces" / "rec.onnx").rename(tmp_path / "faces" / "glintr100.onnx")
    (found,) = recognisers.read_recognisers(tmp_path, "mine", {})
    assert (found.name, found.licence) == ("antelopev2", recognisers.RESEARCH_ONLY)
    assert recognisers.recogniser_for("mine", (found,), "", "antelopev2", "InstantID") == found
    with pytest.raises(ModelError, match=r"say so in model.toml: recogniser = 'antelopev2'"):
        recognisers.recogniser_for("mine", (found,), "", "buffalo_l", "FaceID")
    own = replace(found, name="mine")
    assert recognisers.recogniser_for("mine", (own,), "", "buffalo_l", "FaceID") == own
