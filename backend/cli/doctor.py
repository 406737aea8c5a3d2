"""`likeness doctor`: what is there, and what to do about what is missing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..config import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """No options."""


def run(options: Namespace, settings: Settings) -> int:
    """Print the notes; 1 if something is wrong."""
    from ..doctor import State, examine

    notes = examine(settings)
    width = max(len(note.topic) for note in notes)
    for note in notes:
        print(f"{note.state.value}  {note.topic.ljust(width)}  {note.found}")
        if note.cure:
            print(f"{' ' * (width + 6)}→ {note.cure}")
    wrong = sum(note.state is State.WRONG for note in notes)
    print(f"\n{'All is well.' if not wrong else f'{wrong} thing(s) to put right.'}")
    return 1 if wrong else 0
