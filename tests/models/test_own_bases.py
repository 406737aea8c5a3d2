"""A checkpoint of one's own becomes a model: what is joined to it, what is said of it, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from ldm_layout import checkpoint_state, vae_state
from pickle_bomb import Bomb
from safetensors.torch import save_file
from tiny_models import tiny_model

from backend.models.bundle import Model
from backend.models.catalog import Catalog
from backend.models.checkpoint import Prediction
from backend.models.parts import Parts
from backend.models.store import Record, Store
from backend.models.store_base import Wanted, add_base
from backend.models.store_fetch import Trust
from backend.models.store_remove import remove_model
from protocol.errors import InvalidRequest, ModelError
from protocol.geometry import Extent

CATALOGUE = """
[licence.free]
name = "free"
url = "u"
commercial = true
forbids = "Nothing."
"""
PARTS = {
    "base": ("sdxl", ["unet/config.json"]), "instantid": ("sdxl", ["identitynet/config.json", "instantid.safetensors"]),
    "pack-a": ("any", ["faces/rec.onnx"]), "pack-b": ("any", ["faces/rec.onnx"]), "depth": ("sdxl", ["controlnets/depth/config.json"]),
    "small": ("sd15", ["controlnets/depth/config.json"]),
}  # fmt: skip
SETS = {"one": ("base", "instantid", "pack-a"), "two": ("base", "pack-b"), "nets": ("depth",), "small-nets": ("small",)}


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    return {family: Parts(Model.open(tiny_model(tmp_path_factory.mktemp(family), family))).base for family in ("sdxl", "sd15")}


@pytest.fixture
def catalog(tmp_path):
    text = CATALOGUE
    for name, (family, places) in PARTS.items():
        files = ", ".join(f'{{ path = "{place}" }}' for place in places)
        text += f'[part.{name}]\ntitle = "{name}"\nfamily = "{family}"\nlicence = "free"\nrepository = "o/{name}"\nrevision = "r"\n'
        text += f"files = [{files}]\n"
    for name, parts in SETS.items():
        family = PARTS[parts[0]][0]
        text += f'[set.{name}]\npurpose = "p"\nfamily = "{family}"\nparts = {list(parts)}\n'.replace("'", '"')
        text += f"[set.{name}.model]\nsize = [64, 64]\n" if parts[0] == "base" else ""
    (tmp_path / "catalog.toml").write_text(text)
    return Catalog.load(tmp_path / "catalog.toml")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


def pulled(store: Store, catalog: Catalog, *parts: str) -> None:
    """The files of these parts, as if they had been fetched."""
    record = store.read()
    for part in parts:
        for file in catalog.parts[part].files:
            content = file.key.encode()
            blob = store.blob(hashlib.sha256(content).hexdigest())
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            record = record.with_file(file, store.held(blob, len(content), blob.name, Trust.FIRST_USE))
    store.write(record)


def write_card(folder, name, beside):
    folder.mkdir()
    (folder / name).write_bytes((beside / name).read_bytes())
    (folder / "model.toml").write_text(f'id = "x"\ncheckpoint = "{name}"\n')
    return Model.open(folder)


def checkpoint(tmp_path: Path, modules, family="sdxl", name="My Best_v3.safetensors", drop="nothing", notes=None) -> Path:
    state = {key: value for key, value in checkpoint_state(modules[family]).items() if not key.startswith(drop)}
    save_file(state, tmp_path / name, metadata=notes)
    return tmp_path / name


def test_everything_of_its_family_that_is_there_is_joined_by_links(catalog, store, modules, tmp_path):
    pulled(store, catalog, "base", "instantid", "pack-a", "depth", "small")
    added = add_base(catalog, store, Wanted(checkpoint(tmp_path, modules)))
    assert (added.name, added.joined, added.left_out) == ("my-best-v3", ("instantid", "pack-a", "depth"), ())
    assert (added.folder / "instantid.safetensors").is_symlink()
    assert not (added.folder / "unet").exists()
    model = Model.open(added.folder)
    assert (model.instant_id, model.extent, model.bucketed) == (True, Extent(1024, 1024), True)
    assert model.base.checkpoint == tmp_path / "My Best_v3.safetensors"


def test_what_wants_a_taken_place_is_left_out_and_can_be_chosen(catalog, store, modules, tmp_path):
    pulled(store, catalog, "instantid", "pack-a", "pack-b")
    file = checkpoint(tmp_path, modules)
    added = add_base(catalog, store, Wanted(file))
    assert (added.joined, added.left_out) == (("instantid", "pack-a"), ("pack-b",))
    other = add_base(catalog, store, Wanted(file, name="other", sets=("two",)))
    assert other.joined == ("pack-b",)


def test_a_set_that_was_not_pulled_cannot_be_joined_yet(catalog, store, modules, tmp_path):
    with pytest.raises(InvalidRequest, match="one was not pulled yet"):
        add_base(catalog, store, Wanted(checkpoint(tmp_path, modules), sets=("one",)))
    with pytest.raises(InvalidRequest, match="small-nets is not"):
        add_base(catalog, store, Wanted(checkpoint(tmp_path, modules), sets=("small-nets",)))


def test_what_the_user_says_goes_before_what_the_file_says(catalog, store, modules, tmp_path):
    file = checkpoint(tmp_path, modules, name="turbo.safetensors", notes={"modelspec.prediction_type": "epsilon", "ss_clip_skip": "2"})
    model = Model.open(add_base(catalog, store, Wanted(file)).folder)
    assert (model.base.prediction, model.defaults.steps, model.defaults.scheduler) == (Prediction.NOISE, 4, "euler-a")
    assert (model.defaults.guidance_scale, model.defaults.clip_skip) == (1.0, 2)
    wanted = Wanted(file, prediction="v", distilled="none", clip_skip=3)
    model = Model.open(add_base(catalog, store, wanted).folder)
    assert (model.base.prediction, model.base.told, model.defaults.steps) == (Prediction.VELOCITY, None, 30)
    assert model.defaults.clip_skip == 3


def test_it_can_be_made_anew_and_taken_away_and_the_checkpoint_stays(catalog, store, modules, tmp_path):
    pulled(store, catalog, "depth")
    file = checkpoint(tmp_path, modules, "sdxl")
    folder = add_base(catalog, store, Wanted(file)).folder
    (folder / "model.toml").unlink()
    assert add_base(catalog, store, Wanted(file)).folder == folder
    before = file.stat()
    assert f"Not touched: {file}" in remove_model(catalog, store, "my-best-v3")
    assert not folder.exists()
    assert file.stat() == before
    assert store.read().bases == {}


def test_records_of_versions_that_knew_no_own_bases_are_read(store):
    store.write(Record())
    text = (store.root / "record.json").read_text().replace('"bases": {},', "")
    assert '"bases"' not in text
    (store.root / "record.json").write_text(text)
    assert store.read() == Record()


class TestRefused:
    def test_a_checkpoint_without_text_encoders(self, catalog, store, modules, tmp_path):
        with pytest.raises(ModelError, match="no text encoders"):
            add_base(catalog, store, Wanted(checkpoint(tmp_path, modules, drop="conditioner.")))

    def test_a_checkpoint_without_a_vae_unless_one_is_named(self, catalog, store, modules, tmp_path):
        file = checkpoint(tmp_path, modules, drop="first_stage_model.")
        with pytest.raises(ModelError, match=r"has no VAE.*--vae"):
            add_base(catalog, store, Wanted(file))
        save_file({"text_model.encoder.x": torch.ones(1)}, tmp_path / "text.safetensors")
        with pytest.raises(ModelError, match="is no VAE: it is a text encoder"):
            add_base(catalog, store, Wanted(file, vae=tmp_path / "text.safetensors"))
        save_file(vae_state(modules["sdxl"]["vae"], ""), tmp_path / "vae.safetensors")
        added = add_base(catalog, store, Wanted(file, vae=tmp_path / "vae.safetensors"))
        assert Model.open(added.folder).base.vae == tmp_path / "vae.safetensors"

    def test_what_is_no_checkpoint(self, catalog, store, tmp_path):
        save_file({"x.lora_down.weight": torch.ones(1)}, tmp_path / "style.safetensors")
        with pytest.raises(ModelError, match="is a LoRA"):
            add_base(catalog, store, Wanted(tmp_path / "style.safetensors"))

    def test_a_malicious_checkpoint_and_nothing_is_left_of_the_try(self, catalog, store, tmp_path):
        torch.save({"state_dict": {"w": torch.ones(1), "evil": Bomb(tmp_path / "canary")}}, tmp_path / "evil.ckpt")
        with pytest.raises(ModelError, match="could run code, so it was not opened"):
            add_base(catalog, store, Wanted(tmp_path / "evil.ckpt"))
        assert not (tmp_path / "canary").exists()
        assert store.read() == Record()
        assert not (store.models / "evil").exists()
        with pytest.raises(ModelError, match="could run code"):  # nor when model.toml names it, as a worker opens it
            write_card(tmp_path / "by-hand", "evil.ckpt", tmp_path)
        assert not (tmp_path / "canary").exists()

    def test_the_canary_is_hit_without_the_guard(self, tmp_path):
        torch.save({"evil": Bomb(tmp_path / "canary")}, tmp_path / "evil.ckpt")
        torch.load(tmp_path / "evil.ckpt", weights_only=False)
        assert (tmp_path / "canary").exists()

    def test_a_name_that_is_taken(self, catalog, store, modules, tmp_path):
        file = checkpoint(tmp_path, modules)
        with pytest.raises(InvalidRequest, match="set of the catalogue"):
            add_base(catalog, store, Wanted(file, name="one"))
        with pytest.raises(InvalidRequest, match="small letters"):
            add_base(catalog, store, Wanted(file, name="../up"))
        (store.models / "mine").mkdir(parents=True)
        (store.models / "mine" / "model.toml").write_text('id = "mine"\n')
        with pytest.raises(InvalidRequest, match="model of your own"):
            add_base(catalog, store, Wanted(file, name="mine"))
        add_base(catalog, store, Wanted(file))
        (tmp_path / "elsewhere").mkdir()
        twin = (tmp_path / "elsewhere" / file.name).resolve()
        twin.write_bytes(file.read_bytes())
        with pytest.raises(InvalidRequest, match="another checkpoint already"):
            add_base(catalog, store, Wanted(twin))
