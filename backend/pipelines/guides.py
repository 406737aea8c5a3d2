"""Guides: the ControlNet for each, and its picture at the size that is drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest
from protocol.jobs import Guide, GuideKind

from .. import images
from ..models.parts import Parts
from ..models.unions import CONTROL_TYPES, FOLDER
from .control import GatedControlNet
from .plan import Plan, sized_like
from .union import UnionMember

Pixels = NDArray[np.uint8]


def view_of(parts: Parts, kind: GuideKind) -> GatedControlNet:
    """A view of the ControlNet for this kind of guide, for one picture."""
    net = parts.control_net(kind)
    if parts.model.control(kind).name == FOLDER:
        return UnionMember.of(net, CONTROL_TYPES[kind])
    return GatedControlNet.over(net)


def guide_picture(decided: Plan, guide: Guide) -> Pixels:
    """What the net sees (h, w, 3): the guide's picture, or of kinds that can be made of it, the canvas; black where it is filled."""
    if guide.picture is not None:
        return decided.frame.cut_and_scale(images.to_rgb(sized_like(guide.picture, decided.extent, f"The {guide.kind.value} guide")))
    if decided.canvas is None:
        raise InvalidRequest(f"A guide of kind {guide.kind.value} needs a picture.")
    picture = decided.frame.cut_and_scale(decided.canvas)
    if guide.kind is GuideKind.INPAINT and decided.repainted is not None:
        return np.where(decided.repainted[..., None] > 0, np.uint8(0), picture)
    return picture
