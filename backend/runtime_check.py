"""Which packages own the modules `onnxruntime` and `cv2`, whether they are in each other's way, and what mends it.

Several distributions install the same module: onnxruntime and onnxruntime-gpu, opencv-python and its headless kinds. Installers allow them
side by side, and insightface asks for the plain ones; the files that were written last win. Of two packages with the same needs, pip
writes the one that comes later in the alphabet first (`get_topological_weights` and `_req_set_item_sorter` in its resolver): onnxruntime
overwrites onnxruntime-gpu, but opencv-contrib-python-headless overwrites opencv-python, which is why this project asks for that one. uv
can leave the plain ones out (`tool.uv` in pyproject.toml). Every installed file is recorded with its size and hash, which shows who won.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path


class Health(Enum):
    """How well a module is."""

    FINE = "fine"
    FRAGILE = "fragile"
    """It works, but several packages own its files, and the next installation may break it."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Shared:
    """A module that several distributions install.

    `binding` is how the file of compiled code begins, in which the distributions differ; `special` finds the ones to prefer by name, among
    those whose name matches `family`; `plain` is what to install where there is none.
    """

    module: str
    family: re.Pattern[str]
    special: re.Pattern[str]
    plain: str
    binding: str
    loses: str
    """What is lost while the plain one's files are in place."""
    always: bool
    """Whether that is lost even where the module loads."""


ONNXRUNTIME = Shared(
    module="onnxruntime",
    family=re.compile(r"onnxruntime(-.*)?|ort-.*"),
    special=re.compile(r"(?!onnxruntime$).*"),
    plain="onnxruntime",
    binding="onnxruntime/capi/onnxruntime_pybind11_state",
    loses="faces are computed on the CPU alone",
    always=True,
)

OPENCV = Shared(
    module="cv2",
    family=re.compile(r"opencv-.*"),
    special=re.compile(r".*-headless"),
    plain="opencv-python-headless",
    binding="cv2/cv2",
    loses="on a machine without a display it does not load",
    always=False,
)


@dataclass(frozen=True, slots=True)
class Owner:
    """An installed distribution that brings a shared module; `in_place` says whether the compiled code on the disk is its own."""

    name: str
    version: str
    in_place: bool

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one module: a sentence, and the packages to remove and to install anew, if it needs mending."""

    module: str
    health: Health
    sentence: str
    remove: tuple[str, ...] = ()
    install: str = ""

    def commands(self, python: str = sys.executable, uv: str | None = None) -> list[list[str]]:
        """The commands that mend it, with pip, or with uv if its path is given."""
        pip = [uv, "pip"] if uv else [python, "-m", "pip"]
        where = ["--python", python] if uv else []
        again = "--reinstall" if uv else "--force-reinstall"
        removal = [[*pip, "uninstall", *where, *([] if uv else ["-y"]), *self.remove]] if self.remove else []
        return removal + ([[*pip, "install", *where, "--no-deps", again, self.install]] if self.install else [])


def examine(path: Sequence[str] | None = None, load: Callable[[str], object] = importlib.import_module) -> list[Finding]:
    """Look at both modules. `path` is where distributions are searched (default: `sys.path`); `load` tries a module."""
    return [diagnose(shared, owners(shared, path), _failure(shared.module, load)) for shared in (ONNXRUNTIME, OPENCV)]


def mend(findings: Sequence[Finding], run: Callable[[list[str]], int], python: str = sys.executable) -> bool:
    """Run what mends the findings, with pip or, where the environment has none, with uv; False as soon as a command fails.

    `run` runs one command and returns its exit status.
    """
    uv = None if has_pip() else shutil.which("uv")
    return all(run(command) == 0 for finding in findings for command in finding.commands(python, uv))


def owners(shared: Shared, path: Sequence[str] | None = None) -> list[Owner]:
    """The distributions that bring a shared module, by name."""
    found: dict[str, Owner] = {}
    for distribution in metadata.distributions(path=list(path)) if path is not None else metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.name or "").lower()
        if shared.family.fullmatch(name) and (bindings := _bindings(shared, distribution)):
            found.setdefault(name, Owner(name, distribution.version, all(_unchanged(one) for one in bindings)))
    return [found[name] for name in sorted(found)]


def diagnose(shared: Shared, found: Sequence[Owner], failure: str = "") -> Finding:
    """The verdict on a module whose owners are `found`, and which does not load because of `failure`, if that is not empty."""
    module = shared.module
    if not found:
        if not failure:
            return Finding(module, Health.FINE, f"{module} is there, from elsewhere than a package")
        return Finding(module, Health.BROKEN, f"{module} is not installed, so faces cannot be read.", install=shared.plain)
    names = " and ".join(map(str, found))
    wanted = next((one for one in found if shared.special.fullmatch(one.name)), found[0])
    others = tuple(one.name for one in found if one is not wanted)
    pinned = f"{wanted.name}=={wanted.version}"
    if others and not wanted.in_place:
        said = f"{names} own the same files, and those of {wanted.name} were overwritten: {shared.loses}."
        return Finding(module, Health.BROKEN if shared.always or failure else Health.FRAGILE, said, others, pinned)
    if not wanted.in_place:
        return Finding(module, Health.BROKEN, f"{names} is incomplete: files are missing or were changed.", install=pinned)
    if failure and not shared.special.fullmatch(wanted.name) and shared.plain != wanted.name:
        return Finding(module, Health.BROKEN, f"{names} does not load ({failure}).", (wanted.name,), f"{shared.plain}=={wanted.version}")
    if failure:
        return Finding(module, Health.BROKEN, f"{names} does not load ({failure}).", others, pinned)
    if others:
        said = f"{names} own the same files; those of {wanted.name} are in place, but the next installation may overwrite them."
        return Finding(module, Health.FRAGILE, said, others, pinned)
    return Finding(module, Health.FINE, names)


def _bindings(shared: Shared, distribution: metadata.Distribution) -> list[metadata.PackagePath]:
    """The recorded files of compiled code in which the owners differ."""
    suffixes = (".so", ".pyd", ".dylib")
    return [file for file in distribution.files or () if file.as_posix().startswith(shared.binding) and file.name.endswith(suffixes)]


def _unchanged(file: metadata.PackagePath) -> bool:
    """Whether a file on the disk has the size and the hash that were recorded when its distribution was installed."""
    path = Path(str(file.locate()))
    if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
        return False
    if file.hash is None or file.hash.mode not in hashlib.algorithms_guaranteed:
        return True
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, file.hash.mode).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value


def _failure(module: str, load: Callable[[str], object]) -> str:
    """Why a module does not load, or nothing."""
    try:
        load(module)
    except (ImportError, OSError, AttributeError) as error:  # a half overwritten module fails in all three ways
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def has_pip() -> bool:
    """Whether this environment has pip, found by its files.

    `importlib.util.find_spec` would ask the hook of setuptools first, which on Python 3.11 takes that for a run of pip: from then on
    `import setuptools` fails in this process, and with it torch's compiler.
    """
    return PathFinder.find_spec("pip") is not None
