"""The docker in a real Krita with a real backend, as an artist uses it. Clicks and typing come from the test, through the X server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from krita import Krita, Selection

from .steps import OUT, act, event, open_in_view, qt, quit_krita, shot, told, until, wait

PLAN = OUT / "plan.json"
"""From the test: scene, its size, the file of the selection's bytes, photos, prompt, window [width, height]."""
PATIENCE_S = 900


class Docker:
    """The real docker, found as Krita has it."""

    def __init__(self) -> None:
        self.frame = next(d for d in Krita.instance().dockers() if d.objectName() == "likeness")
        self.body = self.frame.widget()
        self.asked = self.body._presenter

    def place(self, widget: Any) -> list[int]:
        """Where a widget's middle is on the screen, after scrolling it into sight."""
        if self.body.scroll.widget().isAncestorOf(widget):
            # Not ensureWidgetVisible, to which a text field is seen when its cursor is.
            inside = widget.mapTo(self.body.scroll.widget(), widget.rect().center())
            self.body.scroll.ensureVisible(inside.x(), inside.y(), widget.width() // 2 + 8, widget.height() // 2 + 8)
        middle = widget.mapToGlobal(widget.rect().center())
        return [middle.x(), middle.y()]

    def settled(self, widget: Any) -> Iterator[None]:
        """Wait until the docker shows what it knows: a slow machine moves what is below a new row late. Seconds and turns of Krita's event
        loop both count, as a machine that is busy with others has few turns in a second."""
        place, since, turns = self.place(widget), time.monotonic(), 0
        while time.monotonic() - since < 2 or turns < 20 or not (widget.isVisible() and widget.isEnabled()):
            yield
            turns += 1
            if self.place(widget) != place:
                place, since, turns = self.place(widget), time.monotonic(), 0

    def clicked(self, name: str, widget: Any, **told: Any) -> Iterator[None]:
        """Tell the test where to click, once the widget stays where it is and can be clicked."""
        yield from self.settled(widget)
        event(name, place=self.place(widget), **told)


def play() -> Iterator[None]:
    Krita.instance().setBatchmode(True)
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    docker = Docker()
    document = Krita.instance().openDocument(plan["scene"])
    yield from open_in_view(document)
    yield from arrange(docker, *plan["window"])  # not before: from 5.3 on, Krita shows its own dockers when the welcome page goes
    Krita.instance().activeWindow().activeView().canvas().setZoomLevel(1.8)
    yield from start_backend(docker)
    yield from make_character(docker, plan)
    yield from generate(docker, document, plan)
    yield from take(docker, document, plan)
    if plan["kill"]:
        yield from killed(docker, document)
    yield from quit_krita()


def arrange(docker: Docker, width: int, height: int) -> Iterator[None]:
    """The window over the whole screen, our docker high enough, beside the layers."""
    main = Krita.instance().activeWindow().qwindow()
    main.setGeometry(0, 0, width, height)
    core = qt().Qt
    right = core.DockWidgetArea.RightDockWidgetArea
    for other in Krita.instance().dockers():
        if other is not docker.frame and main.dockWidgetArea(other) == right:
            other.setVisible(other.objectName() == "KisLayerBox")
    docker.frame.setVisible(True)
    docker.frame.raise_()
    yield from wait(1)
    layers = next(d for d in Krita.instance().dockers() if d.objectName() == "KisLayerBox")
    main.splitDockWidget(docker.frame, layers, core.Orientation.Vertical)
    yield from wait(0.5)
    main.resizeDocks([docker.frame, layers], [height - 260, 160], core.Orientation.Vertical)
    main.resizeDocks([docker.frame], [330], core.Orientation.Horizontal)
    yield from wait(1)
    shot("1-start")
    docker.frame.setVisible(False)
    Krita.instance().action("likeness_show").trigger()
    yield from wait(0.3)
    keys = Krita.instance().action("likeness_generate").shortcut().toString()
    event("arranged", visible=docker.frame.isVisible(), keys=keys, sentence=docker.asked.backend.sentence)


def start_backend(docker: Docker) -> Iterator[None]:
    yield from until(lambda: docker.asked.backend.can_start, "the button that starts the backend")
    yield from docker.clicked("click-start", docker.body.state.start)
    yield from until(lambda: docker.asked.backend.light.value == "ready", "the backend", PATIENCE_S)
    yield from until(lambda: docker.asked.models, "the models", PATIENCE_S)
    event("ready", sentence=docker.asked.backend.sentence, models=[model.id for model in docker.asked.models])


def make_character(docker: Docker, plan: dict[str, Any]) -> Iterator[None]:
    docker.asked.draft_from_files(plan["photos"])
    yield from until(lambda: len(docker.asked.draft) == len(plan["photos"]), "the photos")
    yield from until(lambda: all(photo.faces is not None for photo in docker.asked.draft), "their faces", PATIENCE_S)
    yield from wait(1)
    shot("2-draft")
    faces = [[round(face.score, 3) for face in photo.faces] for photo in docker.asked.draft]
    yield from docker.clicked("click-name", docker.body.people.draft.name, faces=faces)
    yield from told("named")
    yield from until(lambda: docker.asked.draft_name == plan["name"], "the typed name")
    yield from docker.clicked("click-save", docker.body.people.draft.save)
    yield from until(lambda: [person.name for person in docker.asked.persons] == [plan["name"]], "the character", PATIENCE_S)
    yield from wait(0.5)
    if not docker.asked.form.persons:
        docker.body.people.pick(plan["name"], False)
    event("character", photos=docker.asked.persons[0].photos, score=docker.asked.persons[0].score)


def generate(docker: Docker, document: Any, plan: dict[str, Any]) -> Iterator[None]:
    selection = Selection()
    selection.select(0, 0, *plan["size"], 255)
    selection.setPixelData(Path(plan["mask"]).read_bytes(), 0, 0, *plan["size"])
    document.setSelection(selection)
    docker.asked.change(count=2, seed=plan["seed"], seed_locked=True)
    yield from docker.clicked("click-prompt", docker.body.prompt.prompt)
    yield from told("typed")
    yield from until(lambda: docker.asked.form.prompt == plan["prompt"], "the typed prompt")
    yield from until(lambda: docker.asked.can_generate, f"Generate: {docker.asked.why_not}")
    layers = len(document.topLevelNodes())
    yield from docker.clicked("click-generate", docker.body.prompt.generate, button=docker.body.prompt.generate.text())
    yield from until(lambda: docker.asked.progress is not None and docker.asked.progress.share > 0.2, "progress", PATIENCE_S)
    yield from until(lambda: docker.asked.preview is not None and len(document.topLevelNodes()) > layers, "the live preview", PATIENCE_S)
    words = docker.asked.progress.words if docker.asked.progress else ""  # now: on a quick machine it is done in a moment
    names = layer_names(document)
    yield from wait(0.3)
    shot("3-progress")
    event("progress", words=words, names=names, before=layers)
    yield from until(lambda: len(docker.asked.results) == 2, f"two results: {docker.asked.notice}", PATIENCE_S)
    yield from wait(1)
    event("results", similarities=[result.similarity for result in docker.asked.results], notice=docker.asked.notice)


def take(docker: Docker, document: Any, plan: dict[str, Any]) -> Iterator[None]:
    if not docker.asked.results[0].shown:
        docker.asked.show(docker.asked.results[0].key)
    yield from until(lambda: docker.asked.results[0].shown, "the best result on the canvas")
    yield from wait(1.5)
    docker.body.scroll.ensureWidgetVisible(docker.body.results.buttons, 0, 20)
    yield from docker.settled(docker.body.results.apply)
    shot("4-result")
    yield from docker.clicked("click-apply", docker.body.results.apply)
    yield from until(lambda: any(result.applied for result in docker.asked.results), "the applied result")
    yield from wait(1)
    applied = layer_names(document)
    Krita.instance().activeWindow().qwindow().setFocus()
    yield from act("edit_undo")
    undone = layer_names(document)
    yield from act("edit_redo")
    redone = layer_names(document)
    shot("5-applied")
    document.setBatchmode(True)
    saved = document.saveAs(plan["kra"])
    document.waitForDone()
    event("taken", applied=applied, undone=undone, redone=redone, saved=saved, path=plan["kra"])


def killed(docker: Docker, document: Any) -> Iterator[None]:
    """The backend is killed by the test in the middle of a job, and started again by the artist."""
    before = {result.key for result in docker.asked.results}
    docker.asked.change(count=1, seed=4242)
    yield from wait(0.5)
    Krita.instance().action("likeness_generate").trigger()
    yield from until(lambda: docker.asked.progress is not None and docker.asked.progress.share > 0.1, "a job under way", PATIENCE_S)
    event("under-way", words=docker.asked.progress.words)
    yield from told("killed")
    killed_at = time.monotonic()
    yield from until(lambda: docker.asked.backend.can_start, "the offer to start it again", PATIENCE_S)
    shot("6-killed")
    after = time.monotonic() - killed_at
    yield from docker.clicked("click-again", docker.body.state.start, after=after, sentence=docker.asked.backend.sentence)
    yield from until(lambda: {r.key for r in docker.asked.results} - before, "the result after the restart", PATIENCE_S)
    yield from wait(1)
    shot("7-after-restart")
    late = next(result for result in docker.asked.results if result.key not in before)
    event("late", similarity=late.similarity, seed=late.seed, notice=docker.asked.notice)


def layer_names(document: Any) -> list[str]:
    return [node.name() for node in document.topLevelNodes() if node.type() == "paintlayer"]


assert Path(os.environ["LIKENESS_SCENARIO_OUT"]) == OUT
