"""`likeness status`: whether the backend runs, on what, and what it does."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Settings

if TYPE_CHECKING:
    from protocol.client import Client
    from protocol.results import Status

_ANSWER_S = 10.0


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="the backend's folder")
    parser.add_argument("--stop", action="store_true", help="end the backend; accepted jobs go on at its next start")


def run(options: Namespace, settings: Settings) -> int:
    """Print what the backend says of itself; raises NotRunning when there is none."""
    from protocol.discovery import state_folder

    from ..launch import connect

    state = (options.state or state_folder(os.environ)).expanduser().absolute()
    client = connect(state, start=False, program="likeness status")
    try:
        status = _ask(client)
        print("\n".join(describe(status)))
        if options.stop:
            _stop(client)
            print("The backend ends.")
    finally:
        client.close()
    return 0


def describe(status: Status) -> list[str]:
    """A status in words."""
    lines = [f"Backend {status.release}, process {status.pid}, up for {status.uptime_s / 60:.0f} min"]
    for device in status.devices:
        line = f"  {device.device}: {device.stage.value}"
        if device.title:
            line += f", {device.title}"
        if device.memory_total is not None and device.memory_free is not None:
            line += f", {device.memory_free / 1e9:.1f} of {device.memory_total / 1e9:.1f} GB free"
        if device.loaded:
            line += f", loaded: {', '.join(device.loaded)}"
        lines += [line, *([f"    {device.sentence}"] if device.sentence else [])]
    lines.append(f"  {status.queued} queued, {status.running} running, {status.kept} kept ({status.spool_bytes / 1e6:.0f} MB)")
    return lines


def _ask(client: Client) -> Status:
    from protocol.errors import Lost
    from protocol.messages import StatusReport

    client.ask_status()
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        for event in client.poll():
            if isinstance(event, StatusReport):
                return event.status
        client.wait(0.05)
    raise Lost


def _stop(client: Client) -> None:
    from protocol.events import Link
    from protocol.messages import Done

    client.shutdown()
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline and client.link is Link.CONNECTED:
        if any(isinstance(event, Done) for event in client.poll()):
            return
        client.wait(0.05)
