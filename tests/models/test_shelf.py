"""LoRAs and textual inversions by the names that artists use; and what a few-step LoRA brings along."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from backend.models import shelf as shelves
from backend.models.bundle import Model
from backend.models.catalog import Catalog, CatalogFile, Part
from backend.models.shelf import FewSteps, few_steps, lora_file, loras
from backend.pipelines.plan import plan
from protocol.errors import InvalidRequest, UnknownModel
from protocol.jobs import Lora, PictureJob, Sampling


@pytest.fixture
def model(tmp_path):
    for part in ("vae", "unet"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text('{"block_out_channels": [8, 8]}')
    (tmp_path / "model.toml").write_text('id = "m"\nfamily = "sdxl"\nsize = [64, 64]\n[defaults]\nsteps = 30\nguidance_scale = 6.0\n')
    (tmp_path / "loras").mkdir()
    return Model.open(tmp_path)


def put(model, name, notes=None):
    path = model.folder / "loras" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({"lora_unet_conv_in.alpha": torch.ones(1)}, path, metadata=notes)
    return path


def test_files_go_by_their_names_those_of_libraries_by_their_folders(model):
    for name in ("ink", "styles/oil", "lcm/pytorch_lora_weights", "a/same", "b/same"):
        put(model, name)
    (model.folder / "loras" / "notes.txt").write_text("")
    (model.folder / "loras" / ".half.safetensors").write_bytes(b"")
    assert set(loras(model)) == {"a/same", "b/same", "ink", "lcm", "oil"}
    assert lora_file(model, "INK").name == "ink.safetensors"


def test_a_name_that_is_not_there_is_answered_with_those_that_are(model):
    with pytest.raises(UnknownModel, match="likeness models add"):
        lora_file(model, "ink")
    put(model, "ink_drawing")
    with pytest.raises(UnknownModel, match="It has: ink_drawing"):
        lora_file(model, "ink-drawing")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lcm-lora-sdxl", FewSteps(6, 1.0, "lcm-leading")),
        ("sdxl_lightning_4step_lora", FewSteps(4, 1.0, "euler-trailing")),
        ("Hyper-SDXL-8steps-lora", FewSteps(8, 1.0, "ddim-trailing")),
        ("Hyper-SDXL-8steps-CFG-lora", FewSteps(8, 5.0, "ddim-trailing")),
        ("TCD-SDXL-LoRA", FewSteps(4, 1.0, "tcd")),
        ("lcm/pytorch_lora_weights", FewSteps(6, 1.0, "lcm-leading")),
        ("hyperrealism", None),
    ],
)
def test_a_few_step_lora_brings_steps_guidance_and_scheduler(name, expected, model):
    path = put(model, name)
    named = path.parent.name if "/" in name else name
    assert few_steps(model, (Lora(named),)) == expected
    assert few_steps(model, (Lora(named, 0.0),)) is None
    decided = plan(PictureJob(prompt="a", loras=(Lora(named),)), model)
    usual = FewSteps(30, 6.0, "default")
    assert FewSteps(decided.steps, decided.guidance_scale, decided.scheduler) == (expected or usual)


def test_what_the_user_says_goes_before_it(model):
    put(model, "sdxl_lightning_4step_lora")
    job = PictureJob(loras=(Lora("sdxl_lightning_4step_lora"),), sampling=Sampling(steps=8, guidance_scale=2.0, scheduler="ddim"))
    decided = plan(job, model)
    assert (decided.steps, decided.guidance_scale, decided.scheduler) == (8, 2.0, "ddim")


def test_metadata_and_the_catalogues_hash_tell_what_a_name_does_not(model, monkeypatch):
    put(model, "fast", {"modelspec.title": "SDXL Lightning 8 step"})
    assert few_steps(model, (Lora("fast"),)) == FewSteps(8, 1.0, "euler-trailing")
    path = put(model, "renamed")
    assert few_steps(model, (Lora("renamed"),)) is None
    place = "loras/Hyper-SD15-4steps-lora.safetensors"
    file = CatalogFile("a/b", "main", "x", place, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    part = Part("x", "x", "sdxl", next(iter(Catalog.load().parts.values())).licence, (file,))
    monkeypatch.setattr(shelves.Catalog, "load", lambda: Catalog({"x": part}))
    assert few_steps(model, (Lora("renamed"),)) == FewSteps(4, 1.0, "ddim-trailing")


def test_a_lora_that_is_missing_or_named_twice_is_refused_before_anything_is_drawn(model):
    put(model, "ink")
    with pytest.raises(UnknownModel, match="no LoRA called 'oil'"):
        plan(PictureJob(loras=(Lora("oil"),)), model)
    with pytest.raises(InvalidRequest, match="twice"):
        plan(PictureJob(loras=(Lora("ink"), Lora("Ink", 0.5))), model)
