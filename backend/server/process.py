"""A worker as a child process with a pipe of its own; what it prints goes to a log that is turned over."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..pipe import ToWorker, Word, channel_pair

_LOG_BYTES = 1024 * 1024
_LOGS = 3
_LOOK_S = 1.0
"""Between two looks at the log's size."""
_DEATH_S = 5.0


class WorkerProcess:
    """`command` with `--pipe HANDLE` behind it, as a process group of its own."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        turn_over(log)
        self._log, self._look_at = log, 0.0
        self._channel, theirs = channel_pair()
        try:
            with theirs, log.open("ab") as output:
                self._process = _start(command, theirs, output, environment)
        except OSError:
            self._channel.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """The pipe, for a poller."""
        return self._channel.fileno()

    def send(self, word: ToWorker, blob: bytes | None = None) -> None:
        """Say something; never waits; `OSError` when it is gone."""
        self._channel.send(word, blob)

    def receive(self) -> list[tuple[Word, bytes]]:
        """What it said; never waits; `EOFError` when it is gone."""
        try:
            self._channel.flush()
        except OSError as error:
            raise EOFError(str(error)) from error
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_S
            cut_short(self._log)
        return self._channel.receive()

    def kill(self) -> None:
        """End it at once and wait for that: the next one needs the device's memory."""
        self._channel.close()
        if sys.platform == "win32":
            self._process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # one that hangs in a driver must not take the server along
            self._process.wait(timeout=_DEATH_S)

    def last_words(self) -> str:
        """The end of its log, at most 40 lines."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - 8192))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join("".join(letter for letter in line if letter.isprintable()) for line in lines[-40:]).strip()


def turn_over(log: Path) -> None:
    """Begin a new log when the old one is large; three old ones are kept."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not log.exists() or log.stat().st_size < _LOG_BYTES:
        return
    _move_up(log, _LOGS)
    os.replace(log, log.with_suffix(".1.log"))


def cut_short(log: Path) -> None:
    """The same for a log that a process is writing: its end is kept, and it is emptied. The process appends, so it goes on in the emptied
    file. On Windows an inherited file does not append; there a log waits for the next start of its process.
    """
    if sys.platform == "win32" or not log.exists() or log.stat().st_size < _LOG_BYTES:
        return
    with suppress(OSError):  # a full disk: what cannot be turned over grows, and the job matters more
        _move_up(log, _LOGS)
        with log.open("rb") as file, log.with_suffix(".1.log").open("wb") as older:
            os.fchmod(older.fileno(), 0o600)
            file.seek(-_LOG_BYTES, os.SEEK_END)
            older.write(file.read(_LOG_BYTES))
        os.truncate(log, 0)


def _move_up(log: Path, most: int) -> None:
    """log.1 becomes log.2 and so on; the oldest goes."""
    for number in range(most, 1, -1):
        older, newer = log.with_suffix(f".{number}.log"), log.with_suffix(f".{number - 1}.log")
        if newer.exists():
            os.replace(newer, older)


def _start(command: Sequence[str], theirs: socket.socket, output: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        process = subprocess.Popen([*command, "--pipe", "-"], stdin=subprocess.PIPE, stdout=output, stderr=output, env=dict(environment))
        shared = theirs.share(process.pid)
        assert process.stdin is not None  # it was asked for
        process.stdin.write(struct.pack(">I", len(shared)) + shared)
        process.stdin.close()
        return process
    handle = theirs.fileno()
    return subprocess.Popen(
        [*command, "--pipe", str(handle)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(environment),
        pass_fds=(handle,),
        start_new_session=True,  # Ctrl-C in the terminal is for the server, which ends its workers itself
    )
