"""Union ControlNets beside IdentityNet: as stock diffusers computes them, one run for all pictures, and nothing while none acts."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel
from noise_planes import noise
from PIL import Image
from stock_pipelines import HandMadeIdentityNet, by_hand, half_mask, stock
from tiny_models import FakeFaces, tiny_model
from tiny_union import write_union

from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.parts import Parts
from backend.pipelines.attention import attached
from backend.pipelines.choices import Mode
from backend.pipelines.control import Conditioning
from backend.pipelines.engine import Engine
from backend.pipelines.guides import view_of
from backend.pipelines.identity import IdentityNet
from backend.pipelines.sample import Recipe, draw_latents
from backend.pipelines.union import joined
from protocol.errors import InvalidRequest, ModelError, UnknownModel
from protocol.geometry import Extent
from protocol.jobs import Canvas, Guide, GuideKind, Photos, PictureJob, Sampling, SecondPass, Shortcut, Subject, Window

STOCK = {
    Mode.TEXT: diffusers.StableDiffusionXLControlNetUnionPipeline,
    Mode.IMAGE: diffusers.StableDiffusionXLControlNetUnionImg2ImgPipeline,
    Mode.INPAINT: diffusers.StableDiffusionXLControlNetUnionInpaintPipeline,
}
NUMBERS = {GuideKind.DEPTH: 1, GuideKind.SOFT_EDGES: 2, GuideKind.EDGES: 3, GuideKind.LINES: 3, GuideKind.NORMALS: 4, GuideKind.TILE: 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    made = tiny_model(tmp_path_factory.mktemp("union") / "tiny")
    for kind in ("depth", "skeleton"):  # all kinds are to be the union's
        (made / "controlnets" / kind).rename(made / kind)
    write_union(made)
    return made


@pytest.fixture(scope="module")
def own(folder):
    return Parts(Model.open(folder))


@pytest.fixture(scope="module")
def engine(folder):
    return Engine(Model.open(folder), FakeFaces())


def union_by_hand(folder, mode, picture, pictures, kinds, weights, windows):
    """Stock diffusers' own pipeline for union networks."""
    net = diffusers.ControlNetUnionModel.from_pretrained(folder / "controlnets" / "union")
    plain = stock(folder, mode)
    known = {
        name: getattr(plain, name) for name in ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
    }
    pipe = STOCK[mode](**known, controlnet=net)
    pipe.set_progress_bar_config(disable=True)
    extra = {
        "control_image": [Image.fromarray(one) for one in pictures],
        "control_mode": [NUMBERS[kind] for kind in kinds],
        "controlnet_conditioning_scale": weights if len(weights) > 1 else weights[0],
        "control_guidance_start": [window.start for window in windows] if len(windows) > 1 else windows[0].start,
        "control_guidance_end": [window.end for window in windows] if len(windows) > 1 else windows[0].end,
    }
    return by_hand(pipe, mode, picture, **extra)


def recipe(mode, picture, nets):
    return Recipe(
        Extent(64, 64), "a hat", "blurry", 4, 3.0, mode=mode, nets=nets, strength=0.8 if mode is not Mode.TEXT else 1.0,
        image=None if mode is Mode.TEXT else picture(1, 64, 64), mask=half_mask() if mode is Mode.INPAINT else None,
    )  # fmt: skip


ALWAYS = Window()
CASES = [
    ((GuideKind.DEPTH,), [0.7], [ALWAYS]),
    ((GuideKind.TILE,), [1.3], [Window(0.0, 0.5)]),
    ((GuideKind.DEPTH, GuideKind.EDGES), [0.5, 0.8], [ALWAYS, ALWAYS]),
    ((GuideKind.LINES, GuideKind.NORMALS, GuideKind.SOFT_EDGES), [0.9, 0.4, 1.1], [ALWAYS, Window(0.25, 1.0), Window(0.0, 0.5)]),
    ((GuideKind.EDGES, GuideKind.LINES), [0.6, 0.6], [ALWAYS, ALWAYS]),
]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("kinds", "weights", "windows"), CASES)
def test_pictures_of_a_union_network_are_as_stock_diffusers_has_them(mode, kinds, weights, windows, own, folder, picture):
    pictures = [picture(20 + number, 64, 64) for number in range(len(kinds))]
    oracle = union_by_hand(folder, mode, picture, pictures, kinds, weights, windows)
    nets = tuple(Conditioning(view_of(own, *one[:1]), *one[1:]) for one in zip(kinds, pictures, weights, windows, strict=True))
    mine = draw_latents(own, recipe(mode, picture, nets), seed=7).numpy()
    assert np.abs(mine - oracle).max() < 1e-4
    assert np.abs(oracle - by_hand(stock(folder, mode), mode, picture)).max() > 1e-2, "the network does something"


