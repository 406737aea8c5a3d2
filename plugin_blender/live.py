"""Live pictures: quick small ones that follow while the artist poses. Without Blender and numpy; the scene is seen through `Eyes`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .asking import job_of
from .chores import Chores, Steps
from .protocol.client import Client
from .protocol.desk.live import LivePicture, LiveStream
from .protocol.errors import InvalidRequest, LikenessError
from .protocol.events import Event
from .protocol.jobs import GuideKind, PictureJob
from .protocol.results import ModelInfo
from .wish import Shot, Wish

CHEAP = (GuideKind.SKELETON, GuideKind.KEYPOINTS)
"""The guides that go along: what the rig alone says, for which nothing has to be rendered."""
NOTHING_FOLLOWS = "Nothing of the pose shows. Choose a character and switch on Face, or a model that takes the skeleton."


class Eyes(Protocol):
    """What is followed."""

    def wish(self) -> Wish:
        """What the panel says. Raises `LikenessError` when there is nothing to follow any more."""
        ...

    def stamp(self) -> Hashable:
        """Something that differs when another picture may be due; reads no more than that. Raises `LikenessError` for an obstacle."""
        ...

    def look(self, kinds: Sequence[GuideKind]) -> Steps[Shot]:
        """What the camera sees, of those of `CHEAP`. Raises `LikenessError` for an obstacle."""
        ...


@dataclass(frozen=True)
class Seen:
    """What a live picture was asked with."""

    wish: Wish
    shot: str


class Live:
    """One stream. `model(name)` is the one that draws, `waits()` says why no live picture can be asked for at the moment, "" when one can,
    and `known(name)` whether there is such a character.
    """

    def __init__(
        self,
        client: Client,
        chores: Chores,
        model: Callable[[str], ModelInfo | None],
        known: Callable[[str], bool],
        waits: Callable[[], str],
    ) -> None:
        self._stream: LiveStream[Seen] = LiveStream(client)
        self._chores, self._model, self._known, self._waits = chores, model, known, waits
        self.eyes: Eyes | None = None
        """What is followed; None while nothing is."""
        self._obstacle = self._unread = ""
        """Why nothing can be asked for, and why the last that was looked at could not be."""
        self._told: tuple[str, ...] = ()
        """What the artist should know of the last that was looked at."""
        self.reading = False
        """Whether a look is under way: the next tick should come at once."""

    @property
    def on(self) -> bool:
        """Whether something is followed."""
        return self.eyes is not None

    @property
    def working(self) -> bool:
        """Whether something newer than the picture is under way."""
        return self._stream.working

    @property
    def picture(self) -> LivePicture[Seen] | None:
        """The newest; None before the first, and while nothing is followed."""
        return self._stream.picture

    @property
    def sentence(self) -> str:
        """What stands in the way, or what is to be known of the picture; "" when there is nothing to say."""
        if self.eyes is None:
            return ""
        return self._obstacle or self._unread or self._stream.sentence or " ".join(self._told)

    def begin(self, eyes: Eyes) -> None:
        """Follow from now on."""
        self.end()
        self.eyes = eyes

    def end(self) -> None:
        """Follow no longer; what is under way ends."""
        self._stream.stop()
        self.eyes, self._obstacle, self._unread, self._told = None, "", "", ()

    def give_way(self) -> None:
        """An ordinary picture comes first: what is under way ends now, and is asked for again once that is done."""
        self._stream.pause()

    def route(self, event: Event) -> bool:
        """Whether the event was about a live picture; then nobody else wants it."""
        return self._stream.route(event)

    def turn(self) -> None:
        """Look whether anything has changed, and have it drawn if so. As long as nothing has, that is all."""
        eyes = self.eyes
        if eyes is None:
            return
        try:
            wish = eyes.wish()
            model = self._model(wish.model)
            stamp = (wish, model and model.id, self._known(wish.character), eyes.stamp())
            self._obstacle = self._waits()
        except LikenessError as error:
            self._obstacle = str(error)
        if self._obstacle:
            self._stream.pause()
        elif self._stream.wants(stamp):
            self._look(eyes, wish, model, self._stream.begin(stamp))

    def _look(self, eyes: Eyes, wish: Wish, model: ModelInfo | None, turn: int) -> None:
        kinds = [kind for kind in CHEAP if wish.weight(kind) > 0 and (kind is GuideKind.KEYPOINTS or model is None or kind in model.guides)]

        def seen(shot: Shot) -> None:
            self.reading = False
            try:
                job = self._job(wish, shot, model)
            except LikenessError as error:
                failed(str(error))
                return
            self._unread = ""
            self._told = shot.sentences or (() if job.guides else (NOTHING_FOLLOWS,))
            self._stream.show(turn, job, Seen(wish, shot.name), content=job)

        def failed(sentence: str) -> None:
            self.reading, self._unread = False, sentence
            self._stream.give_up(turn, self._stream.sentence)

        self.reading = True
        self._chores.do(eyes.look(kinds), seen, failed)

    def _job(self, wish: Wish, shot: Shot, model: ModelInfo | None) -> PictureJob:
        if wish.model and model is None:
            raise InvalidRequest(f"There is no model called {wish.model!r} here. Choose one from the list.")
        if wish.character and not self._known(wish.character):
            raise InvalidRequest(f"There is no character called {wish.character!r}. Choose one, or make it.")
        return job_of(wish, shot, model)
