"""The line in `kritarc` that switches the plug-in on. Every other byte of the file stays.

Krita may run meanwhile: when it ends, it reads the file again and writes its own changes into it, so a line of ours stays (tried with
Krita 5.1.5). It is only seen at its next start.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from protocol.errors import InvalidRequest

from ..files import write_whole

_GROUP = "[python]"
_KEY = "enable_likeness"
_LINE = re.compile(rf"\s*{_KEY}\s*(\[[^\]]*\])?\s*=")


def enable(file: Path) -> None:
    """Switch the plug-in on; the file is made if there is none. Raises `InvalidRequest` when it cannot be written."""
    _change(file, enabled)


def disable(file: Path) -> None:
    """Take our line out; a file that was ours alone goes. Raises `InvalidRequest` when it cannot be written."""
    if file.is_file():
        _change(file, disabled)


def enabled(text: str) -> str:
    """`text` with the plug-in switched on, in the group that Krita reads."""
    lines = text.splitlines(keepends=True)
    end = _ending(text)
    ours = _ours(lines)
    if ours:
        return "".join(f"{_KEY}=true{end}" if number in ours else line for number, line in enumerate(lines))
    heads = [number for number, line in enumerate(lines) if line.strip() == _GROUP]
    if heads:
        number = heads[0]
        lines[number] = lines[number].rstrip("\r\n") + end
        lines.insert(number + 1, f"{_KEY}=true{end}")
        return "".join(lines)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end
    return "".join([*lines, *([end] if lines else []), _GROUP + end, f"{_KEY}=true{end}"])


def disabled(text: str) -> str:
    """`text` without our line, and without its group when nothing else is in it."""
    lines = text.splitlines(keepends=True)
    ours = _ours(lines)
    if not ours:
        return text
    kept = [line for number, line in enumerate(lines) if number not in ours]
    for number in [number for number, line in enumerate(kept) if line.strip() == _GROUP][::-1]:
        rest = [line.strip() for line in kept[number + 1 :]]
        end = next((place for place, line in enumerate(rest) if line.startswith("[")), len(rest))
        if not any(rest[:end]):
            del kept[number : number + 1 + end]
            if number == len(kept) and kept and not kept[-1].strip():
                del kept[-1]  # the empty line that came before it
    return "".join(kept)


def _ours(lines: list[str]) -> set[int]:
    """Which lines are ours: those of our name in a group for Python's plug-ins."""
    found: set[int] = set()
    group = ""
    for number, line in enumerate(lines):
        if line.lstrip().startswith("["):
            group = line.strip()
        elif group == _GROUP and _LINE.match(line):
            found.add(number)
    return found


def _ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _change(file: Path, how: Callable[[str], str]) -> None:
    target = file.resolve()  # a link of somebody who keeps settings elsewhere stays a link
    try:
        old = target.read_bytes() if target.exists() else None
        text = (old or b"").decode("utf-8", "surrogateescape")
        new = how(text).encode("utf-8", "surrogateescape")
        if new == old:
            return
        if not new.strip():
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, new)
    except OSError as error:
        raise InvalidRequest(
            f"Krita's settings {file} cannot be written ({error.strerror}). Look at the rights on it, and try again."
        ) from error
