"""People with regions, blocks, schedules, crops and negative pictures: each equals the same thing built by hand from diffusers, to 1e-4."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from stock_pipelines import HandMadeIdentityNet, by_hand, control_name, half_mask, load_stock_adapters, stock
from torch.nn import functional

from backend.keypoints import draw_keypoints
from backend.models.bundle import Family
from backend.pipelines.attention import Lane
from backend.pipelines.blocks import layers_of, lent_layers, seeing_blocks
from backend.pipelines.choices import Mode
from backend.pipelines.control import Conditioning, GatedControlNet
from backend.pipelines.identity import IdentityNet, face_tokens
from backend.pipelines.ip_adapter import picture_tokens
from backend.pipelines.pacing import pace
from backend.pipelines.sample import Recipe, draw_latents
from protocol.errors import InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import BlockWeight, Course, GuideKind, ImagePrompt, Lends, Mark, Schedule, Window

SIZE = Extent(64, 64)
FACES = np.random.default_rng(5).standard_normal((2, 512)).astype(np.float32)
LEFT = np.array([[10, 25], [24, 25], [17, 34], [12, 42], [22, 42]], np.float32)
STEPS = 4
DOWN, UP = "down_blocks.1.attentions.0", "up_blocks.0.attentions.1"


class RegionalIdentityNet(HandMadeIdentityNet):
    """A hand-made IdentityNet whose residuals are multiplied by a mask, as InstantID's `control_mask` is, with soft edges."""

    def forward(self, *args, **kwargs):
        down, mid = super().forward(*args, **{**kwargs, "return_dict": False})
        scaled = [functional.interpolate(self.mask, part.shape[-2:], mode="bilinear") for part in (*down, mid)]
        parts = [part * mask for part, mask in zip((*down, mid), scaled, strict=True)]
        return tuple(parts[:-1]), parts[-1]


def soft_masks():
    """Two regions (1, 64, 64) that fade into each other in the middle."""
    ramp = torch.linspace(-3, 4, 64).clamp(0, 1).expand(1, 64, 64)
    return 1 - ramp, ramp


def ours(parts, mode, picture, guidance=3.0, **extra):
    image = None if mode is Mode.TEXT else picture(1, 64, 64)
    mask = half_mask() if mode is Mode.INPAINT else None
    recipe = Recipe(SIZE, "a hat", "blurry", STEPS, guidance, mode=mode, image=image, mask=mask, strength=0.8, **extra)
    return draw_latents(parts, recipe, seed=7).numpy()


def lane_of(parts, reference, weight=0.6, adapter="base", **extra):
    entry = parts.model.adapter(adapter)
    return Lane(parts.adapter(entry), picture_tokens(parts, entry, reference, guided=True), weight, **extra)


def stock_with(folder, adapter, family="sdxl"):
    pipe = stock(folder, Mode.TEXT, family=family)
    load_stock_adapters(pipe, [folder / "ip_adapter" / f"{adapter}.safetensors"])
    return pipe


def layers(parts, **prompt):
    return layers_of(list(parts.unet.attn_processors), parts.model.family, ImagePrompt(**prompt))


def assert_close(one, other):
    assert np.abs(one - other).max() <= 1e-4


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_two_people_with_soft_regions_equal_two_masked_identity_nets_and_masked_tokens_in_diffusers(mode, parts, tiny_folders, picture):
    folder, mine, masks = tiny_folders["sdxl"], parts["sdxl"], soft_masks()
    places = [LEFT, np.add(LEFT, [30, 4])]
    nets = [RegionalIdentityNet.from_pretrained(folder / "identitynet") for _ in places]
    pipe = stock(folder, mode, nets)
    load_stock_adapters(pipe, [folder / "instantid.safetensors"])
    pipe.set_ip_adapter_scale([[0.8, 0.5]])
    both = torch.from_numpy(np.stack([0 * FACES, FACES]))  # (unconditional and conditional, person, 512)
    for number, net in enumerate(nets):
        net.mask, net.tokens = masks[number][None], pipe.unet.encoder_hid_proj.image_projection_layers[0](both[:, number : number + 1])
    pictures = [draw_keypoints(points.astype(np.float32), SIZE) for points in places]
    expected = by_hand(
        pipe, mode, picture,
        ip_adapter_image_embeds=[both[:, :, None]],
        cross_attention_kwargs={"ip_adapter_masks": [torch.stack(masks, 1)]},
        controlnet_conditioning_scale=[0.8, 0.6],
        **{control_name(mode): [Image.fromarray(one) for one in pictures]},
    )  # fmt: skip
    tokens = [face_tokens(mine.face_adapter, face[None], guided=True) for face in FACES]
    lanes = tuple(Lane(mine.face_adapter, one, weight, region=mask) for one, weight, mask in zip(tokens, (0.8, 0.5), masks, strict=True))
    views = [IdentityNet.of(mine.identity_net, one, mask) for one, mask in zip(tokens, masks, strict=True)]
    conditionings = tuple(Conditioning(view, one, weight) for view, one, weight in zip(views, pictures, (0.8, 0.6), strict=True))
    assert_close(ours(mine, mode, picture, lanes=lanes, nets=conditionings), expected)
    unmasked = tuple(Lane(mine.face_adapter, one, 0.8) for one in tokens)
    assert np.abs(ours(mine, mode, picture, lanes=unmasked, nets=conditionings) - expected).max() > 1e-2, "the check bites"


