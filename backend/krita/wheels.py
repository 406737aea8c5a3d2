"""pyzmq for Krita's Python, and msgpack without its compiled part: from a cache, by pip, or from the environment that this runs in."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path, PurePosixPath

from protocol.errors import InvalidRequest

from ..addons.wheels import PYZMQ, Build, NoWheel, contents, wheel

OFFICIAL = ((3, 10), (3, 12))
"""The Pythons of Krita's own packages: 3.10 up to 5.2, 3.13 from 5.3 on."""
ON_LINUX = (*OFFICIAL, (3, 11))
"""Linux distributions build Krita with a Python of their own; Debian 12 has 3.11."""
_SYSTEMS = ("linux_aarch64", "linux_x86_64", "macosx", "win_amd64", "win_arm64")
"""The systems that Krita runs on, and that pyzmq is built for."""
_LEFT_OUT = ("zmq/tests/", "zmq/backend/cffi/", "zmq/green/")
_ENDINGS_LEFT_OUT = (".pyi", ".pxd", ".pxi", ".h", ".c", ".pyc")


@dataclass(frozen=True, order=True)
class Target:
    """One build of pyzmq: for a Python (the stable one for 3.12 and newer) on a system, named as in `_SYSTEMS`."""

    python: tuple[int, int]
    system: str

    @property
    def folder(self) -> str:
        """Its folder in the plug-in's `_wheels`; the plug-in's own wheels.py looks for these names."""
        return f"abi3-{self.system}" if self.build.is_stable else f"cp{self.python[0]}{self.python[1]}-{self.system}"

    def __str__(self) -> str:
        newer = " or newer" if self.build.is_stable else ""
        return f"Python {self.python[0]}.{self.python[1]}{newer}"

    @property
    def build(self) -> Build:
        """What is looked for in the cache and asked of pip."""
        return Build(PYZMQ, self.python, self.system)

    def fits(self, tags: Sequence[str]) -> bool:
        """Whether a wheel with one of these tags (`cp310-cp310-win_amd64`) is this build."""
        return self.build.fits(tags)


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
    if system not in _SYSTEMS:
        raise InvalidRequest(f"There is no pyzmq for Krita on this kind of machine ({system}). Known are {', '.join(_SYSTEMS)}.")
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
    problem = ""
    try:
        file = wheel(target.build, cache, fresh, run)
    except NoWheel as error:
        file, problem = None, str(error)
    if file is not None:
        return read_wheel(file)
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


def read_wheel(file: Path) -> Library:
    """What of a wheel goes into the plug-in. Raises `NoWheel` when the file is damaged or wants to write elsewhere."""
    name, version = file.name.split("-")[:2]
    return _library(name, version, contents(file))


def _library(name: str, version: str, contents: Mapping[str, bytes]) -> Library:
    files = {path: data for path, data in sorted(contents.items()) if _needed(path)}
    licences = {path.rsplit("/", 1)[1]: data for path, data in sorted(contents.items()) if _is_licence(path)}
    return Library(name, version, files, licences)


def _needed(path: str) -> bool:
    return ".dist-info/" not in path and not path.startswith(_LEFT_OUT) and not path.endswith(_ENDINGS_LEFT_OUT)


def _is_licence(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return ".dist-info/" in path and name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))


def _copyable(own: metadata.Distribution, target: Target) -> bool:
    """Whether the installed pyzmq is such a wheel, with libzmq inside. One of conda shares its libraries with the environment."""
    tags = re.findall(r"^Tag: (\S+)$", own.read_text("WHEEL") or "", re.MULTILINE)
    return (own.read_text("INSTALLER") or "").strip() != "conda" and target.fits(tags)


def _contents(own: metadata.Distribution) -> dict[str, bytes]:
    """The files of an installed package; scripts that lie elsewhere are not among them."""
    inside = [str(PurePosixPath(file)) for file in own.files or [] if ".." not in file.parts and not PurePosixPath(file).is_absolute()]
    there = {path: Path(str(own.locate_file(path))) for path in inside}
    return {path: place.read_bytes() for path, place in there.items() if place.is_file()}
