"""The memory plan as a specification: what each size of card keeps, and whether the figures behind it are those that are counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import diffusers
import official_layouts as layouts
import pytest
import torch
from live_bytes import peak_of
from real_shapes import base_parts, identity_net
from tiny_models import tiny_model

import backend
from backend.doctor import TAKEN_GIB
from backend.models.bundle import Family, Model
from backend.models.memory_plan import FACES_POOL, GIB, MARGIN, Allotment, Level, Role, Stay, captures, peak, plan_memory, stay
from backend.models.part_sizes import (
    DECODE_NUMBERS,
    SDXL_CAPTURED,
    SDXL_INSTANTID,
    SDXL_REPLACED,
    SDXL_WORK,
    STEP_NUMBERS,
    VAE_WIDTH,
    parts_of,
    work_of,
)
from backend.models.parts import Parts
from backend.pipelines.tiny_decoder import decoded

STOCK = Path(backend.__file__).parent / "models" / "stock"
SDXL, WORK = SDXL_INSTANTID, SDXL_WORK
INSTANTID_ADAPTER = 846 * 10**6
"""In half precision; the published file has single precision."""


@pytest.mark.parametrize(
    ("card", "level"),
    [
        (24, Level.ALL),
        (16, Level.ALL),
        (12, Level.ENCODERS_AWAY),
        (11, Level.TAKING_TURNS),
        (10, Level.NETS_STREAMED),
        (8, Level.STREAMED),
    ],
)
def test_what_a_card_of_so_many_gibibytes_does(card: int, level: Level) -> None:
    plan = plan_memory(SDXL, WORK, int(card * GIB * 0.95))
    assert plan.level is level, plan.sentence()
    assert plan.fits
    assert plan.peak <= card * GIB


ALONE = tuple(
    replace(part, weights=INSTANTID_ADAPTER) if part.role is Role.ADAPTER else part for part in SDXL if part.role is not Role.PICTURE
)
"""InstantID without an IP-Adapter."""


def plainly() -> int:
    """What plain diffusers holds at its worst moment for InstantID: everything lies there, and the VAE decodes in single precision."""
    lying = sum(part.weights for part in ALONE if part.role is not Role.FACES)
    return lying + 2 * WORK.decode + next(part.weights for part in ALONE if part.role is Role.VAE)


def test_the_twelve_and_eight_gibibyte_plans_stay_within_their_goals() -> None:
    """G10: 11 GiB and 0.80 of plain diffusers; 7.5 GiB. With an IP-Adapter and its encoder beside it, still within the card."""
    for parts in (SDXL, ALONE):
        twelve, eight = (plan_memory(parts, WORK, int((card - TAKEN_GIB) * GIB)) for card in (12, 8))
        assert twelve.peak <= 11 * GIB
        assert eight.peak <= 7.5 * GIB
        assert twelve.level is Level.ENCODERS_AWAY, "nothing of a step comes over the bus; it may be compiled, and LoRAs merged"
        assert eight.level >= Level.NETS_STREAMED
    assert twelve.peak <= 0.80 * plainly()


def test_each_level_needs_less_than_the_one_before_it() -> None:
    needs = [peak(level, SDXL, WORK) for level in Level]
    assert needs == sorted(needs, reverse=True)
    assert len(set(needs)) == len(needs)


@pytest.mark.parametrize("free", range(1, 30))
def test_the_plan_is_the_first_level_that_fits_and_says_when_none_does(free: int) -> None:
    plan = plan_memory(SDXL, WORK, free * GIB)
    room = free * GIB * (1 - MARGIN)
    assert plan.fits == (plan.peak <= room)
    assert all(peak(level, SDXL, WORK) > room for level in Level if level < plan.level)
    assert plan.fits or plan.level is Level.STREAMED
    assert ("too much" in plan.sentence()) is not plan.fits


def test_what_leaves_first_is_what_works_least() -> None:
    assert {role for role in Role if stay(Level.ENCODERS_AWAY, role) is Stay.AWAY} == {Role.TEXT, Role.PICTURE, Role.VAE}
    assert {role for role in Role if stay(Level.TAKING_TURNS, role) is Stay.DEVICE} == {Role.ADAPTER}
    assert stay(Level.NETS_STREAMED, Role.NET) is Stay.STREAMED
    assert stay(Level.NETS_STREAMED, Role.UNET) is Stay.AWAY
    assert {stay(level, Role.FACES) for level in Level} == {Stay.PROCESSOR}


@pytest.mark.parametrize(("card", "there"), [(24, True), (16, True), (12, False), (8, False)])
def test_face_models_are_on_the_card_only_for_who_wants_them_there_and_where_all_else_fits_beside_them(card: int, there: bool) -> None:
    free = int((card - TAKEN_GIB) * GIB)
    usual, asked = plan_memory(SDXL, WORK, free), plan_memory(SDXL, WORK, free, faces_may=True)
    assert usual.names(Stay.PROCESSOR) == ("faces",)
    assert (asked.names(Stay.PROCESSOR) == ()) == there
    assert asked.level is usual.level, "no part leaves for them"
    assert asked.peak - usual.peak == (360 * 10**6 + FACES_POOL if there else 0)
    assert asked.peak <= free


QUICKER = replace(WORK, captured=SDXL_CAPTURED, replaced=SDXL_REPLACED)
"""Where nets are captured, and LoRAs merged."""


@pytest.mark.parametrize("free", [number / 4 for number in range(16, 100)])
def test_captured_nets_go_before_any_part_does(free: float) -> None:
    plan, plain = plan_memory(SDXL, QUICKER, int(free * GIB)), plan_memory(SDXL, WORK, int(free * GIB))
    assert plan.level is plain.level, "no part leaves for them"
    assert plan.captured == (captures(plan.level) and plain.peak + SDXL_CAPTURED <= int(free * GIB * (1 - MARGIN)))
    assert plan.peak == plain.peak + (SDXL_CAPTURED if plan.captured else 0), "what they hold counts at the worst moment"


def test_what_is_left_is_for_what_loras_replace_and_then_for_more_graphs_and_is_given_once() -> None:
    for free in range(13, 40):
        plan = plan_memory(SDXL, QUICKER, free * GIB)
        for captured in {plan.captured, False}:
            share = plan.allotment(plan.level, captured)
            assert share.originals in (0, SDXL_REPLACED)
            assert (share.graphs > 0) == captured
            least = plan.peak_at(plan.level, False) + share.originals + share.graphs
            assert least <= max(plan.peak_at(plan.level, captured), free * GIB * (1 - MARGIN))
    large = plan_memory(SDXL, QUICKER, 40 * GIB)
    assert large.allotment(large.level, True).originals == SDXL_REPLACED
    assert large.allotment(large.level, True).graphs > SDXL_CAPTURED, "room for other sizes, too"
    assert large.allotment(Level.TAKING_TURNS, False) == Allotment(0, 0)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (24, ("captured nets hold 0.8 GiB", "what LoRAs replace waits on the device")),
        (17, ("captured nets hold 0.8 GiB", "what LoRAs replace waits in the processor's memory")),
        (15, ("all at once", "no room for captured nets")),
        (12, ("encoders leave after use", "no room for captured nets", "what LoRAs replace waits in the processor's memory")),
        (11, ("nets that come and go are not captured", "not compiled then")),
        (8, ("neither compiled nor captured",)),
    ],
)
def test_the_plan_says_what_captured_nets_and_loras_come_to(card: float, words: tuple[str, ...]) -> None:
    said = plan_memory(SDXL, QUICKER, int((card - TAKEN_GIB) * GIB)).sentence()
    assert all(word in said for word in words), said
    assert not any(word in plan_memory(SDXL, WORK, int((card - TAKEN_GIB) * GIB)).sentence() for word in ("captured", "LoRAs"))


def test_what_sdxls_graphs_hold_is_what_its_configuration_comes_to() -> None:
    """By hand: keys and values of 109 tokens in 70 layers, for both halves, in three graphs; residuals of IdentityNet twice."""
    found = config("sdxl", "unet")
    widths, depths = found["block_out_channels"], found["transformer_layers_per_block"]
    layers = [2 * 640 * depths[1], 2 * 1280 * depths[2], 1280 * depths[2], 3 * 1280 * depths[2], 3 * 640 * depths[1]]
    assert widths[1:] == [640, 1280]
    keys = sum(layers) * 109 * 2 * 2 * 2
    assert sum(layers) == 83200
    places = [(320, 128)] * 3 + [(320, 64)] + [(640, 64)] * 2 + [(640, 32)] + [(1280, 32)] * 2 + [(1280, 32)]
    answers = sum(channels * side**2 for channels, side in places) * 2 * 2
    assert pytest.approx(WORK.step + 3 * keys + 2 * answers, rel=0.01) == SDXL_CAPTURED


def test_sizes_read_from_headers_are_those_of_the_loaded_modules(tmp_path: Path) -> None:
    model = Model.open(tiny_model(tmp_path / "tiny"))
    parts, loaded = {part.name: part for part in parts_of(model, 4)}, Parts(model)
    modules = {"unet": loaded.unet, "identitynet": loaded.identity_net, "image_encoder": loaded.image_encoder(), **loaded.base}
    for name in ("unet", "vae", "text_encoder", "text_encoder_2", "identitynet", "image_encoder"):
        assert parts[name].weights == pytest.approx(sum(p.numel() * 4 for p in modules[name].parameters()), rel=0.02)
    for name in ("unet", "identitynet"):
        inner = [block for block in modules[name].modules() if type(block).__name__ == "BasicTransformerBlock"]
        sizes = [sum(p.numel() * 4 for p in block.parameters()) for block in inner]
        assert (parts[name].blocks, parts[name].block) == (sum(sizes), max(sizes))
    half = {part.name: part.weights for part in parts_of(model, 2)}
    assert all(parts[name].weights == 2 * size for name, size in half.items())


def config(family: str, name: str) -> dict:
    return json.loads((STOCK / family / name / "config.json").read_text())


def unet() -> diffusers.UNet2DConditionModel:
    torch.set_default_dtype(torch.float16)
    try:
        return diffusers.UNet2DConditionModel.from_config(config("sd15", "unet"))
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_step_of_sd15_keeps_as_much_alive_as_the_formula_says() -> None:
    """Counted on tensors without contents. 26.1 for each place, channel and half; the rest of the figure is for ControlNets."""
    side = 32
    text = torch.empty(2, 77, 768, dtype=torch.float16)
    latents = torch.empty(2, 4, side, side, dtype=torch.float16)
    counted = peak_of(unet, lambda made: made(latents, torch.tensor(1), encoder_hidden_states=text))
    formula = (STEP_NUMBERS[Family.SD15] - 5.1) * 2 * side**2 * 320 * 2
    assert 0.9 * formula < counted <= 1.05 * formula


def test_decoding_keeps_as_much_alive_as_the_formula_says() -> None:
    side = 16
    counted = peak_of(
        lambda: diffusers.AutoencoderKL.from_config(config("sdxl", "vae")), lambda made: made.decode(torch.empty(1, 4, side, side))
    )
    formula = DECODE_NUMBERS * (side * 8) ** 2 * VAE_WIDTH * 4
    assert 0.9 * formula < counted <= 1.05 * formula


def test_work_grows_with_the_picture_and_with_precision(tmp_path: Path) -> None:
    model = Model.open(tiny_model(tmp_path / "tiny"))
    parts = parts_of(model, 2)
    small = work_of(model, parts, 2)
    large = work_of(replace(model, extent=replace(model.extent, width=2 * model.extent.width)), parts, 2)
    assert (large.step, large.decode) == pytest.approx((2 * small.step, 2 * small.decode), rel=1e-3)
    assert work_of(model, parts, 4).decode == pytest.approx(2 * small.decode, rel=1e-3)


def test_the_published_sizes_are_those_of_the_real_configurations() -> None:
    """Counted from the configurations on tensors without contents, in half precision; no weights."""
    made = base_parts()
    made["identitynet"] = identity_net(made["unet"])
    known = {part.name: part for part in SDXL}
    for name, module in made.items():
        assert known[name].weights == pytest.approx(sum(p.numel() for p in module.parameters()) * 2, rel=0.01), name
    for name in ("unet", "identitynet"):
        inner = [block for block in made[name].modules() if type(block).__name__ == "BasicTransformerBlock"]
        sizes = [sum(p.numel() for p in block.parameters()) * 2 for block in inner]
        assert known[name].blocks == pytest.approx(sum(sizes), rel=0.01)
        assert known[name].block == pytest.approx(max(sizes), rel=0.01)
    halves = [layouts.resampler(1280, 20, 512, 2048), layouts.attention(made["unet"])]
    assert sum(math.prod(shape) for half in halves for shape in half.values()) * 2 == pytest.approx(INSTANTID_ADAPTER, rel=0.01)
    halves[0] = layouts.resampler(1280, 20, 1280, 2048)  # IP-Adapter Plus, beside it
    plus = sum(math.prod(shape) for half in halves for shape in half.values()) * 2
    assert known["adapters"].weights == pytest.approx(INSTANTID_ADAPTER + plus, rel=0.01)


def test_a_preview_decoder_takes_less_beside_the_weights_than_a_step() -> None:
    """It works between two steps, so that the plan need not count it."""

    def made() -> diffusers.AutoencoderTiny:
        torch.set_default_dtype(torch.float16)
        try:
            return diffusers.AutoencoderTiny()  # its defaults are TAESD's
        finally:
            torch.set_default_dtype(torch.float32)

    counted = peak_of(made, lambda tiny: decoded(tiny, torch.empty(1, 4, 128, 128, dtype=torch.float16)))
    assert 0.8 * WORK.step < counted < WORK.step
