"""`likeness again OUT.png`: the same picture, byte for byte, from what the PNG says about itself."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from ..config import Settings
from ..progress import Bar
from ..recipe import Recipe
from .arguments import given_file, png_file
from .work import bench_for, check_folder

DIFFERENT = "Another picture than {}. The bytes are the same on one machine with one version of everything; something of that has changed."


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("picture", type=given_file, metavar="OUT.png", help="a picture that Likeness made")
    parser.add_argument("-o", "--out", type=png_file, metavar="FILE", help="the new picture (default: OUT-again.png, beside it)")


def run(options: Namespace, settings: Settings) -> int:
    """Make it again; 1 if it became another one."""
    from ..images import png_bytes, read_metadata, save_png

    recipe = Recipe.read(read_metadata(options.picture), str(options.picture))
    out = options.out or options.picture.with_name(f"{options.picture.stem}-again.png")
    check_folder(out)
    with bench_for(settings, recipe.model) as bench, Bar("again", 1) as bar:
        picture = bench.paint(recipe.job(bench, options.picture.parent), bar).pixels
        bar.next_job()
    save_png(out, picture, recipe.metadata())
    if png_bytes(picture, recipe.metadata()) != options.picture.read_bytes():
        sys.stderr.write(f"likeness again: {DIFFERENT.format(options.picture)}\n")
        return 1
    print(f"{out}: the same bytes as {options.picture}")
    return 0
