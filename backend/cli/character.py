"""`likeness character`: the people that are saved in the backend, which Krita, Blender and scripts call by name."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol.errors import InvalidRequest

from ..config import Settings
from .arguments import png_file, prompt, seed
from .work import check_folder

if TYPE_CHECKING:
    from protocol.results import CharacterCard

    from ..scripting import Results, Studio

ROW_PROMPT = "portrait of a person, blue sweater, grey background"
MOST_IN_A_ROW = 16
MOST_SHARE = 1000
"""Only the proportions of weights count."""


def add_arguments(parser: ArgumentParser) -> None:
    """The options of each action."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the saved people, and how alike their photos are among each other")
    make = actions.add_parser("make", help="save a person from photos")
    make.add_argument("name")
    make.add_argument("--face", action="append", required=True, type=Path, metavar="FILE", help="a photo; several make one person")
    _add_replace(make)
    rename = actions.add_parser("rename", help="give a person another name")
    rename.add_argument("name")
    rename.add_argument("to")
    delete = actions.add_parser("delete", help="forget a person, with the photos")
    delete.add_argument("name")
    _add_files(actions)
    _add_mixing(actions)


def _add_files(actions: Any) -> None:  # noqa: ANN401 - argparse's own class is private
    export = actions.add_parser("export", help="write a person into a file, to carry to another machine")
    export.add_argument("name")
    export.add_argument("-o", "--out", required=True, type=Path, metavar="FILE", help="for example captain.likeness")
    export.add_argument("--photos", action="store_true", help="the photos go along; without them, what the recognisers read of them")
    export.add_argument("--consent", metavar="TEXT", help="what the person agreed to, for whoever imports the file")
    export.add_argument("--licence", metavar="TEXT", help="how the character may be used")
    bring = actions.add_parser("import", help="save the person of an exported file")
    bring.add_argument("file", type=Path)
    bring.add_argument("--name", help="another name than the file's")
    _add_replace(bring)


def _add_mixing(actions: Any) -> None:  # noqa: ANN401 - the same
    blend = actions.add_parser("blend", help="people between others, saved or only shown in a row of pictures")
    blend.add_argument("people", nargs="+", metavar="NAME")
    blend.add_argument(
        "--weights", nargs="+", type=_share, metavar="W", help="one per person; only their proportions count (default: all the same)"
    )
    blend.add_argument("--as", dest="to", metavar="NEW", help="save the blend under this name")
    blend.add_argument("--row", type=png_file, metavar="OUT.png", help="pictures from the first person to the second")
    blend.add_argument("--pictures", type=_pictures, default=5, metavar="N", help="of the row (default 5)")
    blend.add_argument("--prompt", type=prompt, default=ROW_PROMPT, help="of the row")
    blend.add_argument("--seed", type=seed, default=0, help="of every picture of the row")
    _add_replace(blend)
    average = actions.add_parser("average", help="the mean of several people and photos, saved")
    average.add_argument("people", nargs="+", metavar="NAME")
    average.add_argument("--face", action="append", default=[], type=Path, metavar="FILE", help="a photo that counts as one more person")
    average.add_argument("--as", dest="to", required=True, metavar="NEW")
    _add_replace(average)
    compare = actions.add_parser("compare", help="how alike two people are, by the model's recogniser")
    compare.add_argument("people", nargs=2, metavar="NAME_OR_PHOTO", help="a saved person, or a photo")


def run(options: Namespace, settings: Settings) -> int:
    """Do one of the actions."""
    from ..remote import studio_for

    if options.action == "export" and not options.out.absolute().parent.is_dir():
        raise InvalidRequest(f"The folder {options.out.absolute().parent} does not exist. Make it first, or choose another place.")
    if options.action == "blend":
        _check_blend(options)
    with studio_for(settings) as studio:
        print("\n".join(_done(options, studio, settings.model)))
    return 0


def _done(options: Namespace, studio: Studio, model: str) -> list[str]:
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
            return _exported(options, studio)
        case "import":
            return _imported(options, studio)
        case "blend":
            return _blended(options, studio, model)
        case "average":
            studio.average(options.to, options.people, photos=options.face, overwrite=options.replace, model=model)
            return [f"{options.to} is the mean of {' and '.join([*options.people, *map(str, options.face)])}."]
        case _:
            known = {card.name for card in studio.characters()}
            one, other = (_person(who, known) for who in options.people)
            return [studio.compare(one, other, model=model).sentence]


