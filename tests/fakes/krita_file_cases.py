"""Runs inside kritarunner, for `krita_canvas_cases`: picture files, PNGs and scaling; saving; what an artist does while a job runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from krita import Krita
from likeness.canvas import KritaHost
from likeness.host import CanvasProblem
from likeness.protocol.errors import BadPicture
from likeness.protocol.geometry import Bounds, Extent
from likeness.protocol.planes import Layout, Plane


def problem(call: Callable[..., Any], *values: Any, **named: Any) -> str:
    try:
        return f"no problem: {call(*values, **named)!r}"
    except CanvasProblem as error:
        return "CanvasProblem: " + str(error)


def picture_files(host: KritaHost, folder: str) -> dict[str, Any]:
    turned = host.open_picture(os.path.join(folder, "turned.jpg"))
    large = host.open_picture(os.path.join(folder, "large.png"))
    linear = host.open_picture(os.path.join(folder, "linear.png"))
    saved = {}
    for layout, pixel in ((Layout.RGB8, (10, 20, 30)), (Layout.RGBA8, (10, 20, 30, 128)), (Layout.BGRA8, (30, 20, 10, 128))):
        plane = Plane(layout, Extent(7, 5), bytes(pixel) * 35)
        host.save_picture(plane, os.path.join(folder, f"saved {layout.value}.png"))
        saved[layout.value] = bytes(host.from_png(host.png(plane)).data[:4]).hex()
    return {
        "turned": [turned.extent.width, turned.extent.height, list(turned.data[:4])],
        "large": [large.extent.width, large.extent.height],
        "linear": list(linear.data[:4]),
        "saved": saved,
        "no picture": problem(host.open_picture, os.path.join(folder, "words.png")),
        "no file": problem(host.open_picture, os.path.join(folder, "nothing.png")),
        "no folder": problem(host.save_picture, Plane(Layout.RGB8, Extent(1, 1), b"abc"), os.path.join(folder, "none", "a.png")),
        "damaged": _bad(host, b"\x89PNG\r\n\x1a\nnothing"),
        "scaled": scaled(host),
    }


def _bad(host: KritaHost, data: bytes) -> str:
    try:
        return repr(host.from_png(data))
    except BadPicture as error:
        return f"BadPicture: {error}"


def scaled(host: KritaHost) -> dict[str, Any]:
    half = Plane(Layout.BGRA8, Extent(4, 4), bytes((200, 100, 50, 255)) * 8 + bytes((10, 20, 30, 0)) * 8)
    mask = Plane(Layout.A8, Extent(6, 2), bytes((0, 0, 0, 255, 255, 255)) * 2)
    over, small = host.scaled(half, Extent(2, 2), background=128), host.scaled(mask, Extent(3, 1))
    same = host.scaled(half, Extent(4, 4))
    rgb = host.scaled(Plane(Layout.RGB8, Extent(1, 1), bytes((1, 2, 3))), Extent(1, 1))
    return {
        "over": [over.layout.value, over.extent.width, bytes(over.data).hex()],
        "mask": [small.layout.value, list(small.data)],
        "same": bytes(same.data) == half.data,
        "rgb": bytes(rgb.data).hex(),
    }


def saving(document: Any, host: KritaHost, folder: str) -> dict[str, Any]:
    """When a note is in a file, and which key a file has."""
    key, path, plain = host.document().key, os.path.join(folder, "saving.kra"), os.path.join(folder, "plain.png")
    host.save_picture(Plane(Layout.RGB8, Extent(8, 8), bytes(192)), plain)
    document.setModified(False)
    told: dict[str, Any] = {"unnamed": [host.file(key), host.note_in_file(path)]}
    document.saveAs(path)
    host.write_note(key, b"quiet")
    told["quiet"] = document.modified()
    host.write_note(key, b"news", True)
    told["news"] = document.modified()
    told["not saved"] = [host.file(key) == path, host.note_in_file(path)]
    document.save()
    told["saved"] = str(host.note_in_file(path))
    document.setModified(False)
    document.close()
    told["closed"] = [host.file(key), str(host.note_in_file(path))]
    untouched = Krita.instance().createDocument(8, 8, "untouched", "RGBA", "U8", "", 300.0)
    untouched.saveAs(os.path.join(folder, "untouched.kra"))
    untouched.close()
    keys = {name: [_key(os.path.join(folder, name)) for _ in range(2)] for name in ("plain.png", "untouched.kra")}
    told["same every time"] = {name: both[0] == both[1] for name, both in keys.items()}
    told["not the same"] = keys["plain.png"][0] != keys["untouched.kra"][0]
    told["no notes in"] = _file(plain)
    return told


def _key(path: str) -> str:
    opened = Krita.instance().openDocument(path)
    key = KritaHost(lambda: opened).document().key
    opened.close()
    return str(key)


def _file(path: str) -> str:
    opened = Krita.instance().openDocument(path)
    host = KritaHost(lambda: opened)
    file = host.file(host.document().key)
    opened.close()
    return str(file)


MEANWHILE = (
    "nothing",
    "hidden",
    "unlocked",
    "moved",
    "in a group",
    "active locked",
    "active hidden",
    "active removed",
    "smaller",
    "larger",
)
"""What happens between the first preview and the next one."""


def meanwhile(document: Any, host: KritaHost, what: str) -> list[Any]:
    """Layers in the end, whether the result is seen at its place as far as the canvas goes, and what the preview cost in layers."""
    key, place = host.document().key, Bounds(20, 12, 24, 20)
    picture = Plane(Layout.BGRA8, place.extent, bytes((40, 90, 200, 255)) * place.extent.area)
    background = document.topLevelNodes()[0]
    other = document.createNode("hers", "paintlayer")
    document.rootNode().addChildNode(other, None)
    document.setActiveNode(other)
    host.show_preview(key, place, picture)
    preview = document.topLevelNodes()[-1]
    if what == "hidden":
        preview.setVisible(False)
    elif what == "unlocked":
        preview.setLocked(False)
    elif what == "moved":
        preview.move(5, 6)
    elif what == "in a group":
        group = document.createGroupLayer("group")
        document.rootNode().addChildNode(group, None)
        preview.remove()
        group.addChildNode(preview, None)
    elif what == "active locked":
        other.setLocked(True)
        background.setLocked(True)
    elif what == "active hidden":
        other.setVisible(False)
        background.setVisible(False)
    elif what == "active removed":
        other.remove()
    elif what in ("smaller", "larger"):
        document.resizeImage(0, 0, *((30, 24) if what == "smaller" else (90, 70)))
    document.waitForDone()
    host.show_preview(key, place, picture)
    host.apply(key, place, picture, "result")
    document.refreshProjection()
    document.waitForDone()
    width, height = min(place.width, document.width() - place.x), min(place.height, document.height() - place.y)
    seen = bytes(document.pixelData(place.x, place.y, width, height)) == bytes(picture.data[:4]) * (width * height)
    beside = bytes(document.pixelData(place.x - 1, place.y, 1, height)) != bytes(picture.data[:4]) * height
    return [[node.name() for node in document.topLevelNodes()], seen, beside]
