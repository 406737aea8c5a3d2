"""What an add-on knows of the backend: how it stands, what computes, its models, and whether one can be started."""

from __future__ import annotations

from collections.abc import Callable

from ..events import Event, Link, LinkChanged, ModelsChanged, WorkerChanged
from ..messages import Models, StatusReport
from ..results import ModelInfo
from .errands import Answer, Errands
from .state_line import Backend, state_line


class BackendState:
    """`available` says why no backend can be started, empty when one can; `connected` is called whenever the backend answers again."""

    def __init__(self, errands: Errands, available: Callable[[], str], clock: Callable[[], float], connected: Callable[[], None]) -> None:
        self._errands, self._available, self._clock, self._connected = errands, available, clock, connected
        self._started_at: float | None = None
        self._title = self._worker_sentence = ""
        self.models: tuple[ModelInfo, ...] = ()
        """The installed ones, the backend's own choice first; empty until a worker was ready."""
        self.unavailable = available()
        """What `available` said last."""

    @property
    def line(self) -> Backend:
        """The state line."""
        client = self._errands.client
        waited = None if self._started_at is None else self._clock() - self._started_at
        return state_line(client.link, client.sentence, client.worker, self._worker_sentence, self._title, waited, self.unavailable)

    def model(self, name: str | None) -> ModelInfo | None:
        """The model of that id, or of no name the first; None for one that is not known."""
        named = next((model for model in self.models if model.id == name), None)
        return named or (self.models[0] if self.models and not name else None)

    def begin(self) -> None:
        """A backend is being started from here: the state line counts from now."""
        self._started_at = self._clock()

    def give_up(self) -> None:
        """It could not be started."""
        self._started_at = None

    def look(self) -> None:
        """Look again whether a backend can be started."""
        self.unavailable = self._available()

    def route(self, event: Event) -> bool:
        """Whether the event was about the backend itself."""
        match event:
            case LinkChanged():
                self._link_changed(event.link)
            case WorkerChanged():
                self._worker_sentence = event.sentence
                if not self.models or not self._title:
                    self._ask()
            case ModelsChanged():
                self._ask()
            case _:
                return False
        return True

    def _link_changed(self, link: Link) -> None:
        if link is Link.CONNECTED:
            self._started_at = None
            if self.models:  # of a backend that was there before this one
                self._ask()
            self._connected()
        elif link in (Link.NOT_RUNNING, Link.LOST):
            self.look()

    def _ask(self) -> None:
        """Ask which models there are and what computes: known as soon as the worker has started, and anew when there are others."""

        def models(answer: Answer) -> None:
            if isinstance(answer, Models):
                self.models = tuple(model for model in answer.models if model.installed)

        def status(answer: Answer) -> None:
            if isinstance(answer, StatusReport):
                self._title = next((device.title for device in answer.status.devices if device.title), "")

        self._errands.ask(self._errands.client.ask_models(), models, lambda code, sentence: None)
        self._errands.ask(self._errands.client.ask_status(), status, lambda code, sentence: None)
