"""The VAE in tiles: pictures larger than the device has room for, without seams.

diffusers can cut, decode and blend tiles too. What stays visible there is that every `GroupNorm` takes mean and variance of its tile, so
a tile of sky comes out in another tone than one with a face (up to 41 of 255 levels with the built-in model). Here the layers that are
small, among them the attention, see the whole picture; only those at its full size, which take the memory, work in tiles. Each tile sees a
margin around what it is for, and all share the statistics of the whole. Those depend on each other from layer to layer, so the tiles are
gone over once for every norm: what comes out is what the whole would give, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import psutil
import torch
from torch import Tensor, nn

from protocol.geometry import Extent

from ..models.adapters import Untyped

TILE = 512
"""Side of a tile in pixels, without its margin."""
MARGIN = 16
"""Pixels that a tile sees beyond its border on each side: more than the convolutions at full size reach."""
LARGE = 4
"""Pictures of more pixels than this many times the model's own are decoded in tiles: twice its side is what common cards still bear."""
_ALIVE = 4
"""Activations of the widest full-size layer that are alive at once in the decoder's last block: input, normalised, activated, result."""


def needs_tiles(vae: Untyped, extent: Extent, own: Extent) -> bool:
    """Whether a picture of `extent` is decoded in tiles when nobody says. It depends on the picture and the device, not on what is free
    just now: the same job gives the same bytes."""
    if extent.width * extent.height > LARGE * own.width * own.height:
        return True
    channels = vae.config.block_out_channels
    widest = channels[1] if len(channels) > 1 else channels[0]
    # Half-precision VAEs that overflow are moved to float32 by the pipelines, so four bytes are reckoned with.
    return _ALIVE * widest * extent.width * extent.height * 4 > _total_memory(vae.device) / 2


@contextmanager
def tiled(vae: Untyped) -> Generator[None]:
    """Within the context, the VAE's encoder and decoder work in tiles wherever the picture is larger than one; afterwards nothing of it is
    left."""
    vae.decoder.forward, vae.encoder.forward = _decoder(vae.decoder), _encoder(vae.encoder)
    try:
        yield
    finally:
        del vae.decoder.forward, vae.encoder.forward


def _decoder(module: Untyped) -> Callable[[Tensor], Tensor]:
    """diffusers' `Decoder.forward`, (B, C, h, w) to (B, 3, H, W), with its last block and what follows it in tiles."""
    last = nn.Sequential(module.up_blocks[-1], module.conv_norm_out, module.conv_act, module.conv_out)

    def forward(latents: Tensor) -> Tensor:
        states = module.mid_block(module.conv_in(latents))
        for block in module.up_blocks[:-1]:
            states = block(states)
        return _Tiling(TILE, MARGIN).over(last, states)

    return forward


def _encoder(module: Untyped) -> Callable[[Tensor], Tensor]:
    """diffusers' `Encoder.forward`, (B, 3, H, W) to (B, 2 C, h, w), with its first block in tiles."""
    first = nn.Sequential(module.conv_in, module.down_blocks[0])

    def forward(picture: Tensor) -> Tensor:
        states = _Tiling(TILE, MARGIN).over(first, picture)
        for block in module.down_blocks[1:]:
            states = block(states)
        return module.conv_out(module.conv_act(module.conv_norm_out(module.mid_block(states))))

    return forward


@dataclass(frozen=True, slots=True)
class _Tiling:
    """`core` and `margin` in pixels of what goes in."""

    core: int
    margin: int

    def over(self, module: nn.Module, states: Tensor) -> Tensor:
        """What a module of convolutions makes of `states` (batch, channels, height, width), in tiles."""
        if max(states.shape[-2:]) <= self.core:
            return module(states)
        statistics = {norm: _Statistics() for norm in module.modules() if isinstance(norm, nn.GroupNorm)}
        for _ in statistics:
            self._run(module, states, statistics)
            for one in statistics.values():
                one.settle()
        return self._run(module, states, statistics)

    def _run(self, work: Callable[[Tensor], Tensor], states: Tensor, statistics: dict[nn.GroupNorm, _Statistics]) -> Tensor:
        height, width = states.shape[-2:]
        bands: list[Tensor] = []
        for rows in self._spans(height):
            band: list[Tensor] = []
            for columns in self._spans(width):
                with _hooked(statistics, rows, columns):
                    drawn = work(states[..., rows.start : rows.stop, columns.start : columns.stop])
                band.append(drawn[..., rows.inner(drawn.shape[-2]), columns.inner(drawn.shape[-1])])
            bands.append(torch.cat(band, -1))
        return torch.cat(bands, -2)

    def _spans(self, length: int) -> list[_Span]:
        return [
            _Span(range(start, min(start + self.core, length)), max(start - self.margin, 0), min(start + self.core + self.margin, length))
            for start in range(0, length, self.core)
        ]


@dataclass(frozen=True, slots=True)
class _Span:
    """One tile along one side: what it is for, and what it sees, which is more by the margin."""

    core: range
    start: int
    stop: int

    def inner(self, length: int) -> slice:
        """The core within a tile that is `length` long at some layer."""
        scale = Fraction(length, self.stop - self.start)
        return slice(int((self.core.start - self.start) * scale), int((self.core.stop - self.start) * scale))


@dataclass(slots=True)
class _Statistics:
    """What one `GroupNorm` sees of the cores of all tiles: sums of this run, mean and variance (batch, groups) of the run before."""

    count: int = 0
    total: Tensor | None = None
    squares: Tensor | None = None
    known: tuple[Tensor, Tensor] | None = None

    def see(self, norm: nn.GroupNorm, states: Tensor, inner: Tensor, output: Tensor) -> Tensor:
        """Add the core of a tile (batch, channels, ...) to the sums; normalise the tile as a part of the whole as soon as that is known,
        till then alone."""
        core = inner.float().reshape(inner.shape[0], norm.num_groups, -1)
        total, squares = core.sum(-1), core.square().sum(-1)
        self.count += core.shape[-1]
        self.total = total if self.total is None else self.total + total
        self.squares = squares if self.squares is None else self.squares + squares
        if self.known is None:
            return output
        mean, variance = self.known
        groups = states.float().reshape(states.shape[0], norm.num_groups, -1)
        normal = ((groups - mean[..., None]) * torch.rsqrt(variance + norm.eps)[..., None]).reshape(states.shape).to(states.dtype)
        shape = (1, -1, *[1] * (states.ndim - 2))
        return normal * norm.weight.reshape(shape) + norm.bias.reshape(shape) if norm.affine else normal

    def settle(self) -> None:
        """The sums of a run become what is known; the next run begins with none."""
        if self.total is not None and self.squares is not None:
            mean = self.total / self.count
            self.known = mean, (self.squares / self.count - mean.square()).clamp_min(0)
        self.count, self.total, self.squares = 0, None, None


@contextmanager
def _hooked(statistics: dict[nn.GroupNorm, _Statistics], rows: _Span, columns: _Span) -> Generator[None]:
    def hook(norm: nn.GroupNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        states = inputs[0]
        # Inside the attention of the middle block there are no rows and columns, and the whole tile counts.
        inner = states[..., rows.inner(states.shape[-2]), columns.inner(states.shape[-1])] if states.ndim == 4 else states
        return statistics[norm].see(norm, states, inner, output)

    handles = [norm.register_forward_hook(hook) for norm in statistics]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _total_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total
