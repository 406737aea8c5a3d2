"""Live in a real Krita: an artist paints with the brush, by strokes that the test makes through the X server, and pictures follow."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

from krita import Krita, ManagedColor

from .steps import OUT, act, event, open_in_view, quit_krita, shot, told, until, wait
from .whole import PATIENCE_S, PLAN, Docker, arrange, layer_names, start_backend


def play() -> Iterator[None]:
    Krita.instance().setBatchmode(True)
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    docker = Docker()
    document = Krita.instance().createDocument(*plan["size"], "live", "RGBA", "U8", "", 300.0)
    yield from open_in_view(document)
    yield from arrange(docker, *plan["window"])
    Krita.instance().activeWindow().activeView().canvas().setZoomLevel(1.0)
    yield from start_backend(docker)
    yield from make_character(docker, plan)
    yield from set_up(docker, plan)
    yield from paint(docker, document, plan)
    yield from keep(docker, document)
    yield from in_full(docker)
    yield from go_away(docker, document)
    yield from quit_krita()


def make_character(docker: Docker, plan: dict[str, Any]) -> Iterator[None]:
    docker.asked.draft_from_files(plan["photos"])
    yield from until(lambda: docker.asked.draft, "the photos")
    yield from until(lambda: all(photo.faces is not None for photo in docker.asked.draft), "their faces", PATIENCE_S)
    docker.asked.draft_rename(plan["name"])
    docker.asked.draft_save()
    yield from until(lambda: docker.asked.persons, "the character", PATIENCE_S)
    docker.asked.change(persons=())
    docker.asked.add_person(plan["name"])


def set_up(docker: Docker, plan: dict[str, Any]) -> Iterator[None]:
    """Everything but Live, which the test clicks."""
    docker.asked.change(prompt=plan["prompt"], seed=plan["seed"], seed_locked=True, change=plan["change"], count=1)
    Krita.instance().action("KritaShape/KisToolBrush").trigger()
    yield from docker.settled(docker.body.prompt.follow)
    shot("live-1-off")
    off = docker.asked.live is None
    yield from docker.clicked("click-live", docker.body.prompt.follow, off=off, mode=docker.asked.form.mode.value)
    yield from until(lambda: docker.asked.form.live, "Live to be on")
    yield from until(lambda: docker.asked.live.picture is not None, f"a live picture: {docker.asked.live}", PATIENCE_S)
    yield from until(lambda: "under way" not in docker.asked.live.words, "rest", PATIENCE_S)
    docker.body.scroll.ensureWidgetVisible(docker.body.prompt.following, 0, 20)
    yield from wait(0.5)
    shot("live-2-on")
    event("on", mode=docker.asked.form.mode.value, words=docker.asked.live.words, seconds=made(docker).seconds)


def made(docker: Docker) -> Any:
    return docker.asked._live._picture[0]


def on_screen(document: Any, points: list[list[float]]) -> list[list[int]]:
    """Where points of the document are on the screen: it lies in the middle of the canvas, at its own size."""
    waiting = [Krita.instance().activeWindow().qwindow()]
    while waiting[0].metaObject().className() != "KisOpenGLCanvas2":
        waiting += [child for child in waiting.pop(0).children() if child.isWidgetType()]
    middle = waiting[0].mapToGlobal(waiting[0].rect().center())
    return [[round(middle.x() + x - document.width() / 2), round(middle.y() + y - document.height() / 2)] for x, y in points]


def measured(docker: Docker) -> list[float]:
    """The processor time of each tick of the docker from now on, in seconds."""
    times: list[float] = []
    tick = type(docker.asked).tick

    def timed() -> None:
        start = time.thread_time()
        tick(docker.asked)
        times.append(time.thread_time() - start)

    docker.asked.tick = timed
    return times


def look(document: Any) -> str:
    return hashlib.sha256(bytes(document.pixelData(0, 0, document.width(), document.height()))).hexdigest()


def paint(docker: Docker, document: Any, plan: dict[str, Any]) -> Iterator[None]:
    """One stroke after another; of each is told when it began and which pictures came while the brush was down."""
    view = Krita.instance().activeWindow().activeView()
    for number, stroke in enumerate(plan["strokes"]):
        colour = ManagedColor("RGBA", "U8", "")
        colour.setComponents([*[part / 255 for part in reversed(stroke["colour"])], 1.0])
        view.setForeGroundColor(colour)
        view.setBrushSize(stroke["size"])
        yield from wait(0.3)
        before, undo = made(docker).number, look(document)
        ticks = measured(docker)
        event(f"stroke-{number}", points=on_screen(document, stroke["points"]), hold=stroke.get("hold", False))
        if stroke.get("hold"):
            yield from until(lambda before=before: made(docker).number > before, "a picture while the brush is down", PATIENCE_S)
            event(f"seen-{number}")
        meanwhile = made(docker).number - before
        while not (OUT / f"go-stroke-{number}").exists():
            yield
        yield from until(lambda before=before: made(docker).number > before and not docker.asked.live.working, "the picture", PATIENCE_S)
        yield from wait(0.3)
        event(
            f"followed-{number}",
            painted=look(document) != undo,
            pictures=made(docker).number - before,
            meanwhile=meanwhile,
            seconds=made(docker).seconds,
            tick=sorted(ticks)[len(ticks) // 2],
            ticks=[len(ticks), max(ticks)],
            undo=str(Krita.instance().action("edit_undo").text()),
            layers=layer_names(document),
        )
        shot(f"live-3-stroke-{number}")


def keep(docker: Docker, document: Any) -> Iterator[None]:
    before = layer_names(document)
    docker.body.scroll.ensureWidgetVisible(docker.body.prompt.following, 0, 20)
    yield from docker.clicked("click-keep", docker.body.prompt.following.keep)
    yield from until(lambda: layer_names(document) != before, "the kept layer")
    yield from wait(1)
    shot("live-4-kept")
    kept = layer_names(document)
    Krita.instance().activeWindow().qwindow().setFocus()
    yield from act("edit_undo")
    event("kept", before=before, kept=kept, undone=layer_names(document), similarity=made(docker).similarity)


def in_full(docker: Docker) -> Iterator[None]:
    seed = made(docker).seed
    yield from docker.clicked("click-full", docker.body.prompt.following.full)
    yield from until(lambda: "until the picture under way" in docker.asked.live.words or docker.asked.results, "an ordinary picture")
    words = docker.asked.live.words
    yield from until(lambda: docker.asked.results, f"the whole picture: {docker.asked.notice}", PATIENCE_S)
    yield from wait(0.5)
    shot("live-5-full")
    result = docker.asked.results[0]
    docker.asked.show(None)
    event("full", seed=seed, made=result.seed, words=words, similarity=result.similarity)


def go_away(docker: Docker, document: Any) -> Iterator[None]:
    """The docker is hidden, shown again; the document is closed."""
    yield from until(lambda: docker.asked.live.picture is not None and not docker.asked.live.working, "rest", PATIENCE_S)
    docker.frame.setVisible(False)
    yield from until(lambda: docker.asked.live.picture is None, "live to stop with the docker")
    hidden = docker.asked.live.words
    docker.frame.setVisible(True)
    docker.frame.raise_()
    yield from until(lambda: docker.asked.live.picture is not None, "live to go on", PATIENCE_S)
    document.setModified(False)
    document.close()
    yield from until(lambda: docker.asked.live.picture is None, "live to stop with the document")
    yield from wait(0.5)
    shot("live-6-closed")
    event("away", hidden=hidden, closed=docker.asked.live.words, notice=docker.asked.notice)
    yield from told("end")
