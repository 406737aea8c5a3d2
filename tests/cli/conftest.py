"""The command with a tiny model and fake faces in a folder of its own; nothing of the machine's settings is seen."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import official_layouts as layouts
import pytest
from fake_faces import blank, paint_face, write_pack, write_recogniser
from model_server import FakeHub, running
from PIL import Image
from pulled_models import SETS, SHIPPED, put_all, settle_environment
from tiny_models import WIDTH, _unet, tiny_model, write_adapter

from backend.cli.main import main
from backend.models.catalog import Catalog, Part
from backend.scripting import Studio
from protocol.errors import NotRunning


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
    with suppress(NotRunning), Studio(folder, start=False) as studio:  # it may have ended by itself, after its idle minutes
        studio.shut_down()


@pytest.fixture
def backend(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIKENESS_STATE", str(state))
    monkeypatch.setenv("LIKENESS_ALONE", "no")
    return state


@pytest.fixture(scope="session")
def stand_ins(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Place in a model folder -> contents, for every file of the sets: a model that really draws, with 64 pixels a side."""
    folder = tmp_path_factory.mktemp("stand-ins")
    shutil.copytree(models / "tiny", folder, dirs_exist_ok=True)
    write_adapter(folder / "ip-adapter.bin", layouts.resampler(64, 1, 512, WIDTH), layouts.attention(_unet("sdxl")))
    write_pack(folder / "faces")
    adapters = folder / "ip_adapter"
    copies = {
        "faces/scrfd_10g_bnkps.onnx": folder / "faces" / "det.onnx",
        "faces/glintr100.onnx": folder / "faces" / "rec.onnx",
        "recognisers/buffalo_l/det_10g.onnx": folder / "faces" / "det.onnx",
        "recognisers/buffalo_l/w600k_r50.onnx": write_recogniser(folder / "other.onnx", 9),
        "ip_adapter/ip-adapter-plus-face_sdxl_vit-h.safetensors": adapters / "plus.safetensors",
        "ip_adapter/ip-adapter-faceid-plusv2_sdxl.bin": adapters / "faceid-plusv2.safetensors",
    }
    places = {file.place for name in SETS for file in SHIPPED.sets[name].files}
    found = {place: copies.get(place, folder / place) for place in places}
    return {place: path.read_bytes() if path.is_file() else b"{}\n" for place, path in found.items()}


@pytest.fixture(scope="session")
def catalogue(stand_ins: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped catalogue's sets with the same names, repositories and places; sizes and hashes are the stand-ins'."""

    def part(one: Part) -> str:
        lines = [f"[part.{one.id}]", f"title = {json.dumps(one.title)}", f'family = "{one.family}"', f'licence = "{one.licence.id}"']
        lines += [f'repository = "{one.files[0].repository}"', f'revision = "{one.files[0].revision}"']
        if one.adapter:
            known = ", ".join(f'{key} = "{value}"' for key, value in one.adapter.items())
            lines.append(f"adapter = {{ {known} }}")
        if one.recogniser:
            lines.append(f'recogniser = "{one.recogniser}"')
        for file in one.files:
            content = stand_ins[file.place]
            known = f', bytes = {len(content)}, sha256 = "{hashlib.sha256(content).hexdigest()}"' if file.sha256 else ""
            lines += ["[[part." + one.id + ".files]]", f'path = "{file.path}"', f'place = "{file.place}"', *known.split(", ")[1:]]
        return "\n".join(lines)

    parts = {one.id: one for name in SETS for one in SHIPPED.sets[name].parts}
    text = [
        f"[licence.{one.id}]\nname = {json.dumps(one.name)}\nurl = {json.dumps(one.url)}\n"
        f"commercial = {json.dumps(one.commercial)}\nforbids = {json.dumps(one.forbids)}"
        for one in {one.licence.id: one.licence for one in parts.values()}.values()
    ]
    text += map(part, parts.values())
    for name in SETS:
        chosen = SHIPPED.sets[name]
        text.append(f'[set.{name}]\npurpose = "p"\nfamily = "sdxl"\nparts = {json.dumps([one.id for one in chosen.parts])}')
        if chosen.model is not None:
            text.append(f'[set.{name}.model]\nname = "n"\nsize = [64, 64]\ndefaults = {{ steps = 2, guidance_scale = 3.0 }}')
    file = tmp_path_factory.mktemp("catalogue") / "catalog.toml"
    file.write_text("\n".join(text), encoding="utf-8")
    Catalog.load(file)
    return file


@pytest.fixture
def hub(stand_ins: dict[str, bytes], catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(FakeHub()) as server:
        settle_environment(monkeypatch, server, tmp_path / "models")
        put_all(server, catalogue, stand_ins)
        yield server


@pytest.fixture
def run(hub: FakeHub, catalogue: Path, capsys: pytest.CaptureFixture[str]):
    """Run `likeness models WORDS`: exit code, standard output, standard error."""

    def do(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["models", "--catalogue", str(catalogue), *map(str, words)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return do


@pytest.fixture(scope="session")
def pulled_once(stand_ins: dict[str, bytes], catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models after `likeness models pull instantid-sdxl`; tests get copies of it."""
    folder = tmp_path_factory.mktemp("pulled") / "models"
    with pytest.MonkeyPatch.context() as patch, running(FakeHub()) as server:
        settle_environment(patch, server, folder)
        put_all(server, catalogue, stand_ins)
        assert main(["models", "--catalogue", str(catalogue), "pull", "instantid-sdxl", "--accept-licences"]) == 0
    return folder


@pytest.fixture
def pulled(hub: FakeHub, pulled_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(pulled_once, tmp_path / "models", symlinks=True)
    return tmp_path / "models" / "instantid-sdxl"
