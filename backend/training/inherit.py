"""A base that goes on from another one's weights with a larger vocabulary: every word it knew keeps its embedding."""

from __future__ import annotations

from pathlib import Path

import torch

from protocol.errors import InvalidRequest

from .parts import Parts, load_parts
from .untyped import Untyped

_EMBEDDING = "token_embedding.weight"


def _rows(old: dict[str, int], new: dict[str, int]) -> tuple[list[int], list[int]]:
    """Places of the words that both vocabularies know: in the old one, in the new one."""
    known = [word for word in new if word in old]
    return [old[word] for word in known], [new[word] for word in known]


@torch.no_grad()
def begin_with(parts: Parts, tokenizer: Untyped, folder: Path) -> int:
    """Copy UNet and text encoders of the diffusers folder `folder` into `parts`; returns how many words were new.

    Args:
        parts: an untrained base of the same form; its text encoders may have other words.
        tokenizer: that of `parts`.
        folder: a base of the built-in form.

    Raises:
        InvalidRequest: the two bases differ in more than their words.
    """
    other, _, words = load_parts(folder / "model" if (folder / "model" / "unet").is_dir() else folder)
    old, new = _rows(words.get_vocab(), tokenizer.get_vocab())
    state, target = other.state_dict(), parts.state_dict()
    wrong = [name for name in target if name not in state or (state[name].shape != target[name].shape and not name.endswith(_EMBEDDING))]
    if wrong:
        raise InvalidRequest(
            f"The base in {folder} has another form than the one to be trained ({wrong[0]} differs). "
            "Give --channels as they were, or a base without --begin-with."
        )
    for name, weights in target.items():
        if name.endswith(_EMBEDDING):
            weights[new] = state[name].to(weights)[old]
        else:
            weights.copy_(state[name])
    return len(tokenizer.get_vocab()) - len(new)
