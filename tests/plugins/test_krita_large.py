"""A small head in a large canvas in a real Krita with the real backend and the built-in model, and pictures that outlive a killed Krita.

`LIKENESS_SCREENSHOTS` names a folder where the pictures of the screen are kept.
"""

from __future__ import annotations

import io
import json
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import krita_real
import krita_runs
import numpy as np
import pytest
from krita_real import PATIENCE_S, PHOTO, PHOTOS, SKETCH
from PIL import Image

from backend.faces import FaceAnalyser, cosine
from backend.training import samples, world
from backend.training.drawing import draw

WHY_NOT = krita_runs.why_no_krita("krita", "Xvfb", "xdotool", "import")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
NAME, PROMPT = "Ada", "portrait of a person, green jacket"
WIDTH, HEIGHT, SIDE = 6000, 4000, 512
PLACE = (2700, 1600)
"""Where the two people, 1024 x 512 pixels, are on the canvas; the head that is painted is a seventieth of it wide."""


def draw_scene(folder: Path) -> dict[str, Any]:
    """Two people in the middle of a wide wall, and two photos of a third one."""
    picture, mask = samples.scene(SIDE)
    x, y = PLACE
    whole = np.pad(picture, ((y, HEIGHT - y - SIDE), (x, WIDTH - x - 2 * SIDE), (0, 0)), mode="edge")
    Image.fromarray(whole).save(folder / "large.png", compress_level=1)
    who, photos = world.person(samples.FIRST_SAMPLE + samples.SAMPLES["ada"]), []
    for number, changes in enumerate(PHOTOS):
        photos.append(str(folder / f"photo-{number + 1}.png"))
        Image.fromarray(draw(who, replace(PHOTO, **changes), 256).picture).save(photos[-1])
    (folder / "mask").write_bytes(mask.tobytes())
    files = {"scene": str(folder / "large.png"), "photos": photos, "mask": str(folder / "mask"), "kra": str(folder / "large.kra")}
    return {**files, "place": [x, y, 2 * SIDE, SIDE], "name": NAME, "prompt": PROMPT, "seed": 79, "window": [1400, 900]}


def until(done: Callable[[], object], timeout_s: float = 300.0) -> None:
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two sessions: the first is killed, the second finds what the first has left."""
    folder = tmp_path_factory.mktemp("large")
    with krita_real.installed(folder) as (home, backend):
        first, second = folder / "first", folder / "second"
        plan, copies = draw_scene(folder), krita_real.own_folder(home) / "unsaved"
        for out in (first, second):
            out.mkdir()
            (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        told: dict[str, Any] = {"plan": plan}
        state = str(backend.state)
        with krita_runs.krita(home, first, 1400, 900, LIKENESS_SCENARIO="large", LIKENESS_STATE=state) as running:
            told["applied"] = dict(running.wait_for("applied", PATIENCE_S))
            told["kra"] = Path(plan["kra"]).read_bytes()
            until(lambda: not list(copies.iterdir()))
            running.say("saved")
            told["unsaved"] = dict(running.wait_for("unsaved", PATIENCE_S))
            told["copies"] = [path.stat().st_size for path in copies.iterdir()]
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait(60)
            told["first log"] = running.log()
        with krita_runs.krita(home, second, 1400, 900, LIKENESS_SCENARIO="found", LIKENESS_STATE=state) as running:
            told["found"] = dict(running.wait_for("found", PATIENCE_S))
            told["saved"] = dict(running.wait_for("saved", PATIENCE_S))
            until(lambda: not list(copies.iterdir()))
            running.say("gone")
            running.wait_for("closing", PATIENCE_S)
            told["code"], told["log"] = running.process.wait(300), running.log()
        yield told


@pytest.fixture(scope="module")
def pictures(run: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The canvas before and after, (4000, 6000, 3), and the selection (4000, 6000)."""
    with zipfile.ZipFile(io.BytesIO(run["kra"])) as archive:
        after = np.asarray(Image.open(io.BytesIO(archive.read("mergedimage.png"))).convert("RGB"))
    before = np.asarray(Image.open(run["plan"]["scene"]).convert("RGB"))
    x, y, width, height = run["plan"]["place"]
    mask = np.zeros(before.shape[:2], np.uint8)
    mask[y : y + height, x : x + width] = np.frombuffer(Path(run["plan"]["mask"]).read_bytes(), np.uint8).reshape(height, width)
    return before, after, mask


