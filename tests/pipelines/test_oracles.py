"""Every combination equals the same one built by hand from diffusers' own pipelines, within 1e-4 (in latents)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from PIL import Image
from stock_pipelines import HandMadeIdentityNet, by_hand, control_name, half_mask, load_stock_adapters, stock

from backend.keypoints import draw_keypoints
from backend.pipelines.attention import Lane
from backend.pipelines.choices import Mode
from backend.pipelines.control import Conditioning, GatedControlNet
from backend.pipelines.identity import IdentityNet, face_tokens
from backend.pipelines.ip_adapter import face_prompt_tokens, picture_tokens
from backend.pipelines.sample import Recipe, draw_latents
from protocol.geometry import Extent
from protocol.jobs import GuideKind, Window

SIZE = Extent(64, 64)
FACE = np.random.default_rng(5).standard_normal((1, 512)).astype(np.float32)
UNIT = FACE / np.linalg.norm(FACE)
POINTS = np.array([[20, 25], [44, 25], [32, 36], [24, 46], [40, 46]], np.float32)


def ours(parts, mode, picture, **extra):
    image = None if mode is Mode.TEXT else picture(1, 64, 64)
    mask = half_mask() if mode is Mode.INPAINT else None
    recipe = Recipe(SIZE, "a hat", "blurry", 4, 3.0, mode=mode, image=image, mask=mask, strength=0.8, **extra)
    return draw_latents(parts, recipe, seed=7).numpy()


def assert_close(one, other):
    assert np.abs(one - other).max() <= 1e-4


@pytest.mark.parametrize("control", [False, True], ids=["plain", "control"])
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_every_stock_pipeline_over_the_shared_modules_equals_one_built_alone(family, mode, control, parts, tiny_folders, picture):
    depth = picture(2, 64, 64)
    nets, extra, conditionings = [], {}, ()
    if control:
        nets = [ControlNetModel.from_pretrained(tiny_folders[family] / "controlnets" / "depth")]
        extra = {control_name(mode): Image.fromarray(depth), "controlnet_conditioning_scale": 0.7, "control_guidance_end": 0.5}
        net = GatedControlNet.over(parts[family].control_net(GuideKind.DEPTH))
        conditionings = (Conditioning(net, depth, 0.7, Window(0.0, 0.5)),)
    expected = by_hand(stock(tiny_folders[family], mode, nets, family), mode, picture, **extra)
    assert_close(ours(parts[family], mode, picture, nets=conditionings), expected)


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_instantid_with_a_controlnet_and_an_image_prompt_in_one_call_equals_diffusers(mode, parts, tiny_folders, picture):
    folder, mine = tiny_folders["sdxl"], parts["sdxl"]
    net = HandMadeIdentityNet.from_pretrained(folder / "identitynet")
    depth = ControlNetModel.from_pretrained(folder / "controlnets" / "depth")
    pipe = stock(folder, mode, [net, depth])
    load_stock_adapters(pipe, [folder / "instantid.safetensors", folder / "ip_adapter" / "plus.safetensors"])
    pipe.set_ip_adapter_scale([0.8, 0.6])
    both = torch.from_numpy(np.concatenate([0 * FACE, FACE]))[:, None]
    net.tokens = pipe.unet.encoder_hid_proj.image_projection_layers[0](both)
    reference = picture(3, 50, 50)
    clip = pipe.feature_extractor(images=Image.fromarray(reference), return_tensors="pt").pixel_values
    hidden = [pipe.image_encoder(pixels, output_hidden_states=True).hidden_states[-2] for pixels in (torch.zeros_like(clip), clip)]
    keypoints, depths = draw_keypoints(POINTS, SIZE), picture(2, 64, 64)
    expected = by_hand(
        pipe, mode, picture,
        ip_adapter_image_embeds=[both[:, None], torch.cat(hidden)[:, None]],
        controlnet_conditioning_scale=[0.8, 0.5],
        **{control_name(mode): [Image.fromarray(keypoints), Image.fromarray(depths)]},
    )  # fmt: skip
    tokens, entry = face_tokens(mine.face_adapter, FACE, guided=True), mine.model.adapter("plus")
    lanes = (Lane(mine.face_adapter, tokens, 0.8), Lane(mine.adapter(entry), picture_tokens(mine, entry, reference, guided=True), 0.6))
    nets = (
        Conditioning(IdentityNet.of(mine.identity_net, tokens), keypoints, 0.8),
        Conditioning(GatedControlNet.over(mine.control_net(GuideKind.DEPTH)), depths, 0.5),
    )
    assert_close(ours(mine, mode, picture, lanes=lanes, nets=nets), expected)


def test_a_region_of_an_image_prompt_equals_diffusers_masks(parts, tiny_folders, picture):
    folder, mine, reference = tiny_folders["sdxl"], parts["sdxl"], picture(3, 40, 40)
    region = torch.from_numpy(half_mask() / np.float32(255))
    pipe = stock(folder, Mode.TEXT)
    load_stock_adapters(pipe, [folder / "ip_adapter" / "base.safetensors"])
    pipe.set_ip_adapter_scale(0.6)
    kwargs = {"ip_adapter_masks": [region[None, None]]}
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image=Image.fromarray(reference), cross_attention_kwargs=kwargs)
    entry = mine.model.adapter("base")
    lane = Lane(mine.adapter(entry), picture_tokens(mine, entry, reference, guided=True), 0.6, region=region[None])
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_faceid_with_its_lora_equals_diffusers_in_image_to_image(family, parts, tiny_folders, picture):
    folder, mine = tiny_folders[family], parts[family]
    pipe = stock(folder, Mode.IMAGE, family=family)
    load_stock_adapters(pipe, [folder / "ip_adapter" / "faceid.safetensors"])
    pipe.set_ip_adapter_scale(0.9)
    embeds = torch.from_numpy(np.concatenate([0 * UNIT, UNIT]))[:, None]
    expected = by_hand(pipe, Mode.IMAGE, picture, ip_adapter_image_embeds=[embeds])
    entry = mine.model.adapter("faceid")
    lane = Lane(mine.adapter(entry), face_prompt_tokens(mine, entry, FACE, None, guided=True), 0.9)
    assert_close(ours(mine, Mode.IMAGE, picture, lanes=(lane,)), expected)


def test_faceid_plus_version_2_equals_diffusers(parts, tiny_folders, picture):
    folder, mine, crop = tiny_folders["sd15"], parts["sd15"], picture(4, 32, 32)
    pipe = stock(folder, Mode.TEXT, family="sd15")
    load_stock_adapters(pipe, [folder / "ip_adapter" / "faceid-plusv2.safetensors"])
    pipe.set_ip_adapter_scale(0.7)
    clip = pipe.feature_extractor(images=Image.fromarray(crop), return_tensors="pt").pixel_values
    hidden = [pipe.image_encoder(pixels, output_hidden_states=True).hidden_states[-2] for pixels in (torch.zeros_like(clip), clip)]
    projection = pipe.unet.encoder_hid_proj.image_projection_layers[0]
    projection.clip_embeds, projection.shortcut = torch.cat(hidden)[:, None], True
    embeds = torch.from_numpy(np.concatenate([0 * UNIT, UNIT]))[:, None]
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image_embeds=[embeds])
    entry = mine.model.adapter("faceid-plusv2")
    lane = Lane(mine.adapter(entry), face_prompt_tokens(mine, entry, FACE, crop, guided=True), 0.7)
    assert_close(ours(mine, Mode.TEXT, picture, lanes=(lane,)), expected)
