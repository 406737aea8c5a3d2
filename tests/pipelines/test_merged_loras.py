"""LoRAs where nets are compiled or captured: merged into the UNet's weights for one picture, which compiled blocks and graphs read as ever.

What they draw is diffusers' with the same files; nothing is compiled or captured anew for them, and no bit of them is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lora_makers as makers
import numpy as np
import pytest
import torch
from stock_pipelines import by_hand, stock
from tape import TapeCapturer
from tiny_models import FakeFaces, tiny_model
from torch import nn

from backend.models.bundle import Model
from backend.models.lora_files import LoraFile
from backend.models.loras import Lora, fit
from backend.models.memory_plan import Level
from backend.models.originals import Originals
from backend.models.parts import Parts
from backend.pipelines.choices import Mode
from backend.pipelines.compiled import Compiler
from backend.pipelines.engine import Engine, Unwatched
from backend.pipelines.graphs import Graphs
from backend.pipelines.lora import Worn, wearing
from backend.pipelines.sample import Recipe, draw_latents
from protocol.errors import Cancelled
from protocol.geometry import Extent
from protocol.jobs import Photos, PictureJob, Sampling, Subject
from protocol.weights import Lora as Wanted

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
NEAR = 0.05
"""Of what a LoRA changes in a picture, how much may be rounding."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with four LoRAs: two of all layers, one of another rank for attention alone, one that is no product of two factors."""
    made = tiny_model(tmp_path_factory.mktemp("merged") / "tiny")
    unet, text = (Parts(Model.open(made)).base[name] for name in ("unet", "text_encoder"))
    loras = made / "loras"
    loras.mkdir()
    for name, seed in (("ink", 1), ("film", 2)):
        states = {"unet": makers.peft_state(unet, seed, makers.UNET), "text_encoder": makers.peft_state(text, seed, makers.TEXT)}
        makers.kohya_file(loras / f"{name}.safetensors", states)
    makers.diffusers_file(loras / "thin.safetensors", {"unet": makers.peft_state(unet, 3, ATTENTION, rank=2)})
    makers.diffusers_file(loras / "dora.safetensors", {"unet": makers.peft_state(unet, 4, ATTENTION, use_dora=True)})
    return made


@pytest.fixture
def plain(folder: Path) -> Engine:
    return Engine(Model.open(folder), FakeFaces())


@pytest.fixture
def captured(folder: Path) -> Engine:
    engine = Engine(Model.open(folder), FakeFaces())
    engine.parts.graphs = Graphs(TapeCapturer())
    return engine


@pytest.fixture
def compiled(folder: Path) -> Iterator[Engine]:
    torch._dynamo.reset()
    engine = Engine(Model.open(folder), FakeFaces())
    engine.parts.compiler = Compiler("eager")
    yield engine
    engine.parts.compiler.close()
    torch._dynamo.reset()


def job(*worn: tuple[str, float], photo: object = None, seed: int = 3) -> PictureJob:
    people = () if photo is None else (Subject(Photos((photo,))),)
    loras = tuple(Wanted(name, weight) for name, weight in worn)
    return PictureJob("a person", subjects=people, loras=loras, sampling=Sampling(steps=4, seed=seed), preview_every=0)


def pixels(engine: Engine, wish: PictureJob) -> np.ndarray:
    return engine.run(wish)[0].pixels


def apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).sum())


def bits(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(weight, other[name]) for name, weight in one.items())


OTHERS = [[("ink", 0.8)], [("film", 0.5)], [("ink", -0.4)], [("ink", 0.7), ("film", 0.4), ("thin", 1.0)], [("dora", 0.9)]]


@pytest.mark.parametrize("worn", [*OTHERS[:2], [("ink", 0.8), ("film", -0.5)]])
def test_captured_pictures_with_loras_are_what_stock_diffusers_draws(worn, folder: Path, captured: Engine, picture) -> None:
    parts = captured.parts
    pipe = stock(folder, Mode.TEXT)
    for name, _ in worn:
        pipe.load_lora_weights(str(folder / "loras"), weight_name=f"{name}.safetensors", adapter_name=name)
    pipe.set_adapters([name for name, _ in worn], [weight for _, weight in worn])
    expected = by_hand(pipe, Mode.TEXT, picture)
    loras = tuple(Worn(parts.lora(name), weight) for name, weight in worn)
    found = draw_latents(parts, Recipe(Extent(64, 64), "a hat", "blurry", 4, 3.0, loras=loras), seed=7).numpy()
    assert parts.graphs._capturer.replays, "or nothing was captured"
    assert np.abs(found - expected).max() <= 1e-4


