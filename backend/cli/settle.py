"""Makes one install command enough: with pip, `.[gpu]` ends with the CPU's onnxruntime written over the GPU's, which is put right once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from ..installed import versions


def settle(run: Callable[[list[str]], int] | None = None, path: Sequence[str] | None = None) -> bool:
    """Reinstall the special onnxruntime if the plain one overwrote it; True if that was done.

    Must come before onnxruntime is imported. Nothing is done where only one of them is installed, so a usual start costs some milliseconds.
    `path` is where packages are looked for (default: `sys.path`); `run` runs one command and returns its exit status.
    """
    if len(versions("onnxruntime", path)) < 2:
        return False
    from ..runtime_check import ONNXRUNTIME, Health, diagnose, mend, owners

    there = owners(ONNXRUNTIME, path)
    if len(there) < 2:
        return False
    finding = diagnose(ONNXRUNTIME, there)
    if finding.health is not Health.BROKEN:
        return False
    sys.stderr.write(f"likeness: {finding.sentence} This is put right now, once.\n")
    if mend([finding], run or _quietly):
        return True
    commands = " && ".join(" ".join(command) for command in finding.commands())
    sys.stderr.write(f"likeness: It could not be put right; faces are read on the CPU. By hand: {commands}\n")
    return False


def _quietly(command: list[str]) -> int:
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
