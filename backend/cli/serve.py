"""`likeness serve`: the backend that Krita, Blender and scripts share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Settings, environment

if TYPE_CHECKING:
    from ..service import Setup


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--detach", action="store_true", help="start it in the background and return when it can be reached")
    parser.add_argument(
        "--on", "--device", dest="on", action="append", metavar="DEVICE", help="a device; give it again for more (cuda:0, cuda:1)"
    )
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="keep jobs, characters and logs there")
    parser.add_argument("--idle-minutes", type=float, metavar="N", help="end after N minutes without a client and a job")
    parser.add_argument(
        "--pipeline",
        choices=("studio", "nothing", "busy"),
        default="studio",
        help="'nothing' draws nothing, to try a host out; 'busy' computes meanwhile",
    )


def run(options: Namespace, settings: Settings) -> int:
    """Serve until it is told to end; 0 also when a backend runs already."""
    from protocol.discovery import state_folder

    _check_devices(options.on or [])
    state = (options.state or state_folder(os.environ)).expanduser().absolute()
    if options.detach:
        return _detach(state, settings, options)
    return _serve(state, settings, options)


def _detach(state: Path, settings: Settings, options: Namespace) -> int:
    from ..launch import connect

    handed_on = environment(settings, os.environ)
    client = connect(state, start=True, program="likeness serve", options=_again(settings, options), environ=handed_on)
    client.close()
    print(f"The backend runs. Its folder is {state}.")
    return 0


def _serve(state: Path, settings: Settings, options: Namespace) -> int:
    gc.disable()  # nothing is thrown away before the first hello, and looking for it took a tenth of the time until then
    from ..service import AlreadyRunning, Service, log_to

    leave: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: leave.append(number))
    try:
        with Service(_setup(state, settings, options)) as service:
            gc.freeze()
            gc.enable()
            log_to(state / "logs")
            print(f"The backend runs. Its folder is {state}. Ctrl-C ends it.", flush=True)
            service.run(lambda: bool(leave))
    except AlreadyRunning:
        gc.enable()
        print(f"A backend runs already in {state}. `likeness status` tells of it.")
    return 0


def _check_devices(names: Sequence[str]) -> None:
    """A device is known by its name: with two of one name, a job would be given to the one and waited for at the other."""
    from protocol.errors import InvalidRequest

    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequest(f"The device {twice} is named twice. One process works on each device; name every device once.")


def _setup(state: Path, settings: Settings, options: Namespace) -> Setup:
    from ..installed import release
    from ..service import Setup, characters_of

    common = ["--pipeline", options.pipeline, "--model", settings.model, "--models", str(settings.models), "--dtype", settings.dtype]
    common += ["--storage", settings.storage, "--compile", settings.compile, "--graphs", settings.graphs, "--attention", settings.attention]

    def worker(device: str) -> Sequence[str]:
        return [sys.executable, "-m", "backend.worker.main", *common, "--device", device, "--characters", str(characters_of(state))]

    idle_s = None if options.idle_minutes is None else options.idle_minutes * 60
    return Setup(state, options.on or [settings.device], worker, release() or "source folder", idle_s=idle_s)


def _again(settings: Settings, options: Namespace) -> list[str]:
    """The same options for the process that stays."""
    words = ["--pipeline", options.pipeline]
    for device in options.on or [settings.device]:
        words += ["--on", device]
    if options.idle_minutes is not None:
        words += ["--idle-minutes", str(options.idle_minutes)]
    return words
