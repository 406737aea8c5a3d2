"""The catalogue that comes along: complete, consistent, and never made up; and what is said of one that is wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from backend.models.adapters import AdapterKind
from backend.models.catalog import Catalog, clash, licences
from backend.models.distilled import told_by_name
from backend.models.recognisers import read_recognisers, recogniser_for
from backend.models.store_model import card_of, joined
from protocol.errors import InvalidRequest, ModelError
from protocol.jobs import GuideKind

OWN = Catalog.load()
ASKED_FOR = [
    "sdxl",
    "instantid-sdxl",
    "ip-adapter-sdxl",
    "ip-adapter-plus-sdxl",
    "ip-adapter-plus-face-sdxl",
    "faceid-sdxl",
    "sd15",
    "ip-adapter-sd15",
    "ip-adapter-plus-face-sd15",
    "faceid-sd15",
    "controlnets-sdxl",
    "controlnet-union-sdxl",
    "controlnets-sd15",
    "few-step-sdxl",
    "few-step-sd15",
    "preview-decoder-sdxl",
    "preview-decoder-sd15",
]
GOOD = """
[licence.free]
name = "free"
url = "u"
commercial = true
forbids = "nothing"
[part.base]
title = "a base"
family = "sdxl"
licence = "free"
repository = "org/repo"
revision = "main"
files = [{ path = "a/b.json" }]
[set.all]
purpose = "all"
family = "sdxl"
parts = ["base"]
"""


def test_every_set_that_artists_ask_for_is_there() -> None:
    assert [name for name in ASKED_FOR if name not in OWN.sets] == []


@pytest.mark.parametrize("name", sorted(OWN.sets))
def test_a_set_that_is_a_model_has_all_that_a_model_needs(name: str) -> None:
    chosen = OWN.sets[name]
    places = {file.place for file in chosen.files}
    if chosen.model is None:
        assert not any(place.startswith("unet/") for place in places)
        return
    needed = {"unet/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer/vocab.json", "scheduler/scheduler_config.json"}
    assert needed <= places
    assert ("text_encoder_2/config.json" in places) == (chosen.family == "sdxl")
    kinds = {part.adapter["kind"] for part in chosen.parts if part.adapter}
    assert ("image_encoder/config.json" in places) == bool(kinds - {"faceid"})
    assert any(place.startswith(("faces/", "recognisers/")) for place in places) == (
        name.startswith("instantid") or any("faceid" in kind for kind in kinds)
    )


def test_every_adapter_has_a_kind_that_the_engine_knows() -> None:
    kinds = {part.adapter["kind"] for part in OWN.parts.values() if part.adapter}
    assert kinds <= {kind.value for kind in AdapterKind}


def test_every_controlnet_lies_where_the_engine_looks() -> None:
    kinds = {part.id: part.files[0].place.split("/")[1] for part in OWN.parts.values() if part.files[0].place.startswith("controlnets/")}
    assert set(kinds.values()) <= {"union", *(each.value for each in GuideKind)}


def test_few_step_loras_are_known_by_their_names_and_the_note_says_how_they_are_asked_for() -> None:
    few = [part for name in ("few-step-sdxl", "few-step-sd15") for part in OWN.sets[name].parts]
    assert len(few) == 5
    for part in few:
        name = Path(part.files[0].place).stem
        assert told_by_name(name) is not None
        assert f"`--lora {name}`" in part.note


def test_one_file_has_one_hash_and_one_size_wherever_it_is_named() -> None:
    seen: dict[str, tuple[int | None, str | None]] = {}
    sizes: dict[str, int | None] = {}
    for part in OWN.parts.values():
        for file in part.files:
            assert seen.setdefault(file.key, (file.bytes, file.sha256)) == (file.bytes, file.sha256)
            if file.sha256:
                assert sizes.setdefault(file.sha256, file.bytes) == file.bytes


def test_large_files_of_the_main_sets_are_known_by_their_hash() -> None:
    """Small configurations and the ControlNets for SD 1.5 may be trusted on first use; weights that are pickles never."""
    unknown = [file.key for file in OWN.files if file.sha256 is None]
    assert [key for key in unknown if key.endswith(".bin")] == []
    weights = [key for key in unknown if not key.endswith(".json")]
    assert all(key.startswith(("lllyasviel/control_v11", "madebyollin/taesd")) for key in weights), weights


def test_every_licence_says_what_it_forbids_and_face_models_are_never_for_sale() -> None:
    for licence in licences(OWN.parts.values()):
        assert licence.forbids.endswith(".")
        assert licence.url.startswith("https://")
    strict = [
        name for name in ("antelopev2", "buffalo-l", "instantid", "faceid-sdxl", "faceid-plusv2-sd15") if OWN.parts[name].licence.commercial
    ]
    assert strict == []


def test_the_strictest_licence_comes_first() -> None:
    assert [licence.commercial for licence in licences(OWN.sets["instantid-sdxl"].parts)] == [False, False, True, True]


def test_two_parts_that_want_one_place_are_refused() -> None:
    one, other = OWN.sets["ip-adapter-bigg-sdxl"].parts, OWN.sets["faceid-sdxl"].parts
    found = clash([*one, *other])
    assert found is not None
    assert {part.id for part in found} == {"clip-vit-bigg", "clip-vit-h"}
    with pytest.raises(InvalidRequest, match="want the same place"):
        joined(one, other, "ip-adapter-bigg-sdxl")


def test_adapters_controlnets_and_loras_stand_side_by_side() -> None:
    names = (
        "instantid-sdxl",
        "ip-adapter-plus-face-sdxl",
        "ip-adapter-plus-sdxl",
        "controlnets-sdxl",
        "few-step-sdxl",
        "preview-decoder-sdxl",
    )
    assert clash({part.id: part for name in names for part in OWN.sets[name].parts}.values()) is None


def test_the_card_of_a_model_names_its_adapters_in_order() -> None:
    parts = joined(OWN.sets["instantid-sdxl"].parts, OWN.sets["ip-adapter-plus-face-sdxl"].parts, "x")
    card = card_of("instantid-sdxl", OWN.sets["instantid-sdxl"], parts)
    assert "avoid = [[1024, 1024]]" in card
    assert re.findall(r'file = "(.*)"', card) == ["ip_adapter/ip-adapter-plus-face_sdxl_vit-h.safetensors"]


def test_an_unknown_set_is_answered_with_what_is_near() -> None:
    with pytest.raises(InvalidRequest, match=r"Did you mean .*instantid-sdxl"):
        OWN.set("instantid-sdlx")
    with pytest.raises(InvalidRequest, match="likeness models list"):
        OWN.set("zzz")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a/b.json"', '"../b.json"'),
        ('"a/b.json"', '"/b.json"'),
        ('"a/b.json"', '"C:/b.json"'),
        ('path = "a/b.json"', 'path = "a", place = "a\\\\b"'),
        ('path = "a/b.json"', 'path = "a", sha256 = "AB"'),
        ('path = "a/b.json"', 'path = "a", bytes = -1'),
        ('path = "a/b.json"', "bytes = 1"),
        ('"org/repo"', '"org"'),
        ('parts = ["base"]', 'parts = ["other"]'),
        ('parts = ["base"]', "parts = []"),
        ('licence = "free"', 'licence = "none"'),
        ('family = "sdxl"\nparts', 'family = "sd15"\nparts'),
        ("[set.all]", "[set.'../x']"),
        ("[licence.free]", "not toml ["),
    ],
)
def test_a_wrong_catalogue_is_refused_with_a_sentence(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "catalog.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert list(Catalog.load(file).sets) == ["all"]
    assert old in GOOD
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ModelError, match=r"The catalogue .*\."):
        Catalog.load(file)


def test_instantid_and_faceid_fit_into_one_model_each_with_the_recogniser_it_was_trained_with(tmp_path: Path) -> None:
    parts = {part.id: part for name in ("instantid-sdxl", "faceid-sdxl") for part in OWN.set(name).parts}.values()
    assert clash(parts) is None
    table = tomllib.loads(card_of("both", OWN.set("instantid-sdxl"), parts))
    for part in parts:
        for file in part.files:
            (tmp_path / file.place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file.place).touch()
    main, other = read_recognisers(tmp_path, "both", table)
    assert (main.name, main.folder, other.name, other.folder) == (
        "antelopev2", tmp_path / "faces", "buffalo_l", tmp_path / "recognisers" / "buffalo_l",
    )  # fmt: skip
    files = {file.path.rpartition("/")[2]: file.sha256 for part in parts for file in part.files}
    assert (main.digest(), other.digest()) == (files["glintr100.onnx"], files["w600k_r50.onnx"])
    assert "non-commercial" in main.licence
    assert {entry["recogniser"] for entry in table["ip_adapter"]} == {"buffalo_l"}
    assert recogniser_for("both", (main, other), "", "antelopev2", "InstantID") == main


def test_a_recogniser_that_an_older_version_put_into_faces_is_not_one_more(tmp_path: Path) -> None:
    for folder in ("faces", "recognisers/buffalo_l"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "w600k_r50.onnx").touch()
    (found,) = read_recognisers(tmp_path, "old", {"recogniser": [{"name": "buffalo_l", "folder": "recognisers/buffalo_l"}]})
    assert found.folder == tmp_path / "recognisers" / "buffalo_l"


@pytest.mark.parametrize(
    "entry",
    [{"name": "x"}, {"name": "x", "file": "a", "folder": "b"}, {"name": "x", "file": "a.onnx"}, {"name": "x", "folder": "a", "same": 2}],
)
def test_an_entry_for_a_recogniser_that_cannot_be_meant_is_an_error_of_the_card(tmp_path: Path, entry: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"recogniser|cosine"):
        read_recognisers(tmp_path, "own", {"recogniser": [entry]})
