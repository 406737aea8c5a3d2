"""A worker as a child process with a pipe of its own; what it prints goes to a log that is turned over."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ..pipe import ToWorker, Word, channel_pair

_LOG_BYTES = 1024 * 1024
_LOGS = 3
_DEATH_S = 5.0


class WorkerProcess:
    """`command` with `--pipe HANDLE` behind it, as a process group of its own."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        turn_over(log)
        self._log = log
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
    for number in range(_LOGS, 0, -1):
        older, newer = log.with_suffix(f".{number}.log"), log.with_suffix(f".{number - 1}.log") if number > 1 else log
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
