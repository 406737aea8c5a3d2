"""The whole way in real Blender with the real backend and the built-in model: a posed head, portraits, a card, a texture.
The portraits from the front and the card are the README's own lines.

`LIKENESS_SCREENSHOTS` names a folder where a contact sheet is kept.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.addons.starting import starting_command
from backend.faces import FaceAnalyser, Identity, cosine
from backend.training import samples, world
from backend.training.drawing import draw
from backend.training.sheet import Head

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[3]
SKETCH = ROOT / "backend" / "sketch"
SIDE, SCALE = 128, 0.27
FRONT = world.Shot(0.0, 0.0, 0.0, SCALE, 0.5, 0.5, "neutral", "none", "red", "none", "shirt", "white", "grey", -0.4, 0.1)
POSES = {"front": (0, 0, 0), "to the right": (20, 0, 0), "to the left": (-20, 0, 0), "down": (0, 10, 0), "leaning": (0, 0, 10)}
OLDER = ("front", "to the right")
"""The poses played in the older Blender: what a pose becomes there is shown without a model, in the other tests."""
NOBODY = "bruno"


@dataclass(frozen=True)
class Whole:
    told: dict[str, Any]
    folder: Path
    faces: FaceAnalyser
    ada: Identity
    bruno: Identity

    def face(self, picture: np.ndarray):
        """The largest face of a picture."""
        found = self.faces.analyse(np.ascontiguousarray(picture))
        assert found, "no face was found"
        return found[0]


def opened(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def a_plan(folder: Path, poses: dict[str, tuple[int, int, int]]) -> Path:
    who = world.person(samples.FIRST_SAMPLE + samples.SAMPLES["ada"])
    drawing = draw(who, FRONT, SIDE)
    Image.fromarray(drawing.picture).save(folder / "ada.png")
    head = Head(who, FRONT, SIDE)
    flat = (drawing.keypoints - SIDE / 2) / (SCALE * SIDE)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    [readme] = (block for block in blocks if "bl_ext" in block)
    plan = {
        "readme": readme,
        **{"side": SIDE, "scale": SCALE, "name": "Ada", "photos": [str(folder / "ada.png")], "poses": poses, "seed": 5},
        **{"prompt": "portrait of a person, green jacket, blue background", "patience": 900},
        **{"points": head.surface(flat).tolist(), "radii": [who.width * 1.12, 1.22, 0.84]},
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(plan), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(play, blender_python: str, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    state = folder / "state"
    state.mkdir(mode=0o700)
    older = blender_python == os.environ.get("LIKENESS_BPY_45")
    poses = {name: turn for name, turn in POSES.items() if name in OLDER or not older}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIKENESS_STATE", str(state))
        patch.setenv("LIKENESS_TEST_PLAN", str(a_plan(folder, poses)))
        patch.setenv("LIKENESS_COMMAND", shlex.join(starting_command()))
        try:
            played = play("whole", timeout_s=1500, alone=True)
        finally:
            stop = [sys.executable, "-m", "backend", "status", "--stop"]
            subprocess.run(stop, cwd=ROOT, env=dict(os.environ), capture_output=True, timeout=120, check=False)
    faces = FaceAnalyser(SKETCH / "faces", det_sizes=(192, 160, 128, 256), drawn=True)
    ada, bruno = (faces.identify([samples.photo(name)]) for name in ("ada", NOBODY))
    made = Whole(played.words, played.folder, faces, ada, bruno)
    keep_a_sheet(made)
    return made


def keep_a_sheet(whole: Whole) -> None:
    folder = os.environ.get("LIKENESS_SCREENSHOTS")
    if folder:
        rows = [opened(path) for pose in whole.told["told"].values() for path in pose["pictures"][:1]]
        rows += [opened(whole.folder / f"{name}.png") for name in ("card", "texture", "texture-turned")]
        Image.fromarray(np.concatenate(rows, axis=1)).save(Path(folder) / f"blender-{whole.told['version'][:3]}.png")


def test_the_add_on_started_the_backend_with_the_built_in_model(whole: Whole):
    assert "sketch" in whole.told["models"]


def test_the_portraits_face_is_where_the_posed_head_has_it(whole: Whole):
    assert set(whole.told["told"]) >= set(OLDER)
    for pose, told in whole.told["told"].items():
        assert told["bits"] == "11111"
        for path in told["pictures"]:
            found = whole.face(opened(path)).keypoints
            error = float(np.linalg.norm(found - np.array(told["asked"]), axis=1).mean()) / SIDE
            assert error <= 0.04, (pose, path)


def test_another_pose_asks_for_another_place(whole: Whole):
    front, right = (np.array(whole.told["told"][pose]["asked"]) for pose in ("front", "to the right"))
    assert np.linalg.norm(front - right, axis=1).mean() / SIDE > 0.04


def test_it_is_the_character_and_nobody_else_and_the_most_alike_comes_first(whole: Whole):
    for pose, told in whole.told["told"].items():
        face = whole.face(opened(told["pictures"][0]))
        alike = cosine(face.embedding, whole.ada.embedding)
        assert alike > cosine(face.embedding, whole.bruno.embedding) + 0.3, pose
        assert told["similarities"][0] == pytest.approx(alike, abs=0.1)
        assert told["similarities"] == sorted(told["similarities"], reverse=True)
    assert len(whole.told["told"]["front"]["similarities"]) == 2


def test_the_card_shows_the_portrait_as_it_came(whole: Whole):
    card, picture = opened(whole.folder / "card.png").astype(int), opened(whole.told["card"]).astype(int)
    assert np.abs(card - picture).mean() < 4


def test_the_texture_on_the_head_is_the_character_also_when_the_head_turns(whole: Whole):
    front = whole.face(opened(whole.folder / "texture.png"))
    turned = whole.face(opened(whole.folder / "texture-turned.png"))
    for face in (front, turned):
        assert cosine(face.embedding, whole.ada.embedding) > cosine(face.embedding, whole.bruno.embedding) + 0.2
    assert turned.keypoints[2][0] - front.keypoints[2][0] > 0.02 * SIDE