def test_nothing_is_captured_anew_for_a_lora_its_weight_their_number_rank_or_kind(captured: Engine, plain: Engine, photo) -> None:
    person = photo(1)
    first = pixels(captured, job(photo=person))
    assert np.array_equal(first, pixels(plain, job(photo=person))), "without LoRAs the same bits as ever"
    capturer = captured.parts.graphs._capturer
    tapes = len(capturer.tapes)
    for worn in OTHERS:
        before = capturer.replays
        drawn = pixels(captured, job(*worn, photo=person))
        assert capturer.replays > before
        assert apart(drawn, pixels(plain, job(*worn, photo=person))) <= NEAR * apart(drawn, first)
        assert apart(drawn, first) > 100, "the LoRA acts"
        assert np.array_equal(pixels(captured, job(*worn, photo=person)), drawn)
        assert np.array_equal(pixels(captured, job(photo=person)), first)
    assert len(capturer.tapes) == tapes


def test_nothing_is_compiled_anew_for_them_either(compiled: Engine, plain: Engine) -> None:
    from torch._dynamo.utils import counters

    pixels(compiled, job())
    assert compiled.parts.compiler.wait(600)
    first = pixels(compiled, job())
    made = counters["stats"]["unique_graphs"]
    calls: list[int] = []
    fast = compiled.parts.compiler._fast
    compiled.parts.compiler._fast = lambda block, forward: calls.append(1) or fast(block, forward)
    for worn in OTHERS[2:]:
        calls.clear()
        drawn = pixels(compiled, job(*worn))
        assert calls, "compiled blocks draw with a LoRA that they never saw, from its first picture on"
        assert apart(drawn, pixels(plain, job(*worn))) <= NEAR * apart(drawn, first)
        assert np.array_equal(pixels(compiled, job()), first)
    assert counters["stats"]["unique_graphs"] == made
    assert compiled.parts.compiler.idle


def test_after_pictures_with_loras_failed_ones_and_cancelled_ones_every_weight_is_as_it_was(captured: Engine) -> None:
    class Impatient(Unwatched):
        steps = 0

        def step(self, done: int, total: int) -> None:
            self.steps = done

        def cancelled(self) -> bool:
            return self.steps >= 2

    unet = captured.parts.unet
    before, seen = bits(unet), []
    handle = unet.conv_out.register_forward_pre_hook(lambda *_: seen.append(same(before, bits(unet))))
    pixels(captured, job(("ink", 0.8)))
    handle.remove()
    assert not any(seen), "the unsafe twin: while it is worn, weights are others, which this would notice if it stayed"
    assert same(before, bits(unet))
    with pytest.raises(Cancelled):
        captured.run(job(("film", 0.5)), Impatient())
    assert same(before, bits(unet))
    with pytest.raises(ArithmeticError), wearing(captured.parts.wearers, (Worn(captured.parts.lora("dora"), 1.0),), Originals()):
        raise ArithmeticError
    assert same(before, bits(unet))


