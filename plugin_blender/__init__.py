"""Likeness in Blender: portraits of a chosen person, posed by a rig. This file finds the contract and registers the panels.

All of Blender's extensions share one interpreter, so nothing here is imported by a common name: the contract is `.protocol`, a copy inside
an installed add-on. In the source folder it is the neighbour of this one.
"""

from importlib import import_module
from pathlib import Path

bl_info = {
    "name": "Likeness",
    "author": "The Likeness project",
    "version": (0, 1, 0),
    "blender": (4, 2, 0),
    "location": "3D View > Sidebar > Likeness",
    "description": "Portraits of one person, posed by a rig",
    "category": "Render",
}
"""For an add-on that is put into the old folder by hand; as an extension, Blender reads `blender_manifest.toml` instead."""

_HERE = Path(__file__).resolve().parent
if not (_HERE / "protocol").is_dir():
    __path__.append(str(_HERE.parent))


def register() -> None:
    """Called by Blender when the add-on is switched on."""
    import_module(".ui", __package__).register()


def unregister() -> None:
    """Called by Blender when the add-on is switched off, and before a new version is put in."""
    import_module(".ui", __package__).unregister()
