"""Putting the plug-in into one Krita, and taking it away. Its folder is replaced whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import InvalidRequest

from ..addons.starting import starting_command
from ..files import write_whole
from .kritarc import disable, enable
from .package import NAME
from .places import Place, Starts


def install(place: Place, files: Mapping[str, bytes], beside: Mapping[str, bytes]) -> None:
    """Write the plug-in's folder and what lies beside it, and switch it on. Raises `InvalidRequest`; then the old plug-in is as it was."""
    pykrita, actions = place.resources / "pykrita", place.resources / "actions"
    with _sentences(place):
        pykrita.mkdir(parents=True, exist_ok=True)
        actions.mkdir(parents=True, exist_ok=True)
        _sweep(pykrita)
        _replace(pykrita / NAME, files)
        write_whole(pykrita / f"{NAME}.desktop", beside[f"{NAME}.desktop"])
        write_whole(actions / f"{NAME}.action", beside[f"{NAME}.action"])
    enable(place.kritarc)


def remove(place: Place) -> bool:
    """Take away everything that `install` placed; False when nothing was there."""
    pykrita, actions = place.resources / "pykrita", place.resources / "actions"
    ours = [pykrita / NAME, pykrita / f"{NAME}.desktop", actions / f"{NAME}.action"]
    there = any(path.exists() or path.is_symlink() for path in ours)
    with _sentences(place):
        _sweep(pykrita)
        disable(place.kritarc)
        (pykrita / f"{NAME}.desktop").unlink(missing_ok=True)
        _put_aside(pykrita / NAME)
        _sweep(pykrita)
        (actions / f"{NAME}.action").unlink(missing_ok=True)
        for folder in (actions, pykrita, place.resources):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return there


def backend_of(place: Place, python: str = sys.executable) -> dict[str, object]:
    """What the docker must know to start the backend: the words of the command, or none, the backend's folder, or null, and variables.

    Krita puts its own folders into PYTHONPATH, whichever way it is installed; the backend must not find other plug-ins' modules there.
    """
    command = starting_command(python)
    match place.starts:
        case Starts.THROUGH_FLATPAK:
            command = ["flatpak-spawn", "--host", *command]
        case Starts.NOT:
            command = []
        case Starts.DIRECTLY:
            pass
    if command and place.state is not None:
        command += ["--state", str(place.state)]
    state = None if place.state is None else str(place.state)
    return {"command": command, "state": state, "environ": {"PYTHONHOME": "", "PYTHONPATH": ""}}


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    new = folder.with_name(f".{folder.name}-new-{os.getpid()}")
    try:
        for path, data in files.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(data)
        old = _put_aside(folder)
        try:
            os.rename(new, folder)
        except OSError:
            if old is not None:
                os.rename(old, folder)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _sweep(folder.parent)


def _put_aside(folder: Path) -> Path | None:
    """Rename the plug-in's folder away: at once, and on Windows not at all while a Krita has a library of it open."""
    if not folder.exists() and not folder.is_symlink():
        return None
    old = folder.with_name(f".{folder.name}-old-{os.getpid()}")
    os.rename(folder, old)
    return old


def _sweep(pykrita: Path) -> None:
    """Take away what this or an interrupted run left aside; a plug-in that only lies aside is put back first."""
    left = sorted(pykrita.glob(f".{NAME}-old-*"))
    if left and not (pykrita / NAME).exists() and not left[-1].is_symlink() and left[-1].name != f".{NAME}-old-{os.getpid()}":
        os.rename(left.pop(), pykrita / NAME)
    for path in [*left, *pykrita.glob(f".{NAME}-new-*")]:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _sentences(place: Place) -> Generator[None]:
    try:
        yield
    except OSError as error:
        what = f"{place.name}'s folder {place.resources} cannot be changed ({error.strerror or error})."
        raise InvalidRequest(f"{what} Close Krita, look at the rights on the folder, and try again.") from error
