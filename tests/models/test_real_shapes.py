"""SDXL with InstantID in its real shapes, random numbers in bf16: files of the official layouts are loaded, and a step is taken.

    LIKENESS_REAL_SHAPES=1 pytest -s tests/models/test_real_shapes.py

takes 12 GiB of memory, 11 GiB on the disk and some minutes; without the variable it is skipped.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from real_shapes import numbers, write_sdxl_with_instantid
from tiny_models import FakeFaces

from backend.images import to_plane
from backend.models.bundle import Family, Model
from backend.pipelines.engine import Engine
from protocol.geometry import Extent
from protocol.jobs import Photos, PictureJob, Sampling, Subject

NEEDED = 12 * 2**30
SIDE = 128
PUBLISHED = {"unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840}
"""Numbers of SDXL's parts, as its published files hold them."""
IDENTITY_NET = 1_251_000_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif("LIKENESS_REAL_SHAPES" not in os.environ, reason="takes 12 GiB of memory; asked for by LIKENESS_REAL_SHAPES=1"),
]


def memory(what: str) -> int:
    """Peak of this process since its beginning, in KiB, as Linux counts it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def test_sdxl_with_instantid_loads_from_official_layouts_and_takes_a_step(tmp_path):
    if psutil.virtual_memory().available < NEEDED:
        pytest.skip("less than 12 GiB of memory is free")
    began = time.monotonic()
    model = Model.open(write_sdxl_with_instantid(tmp_path / "real", SIDE))
    print(f"written {time.monotonic() - began:.0f} s", flush=True)
    assert (model.family, model.name, model.instant_id, model.factor) == (Family.SDXL, "real", True, 8)
    engine = Engine(model, FakeFaces(), dtype=torch.bfloat16)
    began = time.monotonic()
    base = engine.parts.base
    assert {name: sum(value.numel() for value in base[name].parameters()) for name in PUBLISHED} == PUBLISHED
    net, adapter = engine.parts.identity_net, engine.parts.face_adapter
    assert abs(sum(value.numel() for value in net.parameters()) - IDENTITY_NET) < 1_000_000
    assert len(adapter.layers) == 70
    print(f"loaded {time.monotonic() - began:.0f} s, {memory('RssAnon') / 2**20:.1f} GiB of its own", flush=True)
    name = "model.diffusion_model.middle_block.1.transformer_blocks.9.attn2.to_k.weight"
    found = base["unet"].mid_block.attentions[0].transformer_blocks[9].attn2.to_k.weight
    assert torch.equal(found.cpu(), numbers(name, (1280, 2048)))
    photo = to_plane(np.full((96, 96, 3), 120, np.uint8))
    job = PictureJob(
        "a portrait", extent=Extent(SIDE, SIDE), subjects=(Subject(Photos((photo,))),), sampling=Sampling(steps=1, seed=1), preview_every=0
    )
    began = time.monotonic()
    picture = engine.run(job)[0]
    print(f"a step and decoding {time.monotonic() - began:.0f} s, peak {memory('VmHWM') / 2**20:.1f} GiB", flush=True)
    assert picture.pixels.shape == (SIDE, SIDE, 3)
    assert picture.pixels.std() > 0
