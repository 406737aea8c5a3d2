"""How many steps of undo the canvas adapter makes, in a window with its undo history, for documents of several kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from krita import Krita
from likeness.canvas import KritaHost
from likeness.protocol.geometry import Bounds
from likeness.protocol.planes import Layout, Plane

from .steps import act, event, open_in_view, quit_krita, shot, wait

PLACE = Bounds(20, 10, 40, 30)
OTHER = Bounds(50, 40, 20, 20)


def plane(bounds: Bounds, value: int) -> Plane:
    return Plane(Layout.BGRA8, bounds.extent, bytes((value, 2 * value, 30, 255)) * bounds.extent.area)


def undo_text() -> str:
    return str(Krita.instance().action("edit_undo").text())


def names(document: Any) -> list[str]:
    return [node.name() for node in document.topLevelNodes()]


def steps_to(document: Any, wanted: list[str]) -> Iterator[Any]:
    """Undo until the layers are those; yields None while waiting and gives the number back."""
    count = 0
    while names(document) != wanted and count < 6:
        document.waitForDone()  # Krita takes no undo while it is at work
        yield from act("edit_undo")
        count += 1
    return count


def play() -> Iterator[None]:
    Krita.instance().setBatchmode(True)
    for model, depth, profile in (("RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc"), ("RGBA", "U16", ""), ("CMYKA", "U8", "")):
        document = Krita.instance().createDocument(120, 90, "undo", model, depth, profile, 300.0)
        yield from open_in_view(document)
        yield from one_kind(f"{model} {depth}", document)
        document.setModified(False)
        document.close()
        yield from wait(0.3)
    yield from quit_krita()


def one_kind(kind: str, document: Any) -> Iterator[None]:
    host, before = KritaHost(), names(document)
    key = host.document().key
    active = document.activeNode().name()
    told: dict[str, Any] = {"kind": kind, "undo before": undo_text()}
    # preview, changed three times, then applied: one step
    for value in (20, 40, 60):
        host.show_preview(key, PLACE, plane(PLACE, value))
        yield from wait(0.3)
    told["active"] = [active, document.activeNode().name()]
    told["undo of the preview"] = undo_text()
    host.show_preview(key, OTHER, plane(OTHER, 70))
    host.apply(key, OTHER, plane(OTHER, 80), "result")
    yield from wait(0.3)
    told["applied"] = names(document)
    made = host.layer_pixels(host.layers()[0].key, OTHER)[1]
    told["steps of apply"] = yield from steps_to(document, before)
    yield from act("edit_redo")
    last = document.topLevelNodes()[-1]
    told["after redo"] = [names(document), last.locked()]
    told["redone pixels"] = host.layer_pixels(host.layers()[0].key, OTHER)[1] == made
    yield from act("edit_undo")
    # preview shown and hidden: none
    told["undo text before"] = undo_text()
    host.show_preview(key, PLACE, plane(PLACE, 20))
    yield from wait(0.3)
    host.hide_preview(key)
    yield from wait(0.3)
    told["hidden"] = names(document)
    told["undo text after"] = undo_text()
    # applied with nothing shown, and with a mask: one step
    for mask in (None, Plane(Layout.A8, PLACE.extent, bytes([200]) * PLACE.extent.area)):
        host.apply(key, PLACE, plane(PLACE, 50), "direct", mask)
        yield from wait(0.3)
        told[f"steps of direct {'masked' if mask else 'plain'}"] = yield from steps_to(document, before)
        told[f"undo text after direct {'masked' if mask else 'plain'}"] = undo_text()
    # shown, then applied with a mask: one step
    host.show_preview(key, PLACE, plane(PLACE, 20))
    yield from wait(0.3)
    host.apply(key, PLACE, plane(PLACE, 50), "masked", Plane(Layout.A8, PLACE.extent, bytes([200]) * PLACE.extent.area))
    yield from wait(0.3)
    told["steps of masked"] = yield from steps_to(document, before)
    told["undo text after masked"] = undo_text()
    yield from another_step(host, document, told)
    shot(f"undo-{kind.replace(' ', '-')}")
    event("kind", **told)


def another_step(host: KritaHost, document: Any, told: dict[str, Any]) -> Iterator[None]:
    """The artist adds a layer between preview and hiding: hers stays, and undoing takes hers first."""
    key = host.document().key
    host.show_preview(key, PLACE, plane(PLACE, 20))
    yield from wait(0.3)
    yield from act("add_new_paint_layer")
    told["hers"] = names(document)
    host.hide_preview(key)
    yield from wait(0.3)
    told["hers after hiding"] = names(document)
    host.tell("Likeness: told over the canvas")
    yield from wait(0.3)
