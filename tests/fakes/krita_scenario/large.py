"""A small head in a canvas of 24 megapixels, painted, applied and saved; then more pictures, and Krita is killed before they are saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from krita import Krita, Selection

from .steps import event, open_in_view, shot, told, until, wait
from .whole import PATIENCE_S, PLAN, Docker, arrange, layer_names


def play() -> Iterator[None]:
    Krita.instance().setBatchmode(True)
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    docker = Docker()
    document = Krita.instance().openDocument(plan["scene"])
    yield from open_in_view(document)
    yield from arrange(docker, *plan["window"])
    docker.asked.start_backend()
    yield from until(lambda: docker.asked.models, "the backend", PATIENCE_S)
    docker.asked.draft_from_files(plan["photos"])
    yield from until(lambda: docker.asked.draft, "the photos")
    yield from until(lambda: all(photo.faces is not None for photo in docker.asked.draft), "their faces", PATIENCE_S)
    docker.asked.draft_rename(plan["name"])
    docker.asked.draft_save()
    yield from until(lambda: docker.asked.persons, "the character", PATIENCE_S)
    docker.asked.change(persons=())
    docker.asked.add_person(plan["name"])
    select(document, plan)
    docker.asked.change(prompt=plan["prompt"], count=1, seed=plan["seed"], seed_locked=True)
    yield from generate(docker, 1)
    shot("large-1-result")
    yield from apply(docker, document, plan)
    yield from unsaved(docker, plan)


def select(document: Any, plan: dict[str, Any]) -> None:
    """The head, as the test has drawn its mask."""
    x, y, width, height = plan["place"]
    selection = Selection()
    selection.select(x, y, width, height, 255)
    selection.setPixelData(Path(plan["mask"]).read_bytes(), x, y, width, height)
    document.setSelection(selection)


def generate(docker: Docker, count: int) -> Iterator[None]:
    """Press Generate, and wait until that many pictures are there and the backend was told so."""
    yield from until(lambda: docker.asked.can_generate, f"Generate: {docker.asked.why_not}")
    docker.asked.generate()
    yield from until(lambda: len(docker.asked.results) == count, f"{count} results: {docker.asked.notice}", PATIENCE_S)
    yield from until(lambda: not docker.asked._desk.client.jobs(), "the backend to be told", 60)
    yield from wait(1)


def apply(docker: Docker, document: Any, plan: dict[str, Any]) -> Iterator[None]:
    one = docker.asked.results[0]
    docker.asked.apply(one.key)
    yield from until(lambda: docker.asked.results[0].applied, "the applied result")
    yield from wait(1)
    canvas = Krita.instance().activeWindow().activeView().canvas()
    canvas.setZoomLevel(1.0)
    yield from wait(1)
    shot("large-2-applied")
    document.setBatchmode(True)
    saved = document.saveAs(plan["kra"])
    document.waitForDone()
    box = one.bounds
    event(
        "applied",
        saved=saved,
        layers=layer_names(document),
        box=[box.x, box.y, box.width, box.height],
        similarity=one.similarity,
    )
    yield from told("saved")


def unsaved(docker: Docker, plan: dict[str, Any]) -> Iterator[None]:
    """More pictures, of which no file knows when Krita dies."""
    docker.asked.change(count=2, seed=plan["seed"] + 100)
    yield from generate(docker, 3)
    event("unsaved", seeds=[result.seed for result in docker.asked.results], modified=Krita.instance().activeDocument().modified())
    yield from told("never")
