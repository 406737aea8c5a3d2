"""LoRAs as an artist uses them: completed in the prompt, chosen from the list, drawn with and without, and one that is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator

from krita import InfoObject, Krita

from .large import generate
from .steps import OUT, event, open_in_view, quit_krita, shot, told, until, wait
from .whole import PATIENCE_S, PLAN, Docker, arrange


def play() -> Iterator[None]:
    Krita.instance().setBatchmode(True)
    plan = json.loads(PLAN.read_text(encoding="utf-8"))
    docker = Docker()
    document = Krita.instance().createDocument(256, 256, "loras", "RGBA", "U8", "", 120.0)
    yield from open_in_view(document)
    yield from arrange(docker, *plan["window"])
    docker.asked.start_backend()
    yield from until(lambda: docker.asked.models, "the backend", PATIENCE_S)
    docker.asked.change(folded=("people", "guides", "advanced"), mode=type(docker.asked.form.mode).NEW)
    yield from completed(docker)
    yield from drawn(docker, document, plan)
    docker.asked.add_lora("watercolour")
    yield from wait(1)
    shot("loras-3-gone")
    docker.asked.generate()
    yield from until(lambda: docker.asked.notice, "the backend's sentence", PATIENCE_S)
    event("gone", card=docker.body.loras.cards[-1].problem.text(), notice=docker.asked.notice)
    yield from quit_krita()


def completed(docker: Docker) -> Iterator[None]:
    """A tag, by the keyboard alone."""
    field = docker.body.prompt.prompt
    yield from docker.clicked("click-prompt", field)
    yield from told("typed")
    yield from until(lambda: field.suggesting, "the list")
    yield from wait(0.5)
    event("listed", suggestions=list(field.suggestions))
    yield from told("chosen")
    yield from until(lambda: docker.asked.form.prompt.endswith(">"), "the tag")
    yield from wait(0.5)
    event("completed", prompt=docker.asked.form.prompt, open=field.suggesting)


def drawn(docker: Docker, document: object, plan: dict[str, object]) -> Iterator[None]:
    """The same seed with the LoRA of the list, then without."""
    docker.asked.change(prompt=plan["prompt"], count=1, seed=plan["seed"], seed_locked=True)
    chooser = docker.body.loras.add
    chooser.setCurrentIndex(1)
    chooser.activated.emit(1)
    yield from until(lambda: docker.body.loras.cards, "the slider")
    docker.body.loras.cards[0].weight.setValue(0.5)
    yield from generate(docker, 1)
    docker.body.scroll.ensureWidgetVisible(docker.body.loras.cards[0], 0, 40)
    yield from wait(1)
    shot("loras-2-drawn")
    yield from taken(docker, document, "with")
    settings = docker.asked._gallery.history.entries[docker.asked.results[0].key].settings
    docker.asked.remove_lora(0)
    yield from generate(docker, 2)
    yield from taken(docker, document, "without")
    event("drawn", kept=settings["loras"])


def taken(docker: Docker, document: object, name: str) -> Iterator[None]:
    """The newest picture as a layer, and the canvas as a file."""
    docker.asked.apply(docker.asked.results[0].key)
    yield from until(lambda: docker.asked.results[0].applied, "the layer")
    document.waitForDone()
    document.setBatchmode(True)
    document.exportImage(str(OUT / f"{name}.png"), InfoObject())
