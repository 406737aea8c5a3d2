"""CLIP's tokenizers without any file of a model: the vocabulary follows from the list of merges in `stock/`."""

from __future__ import annotations

import gzip
from pathlib import Path

from .adapters import Untyped

STOCK = Path(__file__).resolve().parent / "stock"
"""What single-file checkpoints leave out: configurations, and CLIP's merges. Its README says where they come from."""
LENGTH = 77
"""Tokens that CLIP's text encoders read at once."""
START, END = "<|startoftext|>", "<|endoftext|>"


def merges() -> str:
    """CLIP's merges, as `merges.txt` of the published models has them."""
    return gzip.decompress((STOCK / "clip_merges.txt.gz").read_bytes()).decode("utf-8")


def vocabulary(merges_text: str) -> dict[str, int]:
    """The number of each of the 49,408 tokens: bytes, bytes at a word's end, merges in their order, start and end (CLIP's
    `simple_tokenizer.py`)."""
    single = _byte_characters()
    pairs = [line.replace(" ", "") for line in merges_text.splitlines()[1:]]
    names = [*single, *(f"{one}</w>" for one in single), *pairs, START, END]
    return {name: number for number, name in enumerate(names)}


def stock_tokenizer(padding: str = END) -> Untyped:
    """transformers' CLIPTokenizer; SDXL's second one pads with `!`, the token 0."""
    from transformers import CLIPTokenizer

    text = merges()
    pairs = [tuple(line.split(" ")) for line in text.splitlines()[1:]]
    kind: Untyped = CLIPTokenizer
    return kind(vocab=vocabulary(text), merges=pairs, pad_token=padding, model_max_length=LENGTH)


def _byte_characters() -> list[str]:
    """A visible character for each byte: itself where it is one, else the next from 256 on (openai/gpt-2, `encoder.py`)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return [*map(chr, visible), *(chr(256 + place) for place in range(len(others)))]
