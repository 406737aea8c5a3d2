"""The built-in model's tokenizer: CLIP's own byte-level byte-pair encoding with merges for one small vocabulary.

Every word of the vocabulary is one token; any other word falls apart into bytes and still is understood as "something unknown". Files are
those of transformers' CLIPTokenizer (Radford et al. 2021; Sennrich et al. 2016, https://arxiv.org/abs/1508.07909).
"""

import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .untyped import Untyped, transformers
from .world import FILLERS

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_letters() -> list[str]:
    """The printable letter that stands for each byte 0 … 255 in byte-level BPE (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    spare = (byte for byte in range(256) if byte not in table)
    table |= {byte: chr(256 + i) for i, byte in enumerate(spare)}
    return [table[byte] for byte in range(256)]


def merges_for(words: list[str]) -> list[tuple[str, str]]:
    """Merges after which each word is one token.

    A word is encoded with the merges so far, then the first two pieces that remain are merged, until one is left. Later merges have lower
    priority, so they cannot undo what earlier words became.
    """
    letters, merges = byte_letters(), list[tuple[str, str]]()
    for word in sorted({w.lower() for w in words}):
        pieces = [letters[b] for b in word.encode("utf-8")]
        pieces[-1] += "</w>"
        for pair in merges:
            pieces = _merged(pieces, pair)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merged(pieces, merges[-1])
    return merges


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


def write_tokenizer(folder: Path, words: list[str]) -> Untyped:
    """Write a CLIPTokenizer's files into `folder` and load it."""
    folder.mkdir(parents=True, exist_ok=True)
    letters, merges = byte_letters(), merges_for(words)
    pieces = dict.fromkeys([*letters, *(x + "</w>" for x in letters), *("".join(pair) for pair in merges), START, END])
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=LENGTH,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def encode(tokenizer: Untyped, texts: list[str]) -> NDArray[np.uint16]:
    """Texts to token ids (N, 77)."""
    parts = [
        tokenizer(texts[i : i + 4096], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="np").input_ids
        for i in range(0, len(texts), 4096)
    ]
    return np.concatenate(parts).astype(np.uint16)


def vary(caption: str, rng: np.random.Generator) -> str:
    """The caption as another person might have put it: phrases in another order or left out, filling words, sometimes words unknown here.

    Unknown words in training are what makes the usual negative prompts ("worst quality, blurry") harmless in use.
    """
    phrases = caption.split(", ")
    if rng.random() < 0.4:
        rng.shuffle(phrases)
    if rng.random() < 0.2:
        phrases = [p for p in phrases if rng.random() > 0.35] or phrases[:1]
    if rng.random() < 0.25:
        phrases[0] = re.sub(r"^portrait of (a|an) ", "", phrases[0])
    if rng.random() < 0.25:
        phrases.insert(int(rng.integers(0, len(phrases) + 1)), " ".join(rng.choice(FILLERS, int(rng.integers(1, 4)))))
    if rng.random() < 0.15:
        junk = ["".join(rng.choice(list("abcdefghiklmnoprstuvwy"), int(rng.integers(2, 9)))) for _ in range(int(rng.integers(1, 5)))]
        phrases.insert(int(rng.integers(0, len(phrases) + 1)), " ".join(junk))
    return (", " if rng.random() < 0.8 else " ").join(phrases)
