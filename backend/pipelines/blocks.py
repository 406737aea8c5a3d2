"""Which attention layers of the UNet an image prompt acts on, and how much in each."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import InvalidRequest
from protocol.jobs import BlockWeight, ImagePrompt, Lends

from ..models.bundle import Family

STYLE_OR_COMPOSITION = 1
"""InstantStyle's choice: the second of the attentions of a block."""


def layers_of(names: Sequence[str], family: Family, prompt: ImagePrompt) -> dict[int, float] | None:
    """Factors of the weight by index of the attention layer, for an image prompt; None for 1 in all of them.

    `names` are the UNet's attention processors in their order. Raises InvalidRequest for a block that is not there or sees no pictures.
    """
    if prompt.blocks or prompt.other_blocks != 1:
        if prompt.lends not in (Lends.ALL, Lends.FACE):
            raise InvalidRequest(
                f"An image prompt that lends its {prompt.lends.value.replace('-', ' ')} has its blocks chosen by that, and names blocks as "
                "well. Leave one of the two out."
            )
        return weighed_layers(names, prompt.blocks, prompt.other_blocks)
    return lent_layers(names, family, prompt.lends)


def lent_layers(names: Sequence[str], family: Family, lends: Lends) -> dict[int, float] | None:
    """The layers for what a prompt lends, as factors by index; None for all of them.

    InstantStyle (Wang et al. 2024, arXiv:2404.02733) found style in `up_blocks.0.attentions.1` and composition in
    `down_blocks.2.attentions.1` of SDXL: the deepest blocks that attend to the text. For SD 1.5 these blocks as a whole are used,
    composition with the middle block. A block with a single attention, as in small models, gives that one.
    """
    style = _part(names, _deepest(names, "up_blocks"), family)
    composition = _part(names, _deepest(names, "down_blocks"), family) + (("mid_block.",) if family is Family.SD15 else ())
    match lends:
        case Lends.STYLE:
            chosen = style
        case Lends.COMPOSITION:
            chosen = composition
        case Lends.STYLE_AND_COMPOSITION:
            chosen = style + composition
        case Lends.ALL | Lends.FACE:
            return None
    return {index: 1.0 for index, name in enumerate(names) if name.startswith(chosen)}


def weighed_layers(names: Sequence[str], blocks: Sequence[BlockWeight], others: float) -> dict[int, float]:
    """The layers for weights of single blocks, as factors by index; `others` is the factor where no block is named.

    A block's name is that of a module of the UNet with attention to pictures in it: `up_blocks.1`, `down_blocks.2.attentions.0`,
    `mid_block.attentions.0.transformer_blocks.3`. Of several that fit, the longest counts.
    """
    seeing = {index: name for index, name in enumerate(names) if name.endswith("attn2.processor")}
    for one in blocks:
        if not any(name.startswith(one.block + ".") for name in seeing.values()):
            raise InvalidRequest(
                f"There is no block {one.block!r} that sees pictures in this model. Name one of these, or a part of one: "
                f"{', '.join(seeing_blocks(names))}."
            )
    return {index: _factor(name, blocks, others) for index, name in seeing.items()}


def seeing_blocks(names: Sequence[str]) -> tuple[str, ...]:
    """The parts of a UNet that attend to pictures, in its order: `down_blocks.1.attentions.0`, …, `mid_block.attentions.0`."""
    return tuple(dict.fromkeys(name.partition(".transformer_blocks")[0] for name in names if name.endswith("attn2.processor")))


def _factor(name: str, blocks: Sequence[BlockWeight], others: float) -> float:
    fitting = [one for one in blocks if name.startswith(one.block + ".")]
    return max(fitting, key=lambda one: len(one.block)).weight if fitting else others


def _deepest(names: Sequence[str], side: str) -> str:
    """The deepest block of a side that attends to the text: the last one down, the first one up."""
    blocks = sorted({".".join(name.split(".")[:2]) for name in names if name.startswith(side)}, key=lambda block: int(block.split(".")[1]))
    return blocks[-1] if side == "down_blocks" else blocks[0]


def _part(names: Sequence[str], block: str, family: Family) -> tuple[str, ...]:
    """What InstantStyle takes of a block, as the beginning of its layers' names."""
    if family is not Family.SDXL:
        return (f"{block}.",)
    wanted = f"{block}.attentions.{STYLE_OR_COMPOSITION}."
    return (wanted if any(name.startswith(wanted) for name in names) else f"{block}.",)