@pytest.mark.parametrize(
    ("lends", "scale"),
    [
        (Lends.ALL, 0.6),
        (Lends.STYLE, {"up": {"block_0": [0.0, 0.6]}}),
        (Lends.COMPOSITION, {"down": {"block_1": [0.6]}}),
        (Lends.STYLE_AND_COMPOSITION, {"down": {"block_1": [0.6]}, "up": {"block_0": [0.0, 0.6]}}),
    ],
    ids=lambda value: value.value if isinstance(value, Lends) else "",
)
def test_what_an_sdxl_prompt_lends_equals_diffusers_scales_by_block(lends, scale, parts, tiny_folders, picture):
    mine, reference, pipe = parts["sdxl"], picture(3, 40, 40), stock_with(tiny_folders["sdxl"], "base")
    pipe.set_ip_adapter_scale(scale)
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image=Image.fromarray(reference))
    lane = lane_of(mine, reference, layers=layers(mine, lends=lends))
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)


@pytest.mark.parametrize(
    ("lends", "scale"),
    [
        (Lends.STYLE, {"up": {"block_0": 0.6}}),
        (Lends.COMPOSITION, {"down": {"block_1": 0.6}, "mid": 0.6}),
        (Lends.STYLE_AND_COMPOSITION, {"down": {"block_1": 0.6}, "up": {"block_0": 0.6}, "mid": 0.6}),
    ],
    ids=lambda value: value.value if isinstance(value, Lends) else "",
)
def test_what_an_sd15_prompt_lends_equals_diffusers_scales_by_block(lends, scale, parts, tiny_folders, picture):
    mine, reference, pipe = parts["sd15"], picture(3, 40, 40), stock_with(tiny_folders["sd15"], "plus", "sd15")
    pipe.set_ip_adapter_scale(scale)
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image=Image.fromarray(reference))
    lane = lane_of(mine, reference, adapter="plus", layers=layers(mine, lends=lends))
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)


SDXL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": [1, 2, 10], "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048, "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "config", "lends", "wanted"),
    [
        (Family.SDXL, SDXL, Lends.STYLE, [*range(69, 88, 2)]),
        (Family.SDXL, SDXL, Lends.COMPOSITION, [*range(29, 48, 2)]),
        (Family.SDXL, SDXL, Lends.STYLE_AND_COMPOSITION, [*range(29, 48, 2), *range(69, 88, 2)]),
        (Family.SD15, {"cross_attention_dim": 768}, Lends.STYLE, [13, 15, 17]),
        (Family.SD15, {"cross_attention_dim": 768}, Lends.COMPOSITION, [9, 11, 31]),
    ],
)
def test_in_the_real_shapes_the_layers_are_those_of_the_papers_by_their_numbers_in_adapter_files(family, config, lends, wanted):
    with torch.device("meta"):
        names = list(diffusers.UNet2DConditionModel(**config).attn_processors)
    chosen = lent_layers(names, family, lends)
    assert chosen is not None
    assert sorted(index for index in chosen if index % 2) == wanted


def test_weights_of_single_blocks_equal_diffusers_scales_by_block(parts, tiny_folders, picture):
    mine, reference, pipe = parts["sdxl"], picture(3, 40, 40), stock_with(tiny_folders["sdxl"], "base")
    pipe.set_ip_adapter_scale({"down": {"block_1": [0.3]}, "up": {"block_0": [1.2, 0.7]}, "mid": 0.5})
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image=Image.fromarray(reference))
    blocks = (BlockWeight("up_blocks.0", 1.2), BlockWeight(UP, 0.7), BlockWeight(DOWN, 0.3))
    lane = lane_of(mine, reference, 1.0, layers=layers(mine, blocks=blocks, other_blocks=0.5))
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)


def test_blocks_that_are_not_named_count_fully_unless_it_is_asked_otherwise(parts):
    mine = parts["sdxl"]
    plain, only = (layers(mine, blocks=(BlockWeight(UP, 0.5),), **extra) for extra in ({}, {"other_blocks": 0.0}))
    assert set(plain.values()) == {0.5, 1.0}
    assert set(only.values()) == {0.5, 0.0}
    assert [index for index, factor in plain.items() if factor == 0.5] == [index for index, factor in only.items() if factor == 0.5]


