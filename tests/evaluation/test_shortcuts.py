"""What a shortcut costs is measured against the same person painted fully, and its time against that picture's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from oracle_world import Flaws, KnownFaces, OracleEngine
from PIL import Image

from backend.cli.arguments import QUICK
from backend.evaluation.evaluate import compare_shortcuts
from backend.evaluation.people import sitter
from backend.evaluation.shortcuts import WAYS
from backend.progress import Bar
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Shortcut

PEOPLE, SIDE = 3, 64
SECONDS = {Shortcut.FEW_STEPS: -6.0, Shortcut.CONDITIONAL_IDENTITY: -1.0}
"""What a shortcut takes off the ten seconds of a picture."""


class Place:
    """Paints with the world's own pencil on a clock of its own; with few steps it draws somebody else."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(id="drawn", name="Drawn", extent=Extent(SIDE, SIDE))
        self.faces = KnownFaces()
        sitters = [sitter(index, SIDE) for index in range(PEOPLE)]
        self.engines = {lost: OracleEngine(sitters, self.faces, Flaws(forgets_faces=lost), SIDE) for lost in (False, True)}
        self.now = 0.0

    def paint(self, job: PictureJob, watch: object):
        asked = job.sampling.shortcuts
        self.now += 10 + sum(SECONDS.get(shortcut, 0.0) for shortcut in asked)
        return self.engines[Shortcut.FEW_STEPS in asked].run(job)[0]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory):
    out, place = tmp_path_factory.mktemp("out"), Place()
    with Bar("shortcuts", PEOPLE * len(WAYS)) as bar:
        rows = compare_shortcuts(place, place.faces, PEOPLE, bar, out, lambda: place.now)
    return out, {row.measure: row for row in rows}


def test_every_shortcut_is_tried_alone_and_all_of_them_together():
    tried = dict(WAYS)
    assert tried["fully"] == ()
    assert {way[0] for way in tried.values() if len(way) == 1} == set(Shortcut) - {Shortcut.SMALL}
    assert tried["--quick"] == QUICK
    assert set(tried["all steps, else quick"]) == set(Shortcut) - {Shortcut.SMALL, Shortcut.FEW_STEPS}


def test_a_shortcut_that_draws_somebody_else_costs_its_likeness(measured):
    _, rows = measured
    assert rows["fully: cosine to the reference"].value == pytest.approx(1, abs=1e-5)
    for name in ("few-steps", "--quick"):
        assert rows[f"{name}: cosine, against fully"].value < -0.8
    for name in ("guidance-interval", "conditional-identity"):
        assert rows[f"{name}: cosine, against fully"].value == pytest.approx(0, abs=1e-6)


def test_time_is_the_share_of_the_full_picture(measured):
    _, rows = measured
    shares = {"few-steps": 0.4, "guidance-interval": 1.0, "conditional-identity": 0.9, "--quick": 0.3}
    assert {name: rows[f"{name}: time, of fully"].value for name in shares} == pytest.approx(shares)


def test_the_table_the_figures_and_the_pictures_are_left_in_the_folder(measured):
    out, rows = measured
    assert all(row.measure in (out / "shortcuts.md").read_text("utf-8") for row in rows.values())
    told = json.loads((out / "shortcuts.json").read_text("utf-8"))
    assert told["pictures"] == PEOPLE * len(WAYS)
    assert len(told["rows"]) == len(rows)
    assert np.asarray(Image.open(out / "shortcuts.png")).std() > 0
