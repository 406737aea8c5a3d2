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
_END_S = 30.0
"""A worker that hangs in a driver is waited for, and what was written goes through to the disk."""


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
            _stop(client, state, status.pid)
            print("The backend has ended.")
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
        lines += [line, *(f"    {words}" for words in (device.sentence, device.plan and f"memory: {device.plan}") if words)]
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


def _stop(client: Client, state: Path, pid: int) -> None:
    """Ask it to end and wait until it has; raises `ServiceError` for one that does not."""
    from protocol.errors import ServiceError
    from protocol.events import Link
    from protocol.messages import Done

    client.shutdown()
    deadline, heard = time.monotonic() + _END_S, False
    while _serves(state, pid):
        if time.monotonic() > deadline:
            raise ServiceError(f"The backend (process {pid}) was asked to end and has not within {_END_S:.0f} s. Look into its log.")
        if not heard:  # once it heard, nothing more is said: the next backend is not meant
            heard = any(isinstance(event, Done) for event in client.poll()) or client.link is not Link.CONNECTED
        time.sleep(0.05)


def _serves(state: Path, pid: int) -> bool:
    """Whether the backend of this process is still there: it takes its connection file away first and gives back the lock last."""
    from protocol.discovery import read_connection
    from protocol.errors import ConnectionProblem

    from ..launch import nobody_serves

    try:
        return read_connection(state).pid == pid
    except ConnectionProblem:
        return not nobody_serves(state)
