"""The measures are told apart from the model: an engine that draws exactly what was asked meets every target, and each flaw is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle_world import Flaws, KnownFaces, OracleEngine

from backend.evaluation import evaluate, people
from backend.evaluation.evaluate import measure
from backend.evaluation.findings import Sizes
from backend.evaluation.measures import keypoint_error, mean, nearest
from backend.evaluation.people import sitter, wanted_shot
from backend.evaluation.table import Row, as_json, markdown, verdict
from backend.evaluation.tested import ModelUnderTest
from backend.training.data import Plan
from backend.training.world import FIRST_EVALUATION_PERSON
from protocol.errors import InvalidRequest

SIDE = 64
SIZES = Sizes(people=6, posed=6, photographed=3, cornered=2, restyled=4, inpainted=4)


drawn = cache(sitter)


@pytest.fixture(scope="module", autouse=True)
def _each_person_is_drawn_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "sitter", drawn)
        yield


@cache
def rows_for(flaws):
    sitters = [drawn(index, SIDE) for index in range(6)]
    faces = KnownFaces()
    here = ModelUnderTest(OracleEngine(sitters, faces, flaws, SIDE), faces, SIDE)
    there = ModelUnderTest(OracleEngine(sitters, faces, flaws, SIDE, "ink"), faces, SIDE)
    findings = measure(here, there, "ink", SIZES, faces, faces)
    assert here.painted + there.painted == SIZES.pictures
    return [row for finding in findings for row in finding.rows]


def missed(rows, claim):
    return [row.measure for row in rows if row.claim.startswith(claim) and row.met is False]


@pytest.fixture(scope="module")
def perfect():
    return rows_for(Flaws())


def test_an_engine_that_draws_what_was_asked_meets_every_target(perfect):
    assert [row.measure for row in perfect if row.met is False] == []


def test_all_seven_claims_are_in_the_table(perfect):
    assert {row.claim[0] for row in perfect} == set("1234567")


@pytest.mark.parametrize(
    ("flaw", "claim"),
    [
        ("forgets_faces", "1"),
        ("ignores_prompt", "2"),
        ("ignores_pose", "3"),
        ("leaks_at_zero", "5"),
        ("forgets_faces", "6"),
        ("loses_style", "6"),
        ("spills_over", "7"),
    ],
)
def test_a_flaw_is_seen_by_its_measure(flaw, claim):
    assert missed(rows_for(Flaws(**{flaw: True})), claim)


def test_the_evaluation_never_meets_a_person_of_the_training():
    assert all(sitter(index, 64).seed >= FIRST_EVALUATION_PERSON for index in (0, 99))
    with pytest.raises(InvalidRequest):
        Plan(persons=10, shots_each=1, first=FIRST_EVALUATION_PERSON - 5)


def test_a_sitter_is_the_same_every_time():
    one, other = sitter(3, 64), sitter(3, 64)
    assert np.array_equal(one.reference.picture, other.reference.picture)
    assert np.array_equal(one.photos[3], other.photos[3])


def test_fresh_persons_are_others_than_those_that_the_figures_are_of(monkeypatch: pytest.MonkeyPatch):
    drawing = sitter(0, SIDE).reference
    monkeypatch.setattr(people, "draw", lambda *_: drawing)  # who they are needs no thousand drawings
    fresh = replace(SIZES, first=100)
    assert len(fresh.numbers) == len(SIZES.numbers) == 6
    assert not {sitter(number, 64).seed for number in fresh.numbers} & {sitter(number, 64).seed for number in range(100)}
    assert fresh.pictures == SIZES.pictures


def test_every_hat_and_every_expression_is_asked_for():
    wanted = [wanted_shot(index) for index in range(30)]
    assert {view.hat for view in wanted} == {"none", "cap", "beanie", "top hat", "straw hat"}
    assert {view.glasses for view in wanted} == {"none", "glasses", "sunglasses"}
    assert len({view.expression for view in wanted}) == 5


def test_the_arithmetic_of_the_measures():
    gallery = list(np.eye(4, 512, dtype=np.float32))
    assert nearest([gallery[0], gallery[2], None, gallery[3]], gallery) == 0.5
    points = np.zeros((5, 2), np.float32)
    assert keypoint_error(points + np.array([3, 4]), points, 100) == pytest.approx(0.05)
    assert mean([1, 2, 3]).value == 2
    assert mean([]).count == 0


def test_the_table_says_what_was_missed():
    rows = [Row("1 a", "good", "1", "≥ 0", True, 1.0), Row("1 a", "bad", "0", "≥ 1", False, 0.0), Row("1 a", "note", "5")]
    assert verdict(rows) == "1 of 2 targets met. Missed: bad."
    assert markdown(rows).count("MISSED") == 1
    assert json.loads(as_json(rows, {"model": "x"}))["rows"][1]["met"] is False
