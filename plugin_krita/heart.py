"""The presenter's heartbeat: what the parts know, as attributes for the docker, and the tick that brings them messages and the canvas."""

from __future__ import annotations

import functools
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Concatenate, ParamSpec

from .desk import Desk
from .drafts import Drafts
from .form import Form, Mode, PersonRow, form_from
from .gallery import Gallery
from .host import DocumentCard, Host, LayerCard
from .left_behind import LeftBehind
from .live import Live
from .people import People
from .picture_jobs import PictureJobs
from .pose import PoseDesk
from .protocol.client import Client
from .protocol.desk.backend_state import BackendState
from .protocol.desk.launcher import Launcher
from .protocol.desk.store import Store
from .protocol.events import Event, Link, Refused
from .protocol.geometry import Bounds, Point
from .protocol.planes import Plane
from .protocol.results import ModelInfo
from .view import Backend, Choice, DraftPhoto, Person, Progress, Result
from .view import Live as LiveShown

LOOK_S = 0.2
"""Between two looks at the document, its selection and its layers: Krita tells of none of them."""
SAVE_S = 1.0
BUTTONS = {Mode.FILL: "Fill", Mode.REFINE: "Refine", Mode.EXPAND: "Expand", Mode.NEW: "Generate"}
NAMES = (
    *("form", "backend", "persons", "models", "draft", "draft_name", "draft_sentence", "draft_faces", "progress", "results", "notice"),
    *("preview", "waiting", "document", "layers", "button", "can_generate", "why_not", "pose_picture", "pose_bounds", "pose_points"),
    "live",
)
"""What `listen` tells of."""

P = ParamSpec("P")


