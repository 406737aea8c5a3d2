"""The model that comes with the source: whole, small, and good for what the README says, without a GPU, a network or a download."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

import backend
from backend.evaluation.people import sitter
from backend.faces import best_similarity, smoothness
from backend.images import open_mask, open_picture, to_plane
from backend.models.bundle import CONTEXT
from backend.training.assemble import forget_folders
from backend.training.drawing import draw
from backend.training.judge import STYLE, Judge
from backend.training.samples import scene
from backend.training.world import FIRST_EVALUATION_PERSON, person, shot
from backend.workbench import Workbench
from protocol.errors import FaceError
from protocol.jobs import Canvas, Photos, PictureJob, Sampling, Subject

SKETCH = Path(backend.__file__).parent / "sketch"
LIMIT = 60_000_000
"""Bytes of trained weights."""
WEIGHTS = (".safetensors", ".onnx")
PICTURES = 3_000_000
"""Bytes of all else: sample faces, sheets, words."""


def ada() -> Subject:
    return Subject(Photos((to_plane(open_picture(SKETCH / "samples" / "ada.png")),)))


def test_it_fits_into_the_repository() -> None:
    sizes = [(path.suffix in WEIGHTS, path.stat().st_size) for path in SKETCH.rglob("*") if path.is_file()]
    assert sum(size for weights, size in sizes if weights) <= LIMIT
    assert sum(size for weights, size in sizes if not weights) <= PICTURES


def test_it_holds_no_pickle() -> None:
    assert not [path for ending in ("bin", "pt", "pth", "ckpt", "pkl") for path in SKETCH.rglob(f"*.{ending}")]


def test_its_configurations_name_no_folder_of_the_machine_that_trained_it(tmp_path: Path) -> None:
    assert [path.name for path in SKETCH.rglob("*.json") if "_name_or_path" in path.read_text(encoding="utf-8")] == []
    (tmp_path / "config.json").write_text('{"_name_or_path": "runs/base/unet", "act_fn": "silu"}', encoding="utf-8")
    (tmp_path / "preview.json").write_text("[1, 2]", encoding="utf-8")
    forget_folders(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == {"act_fn": "silu"}
    assert (tmp_path / "preview.json").read_text(encoding="utf-8") == "[1, 2]"


def test_it_is_found_as_the_default_with_everything_beside_the_base(bench: Workbench) -> None:
    assert bench.model.id == "sketch"
    assert bench.model.instant_id
    assert bench.model.adapters
    assert bench.model.faces is not None
    assert bench.model.styles


def test_its_recognisers_figures_are_those_of_persons_that_no_training_has_seen(bench: Workbench) -> None:
    """Which `likeness character compare` speaks of: 95 in 100 pairs are above the one and below the other, here of a few pairs."""
    (recogniser,) = bench.model.recognisers
    rows: list[list[np.ndarray]] = []
    for number in range(30):
        who, rng = person(FIRST_EVALUATION_PERSON + 300_000 + number), np.random.default_rng(number)
        rows.append([bench.need_faces().analyse(draw(who, shot(rng), 128).picture)[0].embedding for _ in range(3)])
    unit = np.array(rows) / np.linalg.norm(rows, axis=-1, keepdims=True)
    same = np.array([one[a] @ one[b] for one in unit for a in range(3) for b in range(a)])
    strangers = np.array([unit[i, a] @ unit[j, b] for i in range(30) for j in range(i) for a in range(3) for b in range(3)])
    assert recogniser.same is not None
    assert recogniser.strangers is not None
    assert 0.85 <= float((same > recogniser.same).mean()) <= 1.0
    assert 0.90 <= float((strangers < recogniser.strangers).mean()) <= 0.99


def test_its_recogniser_tells_persons_never_trained_on_from_each_other(bench: Workbench) -> None:
    faces = bench.need_faces()
    shown = [sitter(index, 128) for index in range(8)]
    known = [faces.identify([person.reference.picture]).embedding for person in shown]
    seen = [faces.identify([person.again.picture]).embedding for person in shown]
    unit = [np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (seen, known)]
    right = (unit[0] @ unit[1].T).argmax(1) == np.arange(8)
    assert right.sum() >= 7


def test_a_photograph_gets_an_honest_sentence_and_a_drawing_does_not(bench: Workbench) -> None:
    photograph = np.asarray(skimage.data.astronaut())
    with pytest.raises(FaceError, match=r"looks like a photograph.*drawn people only.*`likeness models pull instantid-sdxl`"):
        bench.need_faces().identify([photograph])
    assert all(smoothness(sitter(index, 128).reference.picture) > 0.6 for index in range(8))


def test_a_line_of_pixels_is_nobody(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    line = np.full((1, 4000, 3), 255, np.uint8)
    assert bench.need_faces().analyse(line) == []
    assert bench.need_faces().analyse(line.transpose(1, 0, 2)) == []
    monkeypatch.setattr("backend.faces._SEEN_KEYPOINTS", 0)
    assert bench.need_faces().analyse(line) != [], "it sees one in the line's border, and only that is passed over"


def test_what_the_prompt_says_is_in_the_picture(bench: Workbench) -> None:
    judge = Judge.load(SKETCH / "judge")
    prompt = "portrait of a smiling person, red sweater, sunglasses, at the sea"
    pictures = bench.engine.run(PictureJob(prompt=prompt, sampling=Sampling(seed=1), count=6))
    said = [judge.judge(picture.pixels) for picture in pictures]
    assert sum(one["glasses"] == "sunglasses" for one in said) >= 4
    assert sum(one["background"] == "sea" for one in said) >= 4


def test_the_judge_of_styles_tells_ink_from_soft_also_on_dark_grounds_and_when_softened() -> None:
    judge = Judge.load(SKETCH / "judge" / STYLE)
    sitters = [sitter(index, 128) for index in range(20)]
    assert sum(one.wanted.background == "night" for one in sitters) >= 3
    for style in ("ink", "soft"):
        drawn = [draw(one.person, one.wanted, 128, style).picture for one in sitters]
        softened = [np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8) for picture in drawn]
        assert [answer[STYLE] for answer in judge.judge_all(drawn)] == [style] * len(drawn)
        assert sum(answer[STYLE] == style for answer in judge.judge_all(softened)) >= 19


def test_a_person_changes_the_picture_and_the_likeness_is_reported(bench: Workbench) -> None:
    prompt = "portrait of a neutral person, blue sweater, grey background"
    alone = bench.engine.run(PictureJob(prompt=prompt, sampling=Sampling(seed=3)))[0]
    with_ada = bench.engine.run(PictureJob(prompt=prompt, subjects=(ada(),), sampling=Sampling(seed=3)))[0]
    assert not np.array_equal(alone.pixels, with_ada.pixels)
    assert len(with_ada.similarities) == 1


@pytest.mark.slow
def test_the_people_of_the_demo_are_painted_alike_and_told_from_each_other(bench: Workbench) -> None:
    names = ("ada", "bruno", "chidi", "dora", "emil", "farah")
    photos = {name: open_picture(SKETCH / "samples" / f"{name}.png") for name in names}
    known = [bench.identify([photo]) for photo in photos.values()]
    right, likeness = 0, list[float]()
    for number, photo in enumerate(photos.values()):
        asked = PictureJob(
            "portrait of a smiling person, blue sweater, at the sea",
            subjects=(Subject(Photos((to_plane(photo),))),), sampling=Sampling(seed=20), preview_every=0,
        )  # fmt: skip
        painted = bench.engine.run(asked)[0].pixels
        faces = bench.need_faces().analyse(painted)
        found = [best_similarity(faces, identity) or 0.0 for identity in known]
        right += int(np.argmax(found) == number)
        likeness.append(found[number])
    assert right >= 5
    assert np.mean(likeness) > 0.3  # two drawings of one person have 0.69, strangers 0


def test_its_encoder_adds_no_noise_of_its_own(bench: Workbench) -> None:
    from backend.training.sheets import from_bytes

    vae = bench.engine.parts.base["vae"]
    found = vae.encode(from_bytes(open_picture(SKETCH / "samples" / "ada.png")[None])).latent_dist
    assert float(found.std.max()) < 1e-3 < float(found.mean.std())


def test_painting_into_the_scene_changes_not_one_pixel_outside_the_mask(bench: Workbench) -> None:
    scene, mask = open_picture(SKETCH / "samples" / "scene.png"), open_mask(SKETCH / "samples" / "scene-mask.png")
    canvas = Canvas(to_plane(scene), to_plane(mask))
    job = PictureJob(prompt="portrait of a smiling person", canvas=canvas, subjects=(ada(),), sampling=Sampling(seed=2))
    made = bench.engine.run(job)[0]
    changed = (made.pixels != scene).any(2)
    assert changed.any()
    assert not changed[mask == 0].any()


@pytest.mark.slow
def test_a_small_head_in_a_large_picture_is_alike_since_only_a_little_is_shown_around_it(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With as much around the mask as larger models are shown, a head is smaller than any that the built-in model has learned."""
    parts, faces, model = bench.engine.parts, bench.need_faces(), bench.engine.parts.model
    other, mask = scene(512)
    canvas = Canvas(to_plane(np.pad(other, ((400, 400), (400, 400), (0, 0)), mode="edge")), to_plane(np.pad(mask, 400)))
    likeness: list[float] = []
    for context in (CONTEXT, model.defaults.context):
        monkeypatch.setattr(parts, "model", replace(model, defaults=replace(model.defaults, context=context)))
        found: list[float] = []
        for number in range(450, 456):
            photo = sitter(number, 128).reference.picture
            job = PictureJob("portrait of a person", canvas=canvas, subjects=(Subject(Photos((to_plane(photo),))),), preview_every=0)
            painted = bench.engine.run(job)[0].pixels[400:-400, 912:-400]
            found.append(best_similarity(faces.analyse(np.ascontiguousarray(painted)), faces.identify([photo])) or 0.0)
        likeness.append(float(np.mean(found)))
    assert likeness[1] > likeness[0] + 0.05
