"""Starting a backend that outlives whoever started it, and connecting to one from a script. Hosts have a launcher of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from protocol.client import Client
from protocol.discovery import Lock, make_private_folder, note_starting
from protocol.errors import LikenessError, Lost, NotOurKey, NotRunning, ServiceError, SpoolUnusable, Starting, VersionMismatch
from protocol.events import Link

from .server.process import turn_over

START_S = 60.0
"""A backend answers in about half a second; a cold disk and a busy machine may take it longer."""
ENDING_S = 10.0
"""A backend that ends gives its port back a little before its folder, and another program may have that port at once."""
_ROOT = Path(__file__).resolve().parent.parent


def start_detached(state: Path, options: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
    """Start `likeness serve` in a session of its own. It writes its connection file when it can be reached.

    Raises `SpoolUnusable` if nothing can be written there (a home that is read-only), `UnsafeFolder` if others can enter it.
    """
    try:
        make_private_folder(state)
        make_private_folder(state / "logs")
        note_starting(state)
    except OSError as error:
        raise SpoolUnusable(
            f"The backend cannot keep its files in {state}: {os.strerror(error.errno or 0)}. Set LIKENESS_STATE to a folder that can be "
            "written, or use --alone, which does without."
        ) from error
    command = [sys.executable, "-m", "backend", "serve", "--state", str(state), *options]
    own = os.environ if environ is None else environ
    path = os.pathsep.join([str(_ROOT), *filter(None, [own.get("PYTHONPATH")])])
    turn_over(state / "logs" / "serve.log")
    with (state / "logs" / "serve.log").open("ab") as log:
        flags = 0x00000008 | 0x00000200 if sys.platform == "win32" else 0  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
        subprocess.Popen(
            command,
            cwd=state,
            env={**own, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )


def connect(
    state: Path,
    *,
    start: bool,
    client_id: str | None = None,
    program: str = "script",
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    handover: bool = True,
) -> Client:
    """A connected client. With `start`, a backend is started when none runs; else `NotRunning`, `VersionMismatch` or `NotOurKey`."""
    client = Client(state, client_id or uuid.uuid4().hex, program=program, handover=handover)
    try:
        _wait_until_connected(client, state, (lambda: start_detached(state, options, environ)) if start else None)
    except BaseException:
        client.close()
        raise
    return client


def _wait_until_connected(client: Client, state: Path, start: Callable[[], None] | None) -> None:
    begun, started = time.monotonic(), False
    while client.link is not Link.CONNECTED:
        client.poll()
        match client.link:
            case Link.NOT_RUNNING | Link.LOST if start is not None and not started:
                start()
                started = True
            case Link.NOT_OUR_KEY if start is not None and (started or nobody_serves(state)):
                # The file of a backend that is gone names a port that another program has now: it says nothing about ours.
                if not started:
                    start()
                    started = True
            case Link.NOT_OUR_KEY if start is not None and time.monotonic() < begun + ENDING_S:
                pass  # whoever has the folder may be about to end, or has yet to write where it is
            case Link.NOT_RUNNING if not started:
                raise NotRunning(client.sentence)
            case Link.WRONG_VERSION | Link.NOT_OUR_KEY:
                raise _error(client.link)(client.sentence)
            case _:
                pass
        if time.monotonic() > begun + START_S:
            raise ServiceError(f"The backend did not answer within {START_S:.0f} s. Its log is {state / 'logs' / 'serve.log'}.")
        client.wait(0.05)


def nobody_serves(state: Path) -> bool:
    """Whether no backend holds the lock of this folder."""
    lock = Lock(state)
    free = lock.acquire()
    lock.release()
    return free


def _error(link: Link) -> type[LikenessError]:
    errors = {
        Link.WRONG_VERSION: VersionMismatch,
        Link.NOT_OUR_KEY: NotOurKey,
        Link.LOST: Lost,
        Link.STARTING: Starting,
    }
    return errors.get(link, NotRunning)
