"""How an installed plug-in finds msgpack and pyzmq: the folders `_wheels/any` and `_wheels/<abi>-<system>` beside this file.

Krita runs all plug-ins in one interpreter, so nothing of ours may take another's place: the folders go to the end of `sys.path`, and a zmq
or msgpack that is there already is used. Only one that does not load for anybody is passed over.
"""

from __future__ import annotations

import importlib
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

OLDEST_PYTHON = (3, 10)
STABLE_SINCE = (3, 12)
"""From this Python on one build of pyzmq, for the stable ABI, fits all."""
_CURE = "Run `likeness krita install` in a terminal, then start Krita again."


class Missing(Exception):  # noqa: N818 - named like the rest of the tree
    """A library that cannot be had; the text is the sentence to show."""


def provide(folder: Path | None = None) -> str:
    """Make msgpack and zmq importable; "" when they are, else the sentence that the docker shows. Never raises."""
    if sys.version_info < OLDEST_PYTHON:
        return f"Likeness needs a Krita with Python 3.10 or newer, and this one has {_version()}. Install Krita 5.2 or newer."
    folder = folder or Path(__file__).resolve().parent / "_wheels"
    ours = [path for path in (folder / "any", *(folder / name for name in fitting())) if path.is_dir()]
    sys.path.extend(str(path) for path in ours if str(path) not in sys.path)
    importlib.invalidate_caches()
    try:
        _check_msgpack(_load("msgpack", ours, folder))
        _check_zmq(_load("zmq", ours, folder))
    except Missing as problem:
        return str(problem)
    return ""


def fitting(version: tuple[int, int] | None = None, platform: str | None = None) -> list[str]:
    """The names of the folders whose pyzmq this Python can load, best first. `platform` is as `sysconfig.get_platform` says it."""
    version = version or (sys.version_info[0], sys.version_info[1])
    platform = platform or sysconfig.get_platform()
    system = "macosx" if platform.startswith("macosx") else platform.replace("-", "_").replace(".", "_")
    own = f"cp{version[0]}{version[1]}-{system}"
    return [own, f"abi3-{system}"] if version >= STABLE_SINCE else [own]


def _load(name: str, ours: list[Path], folder: Path) -> ModuleType:
    place = next((str(path) for path in ours if (path / name).is_dir()), None)
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever another's broken library raises
        if place is None:
            raise Missing(_absent(name, error, folder)) from error
    # Somebody else's that loads for nobody: half of it is forgotten, and ours is taken. The order of the path stays as it was.
    for loaded in [module for module in sys.modules if module == name or module.startswith(name + ".")]:
        del sys.modules[loaded]
    sys.path.insert(0, place)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise Missing(f"Likeness brought {name} along, but Krita's Python {_version()} does not load it ({error}). {_CURE}") from error
    finally:
        sys.path.remove(place)


def _absent(name: str, error: Exception, folder: Path) -> str:
    there = sorted(path.name for path in folder.iterdir() if path.name != "any") if folder.is_dir() else []
    brought = f"this copy of the plug-in has it for {', '.join(there)}" if there else "this copy of the plug-in came without libraries"
    return f"Likeness lacks {name} for Krita's Python {_version()}. {_CURE} ({fitting()[-1]} is needed; {brought}; {error}.)"


def _check_msgpack(module: ModuleType) -> None:
    if getattr(module, "version", (0,)) < (1, 0):
        raise Missing(_in_the_way(module, "msgpack", "is older than 1.0"))


def _check_zmq(module: ModuleType) -> None:
    if not hasattr(module, "has") or not module.has("curve"):
        raise Missing(_in_the_way(module, "zmq", "cannot encrypt (no CURVE), and Likeness never speaks in clear"))


def _in_the_way(module: ModuleType, name: str, fault: str) -> str:
    place = Path(getattr(module, "__file__", None) or name).parent
    return f"Krita's Python has a {name} in {place} that {fault}. Update it or take it away, then start Krita again."


def _version() -> str:
    return ".".join(map(str, sys.version_info[:2]))
