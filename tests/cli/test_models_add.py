"""`likeness models add FILE`: a checkpoint becomes a model, used where it lies, with what was pulled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ldm_layout import write_checkpoint
from model_server import FakeHub
from pulled_models import find_model_of

from backend.cli.main import main
from backend.models.bundle import Model
from backend.models.parts import Parts

Pulled = Any


def test_a_checkpoint_becomes_a_model_with_what_was_pulled_and_paints_a_portrait(
    run: Pulled, pulled: Path, stand_ins: dict[str, bytes], models: Path, tmp_path: Path, photo: Path
) -> None:
    file = tmp_path / "Anna's models" / "Painter v2 lightning.safetensors"
    file.parent.mkdir()
    write_checkpoint(file, Parts(Model.open(models / "tiny")).base, {"modelspec.resolution": "256x256"})
    before = file.read_bytes()
    code, out, err = run("add", file)
    assert code == 0, err
    assert "SDXL, 256 x 256, lightning: 4 steps with euler, guidance 1" in out
    assert "Joined: InstantID" in out
    folder = tmp_path / "models" / "painter-v2-lightning"
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):  # the checkpoint is a tiny one: no stock configuration fits it
        (folder / part).mkdir()
        shutil.copy(models / "tiny" / part / "config.json", folder / part)
    for part in ("tokenizer", "tokenizer_2"):
        shutil.copytree(models / "tiny" / part, folder / part)
    out_file = tmp_path / "a.png"
    assert main(["portrait", "--model", folder.name, "--face", str(photo), "--prompt", "x", "-o", str(out_file)]) == 0
    assert out_file.is_file()
    assert run("pull", "controlnet-depth-sdxl", "--accept-licences")[0] == 0  # joins every model of its family
    assert [kind.value for kind, _ in find_model_of(tmp_path, folder.name).controls] == ["depth"]
    assert run("pull", "ip-adapter-plus-face-sdxl", "--into", folder.name, "--accept-licences")[0] == 0
    assert [entry.name for entry in find_model_of(tmp_path, folder.name).adapters] == ["plus-face"]
    assert str(file) in run("list")[1]
    assert run("verify")[0] == 0
    assert f"Not touched: {file}" in run("remove", folder.name)[1]
    assert file.read_bytes() == before


def test_a_checkpoint_that_has_gone_is_named_by_verify(run: Pulled, hub: FakeHub, models: Path, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "mine.ckpt", Parts(Model.open(models / "tiny")).base)
    code, out, _ = run("add", file, "--name", "own", "--prediction", "v")
    assert (code, "is a pickle: it is read once" in out, "v-prediction" in out) == (0, True, True)
    assert "likeness models pull instantid-sdxl --into own" in out
    file.unlink()
    code, out, _ = run("verify")
    assert (code, "mine.ckpt is not there" in out) == (2, True)
