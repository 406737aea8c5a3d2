"""A byte-level CLIP tokenizer without merges: every character is a token. Small, and enough for every prompt."""

from __future__ import annotations

import json
from pathlib import Path


def write_tokenizer(folder: Path, pad: str = "<|endoftext|>", length: int = 77) -> None:
    """514 tokens: CLIP's 256 byte characters in the order of its table, the same at the end of a word, start and end of text."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = _byte_characters()
    names = [*characters, *(f"{character}</w>" for character in characters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": length, "pad_token": pad, "unk_token": "<|endoftext|>",
        "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def _byte_characters() -> list[str]:
    """GPT-2's byte-to-unicode table (openai/gpt-2 encoder.py, used by CLIP): printable bytes as themselves, then the others from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + position) for position in range(len(others))]
