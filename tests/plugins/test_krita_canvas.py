"""The canvas adapter with Krita's real library, without a window: what it reads, what it writes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import krita_runs
import pytest
from PIL import Image, ImageCms

WHY_NOT = krita_runs.why_no_krita("kritarunner")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
WITHIN_A_LEVEL = 1
NO_OPTIMIZATION = 0x100
"""LittleCMS's flag, which Krita sets: without it, LittleCMS makes its own coarser tables for 8-bit pixels."""
PROFILES = Path("/usr/share/color/icc/krita")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All cases, in one run of kritarunner."""
    out = tmp_path_factory.mktemp("cases")
    turned = Image.new("RGB", (40, 20), (200, 10, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(out / "turned.jpg", exif=exif, quality=95)
    Image.new("RGB", (3000, 100)).save(out / "large.png")
    linear = ImageCms.ImageCmsProfile(str(PROFILES / "sRGB-elle-V2-g10.icc")).tobytes()
    Image.new("RGB", (8, 8), (55, 55, 55)).save(out / "linear.png", icc_profile=linear)
    (out / "words.png").write_text("no picture")
    return krita_runs.run_cases("krita_canvas_cases", krita_runs.kept_home(out / "home"), out)


@pytest.fixture
def case(told: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the case of the test's mark gave."""
    answer = told[request.param]
    assert "failed" not in answer, answer["failed"]
    return answer


def of(name: str):
    return pytest.mark.parametrize("case", [name], indirect=True)


@of("pixels_in_and_out")
def test_pixels_come_out_as_bgra_rows_of_the_part_that_was_asked_for(case: dict[str, Any]):
    assert case["part"] == case["expected"]
    assert case["whole same"]


@of("pixels_in_and_out")
def test_what_is_asked_for_beyond_the_canvas_is_cut_off_at_its_border(case: dict[str, Any]):
    assert case["whole"] == [0, 0, 64, 48]
    assert case["outside"].startswith("CanvasProblem: There are no pixels in that place")


@of("pixels_in_and_out")
def test_without_a_document_there_is_a_sentence_and_no_card(case: dict[str, Any]):
    assert case["no document"] == "CanvasProblem: No document is open. Open or create one first."
    assert case["no card"]


@of("selection")
def test_the_selection_is_a_box_on_the_canvas_and_a_mask_of_its_pixels(case: dict[str, Any]):
    assert case["nothing"] is None
    assert case["hard"] == [10, 12, 20, 16]
    rows = [bytes.fromhex(case["mask"])[y * 24 : y * 24 + 24] for y in range(20)]
    inside = b"\0\0" + b"\xff" * 20 + b"\0\0"
    assert rows == [bytes(24)] * 2 + [inside] * 16 + [bytes(24)] * 2


@of("selection")
def test_a_selection_beyond_the_canvas_is_clamped_and_one_beside_it_is_none(case: dict[str, Any]):
    assert case["over"] == [0, 0, 20, 20]
    assert case["beside"] is None


@of("selection")
def test_a_feathered_selection_keeps_its_soft_border(case: dict[str, Any]):
    x, y, width, height = case["soft"]
    assert x < 10
    assert y < 12
    assert width > 20
    assert height > 16
    assert case["soft values"] > 5


@of("selection")
def test_the_mask_of_the_selection_is_no_layer(case: dict[str, Any]):
    assert case["layers"] == ["Background"]


@of("depths")
def test_16_bit_and_float_documents_are_read_within_one_level(case: dict[str, Any]):
    assert [name.split()[0] for name in case] == ["U16", "U16", "F16", "F32"]
    assert "U16 sRGB-elle-V2-g10.icc" in case  # a linear one is among them
    assert max(case.values()) <= WITHIN_A_LEVEL, case


def profile_colours(pixels: list[tuple[int, ...]], mode: str, source: str, target: str, out: str) -> list[tuple[int, ...]]:
    """LittleCMS's own conversion, as the yardstick."""
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    change = ImageCms.buildTransform(
        str(PROFILES / source), str(PROFILES / target), mode, out, renderingIntent=ImageCms.Intent.PERCEPTUAL, flags=NO_OPTIMIZATION
    )
    changed = ImageCms.applyTransform(image, change)
    assert changed is not None
    return [tuple(changed.getpixel((x, 0))) for x in range(len(pixels))]


def rgb_of(bgra: str) -> list[tuple[int, ...]]:
    data = bytes.fromhex(bgra)
    return [(data[i + 2], data[i + 1], data[i]) for i in range(0, len(data), 4)]


def off(one: list[tuple[int, ...]], two: list[tuple[int, ...]]) -> int:
    return max(abs(a - b) for p, q in zip(one, two, strict=True) for a, b in zip(p, q, strict=True))


