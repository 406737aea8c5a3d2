"""`likeness inpaint`: a masked part of a picture, painted anew; outside the mask not one pixel changes."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser, Namespace

from protocol.errors import InvalidRequest
from protocol.geometry import Extent

from ..config import Settings
from ..recipe import File, base_recipe, quickened
from .arguments import add_clip_skip, add_quick, given_file, png_file, prompt, seed
from .finishing import add_finishing, finished
from .loras import add_loras, adornments
from .people import add_people, check_people, face_prompts, people
from .work import bench_for, check_folder, check_not_over, paint


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--image", required=True, type=given_file, metavar="FILE", help="the picture")
    parser.add_argument(
        "--mask", required=True, type=given_file, metavar="FILE", help="its mask, of the same size: white is painted anew, black is kept"
    )
    add_people(parser)
    parser.add_argument("--prompt", default="", type=prompt, metavar="TEXT", help="what the picture shows")
    parser.add_argument("--negative", type=prompt, metavar="TEXT", help="what it must not show (default: the model's own)")
    parser.add_argument("--seed", type=seed, metavar="N", help="the same seed makes the same picture (default: by chance)")
    parser.add_argument("--model", metavar="ID", help="the model (default: sketch, the built-in one)")
    add_loras(parser)
    add_clip_skip(parser)
    add_quick(parser)
    add_finishing(parser)
    parser.add_argument("-o", "--out", required=True, type=png_file, metavar="OUT.png", help="the result")


def run(options: Namespace, settings: Settings) -> int:
    """Make the picture."""
    from ..images import open_mask, open_picture

    check_folder(options.out)
    check_people(options)
    check_not_over([options.out], options)
    height, width = open_picture(options.image).shape[:2]
    mask = open_mask(options.mask)
    if mask.shape != (height, width):
        raise InvalidRequest(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the picture {width} x {height}. Give a mask of the picture's size."
        )
    if not mask.any():
        raise InvalidRequest(
            f"The mask {options.mask} is black everywhere, so there is nothing to paint. Make white what is to be painted."
        )
    with bench_for(settings) as bench:
        beside = options.out.parent
        recipe = base_recipe(
            bench,
            options.prompt,
            options.negative,
            secrets.randbelow(2**31) if options.seed is None else options.seed,
            Extent(width, height),
            people=people(bench, options),
            face_prompts=face_prompts(bench, options),
            clip_skip=options.clip_skip,
            canvas=File.of(options.image, beside),
            mask=File.of(options.mask, beside),
            loras=adornments(bench, options.lora),
        )
        paint(bench, [(finished(quickened(recipe, bench, options.quick), options), options.out)], "inpaint")
    return 0
