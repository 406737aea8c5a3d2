"""G15: what a picture in few steps costs beside one in thirty, counted in operations of SDXL's real shapes. No weights are needed for that.

Which nets are called, how often and with how many pictures at once, is heard from the engine at work with small models; how many
operations such a call has in the real shapes, is counted on torch's meta device, which has shapes and no numbers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from protocol.errors import ServiceError

from .goals import Figure
from .rig import Rig, flops
from .shapes import SDXL, empty_modules

FEW, MANY = 4, 30
RATIO, DECODING = 0.12, 0.35
TERA = 1e12
Calls = Mapping[tuple[str, int], int]
"""How often a net is called, by its name and how many pictures it is given at once."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations of one picture, by what they are for."""

    nets: float
    decoding: float
    text: float

    @property
    def total(self) -> float:
        """All."""
        return self.nets + self.decoding + self.text


def few_steps(rig: Rig) -> tuple[Figure, Figure]:
    """A picture in four steps without guidance, beside the plain one in thirty with it; and the VAE's share of it. `rig` may be as small
    as it likes: only calls are counted there."""
    many = rig.job(6000, MANY)
    few = replace(many, sampling=replace(many.sampling, steps=FEW, guidance_scale=1.0))
    with heard(rig) as plain_calls:
        rig.draw(many)
    with heard(rig) as few_calls:
        rig.draw(few)
    expected = {("unet", 1): FEW, ("identity_net", 1): FEW, ("vae", 1): 1}
    if dict(few_calls) != expected:
        raise ServiceError(f"A picture in {FEW} steps called its nets in another way than it should: {dict(few_calls)}.")
    one = operations()
    whole, quick = cost(plain_calls, one), cost(few_calls, one)
    told = f"{quick.total / TERA:.1f} of {whole.total / TERA:.0f} TFLOP in SDXL's shapes; {sum(few_calls.values())} calls of nets, not "
    return (
        Figure(
            "G15",
            f"{FEW} steps without guidance, beside {MANY}",
            quick.total / whole.total,
            RATIO,
            "",
            told + str(sum(plain_calls.values())),
        ),
        Figure("G15", f"the VAE's share of a picture in {FEW} steps", quick.decoding / quick.total, DECODING, "%", "counted in operations"),
    )


@contextmanager
def heard(rig: Rig) -> Generator[Counter[tuple[str, int]]]:
    """Counts the calls of UNet, IdentityNet and VAE within the block."""
    parts = rig.engine.parts
    doors = {"unet": parts.unet.conv_in, "identity_net": parts.identity_net.conv_in, "vae": parts.base["vae"].post_quant_conv}
    count: Counter[tuple[str, int]] = Counter()

    def counter(name: str) -> Callable[..., None]:
        def note(_: object, given: tuple[torch.Tensor, ...]) -> None:
            count[name, given[0].shape[0]] += 1

        return note

    handles = [door.register_forward_pre_hook(counter(name)) for name, door in doors.items()]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


def cost(calls: Calls, one: Mapping[str, float]) -> Cost:
    """Operations of these calls; twice the text where nets are given two halves. `one` has those of a call for one picture."""
    nets = sum(one[name] * batch * times for (name, batch), times in calls.items() if name != "vae")
    halves = max(batch for name, batch in calls if name == "unet")
    return Cost(nets, one["vae"] * calls["vae", 1], one["text"] * halves)


def operations() -> dict[str, float]:
    """Operations of one call of each net of SDXL for one picture, of a decode, and of both text encoders for one text."""
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        made = empty_modules(SDXL, Path(folder), "meta", torch.bfloat16)
        side = SDXL.side // 8
        time = torch.empty((), device="meta")
        latents, text = _empty(1, 4, side, side), _empty(1, 77, SDXL.context)
        picture, face = _empty(1, 3, SDXL.side, SDXL.side), _empty(1, 16, SDXL.context)
        added = {"text_embeds": _empty(1, SDXL.text_2[0]), "time_ids": _empty(1, 6)}
        return {
            "unet": flops(lambda: made["unet"](latents, time, text, added_cond_kwargs=added)),
            "identity_net": flops(lambda: made["identitynet"](latents, time, face, picture, added_cond_kwargs=added)),
            "vae": flops(lambda: made["vae"].decode(latents)),
            "text": sum(_text(*size) for size in (SDXL.text, SDXL.text_2)),
        }


def _empty(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta", dtype=torch.bfloat16)


def _text(width: int, layers: int, heads: int) -> float:
    """Operations of a CLIP text encoder for 77 tokens: 12 squares of its width per token and layer, and attention."""
    return 2 * layers * (12 * 77 * width**2 + 2 * 77**2 * width)