@of("cmyk")
def test_a_cmyk_document_is_read_as_its_profile_says_within_one_level(case: dict[str, Any]):
    assert case["profile"] == "Chemical proof"
    wanted = profile_colours([tuple(ink) for ink in case["inks"]], "CMYK", "cmyk.icm", "sRGB-elle-V2-srgbtrc.icc", "RGB")
    assert off(rgb_of(case["bgra"]), wanted) <= WITHIN_A_LEVEL


@of("cmyk")
def test_a_result_in_a_cmyk_document_looks_as_near_as_its_inks_come(case: dict[str, Any]):
    sent = rgb_of(case["bgra"])
    inks = profile_colours(sent, "RGB", "sRGB-elle-V2-srgbtrc.icc", "cmyk.icm", "CMYK")
    wanted = profile_colours(inks, "CMYK", "cmyk.icm", "sRGB-elle-V2-srgbtrc.icc", "RGB")
    for depth in ("U8", "U16"):
        levels = sorted(off([a], [b]) for a, b in zip(rgb_of(case["back"][depth]), wanted, strict=True))
        assert levels[len(levels) * 9 // 10] <= WITHIN_A_LEVEL, (depth, levels)
        assert levels[-1] <= 4, (depth, levels)  # where 8-bit inks round to the other side, one ink is up to four levels


@of("round_trips")
def test_a_result_is_a_layer_of_the_documents_own_kind_whatever_that_is(case: dict[str, Any]):
    assert len(case) >= 11
    assert {name: kind["layer"] for name, kind in case.items()} == {name: ["result", *kind["space"]] for name, kind in case.items()}


@of("round_trips")
def test_a_result_looks_the_same_on_the_canvas_and_by_itself_within_one_level(case: dict[str, Any]):
    outside_inks = {name: (kind["off"], kind["by the layer"]) for name, kind in case.items() if not name.startswith("CMYKA")}
    assert max(max(both) for both in outside_inks.values()) <= WITHIN_A_LEVEL, outside_inks
    assert outside_inks["RGBA U8 sRGB-elle-V2-srgbtrc.icc"] == (0, 0)


@of("half_transparent")
def test_layers_are_blended_as_the_document_blends_them(case: dict[str, Any]):
    assert case["pixel"] == [188, 188, 188, 255]  # half of white's light; blended in sRGB it would be 128


@of("preview_and_apply")
def test_the_preview_is_one_locked_layer_on_top_whose_pixels_are_exchanged(case: dict[str, Any]):
    assert case["shown"][:2] == [[*case["before"], "[Likeness preview]"], True]
    assert case["shown pixels"]
    assert case["swapped"] == [2, case["shown"][2]]
    assert case["old place"]
    assert case["new place"]


@of("preview_and_apply")
def test_the_preview_is_not_in_what_is_captured_and_not_among_the_layers(case: dict[str, Any]):
    assert case["capture without it"]
    assert case["still visible"]
    assert case["shown after capture"]
    assert case["cards"] == ["Background"]


@of("preview_and_apply")
def test_applying_makes_the_preview_the_result_and_leaves_the_artists_layers_alone(case: dict[str, Any]):
    assert case["applied"] == [["Background", "Anna, seed 7, 0.71"], False, case["shown"][2]]
    assert case["applied pixels"]
    assert case["ground"]


@of("preview_and_apply")
def test_a_preview_can_be_hidden_undone_and_covered_by_other_layers(case: dict[str, Any]):
    assert case["next preview"][-1] == "[Likeness preview]"
    assert case["hidden"] == case["next preview"][:-1]
    assert case["shown again"] == case["next preview"]
    assert case["second"] == [*case["hidden"], "second", "group"]


@of("masks")
def test_of_a_masked_result_as_much_is_seen_as_the_mask_says(case: dict[str, Any]):
    assert case["opaque"] == [0, 64, 128, 255, 255, 200, 1, 0]
    assert case["half"] == [0, 32, 64, 128, 128, 100, 1, 0]
    assert case["colours"]


@of("masks")
def test_the_mask_is_a_transparency_mask_where_krita_makes_one_else_the_opacity(case: dict[str, Any]):
    kind = ["transparencymask"] if case["can"] else []
    assert case["children"]["opaque"] == case["children"]["half"] == kind


@of("masks")
def test_a_document_with_a_masked_result_is_saved_and_opened_as_it_was(case: dict[str, Any]):
    assert case["saved"]
    assert case["reopened"]["opaque"] == case["opaque"]
    assert case["reopened"]["half"] == case["half"]
    assert case["wrong size"].startswith("CanvasProblem: The picture has 4 x 2 pixels")


@of("notes_and_files")
def test_notes_and_the_key_are_in_the_saved_file_and_do_not_make_it_modified(case: dict[str, Any]):
    assert case["clean"]
    assert case["saved"]
    assert case["same key"]
    assert case["note"]
    assert case["name"] == "scene.kra"


@of("notes_and_files")
def test_a_copy_of_an_open_file_is_a_document_of_its_own(case: dict[str, Any]):
    assert case["copy has its own"]
    assert case["copy alone"]


@of("notes_and_files")
def test_an_applied_result_is_there_after_saving_and_opening(case: dict[str, Any]):
    assert case["layer"] == ["Background", "Anna, seed 7"]
    assert case["pixels"]


@of("saving")
def test_a_note_is_in_the_file_when_the_document_is_saved_and_not_before(case: dict[str, Any]):
    assert case["unnamed"] == ["", None]
    assert case["not saved"] == [True, None]
    assert case["saved"] == "b'news'"
    assert case["closed"] == ["", "b'news'"]


@of("saving")
def test_only_news_make_a_document_modified(case: dict[str, Any]):
    assert not case["quiet"]
    assert case["news"]


@of("saving")
def test_a_file_without_a_key_of_ours_has_the_same_one_whenever_it_is_opened(case: dict[str, Any]):
    assert case["same every time"] == {"plain.png": True, "untouched.kra": True}
    assert case["not the same"]
    assert case["no notes in"] == ""


@of("meanwhile")
def test_whatever_is_done_to_layers_and_canvas_while_a_job_runs_the_result_comes_to_its_place(case: dict[str, Any]):
    assert len(case) == 10
    assert {what: told[1:] for what, told in case.items()} == {what: [True, True] for what in case}
    layers = ["Background", "hers", "result"]
    others = {"in a group": ["Background", "hers", "group"], "active removed": ["Background", "result"]}
    assert {what: told[0] for what, told in case.items()} == {**dict.fromkeys(case, layers), **others}


@of("left_over_preview")
def test_a_preview_that_was_saved_with_a_file_is_neither_captured_nor_kept(case: dict[str, Any]):
    assert case["opened"] == ["Background", "[Likeness preview]"]
    assert case["cards"] == ["Background"]
    assert case["capture"] == "ffffffff"
    assert case["applied"] == ["Background", "result"]


@of("unwilling_documents")
def test_layers_come_top_first_with_those_in_groups_hidden_and_locked(case: dict[str, Any]):
    assert case["order"] == ["outside", "group", "hidden", "empty", "Background"]
    assert case["hidden"]
    assert case["around"].endswith("00000000")


@of("unwilling_documents")
def test_what_a_document_does_not_allow_is_told_in_a_sentence(case: dict[str, Any]):
    beginnings = {
        "empty": "The layer “empty” has no pixels",
        "outside": "The layer “outside” has no pixels",
        "unknown": "That layer is not in the document any more",
        "wrong layout": "The picture has 20 x 16 pixels as RGBA8",
        "short": "A picture of 20 x 16 pixels as BGRA8 has 1280 bytes",
        "closed capture": "No document is open",
        "closed show": "The document is closed",
        "closed apply": "The document is closed",
        "closed read": "The document is closed",
        "closed write": "The document is closed",
    }
    assert [name for name, words in beginnings.items() if not case[name].startswith(f"CanvasProblem: {words}")] == []
    assert case["closed card"]
    assert case["closed hide"]
    assert case["no note"] is None


@of("picture_files")
def test_picture_files_are_opened_upright_small_and_in_srgb(case: dict[str, Any]):
    width, height, pixel = case["turned"]
    assert (width, height) == (20, 40)
    assert max(abs(a - b) for a, b in zip(pixel, (10, 10, 200, 255), strict=True)) <= 3  # JPEG
    assert case["large"] == [2048, 68]
    assert all(abs(value - 128) <= WITHIN_A_LEVEL for value in case["linear"][:3])  # 55 of linear light


@of("picture_files")
def test_pictures_are_saved_and_packed_as_they_are(case: dict[str, Any]):
    assert case["saved"] == {"RGB8": "1e140aff", "RGBA8": "1e140a80", "BGRA8": "1e140a80"}


@of("picture_files")
def test_files_that_cannot_be_opened_or_written_are_told_in_a_sentence(case: dict[str, Any]):
    for name in ("no picture", "no file", "no folder"):
        assert case[name].startswith("CanvasProblem: "), case[name]
    assert case["damaged"].startswith("BadPicture: ")


@of("picture_files")
def test_pictures_and_masks_are_scaled_smoothly(case: dict[str, Any]):
    scaled = case["scaled"]
    assert scaled["over"] == ["BGRA8", 2, "c86432ff" * 2 + "808080ff" * 2]
    assert scaled["mask"][0] == "A8"
    assert scaled["mask"][1][0] == 0
    assert 100 < scaled["mask"][1][1] < 155
    assert scaled["mask"][1][2] == 255
    assert scaled["same"]
    assert scaled["rgb"] == "030201ff"


@of("large_canvas")
def test_what_is_asked_for_all_the_time_is_quick_on_a_canvas_of_24_megapixels(case: dict[str, Any]):
    assert case["document"] < 5
    assert case["layers"] < 5
    assert case["preview name"]
