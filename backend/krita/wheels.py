"""pyzmq for Krita's Python, and msgpack without its compiled part: from a cache, by pip, or from the environment that this runs in."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path, PurePosixPath

from protocol.errors import InvalidRequest

PYZMQ = "pyzmq>=27,<28"
"""From 27 on there is one build for the stable ABI, which fits Python 3.12 and every newer one."""
OFFICIAL = ((3, 10), (3, 12))
"""The Pythons of Krita's own packages: 3.10 up to 5.2, 3.13 from 5.3 on."""
ON_LINUX = (*OFFICIAL, (3, 11))
"""Linux distributions build Krita with a Python of their own; Debian 12 has 3.11."""
STABLE_SINCE = (3, 12)
PIP_S = 120.0
"""A wheel is a megabyte; a line that needs longer than this is taken for dead."""
_PLATFORMS = {
    "win_amd64": ["win_amd64"],
    "win_arm64": ["win_arm64"],
    "macosx": ["macosx_12_0_universal2"],
    "linux_x86_64": ["manylinux_2_28_x86_64", "manylinux_2_26_x86_64", "manylinux_2_17_x86_64"],
    "linux_aarch64": ["manylinux_2_28_aarch64", "manylinux_2_26_aarch64", "manylinux_2_17_aarch64"],
}
"""What pip calls the systems that Krita runs on."""
_LEFT_OUT = ("zmq/tests/", "zmq/backend/cffi/", "zmq/green/")
_ENDINGS_LEFT_OUT = (".pyi", ".pxd", ".pxi", ".h", ".c", ".pyc")


class NoWheel(Exception):  # noqa: N818 - inside this room only; the command makes it one of the errors that users see
    """A library that Krita's Python needs cannot be had; the text is a sentence."""


@dataclass(frozen=True, order=True)
class Target:
    """One build of pyzmq: for a Python (the stable one for 3.12 and newer) on a system, named as in `_PLATFORMS`."""

    python: tuple[int, int]
    system: str

    @property
    def folder(self) -> str:
        """Its folder in the plug-in's `_wheels`; the plug-in's own wheels.py looks for these names."""
        return f"abi3-{self.system}" if self.python >= STABLE_SINCE else f"cp{self.python[0]}{self.python[1]}-{self.system}"

    def __str__(self) -> str:
        newer = " or newer" if self.python >= STABLE_SINCE else ""
        return f"Python {self.python[0]}.{self.python[1]}{newer}"

    def fits(self, tags: Sequence[str]) -> bool:
        """Whether a wheel with one of these tags (`cp310-cp310-win_amd64`) is this build."""
        python, abi = (
            f"cp{self.python[0]}{self.python[1]}",
            "abi3" if self.python >= STABLE_SINCE else f"cp{self.python[0]}{self.python[1]}",
        )
        return any(tag.split("-")[:2] == [python, abi] and self._runs_here(tag.split("-", 2)[2]) for tag in tags)

    def _runs_here(self, platform: str) -> bool:
        if self.system == "macosx":
            return platform.startswith("macosx_") and platform.endswith("_universal2")
        system, _, machine = self.system.partition("_")
        return platform == self.system if system == "win" else platform.startswith("manylinux") and platform.endswith(f"_{machine}")


@dataclass(frozen=True)
class Library:
    """The files of one library, by their place in an importable folder, and what its licence is."""

    name: str
    version: str
    files: Mapping[str, bytes]
    licences: Mapping[str, bytes]


def system_of(platform: str) -> str:
    """Our name of a system, from what `sysconfig.get_platform` says."""
    return "macosx" if platform.startswith("macosx") else re.sub(r"[-.]", "_", platform)


def targets_here(platform: str | None = None) -> list[Target]:
    """Every build that a Krita on this machine may need. Raises `InvalidRequest` on a system that no build is made for."""
    system = system_of(platform or sysconfig.get_platform())
    if system not in _PLATFORMS:
        raise InvalidRequest(f"There is no pyzmq for Krita on this kind of machine ({system}). Known are {', '.join(sorted(_PLATFORMS))}.")
    return sorted(Target(python, system) for python in (ON_LINUX if system.startswith("linux") else OFFICIAL))


def targets_everywhere() -> list[Target]:
    """Every build that goes into the ZIP: Krita's own packages on three systems, and Debian 12's."""
    return [Target(python, system) for system in ("linux_x86_64", "macosx", "win_amd64") for python in OFFICIAL] + [
        Target((3, 11), "linux_x86_64")
    ]


