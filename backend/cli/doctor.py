"""`likeness doctor`: what is there, and what to do about what is missing."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from ..config import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--memory", type=_gigabytes, metavar="GB", help="show what a card with so much memory would keep of each model")


def run(options: Namespace, settings: Settings) -> int:
    """Print the notes; 1 if something is wrong."""
    from ..doctor import State, examine

    notes = examine(settings, options.memory)
    width = max(len(note.topic) for note in notes)
    for note in notes:
        print(f"{note.state.value}  {note.topic.ljust(width)}  {note.found}")
        if note.cure:
            print(f"{' ' * (width + 6)}→ {note.cure}")
    wrong = sum(note.state is State.WRONG for note in notes)
    print(f"\n{'Nothing is wrong.' if not wrong else f'{wrong} thing(s) to put right.'}")
    return 1 if wrong else 0


def _gigabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 1024:
        raise ArgumentTypeError(f"{text!r} is no size of a card's memory; give gigabytes from 1 to 1024, as in --memory 12")
    return value
