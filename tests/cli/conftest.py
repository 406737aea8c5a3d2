"""The command with a tiny model and fake faces in a folder of its own; nothing of the machine's settings is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_faces import blank, paint_face, write_pack
from PIL import Image
from tiny_models import tiny_model

from backend.cli.main import main
from backend.scripting import Studio


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny = tiny_model(folder / "tiny")
    write_pack(tiny / "faces")
    (tiny / "samples").mkdir()
    for number, name in enumerate(("anna", "ben", "cleo")):
        Image.fromarray(paint_face(blank(96, 96), 20, 24, 56, number)).save(tiny / "samples" / f"{name}.png")
    scene = paint_face(blank(120, 90, 60), 40, 20, 48, 9)
    mask = np.zeros((90, 120), np.uint8)
    mask[15:75, 30:95] = 255
    Image.fromarray(scene).save(tiny / "samples" / "scene.png")
    Image.fromarray(mask).save(tiny / "samples" / "scene-mask.png")
    return folder


@pytest.fixture(autouse=True)
def settings(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    given = {"MODELS": str(models), "MODEL": "tiny-sdxl", "DEVICE": "cpu", "LOGS": str(tmp_path / "logs"), "ALONE": "yes"}
    for name, value in given.items():
        monkeypatch.setenv(f"LIKENESS_{name}", value)


@pytest.fixture
def photo(models: Path) -> Path:
    return models / "tiny" / "samples" / "anna.png"


@pytest.fixture
def scene(models: Path) -> tuple[Path, Path]:
    return models / "tiny" / "samples" / "scene.png", models / "tiny" / "samples" / "scene-mask.png"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]):
    """Run the command, which must refuse: exit code 2, nothing on standard output, and one sentence, which is returned."""

    def run(*words: object) -> str:
        try:
            code = main([str(word) for word in words])
        except SystemExit as leave:
            code = leave.code
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        lines = [line for line in err.splitlines() if line.strip() and "%|" not in line]
        assert len(lines) == 1, err
        assert "Traceback" not in err
        assert lines[0].endswith((".", "?")), lines[0]
        return lines[0]

    return run


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder without a backend; the one that the first command starts there is ended at last."""
    folder = tmp_path_factory.mktemp("backend") / "state"
    yield folder
    with Studio(folder, start=False) as studio:
        studio.shut_down()


@pytest.fixture
def backend(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKENESS_STATE", str(state))
    monkeypatch.setenv("LIKENESS_ALONE", "no")
    return state