def test_beside_an_identity_net_the_residuals_add_up(own, folder):
    """One step, by hand: IdentityNet attends to the face, the union network to the text, and the UNet gets the sum."""
    generator = torch.Generator().manual_seed(2)
    sample, text, tokens = (torch.randn(size, generator=generator) for size in ((2, 4, 16, 16), (2, 77, 32), (2, 16, 32)))
    added = {"text_embeds": torch.randn((2, 16), generator=generator), "time_ids": torch.full((2, 6), 64.0)}
    keypoints, depth, lines = (torch.rand((2, 3, 64, 64), generator=generator) for _ in range(3))
    step = torch.tensor(500)
    identity = HandMadeIdentityNet.from_pretrained(folder / "identitynet")
    identity.tokens = tokens
    union = diffusers.ControlNetUnionModel.from_pretrained(folder / "controlnets" / "union")
    types = torch.zeros(2, 8)
    types[:, [1, 3]] = 1
    with torch.no_grad():
        one = identity(sample, step, encoder_hidden_states=text, controlnet_cond=keypoints, conditioning_scale=0.8, added_cond_kwargs=added)
        other = union(sample, step, text, [depth, lines], types, [1, 3], [0.5, 0.9], added_cond_kwargs=added)
        nets = [IdentityNet.of(own.identity_net, tokens), view_of(own, GuideKind.DEPTH), view_of(own, GuideKind.LINES)]
        with joined(nets), attached(nets[0]), attached(nets[1]):
            down, mid = MultiControlNetModel(nets)(
                sample, step, text, [keypoints, depth, lines], [0.8, 0.5, 0.9], added_cond_kwargs=added, return_dict=False
            )
    assert torch.allclose(mid, one.mid_block_res_sample + other.mid_block_res_sample, atol=1e-4)
    for found, first, second in zip(down, one.down_block_res_samples, other.down_block_res_samples, strict=True):
        assert torch.allclose(found, first + second, atol=1e-4)


def job(*guides: Guide, **more: object) -> PictureJob:
    return PictureJob("a hat", guides=guides, **({"sampling": Sampling(steps=4, seed=3), "preview_every": 0} | more))


DEPTH, EDGES = Guide(GuideKind.DEPTH, noise(1), weight=0.7), Guide(GuideKind.EDGES, noise(2), weight=0.5)


def runs_of(module):
    calls = []
    return calls, module.register_forward_pre_hook(lambda *_: calls.append(1))


def test_one_run_of_the_network_a_step_serves_all_pictures_each_embedded_once(engine):
    net = engine.parts.control_net(GuideKind.DEPTH)
    assert net is engine.parts.control_net(GuideKind.EDGES) is engine.parts.control_net(GuideKind.INPAINT)
    (runs, first), (embedded, second) = runs_of(net.conv_in), runs_of(net.controlnet_cond_embedding)
    try:
        engine.run(job(DEPTH, EDGES))
        assert (len(runs), len(embedded)) == (4, 2)
    finally:
        first.remove()
        second.remove()


def test_while_no_picture_acts_the_network_is_not_run(engine):
    net = engine.parts.control_net(GuideKind.DEPTH)
    windows = [Guide(one.kind, one.picture, weight=one.weight, window=Window(0.0, 0.5)) for one in (DEPTH, EDGES)]
    runs, handle = runs_of(net.conv_in)
    try:
        early = engine.run(job(*windows))[0].pixels
    finally:
        handle.remove()
    assert len(runs) == 2
    assert not np.array_equal(early, engine.run(job(DEPTH, EDGES))[0].pixels)