def _person(who: str, known: set[str]) -> str | list[Path]:
    """A saved person by their name, or a photo."""
    if who in known:
        return who
    if not Path(who).exists():
        saved = ", ".join(sorted(known)) or "none yet"
        raise InvalidRequest(f"There is neither a character nor a photo called {who!r}. Saved: {saved}.")
    return [Path(who)]


def _exported(options: Namespace, studio: Studio) -> list[str]:
    written = studio.export_character(options.name, options.out, photos=options.photos, consent=options.consent, licence=options.licence)
    read = ", ".join(reading.recogniser for reading in written.readings)
    photos = f"{len(written.photos)} photo{'' if len(written.photos) == 1 else 's'}" if written.photos else "no photos"
    return [f"{options.out} has {options.name}, as read by {read or 'nobody'}, and {photos}."]


def _imported(options: Namespace, studio: Studio) -> list[str]:
    from protocol.desk.character_file import read_character_file

    notice = read_character_file(options.file).notice
    name = studio.import_character(options.file, options.name, overwrite=options.replace).name
    return [f"{name} is saved.", *([notice] if notice else [])]


def _blended(options: Namespace, studio: Studio, model: str) -> list[str]:
    said: list[str] = []
    if options.to:
        shares = dict(zip(options.people, options.weights or [1.0] * len(options.people), strict=True))
        studio.blend(options.to, shares, overwrite=options.replace, model=model)
        total = sum(shares.values())
        said.append(f"{options.to} is {' and '.join(f'{weight / total:.0%} {name}' for name, weight in shares.items())}.")
    if options.row:
        one, other = options.people[:2]
        made = studio.row(one, other, options.prompt, pictures=options.pictures, seed=options.seed, model=model)
        _save_row(options, made)
        said.append(f"{options.row}: {len(made)} pictures from {one} to {other}")
    return said


def _save_row(options: Namespace, made: Results) -> None:
    import numpy as np

    from ..contact import Cell, Row, contact_sheet
    from ..images import save_png

    one, other = options.people[:2]
    parts = [n / (len(made) - 1) for n in range(len(made))]
    cells = [
        Cell(np.asarray(picture.image.convert("RGB")), f"{1 - part:.0%} {one}, {part:.0%} {other}")
        for picture, part in zip(made, parts, strict=True)
    ]
    page = contact_sheet(f"From {one} to {other}", f"{options.prompt} · seed {options.seed}", [Row("", tuple(cells))])
    save_png(options.row, page, {"people": [one, other], "prompt": options.prompt, "seed": options.seed, "model": made.model})


def _check_blend(options: Namespace) -> None:
    if not options.to and not options.row:
        raise InvalidRequest("Say what is to come of it: --as NEW saves the blend, --row OUT.png shows the way from one to the other.")
    if options.weights and len(options.weights) != len(options.people):
        raise InvalidRequest(f"There are {len(options.people)} people and {len(options.weights)} weights. Give one weight for each.")
    if len(set(options.people)) < len(options.people) or len(options.people) < 2:
        raise InvalidRequest("A blend is between two people or more, each named once.")
    if options.row:
        if len(options.people) != 2:
            raise InvalidRequest("A row goes from one person to one other. Name two.")
        check_folder(options.row)


def _add_replace(parser: ArgumentParser) -> None:
    parser.add_argument("--replace", action="store_true", help="a person of that name is replaced")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no weight; give a number from 0 to {MOST_SHARE}") from None
    if not 0 <= value <= MOST_SHARE:
        raise ArgumentTypeError(f"the weight {text} is outside of 0 to {MOST_SHARE}")
    return value


def _pictures(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= MOST_IN_A_ROW:
        raise ArgumentTypeError(f"{text} is no number of pictures from 2 to {MOST_IN_A_ROW}")
    return int(text)


def _line(card: CharacterCard) -> str:
    if not card.scores:
        return f"{card.name}: a blend"
    photos = ", ".join(
        f"{n}: detector {score:.2f}, alike {alike:.2f}" for n, (score, alike) in enumerate(zip(card.scores, card.alike, strict=True), 1)
    )
    return f"{card.name}: {len(card.scores)} photo{'s' if len(card.scores) > 1 else ''} ({photos})"
