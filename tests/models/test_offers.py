"""What a model's folder offers to artists: LoRAs with what their files say of themselves, and textual inversions."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backend.models.bundle import Model
from backend.models.extras import family_of_lora
from backend.models.header import Header, glance, read_header
from backend.models.offers import LoraOffer, Offer, Offers, folder_stamp
from protocol.errors import ModelError

KEY = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    for part in ("vae", "unet"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text('{"block_out_channels": [8, 8]}')
    (tmp_path / "model.toml").write_text(
        'id = "m"\nfamily = "sdxl"\nsize = [64, 64]\n[[style]]\nname = "ink"\nfile = "loras/ink.safetensors"\nweight = 0.9\n'
    )
    return Model.open(tmp_path)


def lora(model: Model, name: str, notes: dict[str, str] | None = None, width: int = 2048) -> Path:
    path = model.folder / "loras" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({KEY: torch.zeros(4, width)}, path, metadata=notes)
    return path


def word(model: Model, name: str, tensors: dict[str, torch.Tensor]) -> None:
    (model.folder / "embeddings").mkdir(exist_ok=True)
    save_file(tensors, model.folder / "embeddings" / f"{name}.safetensors")


class CountingReader:
    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> Header:
        self.read.append(path.name)
        return read_header(path)


def test_an_empty_folder_offers_nothing(model: Model) -> None:
    assert Offers().of(model) == Offer()


def test_loras_come_in_order_with_what_modelspec_and_kohya_note_of_them(model: Model) -> None:
    lora(model, "zebra", {"modelspec.title": "Stripes", "modelspec.trigger_phrase": "zbr style, stripes,, zbr style"})
    lora(model, "Oil", {"ss_output_name": "oil"})
    assert Offers().of(model).loras == (LoraOffer("Oil"), LoraOffer("zebra", "Stripes", ("zbr style", "stripes")))


def test_what_a1111_and_its_helpers_keep_beside_a_file_counts_before_the_file(model: Model) -> None:
    path = lora(model, "hero", {"modelspec.trigger_phrase": "from the file"})
    path.with_suffix(".civitai.info").write_text(json.dumps({"trainedWords": ["hero man", "cape, mask"]}))
    assert Offers().of(model).loras == (LoraOffer("hero", "", ("hero man", "cape", "mask")),)
    path.with_suffix(".json").write_text(json.dumps({"activation text": "mine", "preferred weight": 0.7}))
    assert Offers().of(model).loras == (LoraOffer("hero", "", ("mine",), 0.7),)


@pytest.mark.parametrize("weight", [0, 9, "much", None, True, [1]])
def test_a_weight_that_is_none_is_no_suggestion(model: Model, weight: object) -> None:
    lora(model, "hero").with_suffix(".json").write_text(json.dumps({"preferred weight": weight}))
    assert Offers().of(model).loras == (LoraOffer("hero"),)


def test_the_weight_of_a_style_of_the_model_is_suggested_for_its_lora(model: Model) -> None:
    lora(model, "ink")
    assert Offers().of(model).loras == (LoraOffer("ink", weight=0.9),)


def test_files_of_another_family_are_left_out_and_those_that_do_not_tell_stay(model: Model) -> None:
    lora(model, "ours")
    lora(model, "theirs", width=768)
    lora(model, "unknown", width=96)
    word(model, "both", {"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)})
    word(model, "old", {"emb_params": torch.zeros(2, 768)})
    (model.folder / "embeddings" / "pickle.pt").write_bytes(b"whatever: it is not opened")
    offer = Offers().of(model)
    assert ([one.name for one in offer.loras], offer.embeddings) == (["ours", "unknown"], ("both", "pickle"))


def test_a_damaged_file_is_listed_so_that_the_job_can_say_what_is_wrong_with_it(model: Model) -> None:
    lora(model, "cut").write_bytes(b"\xff" * 40)
    lora(model, "hero").with_suffix(".json").write_text("{broken")
    assert [one.name for one in Offers().of(model).loras] == ["cut", "hero"]


def test_a_name_that_no_job_could_carry_is_left_out(model: Model) -> None:
    lora(model, "n" * 80)
    lora(model, "n" * 81)
    assert [one.name for one in Offers().of(model).loras] == ["n" * 80]


def test_notes_become_single_lines_of_bounded_length(model: Model) -> None:
    lora(
        model, "loud", {"modelspec.title": "A\ntitle\x07" + "!" * 300, "modelspec.trigger_phrase": ",".join(f"word {n}" for n in range(99))}
    )
    (one,) = Offers().of(model).loras
    assert (one.title[:7], len(one.title)) == ("A title", 80)
    assert one.triggers == tuple(f"word {n}" for n in range(8))


def test_a_header_is_read_once_for_each_state_of_a_file_and_never_more_of_it(model: Model) -> None:
    path, reader = lora(model, "hero"), CountingReader()
    offers = Offers(reader)
    for _ in range(3):
        offers.of(model)
    assert reader.read == ["hero.safetensors"]
    os.utime(path, (1, 1))
    offers.of(model)
    assert len(reader.read) == 2


@pytest.mark.parametrize("width", [768, 2048, 1024, 96])
@pytest.mark.parametrize("notes", [None, {"modelspec.title": 'A "quoted" {title}', "ss_tag_frequency": '{"x": {"__metadata__": 1}}'}])
def test_a_glance_at_a_large_header_tells_what_all_of_it_tells(tmp_path: Path, width: int, notes: dict[str, str] | None) -> None:
    """Oracle: the whole header."""
    tensors = {f"lora_unet_mid_block_{n}_attn1_to_q.lora_down.weight": torch.zeros(1, 1) for n in range(800)}
    tensors |= {f"lora_unet_mid_block_{n}_attn2_to_k.{role}.weight": torch.zeros(1, width) for n in range(9) for role in ("lora_down", "x")}
    save_file(tensors, tmp_path / "large.safetensors", metadata=notes)
    seen, whole = glance(tmp_path / "large.safetensors"), read_header(tmp_path / "large.safetensors")
    assert 0 < len(seen.shapes) < len(whole.shapes)
    assert seen.shapes.items() <= whole.shapes.items()
    assert (seen.notes, family_of_lora(seen)) == (whole.notes, family_of_lora(whole))


@pytest.mark.parametrize("spoil", [b"", b"\xff" * 40, b"<html>", (9).to_bytes(8, "little") + b"{"])
def test_a_glance_at_something_else_says_what_reading_it_would_say(tmp_path: Path, spoil: bytes) -> None:
    (tmp_path / "odd.safetensors").write_bytes(spoil)
    with pytest.raises(ModelError) as whole:
        read_header(tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match=re.escape(str(whole.value))):
        glance(tmp_path / "odd.safetensors")


def test_the_stamp_of_a_folder_differs_when_a_file_comes_or_goes(model: Model) -> None:
    path = lora(model, "sub/hero")
    os.utime(path.parent, (1, 1))
    before = folder_stamp(model.folder)
    assert folder_stamp(model.folder) == before
    path.unlink()
    after = folder_stamp(model.folder)
    assert after != before
    word(model, "first", {"emb_params": torch.zeros(2, 768)})
    assert folder_stamp(model.folder) != after
