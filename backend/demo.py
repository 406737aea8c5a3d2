"""`likeness demo`: what one photo is enough for. Portraits, an edited series, a posed series and an inpainted scene, on a contact sheet."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ModelError
from protocol.geometry import Extent

from .contact import Cell, Row, contact_sheet
from .images import open_mask, open_picture, save_png
from .progress import Bar
from .recipe import File, Recipe, base_recipe, somebody
from .workbench import BUILT_IN, Bench

Pixels = NDArray[np.uint8]
Points = tuple[tuple[float, float], ...]

PROMPTS = (
    "portrait of a smiling person, blue sweater, at the sea",
    "portrait of a laughing person, red jacket, yellow background",
)
EDITS = {
    "red beanie": "portrait of a neutral person, white shirt, red beanie, in the hills",
    "glasses": "portrait of a smiling person, white shirt, glasses, in a room",
    "top hat, sunglasses": "portrait of a neutral person, black jacket, black top hat, sunglasses, at night",
    "laughing": "portrait of a laughing person, yellow sweater, purple background",
    "sad": "portrait of a sad person, blue jacket, grey background",
    "surprised": "portrait of a surprised person, green sweater, straw hat, at the sea",
}
POSE_PROMPT = "portrait of a smiling person, orange sweater, green background"
TURNS = {
    "turned left": (-28.0, 0.0, 0.0),
    "a little left": (-12.0, 0.0, 0.0),
    "leaning": (0.0, 0.0, 12.0),
    "looking down": (0.0, 14.0, 0.0),
    "a little right": (12.0, 0.0, 0.0),
    "turned right": (28.0, 0.0, 0.0),
}
"""Yaw, pitch and roll in degrees, see `turned`."""
SCENE_PROMPT = "portrait of a smiling person, green jacket, blue background"


@dataclass(slots=True, eq=False)
class Demo:
    """Paints one picture after the other into `out`, and remembers what came of it."""

    bench: Bench
    out: Path
    bar: Bar
    entries: list[dict[str, object]] = field(default_factory=list[dict[str, object]])

    def paint(self, recipe: Recipe, name: str, kind: str, person: str) -> tuple[Pixels, float | None]:
        """One picture, saved as `name`.png with its recipe; it (H, W, 3) and its likeness, None without a face."""
        begin = time.perf_counter()
        picture = self.bench.paint(recipe.job(self.bench, self.out), self.bar)
        save_png(self.out / f"{name}.png", picture.pixels, recipe.metadata())
        self.bar.next_job()
        likeness = picture.similarities[0] if picture.similarities else None
        self.entries.append(
            {
                "file": f"{name}.png",
                "kind": kind,
                "person": person,
                "prompt": recipe.prompt,
                "seed": recipe.seed,
                "similarity": None if likeness is None else round(float(likeness), 4),
                "seconds": round(time.perf_counter() - begin, 2),
            }
        )
        return picture.pixels, likeness


def pictures_in_all(people: int) -> int:
    """How many pictures the demo paints."""
    return len(PROMPTS) * people + len(EDITS) + len(TURNS) + 1


def samples(bench: Bench) -> tuple[Path, dict[str, Path]]:
    """The folder of the sample pictures, and the faces in it by name; a model without samples gets the built-in ones."""
    folders = [bench.model.folder / "samples", BUILT_IN / "samples"]
    for folder in folders:
        faces = {path.stem: path for path in sorted(folder.glob("*.png")) if not path.stem.startswith("scene")}
        if faces:
            return folder, faces
    raise ModelError(f"There are no sample faces in {folders[0]}. Install the model again.")


def run_demo(bench: Bench, out: Path, title: str = "Likeness") -> Path:
    """Paint everything into the folder `out`; the contact sheet's file."""
    begin = time.perf_counter()
    folder, faces = samples(bench)
    with Bar("demo", pictures_in_all(len(faces))) as bar:
        demo = Demo(bench, out, bar)
        rows = [Row("One photo of each person goes in", tuple(Cell(open_picture(path), name) for name, path in faces.items()))]
        rows += _portraits(demo, faces)
        rows.append(_edits(demo, *next(iter(faces.items()))))
        rows.append(_poses(demo, *list(faces.items())[len(faces) // 2]))
        rows += _scene(demo, folder, *list(faces.items())[1])
    seconds = time.perf_counter() - begin
    return _finish(demo, rows, seconds, title)


def _portraits(demo: Demo, faces: dict[str, Path]) -> list[Row]:
    rows: list[Row] = []
    for number, prompt in enumerate(PROMPTS, 1):
        cells: list[Cell] = []
        for name, path in faces.items():
            recipe = _recipe(demo, path, prompt, 10 * number)
            cells.append(Cell(*_labelled(demo.paint(recipe, f"portrait-{number}-{name}", "portrait", name), name)))
        rows.append(Row(f"“{prompt}”", tuple(cells)))
    return rows


def _edits(demo: Demo, name: str, path: Path) -> Row:
    cells: list[Cell] = []
    for number, (label, prompt) in enumerate(EDITS.items(), 1):
        cells.append(Cell(*_labelled(demo.paint(_recipe(demo, path, prompt, 40), f"edit-{number}", "edited", name), label)))
    return Row(f"{name}, edited by words", tuple(cells))


def _poses(demo: Demo, name: str, path: Path) -> Row:
    identity = demo.bench.identify([open_picture(path)])
    cells: list[Cell] = []
    for number, (label, (yaw, pitch, roll)) in enumerate(TURNS.items(), 1):
        points = fitted(turned(identity.keypoints, yaw, pitch, roll), identity.extent, demo.bench.model.extent)
        recipe = _recipe(demo, path, POSE_PROMPT, 70, keypoints=points)
        cells.append(Cell(*_labelled(demo.paint(recipe, f"pose-{number}", "posed", name), label)))
    return Row(f"{name}, posed by five keypoints", tuple(cells))


def _scene(demo: Demo, folder: Path, name: str, path: Path) -> list[Row]:
    picture, mask = open_picture(folder / "scene.png"), open_mask(folder / "scene-mask.png")
    extent = Extent(picture.shape[1], picture.shape[0])
    kept = {"scene.png": picture, "scene-mask.png": mask}
    for file, pixels in kept.items():
        save_png(demo.out / file, pixels)
    recipe = base_recipe(
        demo.bench, SCENE_PROMPT, None, 90, extent, people=(somebody(demo.bench, [path]),),
        canvas=File.of(demo.out / "scene.png", demo.out), mask=File.of(demo.out / "scene-mask.png", demo.out),
    )  # fmt: skip
    painted, likeness = demo.paint(recipe, "inpainted", "inpainted", name)
    marked = picture.copy()
    marked[mask > 127] = (marked[mask > 127].astype(np.uint16) + 2 * 235) // 3
    cells = (Cell(picture, "the scene"), Cell(marked.astype(np.uint8), "its mask"), Cell(*_labelled((painted, likeness), name)))
    return [Row(f"{name}, inpainted into a scene: outside the mask not one pixel changes", cells)]


def _recipe(demo: Demo, path: Path, prompt: str, seed: int, keypoints: Points = ()) -> Recipe:
    bench = demo.bench
    return base_recipe(bench, prompt, None, seed, bench.model.extent, people=(somebody(bench, [path]),), keypoints=keypoints)


def turned(keypoints: NDArray[np.float32], yaw: float, pitch: float, roll: float) -> NDArray[np.float32]:
    """Five keypoints (5, 2) of a face seen from the front, as a head turned by some degrees shows them.

    Positive yaw turns to the viewer's right, positive pitch looks down, positive roll leans clockwise. The depth that the points lack is a
    common head's: in units of the distance between the eyes, the nose's tip stands 0.55 before the eyes and the mouth 0.1, around an axis
    1.1 behind the eyes.
    """
    eyes = float(np.linalg.norm(keypoints[1] - keypoints[0]))
    centre = (keypoints[0] + keypoints[1]) / 2
    points = np.concatenate([keypoints - centre, np.array([[1.1], [1.1], [1.65], [1.2], [1.2]]) * eyes], axis=1).astype(np.float64)
    y, p, r = np.deg2rad([yaw, pitch, roll])
    around_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    around_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return ((points @ (around_z @ around_x @ around_y).T)[:, :2] + centre).astype(np.float32)


def fitted(keypoints: NDArray[np.float32], source: Extent, target: Extent) -> Points:
    """Keypoints (5, 2) of a photo of the size `source`, moved into a picture of the size `target`, as a recipe keeps them."""
    from .faces import fit_keypoints

    return tuple((float(x), float(y)) for x, y in fit_keypoints(keypoints, source, target))


def _labelled(result: tuple[Pixels, float | None], name: str) -> tuple[Pixels, str]:
    picture, likeness = result
    return picture, f"{name}  –" if likeness is None else f"{name}  {likeness:.2f}"


def _finish(demo: Demo, rows: list[Row], seconds: float, title: str) -> Path:
    scores = [entry["similarity"] for entry in demo.entries if isinstance(entry["similarity"], float)]
    mean = round(float(np.mean(scores)), 4) if scores else None
    about = {
        "model": demo.bench.model.id,
        "machine": platform.machine(),
        "seconds": round(seconds, 1),
        "mean_similarity": mean,
        "pictures": demo.entries,
    }
    (demo.out / "demo.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    subtitle = "The number below a picture is its likeness: the cosine of its face to the photo's, 1 for the same face."
    sheet = demo.out / "contact.png"
    save_png(sheet, contact_sheet(title, subtitle, rows))
    return sheet
