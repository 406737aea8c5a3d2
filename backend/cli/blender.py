"""`likeness blender`: the add-on for Blender, in ZIPs for any machine, as a repository of them, or put into this user's Blender."""

from __future__ import annotations

import os
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

from ..config import Settings, cache_home

if TYPE_CHECKING:
    from ..blender.package import Package
    from ..blender.tool import Tool

_WINDOWS = "Drag it into Blender's window, or: Edit > Preferences > Get Extensions > Install from Disk."


def add_arguments(parser: ArgumentParser) -> None:
    """The options of each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    archives = actions.add_parser("zip", help="a ZIP for every platform, one for all of them, and a repository that Blender updates from")
    archives.add_argument("-o", "--out", type=Path, default=Path("likeness-blender"), metavar="DIR", help="default: likeness-blender")
    archives.add_argument(
        "--platform",
        default="all",
        metavar="NAME",
        help="only the ZIP for windows-x64, macos-arm64, macos-x64, linux-x64, or here: this computer, whose backend it starts",
    )
    index = actions.add_parser("index", help="write the index of a folder of ZIPs again, which makes it a repository")
    index.add_argument("folder", type=Path, metavar="DIR")
    install = actions.add_parser("install", help="put the add-on into this user's Blender by Blender's own command, and switch it on")
    install.add_argument("--remove", action="store_true", help="take it away again")
    for action in (archives, install):
        action.add_argument("--blender", type=Path, metavar="FILE", help="the Blender to use, when it is not found by itself")
        action.add_argument("--fresh", action="store_true", help="download the libraries again, also when they are in the cache")


def run(options: Namespace, settings: Settings) -> int:
    """Do one of the actions."""
    match options.action:
        case "zip":
            return _zip(options.out, options.platform, options.blender, options.fresh)
        case "index":
            return _index(options.folder)
        case _:
            return _remove(options.blender) if options.remove else _install(options.blender, options.fresh)


def _zip(out: Path, platform: str, blender: Path | None, fresh: bool) -> int:
    from ..blender.index import write_index
    from ..blender.package import PLATFORMS, package, platform_here, starting
    from ..blender.tool import find_tool

    if platform not in (*PLATFORMS, "all", "here"):
        raise InvalidRequest(f"There is no add-on for the platform {platform}. Known are {', '.join(PLATFORMS)}, all and here.")
    tool = find_tool(blender, os.environ)
    out = out.expanduser().absolute()
    if platform == "all":
        wheels = {name: _wheels([name], fresh) for name in PLATFORMS}
        every = package(list(PLATFORMS), {file: data for one in wheels.values() for file, data in one.items()})
        files = [_write(out, every), *(_write(out / "repository", package([name], one)) for name, one in wheels.items())]
        write_index(out / "repository")
        checked = _checked(tool, files)
        print(f"{files[0]} is for every platform. {_WINDOWS}")
        print(f"{out / 'repository'} has one for each, and index.json: on a web server, it is what Blender installs and updates from.")
    else:
        name = platform_here() if platform == "here" else platform
        file = _write(out, package([name], _wheels([name], fresh), starting() if platform == "here" else None))
        checked = _checked(tool, [file])
        print(f"{file} is for {platform if platform != 'here' else 'this computer'}. {_WINDOWS}")
    print(checked)
    return 0


def _index(folder: Path) -> int:
    from ..blender.index import write_index

    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise InvalidRequest(f"The folder {folder} does not exist. Make the ZIPs with `likeness blender zip`.")
    count = len(write_index(folder))
    print(f"{folder / 'index.json'} lists {count} ZIP{'s' if count > 1 else ''}.")
    return 0


def _install(blender: Path | None, fresh: bool) -> int:
    from ..addons.starting import is_running
    from ..blender.package import package, platform_here, starting
    from ..blender.tool import REPOSITORY, is_installed

    tool = _program(blender)
    name = platform_here()
    with tempfile.TemporaryDirectory() as folder:
        file = _write(Path(folder), package([name], _wheels([name], fresh), starting()))
        tool.run("install-file", "--repo", REPOSITORY, "--enable", str(file))
    if not is_installed(tool):
        raise InvalidRequest(f"{tool.name} did not take the add-on, and does not say why. Drag the ZIP of `likeness blender zip` into it.")
    print(f"The add-on is in {tool.name}, and switched on.")
    print(f"{'Start Blender again' if is_running('blender') else 'Start Blender'}; press N in the 3D view: it is under Likeness.")
    return 0


def _remove(blender: Path | None) -> int:
    from ..blender.tool import is_installed

    tool = _program(blender)
    if not is_installed(tool):
        print(f"The add-on was not in {tool.name}.")
        return 0
    tool.run("remove", "likeness")
    print(f"The add-on is gone from {tool.name}. Your settings stay where Blender keeps them for extensions.")
    return 0


def _program(blender: Path | None) -> Tool:
    from ..blender.tool import find_tool

    tool = find_tool(blender, os.environ)
    if tool is None or not tool.is_program:
        what = f"{blender} is no whole Blender." if blender else "No Blender 4.2 or newer is on the PATH, or where it is usual."
        instead = "run `likeness blender zip --platform here` and drag the file into Blender's window"
        raise InvalidRequest(f"{what} Give its program with --blender, or {instead}.")
    return tool


def _wheels(platforms: Sequence[str], fresh: bool) -> Mapping[str, bytes]:
    from ..blender.package import wheels_for

    return wheels_for(platforms, cache_home(os.environ) / "wheels", fresh)


def _write(folder: Path, made: Package) -> Path:
    from ..files import write_whole

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / made.name, made.data)
    except OSError as error:
        raise InvalidRequest(f"{folder / made.name} cannot be written ({error.strerror}). Choose another folder with --out.") from error
    return folder / made.name


def _checked(tool: Tool | None, files: Sequence[Path]) -> str:
    """Have Blender check them; a sentence that says so, or that there was none to ask."""
    if tool is None:
        return "Not checked by Blender: none with extensions (4.2 or newer) was found. Give one with --blender, or a Python with bpy."
    for file in files:
        tool.validate(file)
    return f"Checked by {tool.name}: {len(files)} ZIP{'s' if len(files) > 1 else ''}."
