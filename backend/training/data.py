"""Data sets of drawn people: drawn once, in several processes, into memory-mapped files, so that no training ever draws.

A folder holds parallel arrays and lines of text (`people.People` reads it): pictures.npy uint8 (N, S, S, 3), keypoints.npy float32
(N, 5, 2) in pixels, boxes.npy float32 (N, 4) as x0 y0 x1 y1, persons.npy int64 (N,) with the person's seed, captions.txt,
descriptions.txt, attributes.jsonl.
Everything follows from the seeds: picture k of person p is drawn with the shot of SeedSequence([seed, p, k]).
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from protocol.errors import InvalidRequest

from .world import FIRST_EVALUATION_PERSON, attributes, caption, describe, person, shot

_CHUNK = 40


@dataclass(frozen=True)
class Plan:
    """What is drawn: `shots_each` pictures of the persons `first` … `first + persons - 1`."""

    persons: int
    shots_each: int
    seed: int = 0
    size: int = 128
    style: str = "soft"
    first: int = 0

    def __post_init__(self) -> None:
        if self.persons < 1 or self.shots_each < 1:
            raise InvalidRequest(
                f"A data set of {self.persons} persons with {self.shots_each} pictures each is empty; both numbers must be at least 1."
            )
        if self.first < FIRST_EVALUATION_PERSON < self.first + self.persons:
            raise InvalidRequest(
                f"Persons {self.first} to {self.first + self.persons - 1} mix training and evaluation, "
                f"whose persons begin at {FIRST_EVALUATION_PERSON}. Draw two data sets instead."
            )

    @property
    def pictures(self) -> int:
        """How many pictures there will be."""
        return self.persons * self.shots_each


@dataclass(frozen=True)
class Lines:
    """The texts of some pictures, one entry a picture."""

    captions: list[str]
    descriptions: list[str]
    attributes: list[str]


def build_world(
    out_dir: Path, persons: int, shots_each: int, seed: int = 0, size: int = 128, *, style: str = "soft", first: int = 0, processes: int = 2
) -> Path:
    """Draw a data set into `out_dir` and return it; pictures of one person lie beside each other.

    Raises:
        InvalidRequest: the numbers make no data set, or mix training's and evaluation's persons.
    """
    plan = Plan(persons, shots_each, seed, size, style, first)
    out_dir.mkdir(parents=True, exist_ok=True)
    n = plan.pictures
    for name, kind, shape in (
        ("pictures", np.uint8, (n, size, size, 3)),
        ("keypoints", np.float32, (n, 5, 2)),
        ("boxes", np.float32, (n, 4)),
        ("persons", np.int64, (n,)),
    ):
        open_memmap(out_dir / f"{name}.npy", "w+", kind, shape).flush()
    chunks = [(out_dir, plan, begin, min(begin + _CHUNK, persons)) for begin in range(0, persons, _CHUNK)]
    done = list(tqdm(_drawn(chunks, processes), total=len(chunks), desc="drawing", unit="chunk"))
    for name in ("captions", "descriptions"):
        _write_lines(out_dir / f"{name}.txt", [line for part in done for line in getattr(part, name)])
    _write_lines(out_dir / "attributes.jsonl", [line for part in done for line in part.attributes])
    return out_dir


def _drawn(chunks: list[tuple[Path, Plan, int, int]], processes: int) -> Iterator[Lines]:
    if processes < 2 or len(chunks) < 2:
        yield from map(_draw_chunk, chunks)
        return
    # Spawned, not forked: OpenCV's and torch's threads do not survive a fork.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_draw_chunk, chunks)


def _draw_chunk(chunk: tuple[Path, Plan, int, int]) -> Lines:
    import cv2

    from .drawing import draw

    cv2.setNumThreads(1)
    folder, plan, begin, end = chunk
    pictures, keypoints, boxes, persons = (
        np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("pictures", "keypoints", "boxes", "persons")
    )
    lines = Lines([], [], [])
    for index in range(begin, end):
        number = plan.first + index
        who = person(number)
        for k in range(plan.shots_each):
            view = shot(np.random.default_rng(np.random.SeedSequence([plan.seed, number, k])))
            drawing = draw(who, view, plan.size, plan.style)
            row = index * plan.shots_each + k
            pictures[row], keypoints[row], boxes[row], persons[row] = drawing.picture, drawing.keypoints, drawing.box, number
            lines.captions.append(caption(view))
            lines.descriptions.append(describe(who, view))
            lines.attributes.append(json.dumps(attributes(view)))
    return lines


def _write_lines(path: Path, lines: list[str]) -> None:
    # Moved into place last: a folder with texts is a finished folder.
    beside = path.with_suffix(".part")
    beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(beside, path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training data`."""
    parser.add_argument("--out", type=Path, required=True, help="folder to draw into")
    parser.add_argument("--persons", type=int, default=6000)
    parser.add_argument("--shots", type=int, default=6, help="pictures of each person (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn by chance (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default: %(default)s)")
    parser.add_argument("--style", default="soft", choices=("soft", "ink"))
    parser.add_argument("--first", type=int, default=0, help="seed of the first person (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2)


def run(args: argparse.Namespace) -> None:
    """Draw the data set."""
    build_world(args.out, args.persons, args.shots, args.seed, args.size, style=args.style, first=args.first, processes=args.processes)
    print(f"wrote {args.persons * args.shots} pictures to {args.out}")
