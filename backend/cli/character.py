"""`likeness character`: the people that are saved in the backend, which Krita, Blender and scripts call by name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

from ..config import Settings

if TYPE_CHECKING:
    from protocol.results import CharacterCard

    from ..scripting import Studio


def add_arguments(parser: ArgumentParser) -> None:
    """The options of each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the saved people, and how alike their photos are among each other")
    make = actions.add_parser("make", help="save a person from photos")
    make.add_argument("name")
    make.add_argument("--face", action="append", required=True, type=Path, metavar="FILE", help="a photo; several make one person")
    make.add_argument("--replace", action="store_true", help="a person of that name is replaced")
    rename = actions.add_parser("rename", help="give a person another name")
    rename.add_argument("name")
    rename.add_argument("to")
    delete = actions.add_parser("delete", help="forget a person, with the photos")
    delete.add_argument("name")
    export = actions.add_parser("export", help="write a person into a file, to carry to another machine")
    export.add_argument("name")
    export.add_argument("-o", "--out", required=True, type=Path, metavar="FILE", help="for example captain.likeness")
    bring = actions.add_parser("import", help="save the person of an exported file")
    bring.add_argument("file", type=Path)
    bring.add_argument("--name", help="another name than the file's")
    bring.add_argument("--replace", action="store_true", help="a person of that name is replaced")


def run(options: Namespace, settings: Settings) -> int:
    """Do one of the actions."""
    from ..remote import studio_for

    if options.action == "export" and not options.out.absolute().parent.is_dir():
        raise InvalidRequest(f"The folder {options.out.absolute().parent} does not exist. Make it first, or choose another place.")
    with studio_for(settings) as studio:
        print("\n".join(_done(options, studio)))
    return 0


def _done(options: Namespace, studio: Studio) -> list[str]:
    match options.action:
        case "list":
            return [_line(card) for card in studio.characters()] or ["Nobody is saved yet. `likeness character make NAME --face PHOTO`"]
        case "make":
            studio.character(options.name, options.face, overwrite=options.replace)
            return [_line(card) for card in studio.characters() if card.name == options.name]
        case "rename":
            studio.rename(options.name, options.to)
            return [f"{options.name} is called {options.to} now."]
        case "delete":
            studio.delete(options.name)
            return [f"{options.name} is forgotten."]
        case "export":
            return [f"{studio.export_character(options.name, options.out)} has the photos of {options.name}."]
        case _:
            return [f"{studio.import_character(options.file, options.name, overwrite=options.replace).name} is saved."]


def _line(card: CharacterCard) -> str:
    if not card.scores:
        return f"{card.name}: a blend"
    photos = ", ".join(
        f"{n}: detector {score:.2f}, alike {alike:.2f}" for n, (score, alike) in enumerate(zip(card.scores, card.alike, strict=True), 1)
    )
    return f"{card.name}: {len(card.scores)} photo{'s' if len(card.scores) > 1 else ''} ({photos})"
