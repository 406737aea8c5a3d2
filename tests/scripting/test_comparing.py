"""Comparing two people, and what lies between them: arithmetic against an oracle."""

from __future__ import annotations

import numpy as np
import pytest

from backend.comparing import Verdict, compared, cosine_of, in_a_row
from backend.faces import Identity, embedding_of, identity_of
from backend.readings import blend_of, identity_of_reading, reading_of
from protocol.errors import BadPicture, InvalidRequest
from protocol.geometry import Extent, Point
from protocol.jobs import Embedding
from protocol.planes import Plane
from protocol.results import ModelInfo, RecogniserInfo

RNG = np.random.default_rng(5)
SHA = "a" * 64


def identity(numbers: np.ndarray, recogniser: str = SHA) -> Identity:
    embedding = numbers.astype(np.float32)
    return Identity(embedding, embedding[None], np.arange(10, dtype=np.float32).reshape(5, 2), Extent(40, 30), recogniser)


def somebody(recogniser: str = SHA, seed: int = 1) -> Identity:
    return identity(np.random.default_rng(seed).standard_normal(512) * (5 + seed), recogniser)


def model(same: float | None = 0.6, strangers: float | None = 0.3) -> ModelInfo:
    return ModelInfo("m", "M", "sdxl", Extent(64, 64), recognisers=(RecogniserInfo("mine", SHA, same=same, strangers=strangers),))


def at(cosine: float) -> tuple[Embedding, Embedding]:
    """Two people whose cosine is this."""
    one, other = np.zeros(512), np.zeros(512)
    one[0], other[0], other[1] = 3.0, 2 * cosine, 2 * np.sqrt(1 - cosine**2)
    return embedding_of(identity(one)), embedding_of(identity(other))


@pytest.mark.parametrize(
    ("cosine", "verdict"), [(0.9, Verdict.SAME), (0.45, Verdict.UNCERTAIN), (0.1, Verdict.STRANGERS), (-0.8, Verdict.STRANGERS)]
)
def test_the_verdict_is_by_the_figures_of_the_recogniser(cosine: float, verdict: Verdict) -> None:
    found = compared(*at(cosine), model())
    assert (found.cosine, found.verdict, found.recogniser) == (pytest.approx(cosine, abs=1e-6), verdict, "mine")
    assert f"Cosine {cosine:.2f} by mine: {verdict.value}." in found.sentence
    assert "95 are above 0.60" in found.sentence


def test_without_figures_the_number_speaks_for_itself() -> None:
    for unknown in (model(None, None), None):
        found = compared(*at(0.9), unknown)
        assert (found.verdict, found.figures) == (Verdict.UNKNOWN, None)
        assert "nobody has measured" in found.sentence


def test_readings_of_two_recognisers_are_not_compared() -> None:
    with pytest.raises(InvalidRequest, match="different recognisers"):
        compared(embedding_of(somebody()), embedding_of(somebody("b" * 64)), model())


def test_the_cosine_is_numpys() -> None:
    one, other = somebody(seed=1), somebody(seed=2)
    wanted = one.embedding @ other.embedding / np.linalg.norm(one.embedding) / np.linalg.norm(other.embedding)
    assert cosine_of(embedding_of(one), embedding_of(other)) == pytest.approx(float(wanted), abs=1e-6)


def unit(numbers: np.ndarray) -> np.ndarray:
    return numbers / np.linalg.norm(numbers)


def slerp(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Spherical interpolation (Shoemake 1985)."""
    angle = np.arccos(unit(one) @ unit(other))
    return (np.sin((1 - share) * angle) * unit(one) + np.sin(share * angle) * unit(other)) / np.sin(angle)


def test_a_blend_runs_along_the_great_circle_with_the_lengths_between_and_close_to_spherical_steps() -> None:
    one, other = somebody(seed=1), somebody(seed=2)  # strangers: nearly a right angle
    for share in np.linspace(0, 1, 9):
        found = blend_of([(one, 1 - share), (other, share)]).embedding.astype(np.float64)
        length = (1 - share) * np.linalg.norm(one.embedding) + share * np.linalg.norm(other.embedding)
        assert np.linalg.norm(found) == pytest.approx(float(length), rel=1e-5)
        wanted = slerp(one.embedding.astype(np.float64), other.embedding.astype(np.float64), share)
        off = np.degrees(np.arccos(min(1.0, unit(found) @ wanted)))
        assert off < (0.1 if share in (0.0, 0.5, 1.0) else 5.0)
        plane = np.linalg.lstsq(np.stack([one.embedding, other.embedding]).T, found, rcond=None)[0]
        assert plane @ np.stack([one.embedding, other.embedding]) == pytest.approx(found, abs=1e-3)


def test_the_plain_mean_would_be_shorter() -> None:
    """The unsafe twin: what the lengths above guard against."""
    one, other = somebody(seed=1), somebody(seed=2)
    mean = (one.embedding + other.embedding) / 2
    lengths = np.linalg.norm(one.embedding), np.linalg.norm(other.embedding)
    assert np.linalg.norm(mean) < 0.75 * sum(lengths) / 2


def test_a_blend_of_one_recogniser_and_another_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="different recognisers"):
        blend_of([(somebody(), 1.0), (somebody("b" * 64), 1.0)])
    with pytest.raises(InvalidRequest, match="opposites"):
        blend_of([(somebody(), 1.0), (identity(-somebody().embedding), 1.0)])


def test_a_row_has_everybody_in_the_place_of_the_first() -> None:
    people = [embedding_of(somebody(seed=seed)) for seed in (1, 2)]
    moved = Embedding(people[1].numbers, tuple(Point(9.0, 9.0) for _ in range(5)), Extent(99, 99), SHA)
    row = in_a_row([people[0], moved])
    assert [one.numbers for one in row] == [one.numbers for one in people]
    assert row[1].keypoints == people[0].keypoints
    assert row[1].extent == people[0].extent


def test_a_reading_is_the_identity_bit_for_bit_and_numbers_that_are_none_are_refused() -> None:
    rows = RNG.standard_normal((3, 512)).astype(np.float32)
    places, extents = RNG.uniform(0, 30, (3, 5, 2)).astype(np.float32), (Extent(40, 30), Extent(50, 60), Extent(7, 8))
    given = Identity(rows.mean(axis=0), rows, places[0], extents[0], SHA, places, extents)
    reading = reading_of(given, "mine", SHA)
    found = identity_of_reading(reading)
    for name in ("embedding", "embeddings", "keypoints", "photo_keypoints"):
        assert np.array_equal(getattr(found, name), getattr(given, name)), name
    assert (found.recogniser, found.photo_extents, found.extent) == (SHA, extents, extents[0])
    assert identity_of(embedding_of(found)).recogniser == SHA
    for bad in (np.nan, np.inf, 0.0):
        numbers = np.repeat(np.float32([[bad]]), 512 * 4, axis=1)
        plane = Plane(reading.numbers.layout, reading.numbers.extent, numbers.tobytes())
        with pytest.raises(BadPicture, match="no usable numbers"):
            identity_of_reading(type(reading)("mine", SHA, plane, reading.keypoints, reading.extents))
