"""Runs inside kritarunner: each case uses the real canvas adapter on real documents, and gives back what the test looks at."""

from __future__ import annotations

import json
import os
import struct
import time
import traceback
from typing import Any

import krita_file_cases
from krita import Krita, Selection
from krita_file_cases import problem
from likeness.canvas import KritaHost
from likeness.canvas_layers import PREVIEW, Refresh
from likeness.protocol.geometry import Bounds, Extent
from likeness.protocol.planes import Layout, Plane

Refresh.SHARE = 0  # kritarunner has no event loop, so nothing can be shown later
SRGB = "sRGB-elle-V2-srgbtrc.icc"
OUT = [""]


def main(args: list[str]) -> None:
    OUT[0] = args[0]
    results = {"version": Krita.instance().version()}
    for case in CASES:
        started = time.perf_counter()
        try:
            results[case.__name__] = case()
        except Exception:
            results[case.__name__] = {"failed": traceback.format_exc()}
        results[f"{case.__name__} s"] = time.perf_counter() - started
        for document in Krita.instance().documents():
            document.setModified(False)
            document.close()
    with open(os.path.join(OUT[0], "result.json"), "w") as file:
        json.dump(results, file)


def scene(width: int = 64, height: int = 48, model: str = "RGBA", depth: str = "U8", profile: str = SRGB) -> tuple[Any, KritaHost]:
    document = Krita.instance().createDocument(width, height, "scene", model, depth, profile, 300.0)
    document.setBatchmode(True)
    return document, KritaHost(lambda: document)


def picture(width: int, height: int, base: int = 60, grey: bool = False) -> Plane:
    """Every pixel another colour, opaque, none of them strong."""
    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            b, g, r = base + x * 2, base + 40 + y * 2, base + 60 + (x + y)
            pixels += bytes((r, r, r, 255) if grey else (b, g, r, 255))
    return Plane(Layout.BGRA8, Extent(width, height), bytes(pixels))


def select(document: Any, x: int, y: int, width: int, height: int, feather: int = 0) -> None:
    selection = Selection()
    selection.select(x, y, width, height, 255)
    if feather:
        selection.feather(feather)
    document.setSelection(selection)


def names(document: Any) -> list[str]:
    return [node.name() for node in document.topLevelNodes() if node.type() != "selectionmask"]


def pixels_in_and_out() -> dict[str, Any]:
    document, host = scene()
    wanted = picture(64, 48)
    document.topLevelNodes()[0].setPixelData(wanted.data, 0, 0, 64, 48)
    document.refreshProjection()
    part = host.capture(Bounds(5, 7, 3, 2))
    whole = host.capture(Bounds(-100, -100, 1000, 1000))
    return {
        "part": bytes(part.picture.data).hex(),
        "expected": b"".join(bytes(wanted.data)[((7 + y) * 64 + 5) * 4 : ((7 + y) * 64 + 8) * 4] for y in range(2)).hex(),
        "mask": part.mask is not None,
        "whole": [whole.bounds.x, whole.bounds.y, whole.bounds.width, whole.bounds.height],
        "whole same": bytes(whole.picture.data) == wanted.data,
        "outside": problem(host.capture, Bounds(64, 0, 10, 10)),
        "no document": problem(KritaHost(lambda: None).capture, Bounds(0, 0, 4, 4)),
        "no card": KritaHost(lambda: None).document() is None and KritaHost(lambda: None).layers() == (),
    }


def selection() -> dict[str, Any]:
    document, host = scene()
    nothing = host.document().selection
    select(document, 10, 12, 20, 16)
    hard = host.document().selection
    mask = host.capture(Bounds(8, 10, 24, 20)).mask
    layers = [card.name for card in host.layers()]
    select(document, -30, -30, 50, 50)
    over = host.document().selection
    select(document, 10, 12, 20, 16, feather=4)
    soft = host.document().selection
    values = sorted(set(bytes(host.capture(soft).mask.data)))
    select(document, 200, 200, 10, 10)
    return {
        "nothing": nothing,
        "hard": [hard.x, hard.y, hard.width, hard.height],
        "mask": bytes(mask.data).hex(),
        "over": [over.x, over.y, over.width, over.height],
        "soft": [soft.x, soft.y, soft.width, soft.height],
        "soft values": len(values),
        "beside": host.document().selection,
        "layers": layers,
    }


