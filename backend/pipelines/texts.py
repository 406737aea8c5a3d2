"""Prompts with weights, breaks, and more than 77 tokens, read by compel (github.com/damian0815/compel, MIT licence).

compel moves the encoding of a weighted word away from that of an empty prompt: as ComfyUI weighs, and unlike A1111, which scales and then
brings the mean back. Words that count less than usual are also faded out by masking. Texts that are too long are cut at sentences or
commas into passages of 75 tokens, which the UNet reads side by side; so are the passages between BREAKs.

A prompt that says nothing about itself, and is short enough, is left to the pipeline: the same bytes as without this file.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..models.adapters import Untyped
from .wording import Passage, is_plain, passages, words


def worded(shell: Untyped) -> Callable[..., Untyped]:
    """The `encode_prompt` of a stock pipeline that also understands the notation of `wording`, and texts of any length."""
    plain = shell.encode_prompt
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def encode(*args: Untyped, **kwargs: Untyped) -> Untyped:
        given = signature.bind(*args, **kwargs)
        asked: dict[str, Any] = given.arguments
        prompt, negative = asked.get("prompt"), asked.get("negative_prompt")
        if not isinstance(prompt, str) or any(isinstance(value, Tensor) for value in asked.values()):
            return plain(*args, **kwargs)
        read = [passages(text) for text in (prompt, negative) if isinstance(text, str)]
        if all(is_plain(one) and _fits(shell, words(one[0])) for one in read):
            asked |= dict(zip(("prompt", "negative_prompt"), (words(one[0]) for one in read), strict=False))
        else:
            asked |= _encoded(shell, read, asked)
        return plain(*given.args, **given.kwargs)

    return encode


def _encoded(shell: Untyped, read: Sequence[tuple[Passage, ...]], asked: dict[str, Any]) -> dict[str, Any]:
    """Prompt and negative prompt as tensors, by the names that `encode_prompt` has for them."""
    pooled, reader = _second(shell) is not None, _Reader(shell)
    encoded = {"prompt_embeds": reader.read(read[0])}
    if pooled:
        encoded["pooled_prompt_embeds"] = reader.pooled(read[0])
    # Without a negative prompt, SDXL's pipelines put zeros there themselves, where the model's folder says so.
    zeros = len(read) == 1 and pooled and shell.config.force_zeros_for_empty_prompt
    if asked.get("do_classifier_free_guidance", True) and not zeros:
        against = read[1] if len(read) > 1 else passages("")
        encoded["negative_prompt_embeds"] = reader.read(against)
        if pooled:
            encoded["negative_pooled_prompt_embeds"] = reader.pooled(against)
    texts = [name for name in ("prompt_embeds", "negative_prompt_embeds") if name in encoded]
    longest = max(encoded[name].shape[1] for name in texts)
    return encoded | {name: reader.padded(encoded[name], longest) for name in texts}


class _Reader:
    """The text encoders of a pipeline, reading at the layer that it takes; clip skip (`clip_skip`) acts within them."""

    def __init__(self, shell: Untyped) -> None:
        from compel.embeddings_provider import EmbeddingsProvider  # pyright: ignore[reportMissingTypeStubs]  # it has none

        self._shell = shell
        second = _second(shell)
        encoders = [(shell.tokenizer, shell.text_encoder), *([(shell.tokenizer_2, second)] if second is not None else [])]
        self._tokenizers = [tokenizer for tokenizer, _ in encoders]
        self._providers: list[Untyped] = [
            EmbeddingsProvider(
                tokenizer,
                _Voice(encoder, penultimate=second is not None),  # pyright: ignore[reportArgumentType]  # it answers as an encoder does
                dtype_for_device_getter=lambda device, dtype=encoder.dtype: dtype,
                truncate=False,
            )
            for tokenizer, encoder in encoders
        ]

    def read(self, read: tuple[Passage, ...]) -> Tensor:
        """(1, 77 n, width): every passage after the other, the encoders' words side by side."""
        columns: list[Tensor] = []
        for tokenizer, provider in zip(self._tokenizers, self._providers, strict=True):
            rows = [self._passage(tokenizer, provider, passage) for passage in read]
            columns.append(torch.cat(rows, 1))
        longest = max(column.shape[1] for column in columns)
        return torch.cat([_filled(column, _nothing(one), longest) for column, one in zip(columns, self._providers, strict=True)], -1)

    def pooled(self, read: tuple[Passage, ...]) -> Tensor:
        """(1, width): what the last encoder says of the first passage as a whole; weights do not count there, as in compel and A1111."""
        text = self._shell.maybe_convert_prompt(words(read[0]), self._tokenizers[-1])
        return self._providers[-1].get_pooled_embeddings([text])

    def padded(self, encoded: Tensor, length: int) -> Tensor:
        """(1, 77 n, width) -> (1, length, width), with empty passages behind it."""
        return _filled(encoded, torch.cat([_nothing(one) for one in self._providers], -1), length)

    def _passage(self, tokenizer: Untyped, provider: Untyped, passage: Passage) -> Tensor:
        texts = [self._shell.maybe_convert_prompt(piece.text, tokenizer) for piece in passage]
        weights = [piece.weight for piece in passage]
        return provider.get_embeddings_for_weighted_prompt_fragments([texts], [weights], device=provider.device)


@dataclass(frozen=True, slots=True)
class _Voice:
    """A text encoder as compel asks it, saying what diffusers takes of it."""

    encoder: Untyped
    penultimate: bool
    """SDXL: the last but one layer, not normalised."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        """In which numbers."""
        return self.encoder.dtype

    def __call__(self, ids: Tensor, mask: Tensor | None = None, **_: Untyped) -> SimpleNamespace:
        """Token ids (batch, 77) -> `last_hidden_state` (batch, 77, width), and `text_embeds` (batch, width) of encoders that have it.

        A mask of ones is none: with one, attention is computed in another way and rounds otherwise.
        """
        said = self.encoder(ids, attention_mask=None if mask is None or bool(mask.all()) else mask, output_hidden_states=True)
        states = said.hidden_states[-2] if self.penultimate else said[0]
        return SimpleNamespace(last_hidden_state=states, text_embeds=getattr(said, "text_embeds", None))


def _fits(shell: Untyped, text: str) -> bool:
    tokenizer = shell.tokenizer
    return len(tokenizer(shell.maybe_convert_prompt(text, tokenizer)).input_ids) <= tokenizer.model_max_length


def _second(shell: Untyped) -> Untyped:
    return getattr(shell, "text_encoder_2", None)


def _nothing(provider: Untyped) -> Tensor:
    """(1, 77, width): an empty passage."""
    return provider.empty_z


def _filled(encoded: Tensor, empty: Tensor, length: int) -> Tensor:
    missing = (length - encoded.shape[1]) // empty.shape[1]
    return torch.cat([encoded, *[empty.to(encoded)] * missing], 1)