def guarded(act: Callable[Concatenate[Heart, P], None]) -> Callable[Concatenate[Heart, P], None]:
    """Whatever goes wrong is said in `notice`: a docker's button never raises."""

    @functools.wraps(act)
    def acted(self: Heart, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            act(self, *args, **kwargs)
        except Exception as error:
            self._desk.blame(error)

    return acted


class Heart:
    """What the presenter shows, and its heartbeat; `Presenter` adds what the artist does."""

    def __init__(
        self,
        host: Host,
        client: Client,
        launcher: Launcher,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        random_seed: Callable[[], int] | None = None,
    ) -> None:
        self._desk = Desk(host, client, store, form_from(store.settings()))
        self._launcher, self._clock = launcher, clock
        self._random_seed = random_seed or (lambda: secrets.randbelow(2**31 - 64))
        self._gallery = Gallery(self._desk, clock)
        self._picture_jobs = PictureJobs(self._desk, self._gallery)
        self._left = LeftBehind(
            self._desk, self._gallery.keeper, self._picture_jobs.waiting, self._picture_jobs.move, self._gallery.changed
        )
        self._people = People(self._desk)
        self._drafts = Drafts(self._desk, lambda: self._people.persons, self._people.refresh)
        self._people.offer = self._drafts.offer
        self._pose = PoseDesk(self._desk)
        self._live = Live(self._desk, self._gallery, self._picture_jobs, self._pose_of, lambda: self.why_not, self._random_seed, clock)
        self._state = BackendState(self._desk, launcher.available, clock, self._people.refresh)
        self._looked_at = self._saved_at = -1e9
        self._kept_form = self._desk.form
        self._entered = False
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._told: dict[str, object] = {}
        self._closed = False
        self._desk.background.do(store.prune)

    # What is shown -----------------------------------------------------------------------------------------------------------------------
    @property
    def form(self) -> Form:
        """All that can be set; changed by `change`."""
        return self._desk.form

    @property
    def backend(self) -> Backend:
        """The state line."""
        return self._state.line

    @property
    def models(self) -> tuple[Choice, ...]:
        """What can be painted with, the backend's own choice first."""
        return tuple(map(_choice, self._state.models))

    @property
    def persons(self) -> tuple[Person, ...]:
        """The saved characters, in the backend's order."""
        return self._people.persons

    @property
    def draft(self) -> tuple[DraftPhoto, ...]:
        """The photos of the new character."""
        return self._drafts.photos

    @property
    def draft_name(self) -> str:
        """Its name so far."""
        return self._drafts.name

    @property
    def draft_sentence(self) -> str:
        """What is wrong with the draft, or what is done with it."""
        return self._drafts.sentence

    @property
    def draft_faces(self) -> dict[int, int]:
        """Photo number -> index of the chosen face, for photos with several."""
        return self._drafts.faces

    @property
    def progress(self) -> Progress | None:
        """The picture under way."""
        return self._picture_jobs.progress

    @property
    def results(self) -> tuple[Result, ...]:
        """The finished pictures of the active document."""
        return self._gallery.results

    @property
    def waiting(self) -> str:
        """Pictures of documents that are gone, in a sentence; "" when there are none."""
        return self._left.sentence

    @property
    def notice(self) -> str:
        """The last thing that the artist must know, "" when there is none."""
        return self._desk.notice

    @property
    def preview(self) -> Plane | None:
        """The picture under way, small."""
        return self._picture_jobs.preview

    @property
    def live(self) -> LiveShown | None:
        """What follows the brush; None while live is off."""
        return self._live.shown

    @property
    def document(self) -> DocumentCard | None:
        """The active document, as it was a moment ago."""
        return self._desk.card

    @property
    def layers(self) -> tuple[LayerCard, ...]:
        """Its layers with pixels."""
        return self._desk.layers

    @property
    def button(self) -> str:
        """What Generate is called in this mode."""
        return BUTTONS[self.form.mode]

    @property
    def can_generate(self) -> bool:
        """Whether the button can be pressed."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why it cannot: a sentence beside it."""
        if self._desk.client.link is not Link.CONNECTED:
            return "The backend is not connected."
        if self._desk.card is None:
            return "Open a document first."
        if self.form.persons and (model := self._model()) is not None and not model.subjects:
            return f"{model.title} does not paint characters. Choose another model, or remove them."
        return ""

    @property
    def pose_picture(self) -> Plane | None:
        """What the five-point editor shows, of the canvas in `pose_bounds`."""
        return self._pose.picture

    @property
    def pose_bounds(self) -> Bounds | None:
        """Where that is, in canvas pixels."""
        return self._pose.bounds

    @property
    def pose_points(self) -> tuple[Point, ...]:
        """Its points, in canvas pixels."""
        return self._pose.points

    def listen(self, heard: Callable[[frozenset[str]], None]) -> None:
        """`heard` is called with the names of what changed, at most once a tick."""
        self._listeners.append(heard)

    # The heartbeat -----------------------------------------------------------------------------------------------------------------------
    @guarded
    def tick(self) -> None:
        """Do all that is due. Never waits."""
        if self._closed:
            return
        background, parts = self._desk.background, (self._drafts, self._picture_jobs, self._gallery, self._live)
        for step in (self._poll, self._look, background.turn, *(part.tick for part in parts), self._keep):
            try:
                step()
            except Exception as error:
                self._desk.blame(error)
        self._tell()

    def _poll(self) -> None:
        for event in self._desk.client.poll():
            try:
                self._route(event)
            except Exception as error:
                self._desk.blame(error)

    def _route(self, event: Event) -> None:
        if self._live.route(event):
            return
        match event:
            case _ if self._state.route(event) or self._desk.route(event) or self._picture_jobs.route(event):
                pass
            case Refused():
                self._desk.say(str(event.error))
            case _:
                pass  # of a session that is over, or a kind of a newer backend

    def _look(self) -> None:
        if self._clock() - self._looked_at < LOOK_S:
            return
        self._looked_at = self._clock()
        before = None if self._desk.card is None else self._desk.card.key
        self._desk.card = self._desk.host.document()
        self._desk.layers = self._desk.host.layers() if self._desk.card is not None else ()
        now = None if self._desk.card is None else self._desk.card.key
        if now != before or not self._entered:
            self._entered = True
            self._gallery.enter(now)
            self._picture_jobs.document_changed()
            self._left.ask()
        self._left.look()

    def _keep(self) -> None:
        if self._desk.form is self._kept_form or self._clock() - self._saved_at < SAVE_S:
            return
        self._saved_at, self._kept_form = self._clock(), self._desk.form
        values, store = self._desk.form.kept(), self._desk.store
        self._desk.background.do(lambda: store.keep_settings(values), failed=self._desk.say)

    def _tell(self) -> None:
        now = {name: getattr(self, name) for name in NAMES}
        changed = frozenset(name for name in NAMES if name not in self._told or not _same(self._told[name], now[name]))
        self._told = now
        if changed:
            for heard in list(self._listeners):
                try:
                    heard(changed)
                except Exception as error:
                    self._desk.blame(error)

    def _pose_of(self, row: PersonRow, then: Callable[[tuple[Point, ...]], None], failed: Callable[[str], None]) -> None:
        self._people.pose_of(row.name, then, failed)

    def _model(self) -> ModelInfo | None:
        """The model that the form names, or the first."""
        return self._state.model(self.form.model) or self._state.model(None)


def _same(old: object, new: object) -> bool:
    return old is new or old == new


def _choice(model: ModelInfo) -> Choice:
    guides = tuple(kind.value for kind in (*model.guides, *model.further_guides))
    found = Choice(model.id, model.title, model.subjects, guides, model.adapters, model.steps)
    return replace(found, loras=model.loras, embeddings=model.embeddings, unlisted=model.unlisted)
