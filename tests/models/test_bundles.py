"""A model folder: what model.toml says, what is found by its place, and what is said when it is wrong."""

from __future__ import annotations

import json

import pytest

from backend.models.adapters import AdapterKind
from backend.models.bundle import Model
from protocol.errors import ModelError, UnknownModel
from protocol.geometry import Extent
from protocol.jobs import GuideKind

CARD = 'id = "m"\nfamily = "sdxl"\nsize = [128, 128]\n'


@pytest.fixture
def folder(tmp_path):
    for part, blocks in (("vae", 3), ("unet", 2)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps({"block_out_channels": [8] * blocks}))
    (tmp_path / "model.toml").write_text(CARD)
    return tmp_path


def test_factors_come_from_the_configs_and_never_from_habit(folder):
    model = Model.open(folder)
    assert (model.factor, model.grid) == (4, 8)


def test_parts_are_found_by_their_place(folder):
    (folder / "ip_adapter").mkdir()
    for name in ("b.safetensors", "a.bin", "b.bin", "notes.txt"):
        (folder / "ip_adapter" / name).write_bytes(b"")
    (folder / "controlnets" / "depth").mkdir(parents=True)
    (folder / "identitynet").mkdir()
    (folder / "instantid.safetensors").write_bytes(b"")
    model = Model.open(folder)
    assert [(entry.name, entry.file.name) for entry in model.adapters] == [("a", "a.bin"), ("b", "b.safetensors")]
    assert [kind for kind, _ in model.controls] == [GuideKind.DEPTH]
    assert model.instant_id
    assert model.faces is None


def test_adapters_that_are_listed_keep_their_order_and_kind(folder):
    entries = '[[ip_adapter]]\nname = "z"\nfile = "x/z.bin"\nkind = "faceid-plusv2"\nencoder = "big"\n'
    entries += '[[ip_adapter]]\nname = "a"\nfile = "a.bin"\n'
    (folder / "model.toml").write_text(CARD + entries)
    model = Model.open(folder)
    assert model.adapter(None).name == "z"
    assert model.adapter("z").kind is AdapterKind.FACE_ID_PLUS_V2
    assert model.adapter("z").encoder == "big"
    with pytest.raises(UnknownModel, match="z, a"):
        model.adapter("nothing")


def test_the_models_own_size_is_the_first(folder):
    (folder / "model.toml").write_text(CARD + "sizes = [[96, 160], [128, 128]]\n")
    assert Model.open(folder).extents == (Extent(128, 128), Extent(96, 160))


def test_a_style_is_another_model_id(folder):
    (folder / "model.toml").write_text(CARD + '[[style]]\nname = "ink"\nfile = "loras/ink.safetensors"\n')
    model = Model.open(folder).with_style("ink")
    assert model.id == "m:ink"
    with pytest.raises(UnknownModel, match="ink"):
        model.with_style("oil")


@pytest.mark.parametrize(
    "card",
    [
        "", "id = ", CARD.replace("sdxl", "sd9"), CARD.replace("[128, 128]", "128"), CARD + "sizes = 7\n", CARD + "[defaults]\nspeed = 1\n",
        CARD + '[[ip_adapter]]\nname = "x"\n', CARD + '[[ip_adapter]]\nname = "x"\nfile = "x"\nkind = "magic"\n', CARD + 'sizes = "many"\n',
        CARD + "[defaults]\ncontext = -0.1\n", CARD + "[defaults]\ncontext = nan\n",
    ],
)  # fmt: skip
def test_a_wrong_card_is_said_and_never_guessed(folder, card):
    (folder / "model.toml").write_text(card)
    with pytest.raises(ModelError, match=r"model\.toml"):
        Model.open(folder)


def test_a_folder_without_a_card_or_vae_is_no_model(folder, tmp_path):
    with pytest.raises(ModelError, match=r"model\.toml is missing"):
        Model.open(tmp_path / "nowhere")
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(ModelError, match="vae"):
        Model.open(folder)
