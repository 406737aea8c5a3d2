"""Options of the painting commands about sampling and what follows it: scheduler, steps, guidance, tiles, second passes."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import partial

from protocol.errors import InvalidRequest
from protocol.jobs import FacePass, SecondPass

from ..recipe import Recipe
from .arguments import number, whole

MOST_STEPS = 1000


def add_finishing(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--steps", type=_steps, metavar="N", help="sampling steps (default: the model's own)")
    scale, part = partial(number, low=0, high=100, what="a guidance scale"), partial(number, low=0, high=1, what="a guidance rescale")
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
    return whole(text, 1, MOST_STEPS, "a number of steps")


def _scheduler(text: str) -> str:
    from ..pipelines.schedulers import DEFAULT, find

    try:
        return DEFAULT if text == DEFAULT else find(text).id
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _second_pass(text: str) -> SecondPass:
    scale, _, strength = text.partition(":")
    return SecondPass(number(scale, 1, 4, "a scale"), _strength(strength) if strength else SecondPass().strength)


def _face_pass(text: str) -> FacePass:
    strength, _, threshold = text.partition(":")
    part = number(threshold, 0, 1, "a part of the model's size") if threshold else FacePass().threshold
    return FacePass(_strength(strength), part)


def _strength(text: str) -> float:
    value = number(text, 0, 1, "a strength")
    if value == 0:
        raise argparse.ArgumentTypeError("a strength of 0 changes nothing; leave the option out")
    return value
