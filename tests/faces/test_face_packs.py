"""A folder of face models is used as it is, silently and without the network, or refused in a sentence."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from fake_faces import blank, paint_face, write_pack

from backend.faces import FaceAnalyser
from protocol.errors import ModelError


def test_a_nested_folder_as_in_antelopev2s_archive_is_found(tmp_path: Path, pack: Path) -> None:
    shutil.copytree(pack, tmp_path / "antelopev2" / "antelopev2")
    assert FaceAnalyser(tmp_path / "antelopev2").analyse(blank(64, 64)) == []


def test_other_models_in_the_folder_are_left_alone(tmp_path: Path, pack: Path) -> None:
    folder = tmp_path / "pack"
    shutil.copytree(pack, folder)
    shutil.copy(folder / "rec.onnx", folder / "zz_another_recogniser.onnx")
    assert len(FaceAnalyser(folder).analyse(paint_face(blank(640, 480), 50, 40, 60, person=1))) == 1


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [(Path("relative/faces"), "absolute path"), (Path("/nowhere/faces"), "does not exist")],
)
def test_a_folder_that_cannot_be_meant_is_refused(folder: Path, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        FaceAnalyser(folder)


def test_an_empty_folder_is_refused_and_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no face models"):
        FaceAnalyser(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "missing"), [("det.onnx", "detection"), ("rec.onnx", "recognition")])
def test_a_missing_model_is_named(tmp_path: Path, name: str, missing: str) -> None:
    (write_pack(tmp_path) / name).unlink()
    with pytest.raises(ModelError, match=f"no {missing} model"):
        FaceAnalyser(tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    path = write_pack(tmp_path) / "rec.onnx"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="cannot be loaded"):
        FaceAnalyser(tmp_path)


def test_a_detector_without_keypoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no keypoints"):
        FaceAnalyser(write_pack(tmp_path, keypoints=False))


def test_a_recogniser_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gives 256 numbers"):
        FaceAnalyser(write_pack(tmp_path, width=256))


@pytest.mark.parametrize("sizes", [(), (100,), (640, 0)])
def test_detector_sizes_that_do_not_fit_its_strides_are_refused(pack: Path, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="multiples of 32"):
        FaceAnalyser(pack, det_sizes=sizes)


def test_a_provider_that_is_not_installed_is_refused_rather_than_replaced(pack: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot compute with RocketExecutionProvider.*likeness doctor"):
        FaceAnalyser(pack, providers=("RocketExecutionProvider", "CPUExecutionProvider"))


def test_nothing_is_printed_and_nothing_warned(pack: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FaceAnalyser(pack).analyse(paint_face(blank(640, 480), 50, 40, 60, person=1))
    assert capfd.readouterr() == ("", "")


def test_the_libraries_are_imported_late() -> None:
    code = "import sys, backend.faces; print(sorted({'insightface', 'onnxruntime', 'onnx', 'cv2', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
