"""`likeness portrait`: pictures of a person, or of several, from photos of the faces."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest, NoFace
from protocol.geometry import Extent

from ..config import Settings
from ..pictures import numbered
from ..recipe import Points, Recipe, base_recipe, quickened
from .arguments import MAX_SEED, add_clip_skip, add_quick, count, given_file, png_file, prompt, seed
from .finishing import add_finishing, finished
from .image_prompts import add_image_prompts
from .loras import add_loras, adornments
from .people import add_people, check_people, face_prompts, people
from .work import bench_for, check_folder, check_not_over, paint

if TYPE_CHECKING:
    from ..workbench import Bench


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    add_people(parser)
    parser.add_argument("--prompt", default="", type=prompt, metavar="TEXT", help="what the picture shows")
    parser.add_argument("--negative", type=prompt, metavar="TEXT", help="what it must not show (default: the model's own)")
    parser.add_argument(
        "--pose",
        type=given_file,
        metavar="FILE",
        help="a picture of any face, whose place and turn are taken; with as many faces as people",
    )
    add_image_prompts(parser)
    add_loras(parser)
    parser.add_argument("--count", default=1, type=count, metavar="N", help="how many pictures; the seed counts up (default: 1)")
    parser.add_argument("--seed", type=seed, metavar="N", help="the same seed makes the same picture (default: by chance)")
    parser.add_argument("--model", metavar="ID", help="the model (default: sketch, the built-in one)")
    add_clip_skip(parser)
    add_quick(parser)
    add_finishing(parser)
    parser.add_argument(
        "-o", "--out", required=True, type=png_file, metavar="OUT.png", help="the picture; further ones are OUT-2.png, OUT-3.png …"
    )


def run(options: Namespace, settings: Settings) -> int:
    """Make the pictures."""
    names = numbered(options.out, options.count)
    for name in names:
        check_folder(name)
    check_people(options)
    check_not_over(names, options)
    if not (options.face or options.person or options.character or options.face_prompt):
        raise InvalidRequest("A portrait needs somebody. Give photos of the person with --face, or of several people with --person.")
    first = secrets.randbelow(2**31) if options.seed is None else options.seed
    if first + options.count - 1 > MAX_SEED:
        raise InvalidRequest(f"With {options.count} pictures the seeds would go past {MAX_SEED}. Choose a smaller one.")
    with bench_for(settings) as bench:
        recipe = finished(quickened(portrait_recipe(bench, options, first), bench, options.quick), options)
        paint(bench, [(replace(recipe, seed=first + index), name) for index, name in enumerate(names)], "portrait")
    return 0


def portrait_recipe(bench: Bench, options: Namespace, first: int) -> Recipe:
    """What is asked for, with the files read and the faces recognised."""
    from ..pipelines.plan import extent_for

    beside = options.out.parent
    shown = people(bench, options)
    extent = extent_for(bench.model, len(shown))
    places = _poses(bench, options.pose, extent, len(shown)) if options.pose else ()
    return base_recipe(
        bench,
        options.prompt,
        options.negative,
        first,
        extent,
        people=shown,
        keypoints=places[0] if len(places) == 1 else (),
        places=places if len(places) > 1 else (),
        image_prompts=tuple(one.lent(beside) for one in options.image_prompt),
        loras=adornments(bench, options.lora),
        face_prompts=face_prompts(bench, options),
        clip_skip=options.clip_skip,
    )


def _poses(bench: Bench, path: Path, extent: Extent, count: int) -> tuple[Points, ...]:
    """The keypoints of the largest faces of a picture, as many as people, from left to right; in a picture of `extent`, never stretched."""
    from ..faces import fit_keypoints
    from ..images import open_picture

    picture = open_picture(path)
    found = bench.face_points(picture)[:count]
    if not found:
        raise NoFace(
            f"No face was found in {path}, so no pose can be taken from it. Choose a picture that shows a face, or leave --pose out."
        )
    if len(found) < count:
        raise NoFace(
            f"{path} shows {len(found)} of the {count} faces that are needed. Choose a picture with a face for each person, or leave "
            "--pose out."
        )
    height, width = picture.shape[:2]
    found = sorted(found, key=lambda points: float(points[:, 0].mean()))
    placed = [fit_keypoints(points, Extent(width, height), extent) for points in found]
    return tuple(tuple((float(x), float(y)) for x, y in points) for points in placed)
