"""The latents that the official InstantID and IP-Adapter code computed, to 3e-4 (tests/goldens/README.md). Each test prints its real
difference."""

from __future__ import annotations

from pathlib import Path

import golden_models
import numpy as np
import pytest
import torch

from backend.faces import draw_keypoints
from backend.models.bundle import Model
from backend.models.parts import Parts
from backend.pipelines.attention import Lane
from backend.pipelines.control import Conditioning, GatedControlNet
from backend.pipelines.identity import IdentityNet, face_tokens
from backend.pipelines.ip_adapter import face_prompt_tokens, picture_tokens
from backend.pipelines.sample import Recipe, draw_latents
from protocol.geometry import Extent
from protocol.jobs import GuideKind

TOLERANCE = 3e-4
EXTENT = Extent(256, 256)


@pytest.fixture(scope="module")
def instantid() -> dict[str, np.ndarray]:
    return dict(np.load(golden_models.GOLDENS / "instantid.npz"))


@pytest.fixture(scope="module")
def ip_adapter() -> dict[str, np.ndarray]:
    return dict(np.load(golden_models.GOLDENS / "ip_adapter.npz"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    folder: Path = golden_models.write_sdxl(tmp_path_factory.mktemp("goldens") / "sdxl")
    yield Parts(Model.open(folder))
    golden_models.remove(folder)


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    folder: Path = golden_models.write_sd15(tmp_path_factory.mktemp("goldens") / "sd15")
    yield Parts(Model.open(folder))
    golden_models.remove(folder)


def latents(parts: Parts, seed: int, lanes=(), nets=()) -> np.ndarray:
    noise = torch.from_numpy(np.random.Generator(np.random.PCG64(seed)).standard_normal((1, 4, 32, 32), dtype=np.float32))
    recipe = Recipe(EXTENT, "a portrait of a woman with a red hat", "blurry", 4, 5.0, lanes=tuple(lanes), nets=tuple(nets))
    return draw_latents(parts, recipe, noise=noise).numpy()


def check(name: str, found: np.ndarray, golden: np.ndarray) -> None:
    difference = float(np.abs(found - golden).max())
    print(f"{name}: max |difference| {difference:.2e}, standard deviation {golden.std():.2f}")
    assert difference <= TOLERANCE


def identity(parts: Parts, golden: dict[str, np.ndarray]) -> tuple[Lane, Conditioning]:
    tokens = face_tokens(parts.face_adapter, golden["embedding"][None], guided=True)
    return Lane(parts.face_adapter, tokens, 0.8), Conditioning(IdentityNet.of(parts.identity_net, tokens), golden["keypoint_image"], 0.8)


def test_keypoints_are_drawn_as_instantid_draws_them(instantid):
    assert np.array_equal(draw_keypoints(instantid["keypoints"], EXTENT), instantid["keypoint_image"])


def test_instantid_text_to_image_equals_the_official_pipeline(sdxl, instantid):
    lane, net = identity(sdxl, instantid)
    check("InstantID", latents(sdxl, 11, [lane], [net]), instantid["latents_t2i"])


def test_instantid_beside_a_pose_controlnet_equals_the_official_pipeline(sdxl, instantid):
    lane, net = identity(sdxl, instantid)
    pose = Conditioning(GatedControlNet.over(sdxl.control_net(GuideKind.SKELETON)), instantid["pose_image"], 0.5)
    check("InstantID and pose", latents(sdxl, 14, [lane], [net, pose]), instantid["latents_multi"])


def test_ip_adapter_sdxl_equals_the_official_code(sdxl, ip_adapter):
    entry = sdxl.model.adapter("ip_xl")
    lane = Lane(sdxl.adapter(entry), picture_tokens(sdxl, entry, ip_adapter["reference_image"], guided=True), 0.6)
    check("IP-Adapter SDXL", latents(sdxl, 41, [lane]), ip_adapter["latents_ip_xl"])


def test_ip_adapter_plus_sd15_equals_the_official_code(sd15, ip_adapter):
    entry = sd15.model.adapter("ip_plus_sd15")
    lane = Lane(sd15.adapter(entry), picture_tokens(sd15, entry, ip_adapter["reference_image"], guided=True), 0.7)
    check("IP-Adapter Plus SD1.5", latents(sd15, 44, [lane]), ip_adapter["latents_ip_plus_sd15"])


def test_ip_adapter_faceid_sdxl_with_its_lora_equals_the_official_code(sdxl, ip_adapter):
    entry = sdxl.model.adapter("faceid_xl")
    tokens = face_prompt_tokens(sdxl, entry, ip_adapter["face_embedding"], None, guided=True)
    check("IP-Adapter FaceID SDXL", latents(sdxl, 46, [Lane(sdxl.adapter(entry), tokens, 0.8)]), ip_adapter["latents_faceid_xl"])