def test_a_lora_that_does_not_fit_halfway_leaves_nothing(captured: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is full while the third layer is merged."""
    from backend.pipelines import lora

    merged: list[object] = []
    real = lora.merge

    def scarce(layer: object, terms: object) -> None:
        if len(merged) == 2:
            raise torch.OutOfMemoryError("full")
        merged.append(layer)
        real(layer, terms)

    unet = captured.parts.unet
    before = bits(unet)
    monkeypatch.setattr(lora, "merge", scarce)
    with pytest.raises(torch.OutOfMemoryError), wearing(captured.parts.wearers, (Worn(captured.parts.lora("ink"), 1.0),), Originals()):
        pass
    assert len(merged) == 2
    assert same(before, bits(unet))


@pytest.mark.parametrize("why", ["float8", "taking turns"])
def test_where_merging_is_not_sound_they_act_beside_the_layers_as_without_compiling(why: str, folder: Path, captured: Engine) -> None:
    eager = Engine(Model.open(folder), FakeFaces())
    for engine in (captured, eager):
        if why == "float8":
            engine.parts.storage = torch.float8_e4m3fn
        else:
            engine.parts.residency.change(Level.TAKING_TURNS)
    wish = job(("ink", 0.8))
    assert np.array_equal(pixels(captured, wish), pixels(eager, wish))
    assert captured.parts.graphs._capturer.tapes == []


def layer_and_lora(dtype: torch.dtype) -> tuple[nn.ModuleDict, tuple[Lora, ...], torch.Tensor]:
    """A layer as wide as SDXL's, two LoRAs of usual size for it, and its input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = nn.ModuleDict({"linear": nn.Linear(640, 640)}).requires_grad_(False)
        factors = [(torch.randn(16, 640) / 25, torch.randn(640, 16) / 40) for _ in range(2)]
        states = torch.randn(64, 640)
    net = net.to(dtype)
    files = [LoraFile(str(n), {"linear": {"down": one[0], "up": one[1], "alpha": torch.tensor(8.0)}}) for n, one in enumerate(factors)]
    return net, tuple(fit(file.name, file, {"unet": net}) for file in files), states.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_merging_rounds_as_much_as_adding_does(dtype: torch.dtype) -> None:
    """Against the same sum in double precision."""
    net, loras, states = layer_and_lora(dtype)
    worn = (Worn(loras[0], 0.8), Worn(loras[1], 0.6))
    whole = net["linear"].weight.double()
    for one in worn:
        roles = next(iter(one.lora.layers.values()))
        whole = whole + one.weight * 0.5 * roles["up"].double() @ roles["down"].double()
    exact = states.double() @ whole.T + net["linear"].bias.double()
    errors = []
    for originals in (None, Originals()):
        with wearing({"unet": net}, worn, originals):
            errors.append(float((net["linear"](states).double() - exact).norm() / exact.norm()))
    beside, merged = errors
    assert merged <= 1.5 * beside
    assert merged <= torch.finfo(dtype).eps


def test_what_has_no_room_on_the_device_waits_in_the_processors_memory_and_is_the_same(captured: Engine) -> None:
    usual = pixels(captured, job(("ink", 0.8)))
    originals = captured.parts.originals
    assert len(originals._away) == 0
    originals.room = 1000
    before = bits(captured.parts.unet)
    assert np.array_equal(pixels(captured, job(("ink", 0.8))), usual)
    kept = {name: weight for name, weight in captured.parts.unet.named_parameters() if weight in originals._away}
    assert len(kept) == sum(place.part == "unet" for place in captured.parts.lora("ink").layers)
    assert all(torch.equal(originals._away[weight][0], before[name]) for name, weight in kept.items())
    copies = {name: originals._away[weight][0].data_ptr() for name, weight in kept.items()}
    assert np.array_equal(pixels(captured, job(("ink", 0.8))), usual)
    assert {name: originals._away[weight][0].data_ptr() for name, weight in kept.items()} == copies, "copied once"
    assert same(before, bits(captured.parts.unet))
    weights = captured.parts.weight_bytes()
    captured.parts.park()
    assert weights - captured.parts.weight_bytes() == sum(weight.nbytes for weight in kept.values()), "counted, and given back"


def test_a_copy_in_the_processors_memory_is_made_anew_when_somebody_else_changed_the_weight() -> None:
    originals, weight = Originals(), nn.Parameter(torch.zeros(4), requires_grad=False)
    originals.room = 0
    for value in (1.0, 2.0):
        weight.fill_(value)
        with originals.kept([weight]):
            weight.add_(7.0)
        assert weight.tolist() == [value] * 4


def test_what_has_no_room_after_all_waits_in_the_processors_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan saw room that another program took since."""
    originals, weight = Originals(), nn.Parameter(torch.ones(4), requires_grad=False)
    real = torch.empty_like

    def full(*args: object, **more: object) -> torch.Tensor:
        if "device" not in more:
            raise torch.OutOfMemoryError("full")
        return real(*args, **more)

    monkeypatch.setattr(torch, "empty_like", full)
    with originals.kept([weight]):
        weight.add_(7.0)
    assert weight.tolist() == [1.0] * 4
    assert weight in originals._away
