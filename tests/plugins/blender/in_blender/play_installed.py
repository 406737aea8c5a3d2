"""The built ZIP goes into a Blender that was never used: installed, switched off and on, put in once more over itself, taken away."""

import json
import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

FOLDER, ARCHIVE = Path(sys.argv[1]), sys.argv[2]
os.environ["BLENDER_USER_RESOURCES"] = str(FOLDER / "resources")  # before the import: nothing of the user's own Blender is read or written
os.environ["LIKENESS_STATE"] = str(FOLDER / "state")

import bpy

addon_utils = import_module("addon_utils")  # found only once bpy is imported
MODULE = "bl_ext.user_default.likeness"
KINDS = (bpy.types.Panel, bpy.types.Operator, bpy.types.PropertyGroup, bpy.types.AddonPreferences, bpy.types.UIList, bpy.types.Menu)


class OnlyBrought:
    """The environment of this Blender may have the libraries for other tests; here they are found only where an extension brought them."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is not None or name not in ("zmq", "msgpack"):
            return None
        found = PathFinder.find_spec(name, [one for one in sys.path if one.startswith(str(FOLDER))], target)
        if found is None:
            raise ModuleNotFoundError(f"No extension brought {name}", name=name)
        return found


def ours():
    """Every class of the add-on that Blender has taken in, and every handler, by name."""
    classes = {one.__name__ for kind in KINDS for one in kind.__subclasses__() if one.__module__.startswith(MODULE) and one.is_registered}
    lists = [kept for name in dir(bpy.app.handlers) if isinstance(kept := getattr(bpy.app.handlers, name), list)]
    handlers = {one.__name__ for kept in lists for one in kept if getattr(one, "__module__", "").startswith(MODULE)}
    return {"classes": sorted(classes), "handlers": sorted(handlers), "properties": hasattr(bpy.context.scene, "likeness")}


def install():
    return list(bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True))


def libraries():
    """What the add-on's modules load when they speak to a backend."""
    import msgpack
    import zmq

    client = import_module(f"{MODULE}.protocol.client").Client(FOLDER / "state", "b" * 32)
    links = [event.link.value for event in client.poll()]
    client.close()
    return {
        "zmq": zmq.__file__,
        "msgpack": msgpack.__file__,
        "packer": msgpack.Packer.__module__,
        "curve": zmq.has("curve"),
        "links": links,
    }


sys.meta_path.insert(0, OnlyBrought)
answer = {"before": ours(), "installed": install(), "on": ours(), "enabled": addon_utils.check(MODULE)[1], **libraries()}
answer["common"] = [name for name in sys.modules if name.split(".")[0] in ("protocol", "plugin_blender", "backend")]
answer["warnings"] = addon_utils._extensions_warnings_get().get(MODULE, []) if hasattr(addon_utils, "_extensions_warnings_get") else []
addon_utils.disable(MODULE, default_set=True)
answer["off"] = ours()
addon_utils.enable(MODULE, default_set=True)
answer["on again"] = ours()
answer["upgraded"] = install()
answer["on after that"] = ours()
index = [repo.module for repo in bpy.context.preferences.extensions.repos].index("user_default")
answer["removed"] = list(bpy.ops.extensions.package_uninstall(repo_index=index, pkg_id="likeness"))
answer["after"] = ours()
answer["left"] = [str(path) for path in (FOLDER / "resources").rglob("likeness/*.py")]
(FOLDER / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
