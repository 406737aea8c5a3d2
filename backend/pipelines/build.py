"""From the shared modules to any stock pipeline of diffusers: a pipeline is a cheap shell, made anew for every picture."""

from __future__ import annotations

import functools
import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..models.adapters import Untyped
from ..models.bundle import Family, Model
from ..models.parts import Parts
from .choices import PIPELINES, Mode
from .schedulers import DEFAULT, find
from .texts import worded

PROMPTS = 32
"""Prompts whose encodings are kept: 10 MB for SDXL in half precision."""


def scheduler(parts: Parts, name: str) -> Untyped:
    """A fresh scheduler: they keep state from call to call, so none is ever used twice. Raises InvalidRequest for an unknown name."""
    import diffusers

    own: Untyped = parts.scheduler
    if name == DEFAULT:
        return own.from_config(own.config)
    chosen = find(name)
    return getattr(diffusers, chosen.kind).from_config(own.config, **chosen.changes)


def pipeline(parts: Parts, mode: Mode, nets: Sequence[Any], schedule: Untyped, accent: str = "") -> Untyped:
    """The stock pipeline for `mode`, with `nets` (ControlNets, possibly none), over the shared modules of `parts`.

    `accent` names what makes the text encoders say something else than usual (LoRAs); with another one, prompts are encoded anew.
    """
    import diffusers
    from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel

    family = parts.model.family
    kind = _placed(getattr(diffusers, PIPELINES[family, mode, bool(nets)]), parts.device)
    arguments: dict[str, Any] = {**parts.base, "scheduler": schedule}
    if nets:
        arguments["controlnet"] = nets[0] if len(nets) == 1 else MultiControlNetModel(list(nets))
    if family is Family.SDXL:
        arguments |= {"force_zeros_for_empty_prompt": _zeros_for_empty(parts.model), "add_watermarker": False}
    else:
        arguments |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    shell = kind(**arguments)
    shell.set_progress_bar_config(disable=True)
    shell.encode_prompt = _remembering(worded(shell), parts.prompts, accent)
    return shell


def _placed(kind: Untyped, device: torch.device) -> Untyped:
    """The class `kind`, told where it computes. By itself it looks for hooks in each of its 9,000 modules, before every picture."""
    return type(kind.__name__, (kind,), {"_execution_device": property(lambda shell: device), "__module__": kind.__module__})


def _remembering(encode: Callable[..., Untyped], known: OrderedDict[str, Untyped], accent: str) -> Callable[..., Untyped]:
    """`encode_prompt` that knows the last texts: the pictures of a series, and the next one of the same prompt, do not encode it again.

    The weights of text encoders are never changed by a job, and `accent` tells what else changes their words, so what they said stays true;
    pipelines copy it before they change anything.
    """

    @functools.wraps(encode)
    def encoded(*args: Untyped, **kwargs: Untyped) -> Untyped:
        if any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values())):
            return encode(*args, **kwargs)
        key = repr((args, sorted(kwargs.items(), key=lambda item: item[0]))) + accent
        if key not in known:
            known[key] = encode(*args, **kwargs)
            while len(known) > PROMPTS:
                known.popitem(last=False)
        known.move_to_end(key)
        return known[key]

    return encoded


def accepted(shell: Untyped, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of `arguments` that the pipeline's call has a name for: image-to-image takes its size from the picture, for instance."""
    names = inspect.signature(type(shell).__call__).parameters
    return {name: value for name, value in arguments.items() if name in names}


def _zeros_for_empty(model: Model) -> bool:
    """SDXL's own `model_index.json` says whether no negative prompt means zeros (as the base was trained) or the encoded empty text."""
    index = model.folder / "model_index.json"
    return bool(json.loads(index.read_text(encoding="utf-8")).get("force_zeros_for_empty_prompt", True)) if index.is_file() else True
