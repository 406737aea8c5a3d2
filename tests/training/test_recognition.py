"""The recognition room: what insightface, transformers and `likeness evaluate` get out of it is what was trained."""

import argparse
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from backend.training import clip, crops, detector, judge, recogniser
from backend.training.__main__ import main as training
from backend.training.budget import Budget
from backend.training.composites import compose
from backend.training.data import build_world
from backend.training.people import People
from protocol.errors import InvalidRequest, ModelError


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    folder = tmp_path_factory.mktemp("drawn")
    build_world(folder, persons=12, shots_each=3, processes=1)
    return People(folder)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory, people: People) -> Path:
    """det.onnx and rec.onnx of networks that have seen a few batches, so that normalisations are not at their start."""
    folder = tmp_path_factory.mktemp("pack")
    found = detector.train(people, folder / "d", Budget(9e9, 3), held=2, first=None, pixels=2 * 128**2, seed=1)
    detector.export(found, folder / "det.onnx")
    known = recogniser.train(people, folder / "r", Budget(9e9, 3), held=2, first=None, batch=8, seed=1)
    recogniser.export(known, folder / "rec.onnx")
    return folder


def test_a_crop_has_the_same_bytes_as_insightfaces(people: People) -> None:
    from insightface.utils.face_align import norm_crop

    for row in range(0, 36, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = norm_crop(np.asarray(people.pictures[row]), people.keypoints[row])
        assert np.abs(theirs.astype(int) - crops.crop(people.pictures[row], people.keypoints[row])).max() <= 1


def test_a_crop_of_mirrored_points_is_not_mirrored() -> None:
    flipped = crops.PLACES * np.array([-1.0, 1.0], np.float32)
    assert np.linalg.det(crops.alignment(flipped)[:, :2]) > 0


def test_insightface_takes_the_recogniser_for_an_arcface_and_measures_what_torch_does(pack: Path, people: People) -> None:
    from insightface.model_zoo import model_zoo

    model = model_zoo.get_model(str(pack / "rec.onnx"), providers=["CPUExecutionProvider"])
    assert (model.taskname, model.input_mean, model.input_std, model.input_size) == ("recognition", 127.5, 127.5, (112, 112))
    faces = [crops.crop(people.pictures[i], people.keypoints[i]) for i in (0, 4, 30)]
    theirs = model.get_feat([face[..., ::-1] for face in faces])
    with torch.no_grad():
        ours = recogniser.load(pack / "r")(recogniser.to_input(np.stack(faces))).numpy()
    assert theirs.shape == (3, 512)
    np.testing.assert_allclose(theirs, ours, atol=2e-3)
    assert (pack / "rec.onnx").stat().st_size < 6e6


def test_embeddings_lie_beside_the_data_set_in_its_order(pack: Path, people: People) -> None:
    embeddings = np.load(recogniser.embed_dataset(pack / "r", people.folder))
    assert (embeddings.shape, embeddings.dtype) == ((36, 512), np.float32)
    alone = recogniser.embed(recogniser.load(pack / "r"), people, np.array([17]))
    np.testing.assert_allclose(embeddings[17], alone[0], atol=1e-3)


def test_the_margin_makes_the_right_person_harder_and_strangers_not() -> None:
    torch.manual_seed(0)
    classifier = recogniser.ArcFace(5)
    embeddings, labels = torch.randn(4, 512), torch.tensor([0, 1, 2, 3])
    cosine = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(classifier.weight).T
    expected = recogniser.SCALE * cosine
    for row in range(4):
        expected[row, row] = recogniser.SCALE * torch.cos(torch.acos(cosine[row, row]) + 0.35)
    oracle = torch.nn.functional.cross_entropy(expected, labels, label_smoothing=0.02)
    assert classifier(embeddings, labels, 0.35).item() == pytest.approx(oracle.item(), rel=1e-5)
    assert classifier(embeddings, labels, 0.0) < classifier(embeddings, labels, 0.35)


@pytest.mark.parametrize("size", [(128, 128), (160, 160), (256, 256), (320, 320), (192, 128)])
def test_the_detector_answers_in_scrfds_shapes_at_every_size(pack: Path, size: tuple[int, int]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(pack / "det.onnx"), providers=["CPUExecutionProvider"])
    width, height = size
    outputs = session.run(None, {"input.1": np.zeros((1, 3, height, width), np.float32)})
    counts = [width // stride * (height // stride) * 2 for stride in (8, 16, 32)]
    assert [output.shape for output in outputs] == [(count, wide) for wide in (1, 4, 10) for count in counts]


def test_the_exported_detector_says_what_torch_says(pack: Path, people: People) -> None:
    import onnxruntime

    pixels = detector.to_input(np.array(people.pictures[:1]))
    session = onnxruntime.InferenceSession(str(pack / "det.onnx"), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"input.1": pixels.numpy()})
    with torch.no_grad():
        ours = detector.Exported(detector.load(pack / "d"))(pixels)
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-3)


