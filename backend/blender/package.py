"""The add-on as one of Blender's extensions: sources, contract and wheels in a ZIP for one platform or for several."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import InvalidRequest

from ..addons.archive import ROOT, backend_note, protocol_files, zip_of
from ..addons.starting import starting_command
from ..addons.wheels import MSGPACK, PYZMQ, Build, NoWheel, contents, wheel

MANIFEST = "blender_manifest.toml"
PYTHONS = ((3, 11), (3, 13), (3, 14))
"""Blender 4.2 to 5.0 have 3.11, 5.1 and 5.2 have 3.13. Linux distributions build Blender with their own; Debian sid has 3.14."""
PLATFORMS = {"windows-x64": "win_amd64", "macos-arm64": "macosx_arm64", "macos-x64": "macosx_x86_64", "linux-x64": "linux_x86_64"}
"""What Blender calls the platforms -> what the wheels' room calls them."""
_KINDS = ("*.py", "LICENSE")
_PLATFORMS_LINE = re.compile(r"^platforms = .*$", re.MULTILINE)
_NOTICE = """Likeness for Blender is free software under the GNU General Public License, version 3 or later (LICENSE).
The folder protocol is under the Apache License, version 2.0.

The folder wheels has libraries of others, as their authors built them, with their licences inside:
{wheels}
pyzmq is under the 3-clause BSD licence. Its builds hold libzmq (Mozilla Public License 2.0) and libsodium (ISC licence); their sources
are at github.com/zeromq/libzmq and github.com/jedisct1/libsodium. msgpack is under the Apache License, version 2.0.
"""


@dataclass(frozen=True)
class Package:
    """A ZIP that Blender can install: its file name as Blender's own tool would choose it, and its bytes."""

    name: str
    data: bytes


def platform_here(system: str = "", machine: str = "") -> str:
    """Blender's name of this machine's platform, told as Blender tells it. Raises `InvalidRequest` on one that no add-on is made for."""
    system, machine = (system or platform.system()).lower(), (machine or platform.machine()).lower()
    kinds = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}
    name = f"{'macos' if system == 'darwin' else system}-{kinds.get(machine, machine)}"
    if name not in PLATFORMS:
        raise InvalidRequest(f"The add-on is not made for this kind of machine ({name}). Known are {', '.join(PLATFORMS)}.")
    return name


def builds_for(platforms: Sequence[str]) -> list[Build]:
    """Every build of a library that Blenders on these platforms need. One wheel may be several of them."""
    return [Build(project, python, PLATFORMS[name]) for name in platforms for project in (MSGPACK, PYZMQ) for python in PYTHONS]


def wheels_for(
    platforms: Sequence[str], cache: Path, fresh: bool = False, run: Callable[[list[str]], str] | None = None
) -> dict[str, bytes]:
    """The wheels for these platforms, as their authors built them: file name -> bytes. Raises `InvalidRequest` when one cannot be had."""
    found: dict[str, bytes] = {}
    for build in builds_for(platforms):
        name = build.project.name
        try:
            file = wheel(build, cache, fresh, run)
            contents(file)
            found[file.name] = file.read_bytes()
        except NoWheel as problem:
            python = f"Python {build.python[0]}.{build.python[1]}"
            why = f"{name} for {python} ({build.system}) cannot be had: {problem}"
            raise InvalidRequest(f"{why} Try again with a connection to the internet.") from problem
    return dict(sorted(found.items()))


def package(
    platforms: Sequence[str], wheels: Mapping[str, bytes], backend: Mapping[str, object] | None = None, root: Path = ROOT
) -> Package:
    """The ZIP for these platforms. With `backend` (see `starting`) it is for this computer alone: it then says how to start ours.

    Raises `InvalidRequest` when this installation of Likeness came without the add-on.
    """
    plugin = root / "plugin_blender"
    if not (plugin / "__init__.py").is_file() or not (plugin / MANIFEST).is_file():
        raise InvalidRequest(f"The add-on for Blender is not in {plugin}: this installation is not whole. Install Likeness again.")
    files = {path.name: path.read_bytes() for kind in _KINDS for path in plugin.glob(kind)}
    files.update(protocol_files(root))
    files.update({f"wheels/{name}": data for name, data in wheels.items()})
    text = manifest((plugin / MANIFEST).read_text(encoding="utf-8"), platforms, sorted(wheels))
    files[MANIFEST] = text.encode()
    files["NOTICE"] = _NOTICE.format(wheels="\n".join(f"- {name}" for name in sorted(wheels))).encode()
    if backend is not None:
        files["backend.json"] = backend_note(backend)
    read = tomllib.loads(text)
    one = f"-{platforms[0].replace('-', '_')}" if len(platforms) == 1 else ""
    here = "-here" if backend is not None else ""
    return Package(f"{read['id']}-{read['version']}{one}{here}.zip", zip_of(files))


def starting() -> dict[str, object]:
    """What the add-on on this computer must know to start this backend; Blender's own Python settings are not for it."""
    return {"command": starting_command(), "state": None, "environ": {"PYTHONHOME": "", "PYTHONPATH": ""}}


def manifest(text: str, platforms: Sequence[str], wheels: Sequence[str]) -> str:
    """The manifest of one ZIP: that of the source, with these platforms and wheels."""
    lines = [f"platforms = {_toml(platforms)}", "", "wheels = [", *(f'  "./wheels/{name}",' for name in wheels), "]"]
    return _PLATFORMS_LINE.sub(lambda _: "\n".join(lines), text, count=1)


def _toml(words: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