@pytest.mark.parametrize("name", ["up_blocks.1", "down_blocks.7", "up", "up_blocks.0.", "mid"])
def test_a_block_that_is_not_there_or_sees_no_pictures_is_refused_with_those_that_do(name, parts):
    with pytest.raises(InvalidRequest, match=r"down_blocks\.1\.attentions\.0, .*mid_block\.attentions\.0"):
        layers(parts["sdxl"], blocks=(BlockWeight(name, 1.0),))


def test_the_names_of_blocks_are_those_of_the_unets_modules(parts):
    unet = parts["sdxl"].unet
    assert all(unet.get_submodule(name) for name in seeing_blocks(list(unet.attn_processors)))


@pytest.mark.parametrize(
    ("schedule", "window"),
    [
        (Schedule(Course.EASE_IN), Window()),
        (Schedule(Course.PEAK), Window(0.0, 0.5)),
        (Schedule(marks=(Mark(0.0, 2.0), Mark(1.0, 0.0))), Window(0.25, 1.0)),
    ],
    ids=["ease-in", "peak in a window", "marks"],
)
def test_a_schedule_equals_scales_that_a_callback_sets_before_every_step(schedule, window, parts, tiny_folders, picture):
    mine, reference, pipe = parts["sdxl"], picture(3, 40, 40), stock_with(tiny_folders["sdxl"], "base")

    def scale(step):
        within = window.start <= step / STEPS and (step + 1) / STEPS <= window.end
        return 0.6 * pace(schedule, window, step, STEPS) if within else 0.0

    def step_end(_, step, __, kwargs):
        pipe.set_ip_adapter_scale(scale(step + 1))
        return kwargs

    pipe.set_ip_adapter_scale(scale(0))
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image=Image.fromarray(reference), callback_on_step_end=step_end)
    lane = lane_of(mine, reference, schedule=schedule, window=window)
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)
    assert np.abs(ours(mine, Mode.TEXT, picture, lanes=(lane_of(mine, reference),)) - expected).max() > 1e-2, "the check bites"


@pytest.mark.parametrize("several", [False, True], ids=["alone", "among others"])
def test_a_schedule_of_a_net_equals_residuals_scaled_by_hand_in_every_step(several, parts, tiny_folders, picture):
    mine, schedule, depth = parts["sdxl"], Schedule(Course.EASE_OUT), picture(2, 64, 64)
    steps = iter(range(STEPS))

    class Faded(diffusers.ControlNetModel):
        def forward(self, *args, conditioning_scale=1.0, **kwargs):
            return super().forward(*args, conditioning_scale=conditioning_scale * pace(schedule, Window(), next(steps), STEPS), **kwargs)

    folder = tiny_folders["sdxl"] / "controlnets"
    nets = [Faded.from_pretrained(folder / "depth"), *([diffusers.ControlNetModel.from_pretrained(folder / "skeleton")] * several)]
    pictures = [Image.fromarray(depth)] * len(nets)
    expected = by_hand(
        stock(tiny_folders["sdxl"], Mode.TEXT, nets), Mode.TEXT, picture,
        image=pictures if several else pictures[0], controlnet_conditioning_scale=[0.7] * 2 if several else 0.7,
    )  # fmt: skip
    kinds = (GuideKind.DEPTH, GuideKind.SKELETON)[: len(nets)]
    views = [GatedControlNet.over(mine.control_net(kind)) for kind in kinds]
    items = tuple(Conditioning(view, depth, 0.7, schedule=schedule if view is views[0] else Schedule()) for view in views)
    assert_close(ours(mine, Mode.TEXT, picture, nets=items), expected)
    assert views[0].pace is None, "nothing is left on the view"


@pytest.mark.parametrize("adapter", ["base", "plus"])
def test_a_negative_picture_equals_embeddings_given_to_diffusers_by_hand(adapter, parts, tiny_folders, picture):
    mine, pipe = parts["sdxl"], stock_with(tiny_folders["sdxl"], adapter)
    reference, negative = picture(3, 40, 40), picture(4, 40, 40)
    pipe.set_ip_adapter_scale(0.6)
    halves = []
    for one in (negative, reference):
        pixels = pipe.feature_extractor(images=Image.fromarray(one), return_tensors="pt").pixel_values
        out = pipe.image_encoder(pixels, output_hidden_states=True)
        halves.append(out.image_embeds if adapter == "base" else out.hidden_states[-2])
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image_embeds=[torch.stack(halves)])
    entry = mine.model.adapter(adapter)
    lane = Lane(mine.adapter(entry), picture_tokens(mine, entry, reference, guided=True, negative=negative), 0.6)
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)
    assert np.abs(ours(mine, Mode.TEXT, picture, lanes=(lane_of(mine, reference, adapter=adapter),)) - expected).max() > 1e-2
