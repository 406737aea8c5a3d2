"""The demo, on a tiny model: everything it promises lies in the folder."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from backend.cli.main import main
from backend.contact import Cell, Row, contact_sheet
from backend.demo import turned

FACE = np.array([[40, 50], [60, 50], [50, 62], [42, 72], [58, 72]], np.float32)


def test_the_demo_leaves_portraits_edits_poses_a_scene_a_sheet_and_figures(tmp_path, models, capsys):
    assert main(["demo", "--out", str(tmp_path / "deep" / "demo")]) == 0
    folder = tmp_path / "deep" / "demo"
    about = json.loads((folder / "demo.json").read_text())
    kinds = [entry["kind"] for entry in about["pictures"]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"portrait": 6, "edited": 6, "posed": 6, "inpainted": 1}
    assert all((folder / entry["file"]).is_file() and entry["seconds"] > 0 for entry in about["pictures"])
    assert Image.open(folder / "contact.png").width > 600
    assert "contact.png" in capsys.readouterr().out
    before, after = (np.asarray(Image.open(folder / name)) for name in ("scene.png", "inpainted.png"))
    outside = np.asarray(Image.open(models / "tiny" / "samples" / "scene-mask.png")) == 0
    assert np.array_equal(before[outside], after[outside])
    assert main(["again", str(folder / "edit-2.png"), "-o", str(tmp_path / "again.png")]) == 0


def test_a_head_that_is_not_turned_keeps_its_keypoints():
    assert np.allclose(turned(FACE, 0, 0, 0), FACE, atol=1e-4)


def test_a_head_turned_to_the_viewers_right_shows_its_nose_there():
    right, left = turned(FACE, 25, 0, 0), turned(FACE, -25, 0, 0)
    assert right[2, 0] - right[:2, 0].mean() > 3
    assert left[2, 0] - left[:2, 0].mean() < -3
    assert np.ptp(right[:2, 0]) < np.ptp(FACE[:2, 0])


def test_a_head_that_leans_clockwise_lifts_the_eye_on_the_viewers_left():
    leaning = turned(FACE, 0, 0, 15)
    assert leaning[0, 1] < leaning[1, 1]


def test_a_head_that_looks_down_lowers_its_nose():
    down, up = turned(FACE, 0, 14, 0), turned(FACE, 0, -14, 0)
    assert down[2, 1] - down[:2, 1].mean() > up[2, 1] - up[:2, 1].mean()


def test_a_contact_sheet_shows_every_picture_unchanged_in_the_middle():
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    cells = tuple(Cell(np.full((50, 80, 3), colour, np.uint8), "a label that is much too long for this picture") for colour in colours)
    sheet = contact_sheet("Title", "subtitle", [Row("one", cells), Row("two", cells[:1])], height=100)
    assert [bool((sheet == colour).all(axis=2).sum() > 100 * 160 * 0.9) for colour in colours] == [True] * 3