@pytest.mark.parametrize("side", [128, 160, 320])
def test_face_analysis_reads_the_targets_back_as_the_faces_they_came_from(pack: Path, people: People, side: int) -> None:
    """The oracle for the layout: a session that answers with `assign`'s targets must make insightface find exactly the canvas's faces."""
    from insightface.app import FaceAnalysis

    analysis = FaceAnalysis(str(pack), providers=["CPUExecutionProvider"], allowed_modules=["detection"])
    analysis.prepare(-1, det_size=(side, side))
    canvases = (compose(people, np.arange(30), np.random.default_rng(seed), side) for seed in range(99))
    canvas = next(canvas for canvas in canvases if len(canvas.boxes) == 1 and not canvas.ignored.any())
    targets = detector.assign(canvas)
    parts = np.cumsum([2 * (side // stride) ** 2 for stride in detector.STRIDES])[:-1]
    scores = (targets.label == 1)[:, None].astype(np.float32)
    answers = [part for rows in (scores, targets.box, targets.points) for part in np.split(rows, parts)]

    class Told:
        def run(self, names: object, feeds: object) -> list[np.ndarray]:
            return answers

    analysis.det_model._session_for_input_size = lambda size: Told()
    faces = analysis.get(canvas.picture[..., ::-1])
    assert len(faces) == 1
    np.testing.assert_allclose(faces[0].bbox, canvas.boxes[0], atol=0.01)
    np.testing.assert_allclose(faces[0].kps, canvas.keypoints[0], atol=0.01)


def test_canvases_keep_the_keypoints_on_the_face(people: People) -> None:
    """A turned and scaled face's keypoints lie where the recogniser's crop of the original is found again."""
    for seed in range(20):
        canvas = compose(people, np.arange(30), np.random.default_rng(seed), 192, rough=False)
        for box, five in zip(canvas.boxes, canvas.keypoints, strict=True):
            assert (five > box[:2] - 2).all()
            assert (five < box[2:] + 2).all()
            assert five[0, 0] < five[1, 0]
            assert five[3, 1] > five[0, 1]


def _arguments(module: ModuleType, data: Path, out: Path, steps: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    small = ["--pixels", "33000", "--count", "2"] if module is detector else ["--batch", "6"]
    return parser.parse_args(["--data", str(data), "--out", str(out), "--held", "2", "--minutes", "1e9", "--steps", str(steps), *small])


@pytest.mark.parametrize("module", [recogniser, detector, clip, judge], ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def test_a_finished_run_is_not_trained_again_but_measured_again(
    module: ModuleType, people: People, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.run(_arguments(module, people.folder, tmp_path, 2))
    first = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["module"]
    told = capsys.readouterr().out
    module.run(_arguments(module, people.folder, tmp_path, 2))
    second = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["module"]
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert told
    assert told == capsys.readouterr().out


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole: four steps. Stopped: the third step fails as a killed machine does; the next run continues after the last checkpoint."""
    budget = Budget(9e9, 4, save_every=0.0)
    whole = recogniser.train(people, tmp_path / "whole", budget, held=2, first=None, batch=4, seed=3)
    draw = recogniser.training_crop
    calls = iter(range(99))

    def failing(*args: object) -> object:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(recogniser, "training_crop", failing)
    with pytest.raises(KeyboardInterrupt):
        recogniser.train(people, tmp_path / "stopped", budget, held=2, first=None, batch=4, seed=3)
    monkeypatch.setattr(recogniser, "training_crop", draw)
    resumed = recogniser.train(people, tmp_path / "stopped", budget, held=2, first=None, batch=4, seed=3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_learning_rate_ends_at_zero_by_minutes_as_by_steps() -> None:
    by_time, by_steps = Budget(2.0), Budget(9e9, 100)
    assert by_time.rate(by_time.progress(7, 120.0)) == pytest.approx(0.0, abs=1e-9)
    assert by_steps.rate(by_steps.progress(100, 1.0)) == pytest.approx(0.0, abs=1e-9)
    assert by_time.rate(by_time.progress(7, 60.0)) > 0


def test_the_image_encoder_is_read_by_stock_classes_and_its_processor_agrees_with_training(people: People, tmp_path: Path) -> None:
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

    clip.run(_arguments(clip, people.folder, tmp_path, 2))
    encoder = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "image_encoder", dtype=torch.float32).eval()
    stock = CLIPImageProcessorPil.from_pretrained(tmp_path / "feature_extractor")
    pixels = stock(Image.fromarray(np.asarray(people.pictures[5])), return_tensors="pt").pixel_values
    torch.testing.assert_close(pixels, clip.to_input(np.array(people.pictures[5:6])), atol=1e-5, rtol=0)
    with torch.no_grad():
        alone = encoder(pixel_values=pixels).image_embeds.numpy()
    embeds = np.load(clip.embed_dataset(tmp_path, people.folder))
    assert embeds.shape == (36, clip.PROJECTION)
    np.testing.assert_allclose(embeds[5:6], alone, atol=1e-4)


def test_word_pairs_do_not_cross_commas() -> None:
    assert clip.terms("red cap, blue shirt") == ["red", "cap", "red cap", "blue", "shirt", "blue shirt"]


def test_a_judge_read_back_judges_alike_in_the_worlds_words(people: People, tmp_path: Path) -> None:
    trained = judge.train(people, tmp_path, Budget(9e9, 3), held=2, first=None, batch=6, seed=0)
    read = judge.Judge.load(tmp_path / "judge")
    pictures = [np.asarray(people.pictures[i]) for i in range(8)]
    assert trained.judge_all(pictures) == read.judge_all(pictures)
    answer = read.judge(np.asarray(people.pictures[0]))
    assert answer.keys() == people.attributes[0].keys()
    assert answer["hat"] == "none" or len(answer["hat"].split()) >= 2


def test_a_judge_of_styles_learns_from_the_same_persons_drawn_in_two_ways(people: People, tmp_path: Path) -> None:
    for style in ("soft", "ink"):
        training(f"data --persons 6 --shots 3 --seed 7 --style {style} --out {tmp_path / style}".split())
    budget = "--steps 150 --minutes 9 --batch 12 --held 1"
    told = f"judge --data {tmp_path / 'soft'} --drawn ink={tmp_path / 'ink'} --out {tmp_path / 'judge'} {budget}"
    assert training(told.split()) == 0
    read = judge.Judge.load(tmp_path / "judge" / "judge")
    for style in ("soft", "ink"):
        answers = [answer["style"] for answer in read.judge_all(list(People(tmp_path / style).pictures))]
        assert answers.count(style) >= 16


def test_hats_survive_being_parted_and_joined() -> None:
    for hat in ("none", "red cap", "black top hat"):
        seen = {"hat": hat, "glasses": "none"}
        assert judge.joined(judge.parted(seen)) == seen


def test_a_folder_without_a_judge_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"judge\.json"):
        judge.Judge.load(tmp_path)


def test_a_folder_without_pictures_and_too_many_held_persons_get_a_sentence(people: People, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no pictures\.npy"):
        People(tmp_path).pictures  # noqa: B018
    with pytest.raises(InvalidRequest, match="12 persons"):
        people.split(12)


def test_held_persons_are_never_trained_on(people: People) -> None:
    learned, kept = people.split(3)
    assert not set(people.persons[learned]) & set(people.persons[kept])
    assert len(learned) + len(kept) == 36
