"""What the painting commands share: the names of the results, the bar, writing the PNGs, and the likeness that is reported."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from os.path import exists  # Path.exists raises for a name that is too long
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

from ..progress import Bar
from ..recipe import Recipe

if TYPE_CHECKING:
    from ..config import Settings
    from ..workbench import Bench


@contextmanager
def bench_for(settings: Settings, model_id: str | None = None) -> Generator[Bench]:
    """Where the command's pictures are made: at the backend, or with --alone in this process."""
    if settings.alone == "yes":
        from ..deferred import defer

        defer()
        from ..workbench import open_workbench

        yield open_workbench(settings, model_id)
        return
    from ..remote import remote_bench

    with remote_bench(settings, model_id) as bench:
        yield bench


def check_folder(out: Path) -> None:
    """Before minutes of work: the place of the result must exist, and a file can be made there."""
    if not out.parent.is_dir():
        raise InvalidRequest(f"The folder {out.parent} does not exist. Make it first, or choose another place for {out.name}.")
    try:
        if out.is_dir():
            raise InvalidRequest(f"{out} is a folder. Choose the name of a picture.")
        with TemporaryFile(dir=out.parent):  # asking for rights is not enough: a disk may be read-only, a folder not a real one (/proc)
            pass
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {os.strerror(error.errno or 0)}. Choose another place.") from error


def make_folder(out: Path) -> None:
    """The folder of many results, made if it is not there; before minutes of work, a file must be possible in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"The folder {out} cannot be made: {error.strerror or error}. Choose another with --out.") from error
    try:
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InvalidRequest(f"Nothing can be written into {out}: {os.strerror(error.errno or 0)}. Choose another with --out.") from error


def check_not_over(outs: Sequence[Path], options: Namespace) -> None:
    """Before anything is opened: a result must not take the place of a picture that it is made from, as a photo is not made again."""
    lent = [path for one in getattr(options, "image_prompt", ()) for path in (one.file, one.negative)]
    alone = [getattr(options, name, None) for name in ("pose", "image", "mask")]
    given = [path for path in (*options.face, *(path for person in options.person for path in person), *lent, *alone) if path is not None]
    for out in outs:
        if exists(out) and any(exists(path) and path.samefile(out) for path in given):
            raise InvalidRequest(f"The result would overwrite {out}, from which it is to be made. Choose another name with -o.")


def paint(bench: Bench, orders: Sequence[tuple[Recipe, Path]], title: str) -> None:
    """Make every picture and save it with its recipe; says how alike it became.

    Each picture is a job of its own: in a batch, rounding would depend on its neighbours, and `likeness again` makes one picture alone.
    """
    from ..images import save_png

    with Bar(title, len(orders)) as bar:
        for recipe, out in orders:
            picture = bench.paint(recipe.job(bench, out.parent), bar)
            save_png(out, picture.pixels, recipe.metadata())
            bar.next_job()
            bar.say(f"{out}: seed {recipe.seed}{likeness_text(picture.similarities)}")


def likeness_text(similarities: Sequence[float | None]) -> str:
    """The likeness in words, for one picture's subjects."""
    if not similarities:
        return ""
    return ", likeness " + ", ".join("none (no face to be seen)" if one is None else f"{one:.2f}" for one in similarities)
