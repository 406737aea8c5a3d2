"""After Krita was killed: the same file is opened, and what it never had comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator

from krita import Krita

from .steps import event, open_in_view, quit_krita, shot, told, until, wait
from .whole import PATIENCE_S, PLAN, Docker, arrange, layer_names


def play() -> Iterator[None]:
    Krita.instance().setBatchmode(True)
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    docker = Docker()
    document = Krita.instance().openDocument(plan["kra"])
    yield from open_in_view(document)
    yield from arrange(docker, *plan["window"])
    yield from until(lambda: len(docker.asked.results) == 3, f"three results: {docker.asked.notice}", PATIENCE_S)
    docker.body.scroll.ensureWidgetVisible(docker.body.results.buttons, 0, 20)
    yield from wait(1)
    shot("large-3-found")
    event("found", seeds=[result.seed for result in docker.asked.results], applied=[result.applied for result in docker.asked.results])
    docker.asked.apply(docker.asked.results[0].key)
    yield from until(lambda: docker.asked.results[0].applied, "the applied result")
    yield from wait(1)
    Krita.instance().action("file_save").trigger()
    yield from until(lambda: not document.modified(), "the document to be saved", 120)
    event("saved", layers=layer_names(document))
    yield from told("gone")
    yield from quit_krita()
