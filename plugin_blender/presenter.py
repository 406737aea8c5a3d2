"""What the panels and the script functions ask: the one object that knows the backend, without Blender and numpy.

Nothing here waits and there are no threads: `tick` is called from a timer, takes messages from sockets that never block, and does a few
milliseconds of work. Whatever goes wrong becomes a sentence in `notice`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol

from .chores import Chores
from .live import Live
from .people import People, Pictures
from .picture_jobs import Ended, PictureJobs
from .protocol.client import Client
from .protocol.desk.backend_state import BackendState
from .protocol.desk.errands import Errands
from .protocol.desk.progress import Progress
from .protocol.desk.state_line import Backend
from .protocol.desk.store import Store
from .protocol.errors import InvalidRequest
from .protocol.events import Event, Link, Refused
from .protocol.jobs import About
from .protocol.planes import Plane
from .protocol.results import CharacterCard, ModelInfo
from .shelf import Result, Shelf
from .wish import Shot, Wish

SHOTS = 64
"""Of one press: a turnaround, a character sheet."""
P = ParamSpec("P")


class Launcher(Protocol):
    """What starts a backend."""

    def available(self) -> str:
        """Empty when one can be started, else why not."""
        ...

    def start(self) -> None:
        """Start it and return. Raises `ServiceError`."""
        ...


def guarded(act: Callable[Concatenate[Presenter, P], None]) -> Callable[Concatenate[Presenter, P], None]:
    """Whatever goes wrong is said in `notice`: the timer must never raise, or Blender takes it away."""

    @functools.wraps(act)
    def acted(self: Presenter, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            act(self, *args, **kwargs)
        except Exception as error:
            self._errands.blame(error)

    return acted


class Presenter:
    """Everything is called in Blender's main thread."""

    def __init__(
        self,
        client: Client,
        launcher: Launcher,
        store: Store,
        shelf: Shelf,
        pictures: Pictures,
        *,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._client, self._launcher, self._shelf = client, launcher, shelf
        self._errands, self._chores = Errands(client), Chores()
        self._picture_jobs = PictureJobs(self._errands, self._chores, store, shelf, pictures, now_ms)
        self.people = People(self._errands, self._chores, pictures)
        self.live = Live(client, self._chores, self.model, self._is_known, self._live_waits)
        self.state = BackendState(self._errands, launcher.available, clock, self.people.refresh)
        self._told: tuple[object, ...] = ()
        self._closed = False
        self._chores.do(shelf.load())
        self._store = store
        self._store.prune()

    # What is shown -----------------------------------------------------------------------------------------------------------------------
    @property
    def backend(self) -> Backend:
        """The state line."""
        return self.state.line

    @property
    def connected(self) -> bool:
        """Whether the backend answers."""
        return self._client.link is Link.CONNECTED

    @property
    def busy(self) -> bool:
        """Whether the next tick should come soon."""
        if self.live.on:
            return True
        return self._chores.waiting > 0 or self.progress is not None or bool(self.people.making) or not self._client.idle

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The installed models, the backend's own choice first; empty until a worker was ready."""
        return self.state.models

    @property
    def characters(self) -> tuple[CharacterCard, ...]:
        """The saved characters."""
        return self.people.cards

    @property
    def results(self) -> tuple[Result, ...]:
        """The finished pictures, the newest press first, in it the most alike first."""
        return self._shelf.results

    @property
    def progress(self) -> Progress | None:
        """The work under way."""
        return self._picture_jobs.progress

    @property
    def preview(self) -> Plane | None:
        """The picture under way, small."""
        return self._picture_jobs.preview

    @property
    def notice(self) -> str:
        """The last thing that the artist must know, "" when there is none."""
        return self._errands.notice

    @property
    def why_not(self) -> str:
        """Why no picture can be asked for at the moment, as a sentence; "" when one can."""
        if self._client.link is Link.CONNECTED:
            return ""
        return "The backend is not connected. " + (
            "Start it above." if self.backend.can_start or not self.state.unavailable else self.state.unavailable
        )

    def model(self, name: str) -> ModelInfo | None:
        """The model of that id, or of no name the backend's first; None while they are not known."""
        return self.state.model(name)

    def result(self, key: str) -> Result:
        """A finished picture. Raises `InvalidRequest` when it is gone."""
        found = self._shelf.get(key)
        if found is None:
            raise InvalidRequest("That picture is not there any more. Choose another one.")
        return found

    # What the artist does ----------------------------------------------------------------------------------------------------------------
    def start_backend(self) -> None:
        """Start the backend; the state line says how it goes. Raises `ServiceError` when it cannot be."""
        self._errands.say("")
        self._launcher.start()
        self.state.begin()

    def command_changed(self) -> None:
        """Look again whether a backend can be started."""
        self.state.look()

    def ask(self, wish: Wish, shots: Sequence[Shot]) -> int:
        """Ask for pictures of what the camera saw; returns the number of the press, for `ended`.

        Without a backend the jobs wait in this session until there is one. Raises `InvalidRequest` for what cannot be meant.
        """
        if not shots:
            raise InvalidRequest("There is nothing to draw: no camera, frame or marker was chosen.")
        if len(shots) > SHOTS:
            raise InvalidRequest(f"{len(shots)} shots are more than one press takes. Choose at most {SHOTS}.")
        if wish.model and self.models and self.model(wish.model) is None:
            raise InvalidRequest(f"There is no model called {wish.model!r} here. Choose one from the list.")
        self.live.give_way()
        return self._picture_jobs.ask(wish.changed(), shots, self.model(wish.model))

    def ended(self, press: int) -> Ended:
        """What came of a press so far."""
        return self._picture_jobs.ended(press)

    def cancel(self, press: int | None = None) -> None:
        """Stop the pictures of one press, or of the one under way."""
        self._picture_jobs.cancel(press)

    def discard(self, key: str) -> None:
        """Throw a result away."""
        self._shelf.discard(key)

    def export_character(self, name: str, path: str, photos: bool = False, consent: str = "", licence: str = "") -> None:
        """Write a character to a file, with its photos only if told so; notes that are empty stay as they are kept with it."""
        self.people.export(name, Path(path), photos, About(consent, licence) if consent or licence else None)

    def import_character(self, path: str, name: str = "", replace: bool = False) -> None:
        """Make a character from such a file."""
        self.people.import_file(Path(path), name, replace)

    def say(self, sentence: str) -> None:
        """Something that the artist must know."""
        self._errands.say(sentence)

    # The heartbeat -----------------------------------------------------------------------------------------------------------------------
    def tick(self) -> bool:
        """Do all that is due, without waiting; whether anything that is shown has changed."""
        if self._closed:
            return False
        self._poll()
        self._follow()
        self._work()
        now = (
            *(self.backend, self.notice, self.progress, self.results, self.characters, self.models, self.preview, self.people.making),
            *(self.live.on, self.live.working, self.live.sentence, self.live.picture),
        )
        changed, self._told = now != self._told, now
        return changed

    def wait(self, timeout_s: float) -> None:
        """For scripts, which have no timer: return when something came, or after so long."""
        if not self._chores.waiting:
            self._client.wait(timeout_s)

    @guarded
    def _poll(self) -> None:
        for event in self._client.poll():
            self._route(event)

    @guarded
    def _follow(self) -> None:
        self.live.turn()

    @guarded
    def _work(self) -> None:
        self._chores.turn()

    @guarded
    def _route(self, event: Event) -> None:
        if self.live.route(event):
            return
        match event:
            case _ if self.state.route(event) or self._errands.route(event) or self._picture_jobs.route(event):
                pass
            case Refused():
                self._errands.say(str(event.error))
            case _:
                pass  # of a session that is over, or a kind of a newer backend

    def _is_known(self, character: str) -> bool:
        return any(card.name == character for card in self.characters)

    def _live_waits(self) -> str:
        """Why no live picture can be asked for at the moment, as a sentence; "" when one can."""
        if not self.connected:
            return "Live waits for the backend, which is not connected."
        if not self.models:
            return self.backend.sentence
        return "The picture under way comes first; live ones go on after it." if self.progress is not None else ""

    def close(self) -> None:
        """Leave: accepted jobs go on at the backend and are found again; live ones end."""
        if not self._closed:
            self._closed = True
            if self.live.on:
                self.live.end()
                self._client.poll()  # sends that
            self._chores.clear()
            self._client.close()
