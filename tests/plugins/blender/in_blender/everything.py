"""Everything that a .blend file holds, as one list of lines: two lists differ exactly where something was touched."""

from __future__ import annotations

import bpy

# What changes by itself or by looking: what is evaluated, and how numbers are packed. `session_uid` is told once for each datablock.
PASSING = {"is_updated", "is_updated_data", "is_evaluated", "rna_type", "bl_rna", "original", "session_uid", "depsgraph", "storage_type"}
ELSEWHERE = {"all_ids", "screens", "window_managers"}
"""All once more; and what windows look like, which Blender 4.5 without a window cannot be asked."""
DEPTH = 6
LONG = 300
"""Vertices and the like are counted only."""


def lines() -> list[str]:
    """One line for every property of every datablock, for every handler, and for what the window shows."""
    out: list[str] = []
    opened: set[tuple[str, int]] = set()
    for kind in sorted(dir(bpy.data)):
        collection = getattr(bpy.data, kind)
        if kind in ELSEWHERE or not isinstance(collection, bpy.types.bpy_prop_collection):
            continue
        for item in collection:
            out.append(f"{kind}[{item.name}] uid {item.session_uid} users {item.users}")
            out.extend(f"{kind}[{item.name}]{line}" for line in _of(item, 0, opened))
            out.extend(f"{kind}[{item.name}][{name!r}] = {item[name]!r}" for name in item.keys())  # noqa: SIM118 - a datablock
    for name in dir(bpy.app.handlers):
        kept = getattr(bpy.app.handlers, name)
        if isinstance(kept, list):
            out.append(f"handlers {name} {[id(one) for one in kept]}")
    out.append(f"dirty {bpy.data.is_dirty}")
    for window in bpy.context.window_manager.windows:
        out.append(f"window {window.scene.name} {window.view_layer.name} {window.screen.name if window.screen else None}")
    active = bpy.context.view_layer.objects.active
    out.append(f"active {active and active.name} selected {[one.name for one in bpy.context.selected_objects]} mode {bpy.context.mode}")
    return out


def _of(item, depth, opened):
    """The properties of one thing. Datablocks are named, what belongs to one is opened, once: bones name each other in circles."""
    key = (item.bl_rna.identifier, item.as_pointer())
    if key in opened:
        return
    opened.add(key)
    for prop in item.bl_rna.properties:
        name = prop.identifier
        if name in PASSING or (prop.is_hidden and name.startswith("bl_")):
            continue
        try:
            value = getattr(item, name)
        except (AttributeError, RuntimeError, ValueError, UnicodeDecodeError):
            continue
        if prop.type == "COLLECTION":
            yield from _of_collection(name, value, depth, opened)
        elif prop.type == "POINTER":
            if isinstance(value, bpy.types.ID) and not value.is_embedded_data:
                yield f".{name} -> {value.bl_rna.identifier} {value.name}"
            elif value is not None and depth < DEPTH:
                yield from (f".{name}{line}" for line in _of(value, depth + 1, opened))
        else:
            yield f".{name} = {_plain(value)}"


def _of_collection(name, value, depth, opened):
    yield f".{name} has {len(value)}"
    if depth >= DEPTH or len(value) > LONG:
        return
    for index, one in enumerate(value):
        if isinstance(one, bpy.types.ID) and not one.is_embedded_data:
            yield f".{name}[{index}] -> {one.name}"
        else:
            yield from (f".{name}[{index}]{line}" for line in (_of(one, depth + 1, opened) if one is not None else ()))


def _plain(value):
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, (str, int, bool, bytes, set)) or value is None:
        return repr(sorted(value) if isinstance(value, set) else value)
    try:
        return repr([_plain(part) for part in value])
    except TypeError:
        return repr(value)
