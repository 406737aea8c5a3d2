"""Textual inversions in a prompt: by their names as in A1111 (`easynegative`), as `<easynegative>`, or as ComfyUI's
`embedding:easynegative`.

For one call, each vector gets a character of Unicode's private use area, so that no notation of prompts can take it for its own; a copy of
the tokenizer knows these as tokens beyond its vocabulary, and the text encoder's table of words is added to from outside. Tokenizer and
table stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from ..models.adapters import Untyped
from ..models.inversions import Inversion, with_vectors
from .wording import named as named
from .wording import names_pattern

FIRST = 0xE000
"""Where Unicode's private use area begins; 6,400 characters are enough for 85 inversions of 75 vectors."""
TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


@contextmanager
def speaking(shell: Untyped, inversions: Sequence[Inversion]) -> Generator[Callable[[str], str]]:
    """Within it, the pipeline `shell` knows `inversions`; what it gives turns a prompt into the text that the pipeline is to read."""
    if not inversions:
        yield lambda text: text
        return
    letters, start = dict[str, str](), FIRST
    for one in inversions:
        letters[one.name.casefold()] = "".join(map(chr, range(start, start + one.count)))
        start += one.count
    handles: list[Untyped] = []
    former = {name: getattr(shell, name) for name in TOKENIZERS.values() if getattr(shell, name, None) is not None}
    try:
        for part, tokenizer in TOKENIZERS.items():
            if tokenizer in former:
                first = _teach(shell, tokenizer, "".join(letters.values()))
                handles += _extended(getattr(shell, part), first, [one.vectors[part] for one in inversions])
        pattern = names_pattern(letters)
        yield lambda text: pattern.sub(lambda found: letters[found["name"].casefold()], text)
    finally:
        for handle in handles:
            handle.remove()
        for name, tokenizer in former.items():
            setattr(shell, name, tokenizer)


def accent(inversions: Sequence[Inversion]) -> str:
    """What tells encodings of prompts apart that these took part in."""
    return "".join(f"|{one.stamp}" for one in inversions)


def _teach(shell: Untyped, name: str, letters: str) -> int:
    """Give `shell` a copy of its tokenizer that knows `letters`; the id of the first of them."""
    from tokenizers import AddedToken

    taught = copy.deepcopy(getattr(shell, name))
    taught.add_tokens([AddedToken(letter, normalized=False, special=False) for letter in letters])
    setattr(shell, name, taught)
    return int(taught.convert_tokens_to_ids(letters[0]))


def _extended(encoder: Untyped, first: int, vectors: Sequence[Tensor]) -> list[Untyped]:
    """Let `encoder` read ids from `first` on as `vectors`. The rest of it sees an ordinary word there: encoders that look for the end of
    the text as its highest id must not take a new word for it."""
    import torch

    table, seen = torch.cat(list(vectors)), list[Tensor]()

    def before(_: Untyped, args: tuple[Untyped, ...], kwargs: Mapping[str, Untyped]) -> tuple[tuple[Untyped, ...], dict[str, Untyped]]:
        ids: Tensor = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        seen[:] = [ids]
        plain = torch.where(ids >= first, torch.zeros_like(ids), ids)
        if "input_ids" in kwargs:
            return args, {**kwargs, "input_ids": plain}
        return (plain, *args[1:]), dict(kwargs)

    def after(_: Untyped, __: Untyped, out: Tensor) -> Tensor:
        return with_vectors(out, seen[0].to(out.device), first, table)

    words = encoder.get_input_embeddings()
    return [encoder.register_forward_pre_hook(before, with_kwargs=True), words.register_forward_hook(after)]