def pyzmq(target: Target, cache: Path, fresh: bool = False, run: Callable[[list[str]], str] | None = None) -> Library:
    """pyzmq as `target` needs it: the cache's, else what pip brings, else this environment's own. Raises `NoWheel` with pip's reason.

    `fresh` asks pip also when the cache has one. `run` runs a pip command and returns "" or why it failed.
    """
    cached = _newest(cache, target)
    if cached is not None and not fresh:
        return read_wheel(cached)
    problem = _download(target, cache, run or _run)
    found = _newest(cache, target)
    if found is not None:
        return read_wheel(found)
    try:
        own = metadata.distribution("pyzmq")
    except metadata.PackageNotFoundError:
        own = None
    if own is not None and _copyable(own, target):
        return _library("pyzmq", own.version, _contents(own))
    raise NoWheel(f"pyzmq for {target} ({target.system}) cannot be downloaded: {problem} Try again with a connection to the internet.")


def msgpack() -> Library:
    """This environment's msgpack without its compiled part, which runs on every Python and system."""
    own = metadata.distribution("msgpack")
    spec = util.find_spec("msgpack")
    if spec is None or spec.origin is None:
        raise InvalidRequest("msgpack is not installed where this command runs. Install Likeness again with pip.")
    pure = {f"msgpack/{path.name}": path.read_bytes() for path in sorted(Path(spec.origin).parent.glob("*.py"))}
    return _library("msgpack", own.version, {**{path: data for path, data in _contents(own).items() if _is_licence(path)}, **pure})


def read_wheel(wheel: Path) -> Library:
    """What of a wheel goes into the plug-in. Raises `NoWheel` when the file is damaged or wants to write elsewhere."""
    name, version = wheel.name.split("-")[:2]
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()}
    except (OSError, zipfile.BadZipFile) as error:
        raise NoWheel(f"The downloaded file {wheel} is damaged ({error}). Delete it, and try again.") from error
    if any(PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path or ":" in path for path in contents):
        raise NoWheel(f"The downloaded file {wheel} wants to write outside of its folder. Delete it, and try again.")
    return _library(name, version, contents)


def _library(name: str, version: str, contents: Mapping[str, bytes]) -> Library:
    files = {path: data for path, data in sorted(contents.items()) if _needed(path)}
    licences = {path.rsplit("/", 1)[1]: data for path, data in sorted(contents.items()) if _is_licence(path)}
    return Library(name, version, files, licences)


def _needed(path: str) -> bool:
    return ".dist-info/" not in path and not path.startswith(_LEFT_OUT) and not path.endswith(_ENDINGS_LEFT_OUT)


def _is_licence(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return ".dist-info/" in path and name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def _newest(cache: Path, target: Target) -> Path | None:
    found: list[tuple[list[int], Path]] = []
    for wheel in cache.glob("pyzmq-27.*.whl"):
        parts = wheel.stem.split("-")
        tags = [f"{parts[2]}-{parts[3]}-{platform}" for platform in parts[4].split(".")] if len(parts) == 5 else []
        if target.fits(tags):
            found.append(([int(number) for number in re.findall(r"\d+", parts[1])], wheel))
    return max(found)[1] if found else None


def _download(target: Target, cache: Path, run: Callable[[list[str]], str]) -> str:
    """Have pip put the wheel into the cache; "" or a sentence why it did not."""
    pip = _pip()
    if pip is None:
        return f"This Python has no pip (`{sys.executable} -m ensurepip` brings it)."
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"The folder {cache} cannot be made ({error.strerror})."
    words = ["download", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--retries", "1", "--timeout", "15", "--quiet"]
    words += ["--disable-pip-version-check", "--dest", str(cache), "--python-version", f"{target.python[0]}.{target.python[1]}"]
    for platform in _PLATFORMS[target.system]:
        words += ["--platform", platform]
    return run([*pip, *words, PYZMQ])


def _pip() -> list[str] | None:
    """The words that run pip: this Python's, else the one that waits in its ensurepip, which uv's environments have."""
    if util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    spec = util.find_spec("ensurepip")
    bundled = sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl")) if spec is not None and spec.origin else []
    return [sys.executable, str(bundled[-1] / "pip")] if bundled else None


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


def _copyable(own: metadata.Distribution, target: Target) -> bool:
    """Whether the installed pyzmq is such a wheel, with libzmq inside. One of conda shares its libraries with the environment."""
    tags = re.findall(r"^Tag: (\S+)$", own.read_text("WHEEL") or "", re.MULTILINE)
    return (own.read_text("INSTALLER") or "").strip() != "conda" and target.fits(tags)


def _contents(own: metadata.Distribution) -> dict[str, bytes]:
    """The files of an installed package; scripts that lie elsewhere are not among them."""
    inside = [str(PurePosixPath(file)) for file in own.files or [] if ".." not in file.parts and not PurePosixPath(file).is_absolute()]
    there = {path: Path(str(own.locate_file(path))) for path in inside}
    return {path: place.read_bytes() for path, place in there.items() if place.is_file()}
