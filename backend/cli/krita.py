"""`likeness krita`: the docker for Krita, put into this user's Krita or into a ZIP."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

from ..config import Settings, cache_home

if TYPE_CHECKING:
    from ..krita.places import Place
    from ..krita.wheels import Library, Target


def add_arguments(parser: ArgumentParser) -> None:
    """The options of each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="put the docker into this user's Krita, and switch it on")
    install.add_argument("--home", type=Path, metavar="DIR", help="the home folder of Krita's user, when it is not yours")
    install.add_argument("--remove", action="store_true", help="take away everything that was put there")
    archive = actions.add_parser("zip", help="a file for Tools > Scripts > Import Python Plugin from File, on any machine")
    archive.add_argument("-o", "--out", type=Path, metavar="FILE", help="likeness-krita.zip without this")
    for action in (install, archive):
        action.add_argument("--fresh", action="store_true", help="download the libraries again, also when they are in the cache")


def run(options: Namespace, settings: Settings) -> int:
    """Do one of the actions."""
    if options.action == "zip":
        return _zip(options.out or Path("likeness-krita.zip"), options.fresh)
    found = _places(options.home)
    return _remove(found) if options.remove else _install(found, options.fresh)


def _places(home: Path | None) -> list[Place]:
    from protocol.discovery import state_folder

    from ..krita.places import places

    if home is None:
        return places(os.environ, sys.platform, Path.home(), state_folder(os.environ))
    home = home.expanduser().absolute()
    if not home.is_dir():
        raise InvalidRequest(f"The folder {home} does not exist. Give the home folder of the user who has Krita.")
    return places({}, sys.platform, home, state_folder({}, home=home))


def _install(found: Sequence[Place], fresh: bool) -> int:
    from ..krita.install import backend_of, install
    from ..krita.package import plugin_files, side_files
    from ..krita.places import krita_runs, python_of_krita
    from ..krita.wheels import targets_here

    libraries, have, problems = _libraries(targets_here(), fresh)
    theirs = python_of_krita()
    unmet = [problem for target, problem in problems.items() if not have or _serves(target, theirs)]
    if unmet:
        raise InvalidRequest(unmet[0])
    for place in found:
        install(place, plugin_files(libraries, backend_of(place)), side_files())
        print(f"{place.name}: the docker is in {place.resources / 'pykrita'}, and switched on.")
        if word := _word_on(place):
            print(f"  {word}")
    print(f"It carries what it needs for Krita's {', '.join(map(str, have))}.")
    for problem in problems.values():
        print(f"Not there: {problem}")
    print(f"{'Start Krita again' if krita_runs() else 'Start Krita'}; the docker is under Settings > Dockers > Likeness.")
    return 0


def _remove(found: Sequence[Place]) -> int:
    from ..krita.install import remove

    removed = [place for place in found if remove(place)]
    for place in removed:
        print(f"{place.name}: the docker is gone from {place.resources / 'pykrita'}.")
        if (place.resources / "likeness").is_dir():
            print(f"  Your settings stay in {place.resources / 'likeness'}.")
    if not removed:
        print("The docker was in no Krita of this user.")
    return 0


def _zip(out: Path, fresh: bool) -> int:
    from ..files import write_whole
    from ..krita.package import plugin_files, side_files, zip_of
    from ..krita.wheels import targets_everywhere

    out = out.expanduser().absolute()
    if not out.parent.is_dir():
        raise InvalidRequest(f"The folder {out.parent} does not exist. Make it first, or choose another place.")
    libraries, _, problems = _libraries(targets_everywhere(), fresh)
    if problems:
        raise InvalidRequest(next(iter(problems.values())))
    data = zip_of(plugin_files(libraries), side_files())
    try:
        write_whole(out, data)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written ({error.strerror}). Choose another place.") from error
    print(f"{out} ({len(data) / 2**20:.1f} MB). In Krita: Tools > Scripts > Import Python Plugin from File, then start Krita again.")
    return 0


def _libraries(targets: Sequence[Target], fresh: bool) -> tuple[dict[str, Library], list[Target], dict[Target, str]]:
    """Every library by its folder, which builds there are, and for the others why not."""
    from ..addons.wheels import NoWheel
    from ..krita.wheels import msgpack, pyzmq

    cache = cache_home(os.environ) / "wheels"
    libraries = {"any": msgpack()}
    have: list[Target] = []
    problems: dict[Target, str] = {}
    for target in targets:
        try:
            libraries[target.folder] = pyzmq(target, cache, fresh)
            have.append(target)
        except NoWheel as problem:
            problems[target] = str(problem)
    return libraries, have, problems


def _serves(target: Target, python: tuple[int, int] | None) -> bool:
    return python is not None and (target.python == python or (target.build.is_stable and python >= target.python))


def _word_on(place: Place) -> str:
    from ..krita.places import Starts

    match place.starts:
        case Starts.THROUGH_FLATPAK:
            allow = "flatpak override --user --talk-name=org.freedesktop.Flatpak org.kde.krita"
            return f"Its sandbox starts no backend. Allow it (`{allow}`), or run `likeness serve` yourself."
        case Starts.NOT:
            own = "" if place.state is None else f" --state {shlex.quote(str(place.state))}"
            return f"Its sandbox starts no backend: run `likeness serve{own}` yourself."
        case Starts.DIRECTLY:
            return ""
