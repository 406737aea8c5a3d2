"""`likeness portrait`: pictures of one person, from photos of the face."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest, NoFace
from protocol.geometry import Extent

from ..config import Settings
from ..recipe import File, Lent, Recipe, base_recipe, somebody
from .arguments import MAX_SEED, WeightedFile, count, png_file, prompt, seed, weighted_file
from .work import bench_for, check_folder, numbered, paint

if TYPE_CHECKING:
    from ..workbench import Bench

IMAGE_PROMPT = 0.6
"""Weight of a picture beside a text, between IP-Adapter's advice (0.5) and its demos."""


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--face", action="append", required=True, type=Path, metavar="FILE", help="a photo of the person; several make one person"
    )
    parser.add_argument("--prompt", default="", type=prompt, metavar="TEXT", help="what the picture shows")
    parser.add_argument("--negative", type=prompt, metavar="TEXT", help="what it must not show (default: the model's own)")
    parser.add_argument("--pose", type=Path, metavar="FILE", help="a picture of any face, whose place and turn are taken")
    parser.add_argument(
        "--image-prompt", action="append", default=[], type=weighted_file, metavar="FILE[:WEIGHT]", help="a picture as a prompt"
    )
    parser.add_argument("--count", default=1, type=count, metavar="N", help="how many pictures; the seed counts up (default: 1)")
    parser.add_argument("--seed", type=seed, metavar="N", help="the same seed makes the same picture (default: by chance)")
    parser.add_argument("--model", metavar="ID", help="the model (default: sketch, the built-in one)")
    parser.add_argument(
        "-o", "--out", required=True, type=png_file, metavar="OUT.png", help="the picture; further ones are OUT-2.png, OUT-3.png …"
    )


def run(options: Namespace, settings: Settings) -> int:
    """Make the pictures."""
    check_folder(options.out)
    first = secrets.randbelow(2**31) if options.seed is None else options.seed
    if first + options.count - 1 > MAX_SEED:
        raise InvalidRequest(f"With {options.count} pictures the seeds would go past {MAX_SEED}. Choose a smaller one.")
    with bench_for(settings) as bench:
        recipe = portrait_recipe(bench, options, first)
        names = numbered(options.out, options.count)
        paint(bench, [(replace(recipe, seed=first + index), name) for index, name in enumerate(names)], "portrait")
    return 0


def portrait_recipe(bench: Bench, options: Namespace, first: int) -> Recipe:
    """What is asked for, with the files read and the faces recognised."""
    beside = options.out.parent
    extent = bench.model.extent
    return base_recipe(
        bench,
        options.prompt,
        options.negative,
        first,
        extent,
        people=(somebody(bench, options.face),),
        keypoints=_pose(bench, options.pose, extent) if options.pose else (),
        image_prompts=tuple(_lent(one, beside) for one in options.image_prompt),
    )


def _pose(bench: Bench, path: Path, extent: Extent) -> tuple[tuple[float, float], ...]:
    """The five keypoints of the largest face of a picture, moved into a picture of `extent`, never stretched."""
    from ..faces import fit_keypoints
    from ..images import open_picture

    picture = open_picture(path)
    points = bench.face_points(picture)
    if points is None:
        raise NoFace(
            f"No face was found in {path}, so no pose can be taken from it. Choose a picture that shows a face, or leave --pose out."
        )
    height, width = picture.shape[:2]
    return tuple((float(x), float(y)) for x, y in fit_keypoints(points, Extent(width, height), extent))


def _lent(given: WeightedFile, beside: Path) -> Lent:
    return Lent(File.of(given.path, beside), IMAGE_PROMPT if given.weight is None else given.weight)
