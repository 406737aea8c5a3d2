"""Runs inside kritarunner: what live pictures read of real documents, beside what an ordinary picture reads of them."""

from __future__ import annotations

import json
import os
import struct
import traceback
from typing import Any

from krita import Krita, Selection
from krita_file_cases import problem
from likeness.canvas import KritaHost
from likeness.protocol.geometry import Bounds

SRGB = "sRGB-elle-V2-srgbtrc.icc"
WIDTH, HEIGHT = 60, 40
PLACE = Bounds(7, 5, 31, 22)


def main(args: list[str]) -> None:
    results: dict[str, Any] = {"version": Krita.instance().version()}
    for case in (kinds, stamps, layers, selections):
        try:
            results[case.__name__] = case()
        except Exception:
            results[case.__name__] = {"failed": traceback.format_exc()}
        for document in Krita.instance().documents():
            document.setModified(False)
            document.close()
    with open(os.path.join(args[0], "result.json"), "w") as file:
        json.dump(results, file)


def scene(model: str = "RGBA", depth: str = "U8", profile: str = SRGB) -> tuple[Any, KritaHost]:
    document = Krita.instance().createDocument(WIDTH, HEIGHT, "scene", model, depth, profile, 300.0)
    document.setBatchmode(True)
    return document, KritaHost(lambda: document)


def fill(document: Any, depth: str, channels: int) -> None:
    """Every pixel another colour, opaque."""
    raw = bytearray()
    for number in range(WIDTH * HEIGHT):
        values = [((number * (3 + 2 * channel)) % 251) / 255 for channel in range(channels)]
        code, most = {"U8": ("B", 255), "U16": ("H", 65535), "F16": ("e", 1), "F32": ("f", 1)}[depth]
        scaled = [value * most if most == 1 else round(value * most) for value in values]
        raw += struct.pack(f"<{channels + 1}{code}", *scaled, most)
    document.topLevelNodes()[0].setPixelData(bytes(raw), 0, 0, WIDTH, HEIGHT)
    document.refreshProjection()
    document.waitForDone()


def kinds() -> dict[str, Any]:
    """Of each kind of document: the largest difference to what `capture` reads, and how much may be read at once."""
    out: dict[str, Any] = {}
    wanted = [("RGBA", "U8", SRGB, 3), ("RGBA", "U16", SRGB, 3), ("RGBA", "U16", "", 3), ("RGBA", "F16", "", 3), ("RGBA", "F32", "", 3)]
    wanted += [("CMYKA", "U8", "", 4), ("GRAYA", "U8", "", 1), ("GRAYA", "U16", "", 1), ("LABA", "U16", "", 3)]
    for model, depth, profile, channels in wanted:
        document, host = scene(model, depth, profile)
        fill(document, depth, channels)
        seen, taken = host.glance(PLACE), host.capture(PLACE)
        far = max(abs(a - b) for a, b in zip(bytes(seen.picture.data), bytes(taken.picture.data), strict=True))
        out[f"{model} {depth} {document.colorProfile()}"] = [far, host.at_once(), seen.document == taken.document]
    return out


def stamps() -> dict[str, Any]:
    document, host = scene()
    node = document.topLevelNodes()[0]

    def shape() -> Any:  # without the clock, which counts where there is no window
        stamp = host.stamp()
        return stamp[0], stamp[2]

    first, again = shape(), shape()
    node.setOpacity(100)
    fainter = shape()
    node.setVisible(False)
    hidden = shape()
    nothing = KritaHost(lambda: None).stamp()
    return {
        "same": first == again,
        "fainter": fainter != first,
        "hidden": hidden != fainter,
        "nothing": nothing,
        "ends": unlocked(document),
    }


def unlocked(document: Any) -> bool:
    """Looking leaves the image as it was: it can be locked and painted on."""
    free = bool(document.tryBarrierLock())
    document.unlock()
    return free


def layers() -> dict[str, Any]:
    document, host = scene()
    node = document.createNode("lines", "paintlayer")
    node.setPixelData(bytes((10, 20, 30, 200)) * 12, 8, 6, 4, 3)
    document.rootNode().addChildNode(node, None)
    document.waitForDone()
    key = host.layers()[0].key
    box = host.layer_box(key)
    seen = host.glance(Bounds(8, 6, 2, 2), key)
    deep, its_host = scene("RGBA", "U16", SRGB)
    fill(deep, "U16", 3)
    return {
        "box": [box.x, box.y, box.width, box.height],
        "pixels": bytes(seen.picture.data).hex(),
        "mask": seen.mask is None,
        "gone": problem(host.glance, Bounds(0, 0, 2, 2), "{nobody}"),
        "beyond": problem(host.glance, Bounds(50, 0, 20, 20)),
        "deep": problem(its_host.glance, PLACE, its_host.layers()[0].key),
        "none": problem(KritaHost(lambda: None).glance, PLACE),
    }


def selections() -> dict[str, Any]:
    document, host = scene()
    none = host.glance(PLACE).mask is None
    selection = Selection()
    selection.select(10, 8, 5, 4, 255)
    document.setSelection(selection)
    return {"none": none, "same": host.glance(PLACE).mask == host.capture(PLACE).mask}
