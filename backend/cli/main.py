"""`likeness`: reads the options, runs one command, and turns whatever goes wrong into a sentence and an exit code.

0 done, 1 something unexpected (a report was written), 2 something that the user can put right, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from protocol.errors import LikenessError

from ..config import Settings, defaults, load_settings
from ..installed import release
from .arguments import Parser, one_line
from .settle import settle

COMMANDS = {
    "demo": "sample faces in; portraits, an edited, a posed and an inpainted picture and a contact sheet out",
    "portrait": "pictures of a person or several, from photos of their faces",
    "inpaint": "put a person, or whatever the prompt says, into a masked part of a picture",
    "again": "make the same picture once more, from the PNG alone",
    "character": "save, list, rename, delete, blend, compare, export and import people, for all hosts by name",
    "models": "fetch models with their adapters, use those that are there, check and remove them",
    "krita": "put the docker into Krita, or into a ZIP for Krita's own importer",
    "blender": "the add-on for Blender as ZIPs, their index as a repository, or put into this user's Blender",
    "serve": "start the backend that Krita, Blender and scripts share",
    "status": "whether the backend runs, on what, and what it does",
    "bench": "measure how fast: the protocol, a picture's way, the engine, the start, and the memory it takes",
    "doctor": "what is there on this machine, and what to do about what is missing",
    "evaluate": "measure identity, editing and control on people the model was never trained on",
    "train": "train a base, IP-Adapter, InstantID or the face models",
}
OF_ALL = ("--config", "--alone", "--device", "--version")
"""Options of all commands."""
READS_FACES = ("demo", "portrait", "inpaint", "again", "evaluate", "serve")
EPILOG = f"""settings come from these places, the later ones win: the defaults, config.toml, the environment, the flags. They are
{", ".join(field.name for field in fields(Settings))};
in the environment LIKENESS_MODELS and so on.

  likeness demo --out out
  likeness portrait --face anna.png --prompt "portrait of a smiling person, red cap, at the sea" --count 4 -o anna-at-sea.png
  likeness again anna-at-sea.png
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's entry point; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in words if word in COMMANDS), "")
    logs = defaults(os.environ).logs
    screen: Any = sys.stdout
    if hasattr(screen, "reconfigure"):  # a terminal may not know every sign, and a file's name may have bytes that are none
        screen.reconfigure(errors="backslashreplace")
    try:
        options, strange = build_parser(words).parse_known_args(words)
        if strange:
            _refuse(strange, options.command)
        settings = _settings(options)
        logs = settings.logs
        if options.command in READS_FACES:
            settle()
        return int(import_module(f".{options.command}", __package__).run(options, settings))
    except LikenessError as error:
        sys.stderr.write(f"likeness {command}: {one_line(str(error))}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"likeness {command}: Stopped.\n")
        return 130
    except BrokenPipeError:  # the reader of our output left (`likeness evaluate | head`): nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # the last resort of a command line: whatever it is, no traceback on the screen
        sys.stderr.write(_unexpected(error, command, words, logs))
        return 1


def build_parser(words: Sequence[str]) -> Parser:
    """The parser. Only the command that `words` name is given its options: reading the others would cost time for nothing."""
    parser = Parser(
        prog="likeness",
        description="Puts one person's likeness into pictures (IP-Adapter and InstantID).",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"likeness {_version()}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="read settings from this TOML file")
    parser.add_argument("--alone", action="store_const", const="yes", help="compute in this process, without a backend")
    parser.add_argument("--device", help="auto (default), cpu, cuda, cuda:1, mps")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name in words:
            module: Any = import_module(f".{name}", __package__)
            module.add_arguments(command)
    return parser


def _refuse(strange: Sequence[str], command: str) -> NoReturn:
    """Leave with a sentence about words that the command does not know: argparse would name the help of no command."""
    name = strange[0].partition("=")[0]
    before = f"; {name} stands before the command: `likeness {name} {command} …`" if name in OF_ALL else ""
    Parser(prog=f"likeness {command}").error(f"unrecognized arguments: {' '.join(strange)}{before}")


def _settings(options: Namespace) -> Settings:
    names = ("device", "model", "alone")
    flags = {name: str(value) for name in names if (value := getattr(options, name, None)) is not None}
    return load_settings(flags, os.environ, options.config)


def _version() -> str:
    return release() or "(not installed: running from the source folder)"


def _without_values(words: Sequence[str]) -> str:
    """Command and option names: what a report needs, without a prompt or the name of a photo."""
    return " ".join(word.split("=")[0] for word in words if word in COMMANDS or word.startswith("-"))


def _unexpected(error: Exception, command: str, words: Sequence[str], logs: Path) -> str:
    """Write the report that a bug needs; the sentence for the screen."""
    import platform
    import traceback

    summary = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    machine = f"likeness {_version()}, Python {platform.python_version()}, {platform.platform()}"
    report = [machine, f"arguments: {_without_values(words)}", "", traceback.format_exc()]
    file = logs / f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        for folder in (logs.parent, logs):  # the first may be the backend's folder, which it refuses when others can enter it
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text("\n".join(report), encoding="utf-8")
        where = f"The report is in {file}; please send it along when you ask for help."
    except OSError as problem:
        where = f"The report could not be written to {file} ({problem.strerror})."
    return f"likeness {command}: Something unexpected went wrong ({summary}). {where}\n"
