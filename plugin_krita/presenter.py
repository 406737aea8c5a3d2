"""What the docker asks: the one object that widgets know, without Qt and Krita. What it shows is in `heart.py`; here is what it does.

Nothing here waits: messages are taken from sockets that never block, pixels and files are worked on in one other thread. Whatever goes
wrong becomes a sentence in `notice`.
"""

from __future__ import annotations

from dataclasses import replace

from .form import PersonRow
from .heart import Heart, guarded
from .host import CanvasProblem
from .protocol.desk.loras import added, missing_words, with_words
from .protocol.geometry import Point
from .protocol.limits import LORAS, SUBJECTS


class Presenter(Heart):
    """Everything is called in the host's thread; `tick` from a timer, some thirty times a second while the docker is shown."""

    @guarded
    def change(self, **values: object) -> None:
        """Set values of the form."""
        self._desk.form = self._desk.form.changed(**values)

    @guarded
    def start_backend(self) -> None:
        """Start the backend; the state line says how it goes."""
        self._desk.say("")
        self._state.begin()

        def failed(sentence: str) -> None:
            self._state.give_up()
            self._desk.say(sentence)

        self._desk.background.do(self._launcher.start, failed=failed)

    @guarded
    def generate(self) -> None:
        """Do what the form says, with what is on the canvas now."""
        if self.why_not:
            raise CanvasProblem(self.why_not)
        self._desk.say("")
        if not self.form.seed_locked:
            self.change(seed=self._random_seed())
        self._picture_jobs.generate(self.form, self._pose_of, self._steps())

    def _steps(self) -> int | None:
        model = self._model()
        return None if model is None else max(1, min(1000, round(model.steps * self.form.quality.share)))

    @guarded
    def turn_live(self, on: bool) -> None:
        """Live on or off."""
        self._live.turn(on)

    @guarded
    def watched(self, visible: bool) -> None:
        """Whether anybody can see the docker; live stops while nobody does."""
        self._live.watched(visible)

    @guarded
    def throw_live_dice(self) -> None:
        """Another seed for live pictures."""
        self._live.throw_dice()

    @guarded
    def keep_live(self) -> None:
        """Make a layer of the live picture: one step of undo."""
        self._desk.say("")
        self._live.keep()

    @guarded
    def live_in_full(self) -> None:
        """Generate what the live picture shows, with its seed and settings, of the canvas as it is now."""
        form = self._live.in_full()
        if self.why_not:
            raise CanvasProblem(self.why_not)
        self._desk.say("")
        self._picture_jobs.generate(form, self._pose_of, self._steps())

    @guarded
    def cancel(self) -> None:
        """Stop the picture under way."""
        self._picture_jobs.cancel()

    @guarded
    def dismiss(self) -> None:
        """Take the notice away: the artist has read it."""
        self._desk.say("")

    @guarded
    def show(self, key: str | None) -> None:
        """Show a result on the canvas; None hides it."""
        self._gallery.show(key)

    @guarded
    def apply(self, key: str, transparency_mask: bool = False) -> None:
        """Make a layer of a result: one step of undo."""
        self._desk.say("")
        self._gallery.apply(key, transparency_mask)

    @guarded
    def discard(self, key: str) -> None:
        """Throw a result away."""
        self._gallery.discard(key)

    @guarded
    def take_waiting(self) -> None:
        """Bring the pictures of documents that are gone into the active one."""
        self._left.take(self._gallery.history)

    @guarded
    def reuse(self, key: str) -> None:
        """A result's prompt, seed and settings into the form."""
        self._gallery.reuse(key)

    @guarded
    def draft_from_layer(self) -> None:
        """The active layer as a photo of a new character."""
        self._drafts.from_layer()

    @guarded
    def draft_from_selection(self) -> None:
        """What is selected as a photo of a new character."""
        self._drafts.from_selection()

    @guarded
    def draft_from_files(self, paths: list[str]) -> None:
        """Picture files as photos of a new character."""
        self._drafts.from_files(paths)

    @guarded
    def draft_remove(self, number: int) -> None:
        """Leave one photo out."""
        self._drafts.remove(number)

    @guarded
    def draft_choose_face(self, number: int, face: int) -> None:
        """Which face of a photo is meant."""
        self._drafts.choose(number, face)

    @guarded
    def draft_rename(self, name: str) -> None:
        """The new character's name."""
        self._drafts.rename(name)

    @guarded
    def draft_save(self, replace: bool = False) -> None:
        """Save the new character; a name that is taken needs `replace`."""
        self._drafts.save(replace)

    @guarded
    def draft_clear(self) -> None:
        """Throw the draft away."""
        self._drafts.clear()

    @guarded
    def add_person(self, name: str) -> None:
        """A character into the picture."""
        if len(self.form.persons) >= SUBJECTS:
            raise CanvasProblem(f"A picture takes {SUBJECTS} characters at most. Remove one first.")
        self.change(persons=(*self.form.persons, PersonRow(name)))

    @guarded
    def remove_person(self, index: int) -> None:
        """Take one out of the picture."""
        self.change(persons=tuple(row for number, row in enumerate(self.form.persons) if number != index))

    @guarded
    def change_person(self, index: int, **values: object) -> None:
        """Set values of one row."""
        rows = tuple(_replaced(row, values) if number == index else row for number, row in enumerate(self.form.persons))
        self.change(persons=rows)

    @guarded
    def add_lora(self, name: str) -> None:
        """One of the model's LoRAs, with the weight that is suggested for it."""
        if len(self.form.loras) >= LORAS:
            raise CanvasProblem(f"A picture takes {LORAS} LoRAs at most. Take one out first.")
        self.change(loras=added(self.form.loras, name, self._model()))

    @guarded
    def remove_lora(self, index: int) -> None:
        """Take one out."""
        self.change(loras=tuple(row for number, row in enumerate(self.form.loras) if number != index))

    @guarded
    def change_lora(self, index: int, weight: float) -> None:
        """Set the weight of one."""
        rows = enumerate(self.form.loras)
        self.change(loras=tuple(replace(row, weight=weight) if number == index else row for number, row in rows))

    @guarded
    def add_lora_words(self, index: int) -> None:
        """The trigger words that the prompt lacks for one, to its end."""
        if index < len(self.form.loras):
            words = missing_words(self.form.loras[index], self._model(), self.form.prompt)
            self.change(prompt=with_words(self.form.prompt, words))

    @guarded
    def rename_character(self, old: str, new: str) -> None:
        """Give a saved character another name."""
        self._people.rename(old, new)

    @guarded
    def delete_character(self, name: str) -> None:
        """Delete a saved character."""
        self._people.delete(name)

    @guarded
    def export_character(self, name: str, path: str, photos: bool = False) -> None:
        """Write a saved character to a file, with its photos only if told so."""
        self._people.export(name, path, photos)

    @guarded
    def import_character(self, path: str) -> None:
        """Make a character from such a file; one whose name is taken becomes the draft."""
        self._people.import_file(path)

    @guarded
    def ask_pose(self) -> None:
        """Look for the face under the selection."""
        self._pose.ask()

    @guarded
    def set_pose(self, points: tuple[Point, ...]) -> None:
        """Five points in canvas pixels decide where the first person's face goes."""
        self._pose.set(points)

    @guarded
    def close(self) -> None:
        """Leave: accepted jobs go on at the backend and are found again."""
        if self._closed:
            return
        self._closed = True
        self._live.close()
        self._picture_jobs.hide_live()
        self._gallery.leave()
        values, store = self._desk.form.kept(), self._desk.store
        self._desk.background.do(lambda: store.keep_settings(values))
        self._desk.background.close()
        self._desk.client.close()


def _replaced(row: PersonRow, values: dict[str, object]) -> PersonRow:
    return replace(row, **values)  # type: ignore[arg-type]
