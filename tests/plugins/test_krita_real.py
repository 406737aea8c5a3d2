"""The whole in a real Krita on an X server of its own, with the real backend and the built-in model: clicks, typing, files.

It takes some minutes. `LIKENESS_SCREENSHOTS` names a folder where the pictures of the screen are kept.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
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
NAME, PROMPT = "Ada", "portrait of a smiling person, green jacket, blue background"
SIDE = 256


def draw_scene(folder: Path) -> dict[str, Any]:
    """Two people beside each other, 512 x 256, two photos of a third one, and the head of the right one, which is selected."""
    picture, mask = samples.scene(SIDE)
    Image.fromarray(picture).save(folder / "scene.png")
    who, photos = world.person(samples.FIRST_SAMPLE + samples.SAMPLES["ada"]), []
    for number, changes in enumerate(PHOTOS):
        photos.append(str(folder / f"photo-{number + 1}.png"))
        Image.fromarray(draw(who, replace(PHOTO, **changes), SIDE).picture).save(photos[-1])
    (folder / "mask").write_bytes(mask.tobytes())
    return {"scene": str(folder / "scene.png"), "photos": photos, "mask": str(folder / "mask"), "size": [2 * SIDE, SIDE]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One long session, of which each test looks at a part."""
    folder = tmp_path_factory.mktemp("real")
    with krita_real.installed(folder) as (home, backend):
        out = folder / "out"
        out.mkdir()
        plan = draw_scene(folder) | {"name": NAME, "prompt": PROMPT, "seed": 77, "kra": str(folder / "scene.kra")}
        plan |= {"window": [1400, 900], "kill": True}
        (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        yield {"plan": plan, **play(home, out, backend)}


def play(home: Path, out: Path, backend: krita_real.Backend) -> dict[str, Any]:
    """The artist's hands, beside the scenario inside Krita."""
    with krita_runs.krita(home, out, 1400, 900, LIKENESS_SCENARIO="whole", LIKENESS_STATE=str(backend.state)) as running:

        def event(name: str) -> dict[str, Any]:
            return dict(running.wait_for(name, PATIENCE_S))

        running.click(event("click-start")["place"])
        running.click(event("click-name")["place"])
        running.xdotool("key", "ctrl+a")  # the docker proposes the file's name
        running.type(NAME)
        running.say("named")
        running.click(event("click-save")["place"])
        running.click(event("click-prompt")["place"])
        running.type(PROMPT)
        running.say("typed")
        running.click(event("click-generate")["place"])
        event("progress")
        running.screenshot("screen-progress")
        running.click(event("click-apply")["place"])
        event("taken")
        event("under-way")
        backend.kill()
        running.say("killed")
        running.click(event("click-again")["place"])
        event("late")
        event("closing")
        code = running.process.wait(300)
        return {"events": {str(e["event"]): e for e in running.events()}, "code": code, "log": running.log()}


def opened(path: str) -> tuple[np.ndarray, list[str]]:
    """What Krita wrote into the file as the flat picture, and the layers, top first."""
    with zipfile.ZipFile(path) as archive:
        flat = np.asarray(Image.open(io.BytesIO(archive.read("mergedimage.png"))).convert("RGB"))
        document = archive.read("maindoc.xml").decode("utf-8")
    return flat, [part.split('"')[0] for part in document.split(' name="')[1:]]


def test_everything_goes_its_way_from_the_first_click_to_the_end_of_krita(run: dict[str, Any]):
    assert "failed" not in run["events"]
    assert run["code"] == 0
    assert "Traceback" not in run["log"]
    assert "SAFE ASSERT" not in run["log"]


def test_the_button_starts_the_backend_with_the_built_in_model(run: dict[str, Any]):
    assert "sketch" in run["events"]["ready"]["models"]


def test_the_actions_show_the_docker_and_have_a_shortcut(run: dict[str, Any]):
    assert run["events"]["arranged"]["visible"]
    assert run["events"]["arranged"]["keys"] == "Shift+Return"


def test_faces_are_found_on_the_photos_before_anything_is_saved(run: dict[str, Any]):
    faces = run["events"]["click-name"]["faces"]
    assert len(faces) == 2
    assert all(len(photo) == 1 and photo[0] > 0.5 for photo in faces)
    assert run["events"]["character"]["photos"] == 2


def test_progress_and_the_live_preview_are_shown_while_it_is_painted(run: dict[str, Any]):
    progress = run["events"]["progress"]
    assert progress["words"]
    assert "[Likeness preview]" in progress["names"]


def test_one_undo_takes_the_result_away_and_redo_brings_it_back(run: dict[str, Any]):
    taken = run["events"]["taken"]
    assert len(taken["applied"]) == 2
    assert PROMPT[:10] in taken["applied"][-1]
    assert taken["undone"] == taken["applied"][:1]
    assert taken["redone"] == taken["applied"]


def test_outside_the_selection_the_saved_picture_is_bit_equal(run: dict[str, Any]):
    flat, names = opened(run["plan"]["kra"])
    scene = np.asarray(Image.open(run["plan"]["scene"]).convert("RGB"))
    outside = np.frombuffer(Path(run["plan"]["mask"]).read_bytes(), np.uint8).reshape(flat.shape[:2]) == 0
    assert (flat[outside] == scene[outside]).all()
    assert (flat[~outside] != scene[~outside]).mean() > 0.3
    assert any(PROMPT[:10] in name for name in names)


def test_the_painted_face_is_like_the_character_and_was_not_before(run: dict[str, Any]):
    faces = FaceAnalyser(SKETCH / "faces", det_sizes=(192, 160, 128, 256), drawn=True)
    identity = faces.identify([np.asarray(Image.open(photo).convert("RGB")) for photo in run["plan"]["photos"]])

    def likeness(picture: np.ndarray) -> float:
        right = faces.analyse(np.ascontiguousarray(picture[:, SIDE:]))
        return max(cosine(face.embedding, identity.embedding) for face in right)

    before = likeness(np.asarray(Image.open(run["plan"]["scene"]).convert("RGB")))
    after = likeness(opened(run["plan"]["kra"])[0])
    assert after > before + 0.2, (before, after, run["events"]["results"])


def test_a_job_survives_the_death_of_the_backend(run: dict[str, Any]):
    late = run["events"]["late"]
    assert late["seed"] == 4242
    assert run["events"]["click-again"]["sentence"]