def test_a_person_a_union_network_and_the_job_before_leave_nothing_behind(engine, photo):
    everything = job(DEPTH, EDGES, subjects=(Subject(Photos((photo(1),))),), sampling=Sampling(steps=2, seed=3), count=2)
    plain = job(sampling=Sampling(steps=2, seed=3))
    first, alone = engine.run(everything), engine.run(plain)[0].pixels
    again = engine.run(everything)
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(first, again, strict=True))
    assert np.array_equal(engine.run(plain)[0].pixels, alone)
    assert not np.array_equal(first[0].pixels, alone)


def test_shortcuts_and_second_passes_go_with_it(engine):
    """Guidance that rests in no step is the ordinary picture; one that rests, and a second pass, are pictures too."""
    rests = Sampling(steps=4, seed=3, shortcuts=(Shortcut.GUIDANCE_INTERVAL,))
    assert engine.run(job(DEPTH, EDGES, sampling=rests))[0].pixels.std() > 0
    assert engine.run(job(DEPTH, EDGES, second_pass=SecondPass(1.5)))[0].pixels.shape == (96, 96, 3)


def test_a_guide_for_inpainting_is_the_canvas_with_black_where_it_is_filled(engine):
    mask = to_plane(half_mask())
    canvas = Canvas(noise(5), mask, strength=0.9, grow=0)
    blacked = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blacked[:, 32:] = 0
    given = engine.run(job(Guide(GuideKind.INPAINT, to_plane(blacked), weight=1.0), canvas=canvas))[0].pixels
    made = engine.run(job(Guide(GuideKind.INPAINT, weight=1.0), canvas=canvas))[0].pixels
    without = engine.run(job(canvas=canvas))[0].pixels
    assert np.array_equal(made, given)
    assert not np.array_equal(made, without)


def test_a_tile_guide_without_a_picture_is_the_canvas(engine):
    canvas = Canvas(noise(6), strength=0.7)
    given = engine.run(job(Guide(GuideKind.TILE, noise(6)), canvas=canvas))[0].pixels
    assert np.array_equal(engine.run(job(Guide(GuideKind.TILE), canvas=canvas))[0].pixels, given)


@pytest.mark.parametrize(
    ("kind", "canvas", "words"),
    [
        (GuideKind.TILE, None, "needs a picture, or a canvas"),
        (GuideKind.INPAINT, Canvas(noise(1)), "a canvas with a mask"),
        (GuideKind.DEPTH, Canvas(noise(1)), "kind depth needs a picture"),
    ],
)
def test_a_guide_that_shows_nothing_is_refused_with_a_sentence(engine, kind, canvas, words):
    with pytest.raises(InvalidRequest, match=words):
        engine.run(job(Guide(kind), canvas=canvas))


def test_how_many_kinds_a_network_knows_is_said_by_its_weights(tmp_path):
    first = tiny_model(tmp_path / "first")
    write_union(first, types=6, said=8)
    model = Model.open(first)
    known = {kind for kind, _ in model.controls}
    assert {GuideKind.SEGMENTS, GuideKind.NORMALS} <= known
    assert not {GuideKind.TILE, GuideKind.INPAINT} & known
    assert model.control(GuideKind.DEPTH).name == "depth", "a ControlNet of its own goes first"
    assert Parts(model).control_net(GuideKind.NORMALS).config.num_control_type == 6
    with pytest.raises(UnknownModel, match=r"no ControlNet for tile. It has: .*segments"):
        Engine(model, FakeFaces()).run(job(Guide(GuideKind.TILE, noise(1))))
    pro = tiny_model(tmp_path / "pro")
    write_union(pro, types=8, said=6)
    assert Parts(Model.open(pro)).control_net(GuideKind.TILE).config.num_control_type == 8


def test_another_base_has_no_union_network_and_a_damaged_one_is_named(tmp_path, folder):
    other = tiny_model(tmp_path / "sd15", "sd15")
    (other / "controlnets" / "union").mkdir()
    assert {kind for kind, _ in Model.open(other).controls} == {GuideKind.SKELETON, GuideKind.DEPTH}
    broken = tiny_model(tmp_path / "broken")
    write_union(broken)
    (broken / "controlnets" / "union" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(ModelError, match="cannot be loaded as ControlNetUnionModel"):
        Engine(Model.open(broken), FakeFaces()).run(job(Guide(GuideKind.NORMALS, noise(1))))