def test_both_sessions_go_their_way(run: dict[str, Any]):
    assert run["code"] == 0
    assert "Traceback" not in run["first log"] + run["log"]
    assert run["applied"]["saved"]
    assert PROMPT[:10] in run["applied"]["layers"][-1]


def test_outside_the_selection_of_a_small_head_24_megapixels_are_bit_equal(pictures: tuple[np.ndarray, np.ndarray, np.ndarray]):
    before, after, mask = pictures
    assert (mask > 0).mean() < 0.01
    assert (after[mask == 0] == before[mask == 0]).all()
    assert (after[mask > 0] != before[mask > 0]).mean() > 0.3


def steps_across_the_edge(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Differences in level between neighbours of which one is selected and the other not: what is seen as a seam."""
    inside, levels = mask > 0, picture.astype(np.int16)
    across, down = inside[:, 1:] != inside[:, :-1], inside[1:] != inside[:-1]
    return np.concatenate([np.abs(levels[:, 1:] - levels[:, :-1])[across].max(1), np.abs(levels[1:] - levels[:-1])[down].max(1)])


def test_the_painted_head_sits_without_a_seam(pictures: tuple[np.ndarray, np.ndarray, np.ndarray]):
    """Two levels more than the canvas had there cannot be seen. The twin without a feather has a seam."""
    before, after, mask = pictures
    y, x = PLACE[1] - 8, PLACE[0] - 8
    part = (slice(y, y + SIDE + 16), slice(x, x + 2 * SIDE + 16))
    was, now = (np.percentile(steps_across_the_edge(one[part], mask[part]), 95) for one in (before, after))
    assert now <= was + 2, (was, now)
    hard = before[part].copy()
    inner = mask[part] > 0
    hard[inner] = after[part][inner].astype(np.int16).mean(axis=0).astype(np.uint8)
    assert np.percentile(steps_across_the_edge(hard, mask[part]), 95) > was + 2


def test_the_small_head_was_worked_at_the_models_resolution_and_is_the_character(
    run: dict[str, Any], pictures: tuple[np.ndarray, np.ndarray, np.ndarray]
):
    """Of 6000 pixels scaled to the model's 128, the head would have been four: nobody's likeness."""
    before, after, mask = pictures
    faces = FaceAnalyser(SKETCH / "faces", det_sizes=(192, 160, 128, 256), drawn=True)
    identity = faces.identify([np.asarray(Image.open(photo).convert("RGB")) for photo in run["plan"]["photos"]])
    x, y = PLACE[0] + SIDE, PLACE[1]

    def likeness(picture: np.ndarray) -> float:
        found = faces.analyse(np.ascontiguousarray(picture[y : y + SIDE, x : x + SIDE]))
        return max(cosine(face.embedding, identity.embedding) for face in found)

    assert likeness(after) > likeness(before) + 0.2, (likeness(before), likeness(after), run["applied"])
    box = run["applied"]["box"]
    assert max(box[2:]) < 700
    assert (mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] > 0).sum() == (mask > 0).sum()


def test_the_file_was_looked_into_and_the_copy_gone_before_more_was_painted(run: dict[str, Any]):
    with zipfile.ZipFile(io.BytesIO(run["kra"])) as archive:
        assert any(name.endswith("/annotations/likeness/state") for name in archive.namelist())


def test_pictures_that_no_file_knew_are_there_when_the_killed_krita_is_started_again(run: dict[str, Any]):
    assert run["unsaved"]["modified"]
    assert len(run["copies"]) == 1
    assert run["found"]["seeds"] == run["unsaved"]["seeds"]
    assert run["found"]["applied"] == [False, False, True]


def test_saving_them_takes_the_copy_away(run: dict[str, Any]):
    assert len(run["saved"]["layers"]) == 3
