"""Live in a real Krita on an X server of its own, with the real backend and the built-in model: strokes of a real brush are followed.

`LIKENESS_SCREENSHOTS` names a folder where the pictures of the screen are kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import krita_real
import krita_runs
import pytest
from krita_real import PATIENCE_S, PHOTO, PHOTOS
from PIL import Image

from backend.training import samples, world
from backend.training.drawing import draw

WHY_NOT = krita_runs.why_no_krita("krita", "Xvfb", "xdotool", "import")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
SIDE = 512
STROKES = [
    {"colour": [96, 140, 200], "size": 300, "points": [[80, 90], [440, 90], [440, 270], [80, 270], [80, 420], [440, 420]]},
    {"colour": [70, 150, 90], "size": 200, "points": [[120, 480], [256, 440], [400, 480]]},
    {"colour": [236, 190, 160], "size": 190, "points": [[256, 220], [258, 250], [254, 280]]},
    {"colour": [90, 55, 35], "size": 70, "points": [[150, 270], [165, 180], [220, 130], [300, 130], [350, 180], [362, 270]], "hold": True},
]
"""A sky, a jacket, a face and hair, as one paints them with a wide brush before anything else."""


def plan_of(folder: Path) -> dict[str, Any]:
    who, photos = world.person(samples.FIRST_SAMPLE + samples.SAMPLES["ada"]), []
    for number, changes in enumerate(PHOTOS):
        photos.append(str(folder / f"photo-{number + 1}.png"))
        Image.fromarray(draw(who, replace(PHOTO, **changes), 256).picture).save(photos[-1])
    prompt = "portrait of a smiling person, green jacket, blue background"
    plan = {"photos": photos, "size": [SIDE, SIDE], "name": "Ada", "prompt": prompt, "seed": 77, "change": 0.75}
    return {**plan, "window": [1400, 900], "strokes": STROKES}


def stroke(running: krita_runs.RunningKrita, points: list[list[int]], seen: str | None) -> None:
    """The brush goes down, along the points, and up: but not before the scenario has told of `seen`."""
    (x, y), *others = points
    running.xdotool("mousemove", str(x), str(y), "mousedown", "1")
    for x, y in others:
        running.xdotool("mousemove", str(x), str(y))
        time.sleep(0.5 if seen else 0.1)
    if seen:
        running.wait_for(seen, PATIENCE_S)
    running.xdotool("mouseup", "1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One session, of which each test looks at a part."""
    folder = tmp_path_factory.mktemp("live")
    with krita_real.installed(folder) as (home, backend):
        out = folder / "out"
        out.mkdir()
        (out / "plan.json").write_text(json.dumps(plan_of(folder)), encoding="utf-8")
        with krita_runs.krita(home, out, 1400, 900, LIKENESS_SCENARIO="live", LIKENESS_STATE=str(backend.state)) as running:

            def event(name: str) -> dict[str, Any]:
                return dict(running.wait_for(name, PATIENCE_S))

            running.click(event("click-start")["place"])
            running.click(event("click-live")["place"])
            for number in range(len(STROKES)):
                begun = event(f"stroke-{number}")
                stroke(running, begun["points"], f"seen-{number}" if begun["hold"] else None)
                running.say(f"stroke-{number}")
                event(f"followed-{number}")
            running.click(event("click-keep")["place"])
            event("kept")
            running.click(event("click-full")["place"])
            event("away")
            running.say("end")
            event("closing")
            code = running.process.wait(300)
            yield {"code": code, "log": running.log(), **{str(one["event"]): one for one in running.events()}}


def test_everything_goes_its_way(run: dict[str, Any]):
    assert run["code"] == 0
    assert "Traceback" not in run["log"]
    assert "SAFE ASSERT" not in run["log"]


def test_it_is_off_at_first_and_a_click_turns_it_on_and_follows_the_brush(run: dict[str, Any]):
    assert run["click-live"]["off"]
    assert (run["click-live"]["mode"], run["on"]["mode"]) == ("fill", "refine")
    assert run["on"]["words"] == "Follows the canvas."


def test_every_stroke_is_followed_and_each_is_one_step_of_undo_of_her_own(run: dict[str, Any]):
    for number in range(len(STROKES)):
        followed = run[f"followed-{number}"]
        assert followed["painted"]
        assert followed["pictures"] >= 1
        assert "Brush" in followed["undo"], "live leaves no step"
        assert not any("Likeness" in name for name in followed["layers"])


def test_a_long_stroke_is_followed_while_the_brush_is_down_and_not_ended(run: dict[str, Any]):
    assert run["followed-3"]["meanwhile"] >= 1


def test_it_costs_kritas_thread_next_to_nothing(run: dict[str, Any]):
    """Processor time of the docker's ticks; the median, as others on this computer make single ones long."""
    for number in range(len(STROKES)):
        assert run[f"followed-{number}"]["tick"] < 0.005


def test_keep_makes_one_layer_that_one_undo_takes_back(run: dict[str, Any]):
    kept = run["kept"]
    assert len(kept["kept"]) == len(kept["before"]) + 1
    assert "live, seed 77" in kept["kept"][-1]
    assert kept["undone"] == kept["before"]


def test_the_live_picture_is_like_the_person(run: dict[str, Any]):
    assert run["kept"]["similarity"] > 0.3


def test_make_in_full_takes_its_seed_and_live_waits_for_it(run: dict[str, Any]):
    assert run["full"]["made"] == run["full"]["seed"]
    assert "until the picture under way is finished" in run["full"]["words"]


def test_it_stops_with_the_docker_and_with_the_document(run: dict[str, Any]):
    assert "docker was hidden" in run["away"]["hidden"]
    assert "the document was closed" in run["away"]["closed"]
    assert run["away"]["notice"] == ""