def curve(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def depths() -> dict[str, Any]:
    """Reading: pixels written in the document's own numbers, by the definition of its profile, come out as the sRGB levels they mean."""
    out = {}
    levels = [*range(0, 256, 3), 1, 2, 254]
    for depth, profile in (("U16", SRGB), ("U16", ""), ("F16", ""), ("F32", "")):
        document, host = scene(len(levels), 1, "RGBA", depth, profile)
        linear = document.colorProfile().endswith("g10.icc")
        raw = bytearray()
        for level in levels:
            share = [curve(v / 255) if linear else v / 255 for v in (level, 255 - level, 77)]  # red, green, blue
            if depth == "U16":
                raw += struct.pack("<4H", *(round(65535 * v) for v in reversed(share)), 65535)
            else:
                raw += struct.pack("<4e" if depth == "F16" else "<4f", *share, 1.0)
        document.topLevelNodes()[0].setPixelData(bytes(raw), 0, 0, len(levels), 1)
        document.refreshProjection()
        got = bytes(host.capture(Bounds(0, 0, len(levels), 1)).picture.data)
        wanted = b"".join(bytes((77, 255 - level, level, 255)) for level in levels)
        out[f"{depth} {document.colorProfile()}"] = max(abs(a - b) for a, b in zip(got, wanted, strict=True))
    return out


def cmyk() -> dict[str, Any]:
    """Reading a CMYK document; the test compares with LittleCMS and the same profile."""
    inks = [(c, m, y, k) for c in (0, 60, 130, 200) for m in (0, 90, 180) for y in (0, 120, 220) for k in (0, 80)]
    document, host = scene(len(inks), 1, "CMYKA", "U8", "")
    document.topLevelNodes()[0].setPixelData(b"".join(bytes((*ink, 255)) for ink in inks), 0, 0, len(inks), 1)
    document.refreshProjection()
    got = bytes(host.capture(Bounds(0, 0, len(inks), 1)).picture.data)
    back = {}
    for depth in ("U8", "U16"):  # the colours that this profile can have, as a layer in another document of its kind
        other, its_host = scene(len(inks), 1, "CMYKA", depth, "")
        place = Bounds(0, 0, len(inks), 1)
        its_host.apply(its_host.document().key, place, Plane(Layout.BGRA8, place.extent, got), "result")
        other.waitForDone()
        again = bytes(its_host.capture(place).picture.data)
        back[depth] = again.hex()
    return {"inks": inks, "profile": document.colorProfile(), "bgra": got.hex(), "back": back}


def round_trips() -> dict[str, Any]:
    """Writing: what is applied to a document of any kind looks as it was, in a layer like the document's own."""
    out = {}
    kinds = [("RGBA", depth, profile) for depth, profile in (("U8", SRGB), ("U16", SRGB), ("U16", ""), ("F16", ""), ("F32", ""))]
    kinds += [("RGBA", "U8", "sRGB-elle-V2-g10.icc"), ("RGBA", "U8", "ClayRGB-elle-V2-srgbtrc.icc")]
    kinds += [("CMYKA", "U8", ""), ("CMYKA", "U16", ""), ("GRAYA", "U8", ""), ("GRAYA", "U16", ""), ("LABA", "U16", "")]
    for model, depth, profile in kinds:
        document, host = scene(40, 30, model, depth, profile)
        wanted, key = picture(20, 16, grey=model == "GRAYA"), host.document().key
        host.apply(key, Bounds(10, 8, 20, 16), wanted, "result")
        document.waitForDone()
        got = host.capture(Bounds(10, 8, 20, 16)).picture
        layer = document.topLevelNodes()[-1]
        out[f"{model} {depth} {document.colorProfile()}"] = {
            "off": off(got, wanted),
            "layer": [layer.name(), layer.colorModel(), layer.colorDepth()],
            "space": [document.colorModel(), document.colorDepth()],
            "by the layer": off(host.layer_pixels(host.layers()[0].key)[1], wanted),
        }
        document.setModified(False)
        document.close()
    return out


def off(one: Plane, two: Plane) -> int:
    return max(abs(a - b) for a, b in zip(bytes(one.data), bytes(two.data), strict=True))


def half_transparent() -> dict[str, Any]:
    """A half transparent layer in a linear document is blended there, not in sRGB."""
    document, host = scene(4, 4, "RGBA", "F32", "")
    document.topLevelNodes()[0].setPixelData(struct.pack("<4f", 0.0, 0.0, 0.0, 1.0) * 16, 0, 0, 4, 4)
    layer = document.createNode("half", "paintlayer")
    layer.setPixelData(struct.pack("<4f", 1.0, 1.0, 1.0, 0.5) * 16, 0, 0, 4, 4)
    document.rootNode().addChildNode(layer, None)
    document.refreshProjection()
    return {"pixel": list(bytes(host.capture(Bounds(1, 1, 1, 1)).picture.data))}


def preview_and_apply() -> dict[str, Any]:
    document, host = scene()
    ground = picture(64, 48, base=20)
    document.topLevelNodes()[0].setPixelData(ground.data, 0, 0, 64, 48)
    document.refreshProjection()
    key, first, second = host.document().key, Bounds(4, 4, 16, 12), Bounds(30, 20, 20, 20)
    told = {"before": names(document)}
    host.show_preview(key, first, picture(16, 12, base=90))
    document.waitForDone()
    shown = document.topLevelNodes()[-1]
    told["shown"] = [names(document), shown.locked(), shown.uniqueId().toString()]
    told["shown pixels"] = bytes(document.pixelData(4, 4, 16, 12)) == picture(16, 12, base=90).data
    told["cards"] = [card.name for card in host.layers()]
    told["capture without it"] = bytes(host.capture(Bounds(0, 0, 64, 48)).picture.data) == ground.data
    told["still visible"] = shown.visible()
    document.waitForDone()
    told["shown after capture"] = bytes(document.pixelData(4, 4, 16, 12)) == picture(16, 12, base=90).data
    host.show_preview(key, second, picture(20, 20, base=100))
    document.waitForDone()
    told["old place"] = bytes(document.pixelData(4, 4, 1, 1)) == bytes(ground.data)[(4 * 64 + 4) * 4 :][:4]
    told["new place"] = bytes(document.pixelData(30, 20, 20, 20)) == picture(20, 20, base=100).data
    told["swapped"] = [len(document.topLevelNodes()), document.topLevelNodes()[-1].uniqueId().toString()]
    host.apply(key, second, picture(20, 20, base=110), "Anna, seed 7, 0.71")
    document.waitForDone()
    made = document.topLevelNodes()[-1]
    told["applied"] = [names(document), made.locked(), made.uniqueId().toString()]
    told["applied pixels"] = bytes(document.pixelData(30, 20, 20, 20)) == picture(20, 20, base=110).data
    told["ground"] = bytes(document.topLevelNodes()[0].pixelData(0, 0, 64, 48)) == ground.data
    host.show_preview(key, first, picture(16, 12))
    told["next preview"] = names(document)
    host.hide_preview(key)
    host.hide_preview(key)
    told["hidden"] = names(document)
    host.show_preview(key, first, picture(16, 12))
    document.topLevelNodes()[-1].remove()  # as undo does
    host.show_preview(key, first, picture(16, 12))
    told["shown again"] = names(document)
    moved = document.createGroupLayer("group")
    document.rootNode().addChildNode(moved, None)
    host.apply(key, first, picture(16, 12), "second")
    told["second"] = names(document)
    return told


def masks() -> dict[str, Any]:
    document, host = scene()
    key, bounds = host.document().key, Bounds(8, 8, 4, 2)
    mask = Plane(Layout.A8, Extent(4, 2), bytes((0, 64, 128, 255, 255, 200, 1, 0)))
    host.apply(key, bounds, picture(4, 2), "opaque", mask)
    half = bytes(b if i % 4 != 3 else 128 for i, b in enumerate(picture(4, 2).data))
    host.apply(key, bounds, Plane(Layout.BGRA8, Extent(4, 2), half), "half", mask)
    document.waitForDone()
    cards = {card.name: host.layer_pixels(card.key, bounds)[1].data for card in host.layers()}
    document.refreshProjection()
    path = os.path.join(OUT[0], "masks.kra")
    saved = document.saveAs(path) and os.path.getsize(path) > 0
    again = Krita.instance().openDocument(path)
    reopened = KritaHost(lambda: again)
    return {
        "can": hasattr(document, "createTransparencyMask"),
        "opaque": list(cards["opaque"][3::4]),
        "half": list(cards["half"][3::4]),
        "colours": bytes(cards["opaque"][4:7]) == bytes(picture(4, 2).data[4:7]),
        "saved": saved,
        "children": {node.name(): [child.type() for child in node.childNodes()] for node in again.topLevelNodes()},
        "reopened": {card.name: list(reopened.layer_pixels(card.key, bounds)[1].data[3::4]) for card in reopened.layers()},
        "wrong size": problem(host.apply, key, Bounds(8, 8, 4, 3), picture(4, 2), "no"),
    }


def notes_and_files() -> dict[str, Any]:
    document, host = scene()
    key = host.document().key
    document.setModified(False)
    host.write_note(key, b'{"results": 3}' + bytes(range(256)))
    clean = not document.modified()
    host.apply(key, Bounds(4, 4, 20, 16), picture(20, 16), "Anna, seed 7")
    kept = bytes(document.topLevelNodes()[-1].pixelData(4, 4, 20, 16))
    path, copy = os.path.join(OUT[0], "scene.kra"), os.path.join(OUT[0], "copy.kra")
    saved = document.saveAs(path)
    name = host.document().name
    with open(path, "rb") as file, open(copy, "wb") as other:
        other.write(file.read())
    second = Krita.instance().openDocument(copy)
    copied = KritaHost(lambda: second)
    host_with_both = [host._key(document), host._key(second)]
    document.setModified(False)
    document.close()
    third = Krita.instance().openDocument(path)
    fresh = KritaHost(lambda: third)
    return {
        "clean": clean,
        "saved": saved,
        "name": name,
        "same key": fresh.document().key == key,
        "copy has its own": host_with_both[0] == key and host_with_both[1] != key,
        "copy alone": copied.document().key == key,
        "note": fresh.read_note(key) == b'{"results": 3}' + bytes(range(256)),
        "layer": [node.name() for node in third.topLevelNodes()],
        "pixels": bytes(third.topLevelNodes()[-1].pixelData(4, 4, 20, 16)) == kept,
    }


def left_over_preview() -> dict[str, Any]:
    """A file that was saved while a preview was shown."""
    document, host = scene()
    host.show_preview(host.document().key, Bounds(0, 0, 20, 16), picture(20, 16))
    path = os.path.join(OUT[0], "left.kra")
    document.saveAs(path)
    document.setModified(False)
    document.close()
    opened = Krita.instance().openDocument(path)
    fresh = KritaHost(lambda: opened)
    told = {"opened": names(opened), "cards": [card.name for card in fresh.layers()]}
    told["capture"] = bytes(fresh.capture(Bounds(1, 1, 1, 1)).picture.data).hex()
    fresh.apply(fresh.document().key, Bounds(0, 0, 20, 16), picture(20, 16), "result")
    told["applied"] = names(opened)
    return told


def unwilling_documents() -> dict[str, Any]:
    document, host = scene()
    key, bounds = host.document().key, Bounds(0, 0, 20, 16)
    empty = document.createNode("empty", "paintlayer")
    hidden = document.createNode("hidden", "paintlayer")
    group = document.createGroupLayer("group")
    hidden.setPixelData(picture(20, 16).data, 0, 0, 20, 16)
    hidden.setVisible(False)
    hidden.setLocked(True)
    outside = document.createNode("outside", "paintlayer")
    outside.setPixelData(picture(20, 16).data, 100, 100, 20, 16)
    for node in (empty, group, outside):
        document.rootNode().addChildNode(node, None)
    group.addChildNode(hidden, None)
    cards = {card.name: card.key for card in host.layers()}
    told = {
        "order": list(cards),
        "empty": problem(host.layer_pixels, cards["empty"]),
        "outside": problem(host.layer_pixels, cards["outside"]),
        "hidden": host.layer_pixels(cards["hidden"])[1].data == picture(20, 16).data,
        "around": bytes(host.layer_pixels(cards["hidden"], Bounds(19, 0, 2, 1))[1].data).hex(),
        "unknown": problem(host.layer_pixels, "{nothing}"),
        "wrong layout": problem(host.show_preview, key, bounds, Plane(Layout.RGBA8, Extent(20, 16), bytes(1280))),
        "short": problem(host.show_preview, key, bounds, Plane(Layout.BGRA8, Extent(20, 16), bytes(1000))),
        "no note": host.read_note(key),
    }
    host.show_preview(key, bounds, picture(20, 16))
    document.setModified(False)
    document.close()
    told["closed card"] = host.document() is None and host.layers() == ()
    told["closed capture"] = problem(host.capture, bounds)
    told["closed show"] = problem(host.show_preview, key, bounds, picture(20, 16))
    told["closed apply"] = problem(host.apply, key, bounds, picture(20, 16), "late")
    told["closed read"] = problem(host.read_note, key)
    told["closed write"] = problem(host.write_note, key, b"x")
    told["closed hide"] = host.hide_preview(key) is None
    host.tell("no window is no reason to fail")
    return told


def picture_files() -> dict[str, Any]:
    _, host = scene()
    return krita_file_cases.picture_files(host, OUT[0])


def saving() -> dict[str, Any]:
    document, host = scene()
    return krita_file_cases.saving(document, host, OUT[0])


def meanwhile() -> dict[str, Any]:
    return {what: krita_file_cases.meanwhile(*scene(), what) for what in krita_file_cases.MEANWHILE}


def large_canvas() -> dict[str, Any]:
    """Milliseconds of what is called again and again, on a canvas of 24 megapixels."""
    document, host = scene(6000, 4000)
    select(document, 2000, 1500, 1024, 1024, feather=20)
    key = host.document().key
    bounds = Bounds(2000, 1500, 1024, 1024)
    plane = Plane(Layout.BGRA8, bounds.extent, bytes((1, 2, 3, 255)) * bounds.extent.area)
    host.show_preview(key, bounds, plane)
    document.waitForDone()
    calls = {
        "document": host.document,
        "layers": host.layers,
        "capture": lambda: host.capture(bounds),
        "preview": lambda: host.show_preview(key, bounds, plane),
        "preview elsewhere": lambda: host.show_preview(key, Bounds(0, 0, 1024, 1024), plane),
    }
    told = {}
    for name, call in calls.items():
        times = []
        for _ in range(5):
            started = time.perf_counter()
            call()
            times.append((time.perf_counter() - started) * 1000)
        told[name] = min(times)
    told["preview name"] = names(document)[-1] == PREVIEW
    return told


CASES = [pixels_in_and_out, selection, depths, cmyk, round_trips, half_transparent, preview_and_apply, masks, notes_and_files]
CASES += [left_over_preview, unwilling_documents, picture_files, saving, meanwhile, large_canvas]
