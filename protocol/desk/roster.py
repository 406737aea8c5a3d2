"""The saved characters as the backend lists them, page by page; renaming and deleting."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InvalidRequest, NameTaken
from ..messages import Characters
from ..results import CharacterCard
from .errands import Answer, Errands

MOST_PAGES = 100


class Roster:
    """`changed(cards)` is called with every new list."""

    def __init__(self, errands: Errands, changed: Callable[[tuple[CharacterCard, ...]], None]) -> None:
        self._errands, self._changed = errands, changed
        self.cards: tuple[CharacterCard, ...] = ()
        self._page: list[CharacterCard] = []
        self._asking = self._again = False

    def refresh(self) -> None:
        """Ask for the whole list, page by page; the old one is shown until the new one is complete."""
        if self._asking:
            self._again = True
            return
        self._asking, self._page = True, []
        self._ask_page(None, 0)

    def _ask_page(self, after: str | None, number: int) -> None:
        def take(answer: Answer) -> None:
            if not isinstance(answer, Characters):
                return
            self._page += answer.characters
            if answer.more and answer.characters and number < MOST_PAGES:
                self._ask_page(answer.characters[-1].name, number + 1)
                return
            self.cards, self._asking = tuple(self._page), False
            self._changed(self.cards)
            if self._again:
                self._again = False
                self.refresh()

        def failed(code: str, sentence: str) -> None:
            self._asking = False
            self._errands.say(sentence)

        self._errands.ask(self._errands.client.ask_characters(after), take, failed)

    def rename(self, old: str, new: str, done: Callable[[str], None]) -> None:
        """Give a character another name; then `done(new)`. Raises `InvalidRequest` for a name that cannot be."""
        new = new.strip()
        if new == old:
            return
        if not new:
            raise InvalidRequest("A character needs a name. Type at least one letter.")
        if any(card.name == new for card in self.cards):
            raise NameTaken(f"There is a character called {new!r} already. Choose another name, or delete that one first.")

        def take(answer: Answer) -> None:
            done(new)
            self.refresh()

        self._errands.ask(self._errands.client.rename_character(old, new), take)

    def delete(self, name: str, done: Callable[[], None]) -> None:
        """Delete a character with all that is kept of it; then `done()`."""

        def take(answer: Answer) -> None:
            done()
            self.refresh()

        self._errands.ask(self._errands.client.delete_character(name), take)
