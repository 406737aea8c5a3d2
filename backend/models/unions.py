"""Union ControlNets (xinsir's ControlNet++, Apache 2.0): one network for many kinds of guides, several of them at once. No torch.

Which number of a network means which kind is the published order (github.com/xinsir6/ControlNetPlus, "control_type"): the first version
knows 0 to 5, the one called ProMax 0 to 7.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

from protocol.errors import LikenessError
from protocol.jobs import GuideKind

from .header import read_header

FOLDER = "union"
"""Within `controlnets/`."""
CONTROL_TYPES = MappingProxyType(
    {
        GuideKind.SKELETON: 0,
        GuideKind.DEPTH: 1,
        GuideKind.SOFT_EDGES: 2,
        GuideKind.EDGES: 3,
        GuideKind.LINES: 3,
        GuideKind.NORMALS: 4,
        GuideKind.SEGMENTS: 5,
        GuideKind.TILE: 6,
        GuideKind.INPAINT: 7,
    }
)
ONLY_UNIONS = frozenset({GuideKind.INPAINT})
"""Other ControlNets for inpainting want -1 where a picture is to be filled, which no picture can hold; ProMax wants black."""
USUAL = 6
"""Kinds that the first version knows, where nothing says how many."""


def kinds_of(folder: Path) -> tuple[GuideKind, ...]:
    """The kinds of guides that the union network in `folder` knows; none without one."""
    if not folder.is_dir():
        return ()
    count = control_types(folder)
    return tuple(kind for kind, number in CONTROL_TYPES.items() if number < count)


def control_types(folder: Path) -> int:
    """How many control types the network in `folder` has: by its weights, else by its config."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            shape = read_header(file).shapes.get("task_embedding")
        except LikenessError:  # said when it is loaded
            continue
        if shape:
            return shape[0]
    try:
        return int(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("num_control_type", USUAL))
    except (OSError, ValueError, TypeError, AttributeError):
        return USUAL
