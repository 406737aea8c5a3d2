"""Options of the painting commands about sampling and what follows it: scheduler, steps, guidance, tiles, second passes."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import partial

from protocol.errors import InvalidRequest
from protocol.jobs import FacePass, SecondPass

from ..recipe import Recipe

MOST_STEPS = 1000


def add_finishing(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--steps", type=_steps, metavar="N", help="sampling steps (default: the model's own)")
    scale, part = partial(_number, 0, 100, "a guidance scale"), partial(_number, 0, 1, "a guidance rescale")
    parser.add_argument("--guidance", type=scale, metavar="N", help="how strongly the prompt acts (default: the model's own)")
    parser.add_argument("--scheduler", type=_scheduler, metavar="NAME", help='as in A1111 or ComfyUI: "DPM++ 2M Karras", euler_ancestral …')
    parser.add_argument("--guidance-rescale", type=part, metavar="N", help="against colours that strong guidance burns; 0.7 is usual")
    parser.add_argument("--tiled", action=argparse.BooleanOptionalAction, help="the VAE in tiles (default: where a picture is large)")
    parser.add_argument(
        "--second-pass", nargs="?", const=SecondPass(), type=_second_pass, metavar="SCALE[:STRENGTH]",
        help="the picture once more, larger, from the first one (default: 2:0.3)",
    )  # fmt: skip
    parser.add_argument(
        "--face-pass", nargs="?", const=FacePass(), type=_face_pass, metavar="STRENGTH[:THRESHOLD]",
        help="small faces once more, each at the model's own size (default: 0.7:0.4)",
    )  # fmt: skip


def finished(recipe: Recipe, options: Namespace) -> Recipe:
    """The recipe with what the options say; what they leave out stays as it is."""
    return replace(
        recipe,
        steps=recipe.steps if options.steps is None else options.steps,
        guidance_scale=recipe.guidance_scale if options.guidance is None else options.guidance,
        scheduler=options.scheduler or recipe.scheduler,
        guidance_rescale=options.guidance_rescale,
        tiled=options.tiled,
        second_pass=options.second_pass,
        face_pass=options.face_pass,
    )


def _steps(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_STEPS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps from 1 to {MOST_STEPS}")
    return int(text)


def _number(low: float, high: float, what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}; give a number from {low:g} to {high:g}") from None
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text} is not {what} from {low:g} to {high:g}")
    return value


def _scheduler(text: str) -> str:
    from ..pipelines.schedulers import DEFAULT, find

    try:
        return DEFAULT if text == DEFAULT else find(text).id
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _second_pass(text: str) -> SecondPass:
    scale, _, strength = text.partition(":")
    return SecondPass(_number(1, 4, "a scale", scale), _strength(strength) if strength else SecondPass().strength)


def _face_pass(text: str) -> FacePass:
    strength, _, threshold = text.partition(":")
    part = _number(0, 1, "a part of the model's size", threshold) if threshold else FacePass().threshold
    return FacePass(_strength(strength), part)


def _strength(text: str) -> float:
    value = _number(0, 1, "a strength", text)
    if value == 0:
        raise argparse.ArgumentTypeError("a strength of 0 changes nothing; leave the option out")
    return value
