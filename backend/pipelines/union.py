"""A union ControlNet beside others: one network, and one picture of it in each place that a stock pipeline has for a ControlNet.

diffusers has pipelines of their own for union networks, which take no other ControlNet, so no IdentityNet. Here every picture is a member:
the pipeline prepares its picture, and calls it with its scale like any ControlNet. All members of a network but the last note what they
were given and add nothing; the last one asks the network once for all of them, which is how it was trained. With one picture its scale is
that of the residuals, with several it weighs each picture before they are joined, as in diffusers. Unlike there, nothing is added while
none of them acts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from torch import Tensor

from ..models.adapters import Untyped
from .control import GatedControlNet, Remembered


@dataclass(slots=True)
class Turn:
    """The members of one network in a call, and what each was given in the running step: its picture and its scale."""

    members: Sequence[UnionMember]
    given: dict[int, tuple[Tensor, float]] = field(default_factory=dict[int, tuple[Tensor, float]])


class UnionMember(GatedControlNet):
    """A view of a union ControlNet for one picture of the control type `control_type`. Works within `joined` only."""

    control_type: int
    turn: Turn | None = None

    @classmethod
    def of(cls, net: Untyped, control_type: int) -> UnionMember:
        """`net` is a ControlNetUnionModel, which stays untouched."""
        member = cls.over(net)
        member.control_type = control_type
        return member

    def embedding(self, most: int) -> Remembered:
        """The network's embedding of pictures, which knows the last `most` of them."""
        own: Untyped = self._modules["controlnet_cond_embedding"]
        return Remembered(own.inner, most)

    def take_part(self, turn: Turn, embedding: Remembered) -> None:
        """Answer in `turn`, with an embedding that its members share."""
        self.turn = turn
        self._modules["controlnet_cond_embedding"] = embedding

    def answer(self, sample: Tensor, timestep: Tensor, text: Tensor, picture: Tensor, scale: float, rest: dict[str, Any]) -> Untyped:
        """All residuals of the network are the last member's."""
        assert self.turn is not None
        self.turn.given[id(self)] = (picture, float(scale))
        if self is self.turn.members[-1] and any(scale for _, scale in self.turn.given.values()):
            return self._together(self.turn, sample, timestep, text, rest)
        return self.nothing(sample)

    def _together(self, turn: Turn, sample: Tensor, timestep: Tensor, text: Tensor, rest: dict[str, Any]) -> Untyped:
        """The residuals for all pictures of a turn. One whose window is over is still there, at scale 0, as in diffusers."""
        net: Untyped = self
        kinds = [member.control_type for member in turn.members]
        pictures, scales = (list(column) for column in zip(*(turn.given[id(member)] for member in turn.members), strict=True))
        types = torch.zeros((sample.shape[0], net.config.num_control_type), dtype=sample.dtype, device=sample.device)
        for kind in kinds:
            types[:, kind] = 1
        return self.asked(sample, timestep, text, pictures, types, kinds, scales, **rest)

    def asked(
        self,
        sample: Tensor,
        timestep: Tensor,
        text: Tensor,
        pictures: Sequence[Tensor],
        types: Tensor,
        kinds: Sequence[int],
        scales: Sequence[float],
        **rest: Untyped,
    ) -> Untyped:
        """What the network itself says to all its pictures; `types` (B, control types) is 1 for the `kinds` that there are."""
        net: Untyped = self
        return ControlNetUnionModel.forward(net, sample, timestep, text, [*pictures], types, [*kinds], [*scales], return_dict=False, **rest)


@contextmanager
def joined(nets: Iterable[Any]) -> Generator[None]:
    """Within the context, the members among `nets` that are of one network answer together. The order of `nets` is that of the calls."""
    found: dict[int, list[UnionMember]] = {}
    for net in nets:
        if isinstance(net, UnionMember):
            found.setdefault(id(net.mid_block), []).append(net)
    for members in found.values():
        turn, embedding = Turn(members), members[0].embedding(2 * len(members))  # twice: where guidance rests, pictures come as halves
        for member in members:
            member.take_part(turn, embedding)
    try:
        yield
    finally:
        for members in found.values():
            for member in members:
                member.turn = None
