"""Wheels for the Pythons of other programs: from a cache, else through pip. What is in the cache can always be had again."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path, PurePosixPath

from ..runtime_check import has_pip

PIP_S = 120.0
"""A wheel is a megabyte; a line that needs longer than this is taken for dead."""
PLATFORMS = {
    "win_amd64": ["win_amd64"],
    "win_arm64": ["win_arm64"],
    "macosx": ["macosx_12_0_universal2"],
    "macosx_arm64": ["macosx_12_0_arm64"],
    "macosx_x86_64": ["macosx_12_0_x86_64"],
    "linux_x86_64": ["manylinux_2_28_x86_64", "manylinux_2_26_x86_64", "manylinux_2_17_x86_64"],
    "linux_aarch64": ["manylinux_2_28_aarch64", "manylinux_2_26_aarch64", "manylinux_2_17_aarch64"],
}
"""What pip calls the systems; `macosx` alone asks for one wheel that runs on both kinds of Mac."""


class NoWheel(Exception):  # noqa: N818 - inside these rooms only; the commands make it one of the errors that users see
    """A library that a host's Python needs cannot be had; the text is a sentence."""


@dataclass(frozen=True)
class Project:
    """A library: its name, which major version of it, and from which Python on one build for the stable ABI fits all (None: never)."""

    name: str
    major: int
    stable_since: tuple[int, int] | None = None

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}>={self.major},<{self.major + 1}"


PYZMQ = Project("pyzmq", 27, (3, 12))
"""From 27 on there is one build for the stable ABI, which fits Python 3.12 and every newer one."""
MSGPACK = Project("msgpack", 1)


@dataclass(frozen=True)
class Build:
    """One build of a library: for a Python on a system, named as in `PLATFORMS`."""

    project: Project
    python: tuple[int, int]
    system: str

    @property
    def is_stable(self) -> bool:
        """Whether it is the one that fits this Python and every newer one."""
        return self.project.stable_since is not None and self.python >= self.project.stable_since

    def fits(self, tags: Sequence[str]) -> bool:
        """Whether a wheel with one of these tags (`cp310-cp310-win_amd64`) is this build."""
        first = self.project.stable_since if self.is_stable and self.project.stable_since else self.python
        python = f"cp{first[0]}{first[1]}"
        abi = "abi3" if self.is_stable else python
        return any(tag.split("-")[:2] == [python, abi] and self._runs_on(tag.split("-", 2)[2]) for tag in tags)

    def _runs_on(self, platform: str) -> bool:
        system, _, machine = self.system.partition("_")
        match system:
            case "macosx":
                return platform.startswith("macosx_") and platform.endswith(("_universal2", *([f"_{machine}"] if machine else [])))
            case "win":
                return platform == self.system
            case _:
                return platform.startswith("manylinux") and platform.endswith(f"_{machine}")


def wheel(build: Build, cache: Path, fresh: bool = False, run: Callable[[list[str]], str] | None = None) -> Path:
    """The newest wheel of a build: the cache's, else what pip brings. Raises `NoWheel` with pip's reason, a sentence of its own.

    `fresh` asks pip also when the cache has one. `run` runs a pip command and returns "" or why it failed.
    """
    cached = _newest(cache, build)
    if cached is not None and not fresh:
        return cached
    problem = _download(build, cache, run or _run)
    found = _newest(cache, build)
    if found is None:
        raise NoWheel(problem)
    return found


def contents(file: Path) -> dict[str, bytes]:
    """Every file in a wheel. Raises `NoWheel` when it is damaged or wants to write elsewhere."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    except (OSError, zipfile.BadZipFile) as error:
        raise NoWheel(f"The downloaded file {file} is damaged ({error}). Delete it, and try again.") from error
    if any(PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path or ":" in path for path in found):
        raise NoWheel(f"The downloaded file {file} wants to write outside of its folder. Delete it, and try again.")
    return found


def pip_words() -> list[str] | None:
    """The words that run pip: this Python's, else the one that waits in its ensurepip, which uv's environments have."""
    if has_pip():
        return [sys.executable, "-m", "pip"]
    spec = util.find_spec("ensurepip")
    bundled = sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl")) if spec is not None and spec.origin else []
    return [sys.executable, str(bundled[-1] / "pip")] if bundled else None


def _newest(cache: Path, build: Build) -> Path | None:
    found: list[tuple[list[int], Path]] = []
    for file in cache.glob(f"{build.project.name}-{build.project.major}.*.whl"):
        parts = file.stem.split("-")
        tags = [f"{parts[2]}-{parts[3]}-{platform}" for platform in parts[4].split(".")] if len(parts) == 5 else []
        if build.fits(tags):
            found.append(([int(number) for number in re.findall(r"\d+", parts[1])], file))
    return max(found)[1] if found else None


def _download(build: Build, cache: Path, run: Callable[[list[str]], str]) -> str:
    """Have pip put the wheel into the cache; "" or a sentence why it did not."""
    pip = pip_words()
    if pip is None:
        return f"This Python has no pip (`{sys.executable} -m ensurepip` brings it)."
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"The folder {cache} cannot be made ({error.strerror})."
    words = ["download", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--retries", "1", "--timeout", "15", "--quiet"]
    words += ["--disable-pip-version-check", "--dest", str(cache), "--python-version", f"{build.python[0]}.{build.python[1]}"]
    for platform in PLATFORMS[build.system]:
        words += ["--platform", platform]
    return run([*pip, *words, build.project.requirement])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_S, check=False)
    except subprocess.TimeoutExpired:
        return f"pip did not finish within {PIP_S:.0f} s."
    except OSError as error:
        return f"pip does not start ({error.strerror})."
    if done.returncode == 0:
        return "pip brought another build than the one that is needed."
    said = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    return f'pip says "{said[-1].removeprefix("ERROR: ").rstrip(".") if said else "nothing"}".'
