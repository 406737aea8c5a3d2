"""Every command that the words about this project show is one that the parser takes: its names and its options exist."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from backend.cli.main import EPILOG, build_parser
from backend.cli.train import PARTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "backend/DECISIONS.md",
    "backend/sketch/README.md",
    "protocol/SPEC.md",
    "plugin_krita/Manual.html",
)
TEXTS = {**{page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}, "likeness --help": EPILOG}
TRAINING = "accelerate launch --cpu --num_processes 2 -m backend.training "


def whole(text: str) -> Iterator[str]:
    """Commands as they would be typed: lines of shell blocks, and of the help's own examples."""
    for block in [*re.findall(r"```sh\n(.*?)```", text, re.DOTALL), *([text] if text is EPILOG else [])]:
        for line in block.replace("\\\n", " ").splitlines():
            last = line.strip().rpartition(" && ")[2]
            if last.startswith(("likeness ", ".venv/bin/likeness ", TRAINING)):
                yield re.sub(r"^(\.venv/bin/)?likeness ", "", last).replace(TRAINING, "train ")


def mentioned(text: str) -> Iterator[list[str]]:
    """Commands within sentences. Words in capitals stand for others, and `a|b` for each of both."""
    for words in re.findall(r"(?:`|<code>)likeness ([^`<]*)", " ".join(text.split())):
        wanted = [word for word in words.split() if word != "…"]
        several = next((word for word in wanted if "|" in word), "")
        for one in several.split("|"):
            yield [one if word == several else word for word in wanted]


SHOWN = sorted({(page, command) for page, text in TEXTS.items() for command in whole(text)})
MENTIONED = sorted({(page, " ".join(words)) for page, text in TEXTS.items() for words in mentioned(text)})


def known(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """What of `words` is no name and no option of the parser; what is somebody's own value is passed over."""
    options = {name for action in parser._actions for name in action.option_strings}
    below = next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
    for index, word in enumerate(words):
        if word.startswith("-"):
            if word not in options:
                return [word]
        elif below is not None and not word.isupper() and (index == 0 or word in below.choices or words[index - 1] not in options):
            return known(below.choices[word], words[index + 1 :]) if word in below.choices else [word]
    return []


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of a command, and the words that are for it."""
    if words[0] != "train" or len(words) == 1 or words[1] not in PARTS:
        return build_parser(words), words
    parser = argparse.ArgumentParser()
    import_module(f"backend.training.{PARTS[words[1]][0].split()[-1]}").add_arguments(parser)
    return parser, words[2:]


def test_there_are_commands_to_be_looked_at() -> None:
    assert len(SHOWN) > 30
    assert len(MENTIONED) > 30


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_a_command_that_is_shown_is_one_that_the_parser_takes(page: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "train":
        words[1] = words[1].replace("_", "-")  # as `backend.training` calls it
    parser, own = parser_of(words)
    parser.parse_args(own)


@pytest.mark.parametrize(("page", "command"), MENTIONED)
def test_a_command_that_is_mentioned_exists_with_its_options(page: str, command: str) -> None:
    parser, own = parser_of(command.split())
    assert known(parser, own) == []


@pytest.mark.parametrize("command", ["portray", "portrait --fase anna.png", "models grow", "bench --sides 3", "train judge --drown a=b"])
def test_what_there_is_not_would_be_noticed(command: str) -> None:
    parser, own = parser_of(command.split())
    assert known(parser, own) != []
