"""Live: while it is on, small quick pictures follow what is painted. They are shown in the docker, and never written into the document.

It looks whether something changed, which costs nothing; only then are pixels read. An ordinary picture has precedence: until it is
finished nothing live is asked for. Nor is anything while the docker is hidden, no document is open, a result is shown on the canvas, or the
backend is away; each has its sentence.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from . import pixels
from .desk import Desk
from .form import Form, Mode
from .gallery import Gallery
from .host import CanvasProblem, DocumentCard
from .live_reading import Follows, Piece, Reading, Source, asked, layer_of, looks_at_canvas, made_small, reading_of, seen_of
from .picture_jobs import PictureJobs
from .pose import PoseOf, place_face
from .protocol.desk.live import LivePicture, LiveStream
from .protocol.desk.sentences import sentence_of, title_of
from .protocol.events import Event
from .protocol.geometry import Point
from .protocol.planes import Plane
from .results import TITLE
from .view import Live as Shown

LOOK_S = 0.15
"""Between two looks whether something changed."""
READ_S = 0.002
"""For reading in one tick, but for the last piece."""
SLOW_S = 1.5
"""What takes longer than this is said to be under way."""


@dataclass
class _UnderWay:
    """A reading that is going on. `turn` is the stream's."""

    turn: int
    reading: Reading
    left: deque[Piece]
    parts: dict[Source, list[tuple[Plane, Plane | None]]] = field(default_factory=dict)


class Live:
    """`why_not` says why no picture can be asked for at all, "" when one can."""

    def __init__(
        self,
        desk: Desk,
        gallery: Gallery,
        picture_jobs: PictureJobs,
        pose_of: PoseOf,
        why_not: Callable[[], str],
        random_seed: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk, self._gallery, self._picture_jobs = desk, gallery, picture_jobs
        self._pose_of, self._why_not, self._random_seed, self._clock = pose_of, why_not, random_seed, clock
        self._stream: LiveStream[Follows] = LiveStream(desk.client, clock=clock)
        self._seed: int | None = None
        self._visible = True
        self._document: str | None = None
        self._reading: _UnderWay | None = None
        self._looked_at = -1e9
        self._working_since: float | None = None
        self._news = ""
        """What happened, until the next picture comes."""
        self._words = ""
        self._newest: LivePicture[Follows] | None = None
        self._picture: tuple[LivePicture[Follows], Plane] | None = None
        """What is shown, and the part of it that goes to its place."""

    # What is shown -----------------------------------------------------------------------------------------------------------------------
    @property
    def shown(self) -> Shown | None:
        """What the docker shows; None: live is off."""
        if not self._desk.form.live:
            return None
        if self._picture is None:
            return Shown(self._words, working=self._stream.working)
        made, plane = self._picture
        alike = "" if made.similarity is None else f", similarity {made.similarity:.2f}"
        tip = f"Seed {made.seed}{alike}. It was there {made.seconds:.1f} s after what it shows."
        return Shown(self._words, plane, tip, self._stream.working)

    # What the artist does ----------------------------------------------------------------------------------------------------------------
    def turn(self, on: bool) -> None:
        """On or off. To fill the whole canvas is to begin from nothing, so what is painted is followed by Refine instead."""
        form, card = self._desk.form, self._desk.card
        blind = on and form.mode is Mode.FILL and (card is None or card.selection is None)
        self._desk.form = form.changed(live=on, mode=Mode.REFINE if blind else form.mode)
        self.tick()

    def throw_dice(self) -> None:
        """Another seed for the next live pictures."""
        self._seed = self._random_seed()
        if self._desk.form.seed_locked:
            self._desk.form = self._desk.form.changed(seed=self._seed)

    def watched(self, visible: bool) -> None:
        """Whether anybody can see the docker."""
        if self._visible and not visible and self._desk.form.live:
            self._stop("Live stopped while the docker was hidden.")
        self._visible = visible

    def keep(self) -> None:
        """Make a layer of the picture that is shown, at its place: one step of undo. Raises `CanvasProblem` when there is none."""
        made, host = self._made(), self._desk.host
        follows = made.about
        title = f"{title_of(follows.form.prompt, TITLE) or 'Likeness'} (live, seed {made.seed})"
        if self._gallery.history is not None and self._gallery.history.shown is not None:
            self._gallery.show(None)  # or the layer that shows it would become this one
        self._desk.background.do(
            lambda: layer_of(made.plane, follows, host.scaled),
            lambda plane: host.apply(follows.document, follows.target, plane, title),
            self._desk.say,
        )

    def in_full(self) -> Form:
        """What asks for the picture that is shown in full, with its seed. Raises `CanvasProblem` when there is none."""
        made = self._made()
        return made.about.form.changed(count=1, seed=made.seed)

    def _made(self) -> LivePicture[Follows]:
        if self._picture is None:
            raise CanvasProblem("There is no live picture yet. Turn Live on and wait until one is shown.")
        return self._picture[0]

    # What happens ------------------------------------------------------------------------------------------------------------------------
    def route(self, event: Event) -> bool:
        """Whether the event was about a live picture."""
        return self._stream.route(event)

    def tick(self) -> None:
        """Do all that is due. Never waits."""
        form, card = self._desk.form, self._desk.card
        if not form.live:
            self._stop("")
            return
        self._follow_document(card)
        obstacle = self._obstacle()
        if obstacle or card is None:
            self._reading, self._words = None, obstacle
            self._stream.pause()
            return
        self._take()
        if self._reading is not None:
            self._read_on(self._reading)
        elif self._clock() - self._looked_at >= LOOK_S:
            self._look(form, card)
        self._words = self._stream.sentence or self._news or _calm(form, card) + self._under_way()

    def _under_way(self) -> str:
        """What is shown may be older than the canvas: said where it lasts."""
        if not self._stream.working:
            self._working_since = None
            return ""
        self._working_since = self._working_since or self._clock()
        slow = self._clock() - self._working_since > SLOW_S
        return "" if not slow else " The first picture is under way." if self._picture is None else " A newer picture is under way."

    def close(self) -> None:
        """Krita closes."""
        self._stream.stop()

    def _stop(self, why: str) -> None:
        self._stream.stop()
        self._reading = self._picture = self._newest = None
        self._words = self._news = why

    def _follow_document(self, card: DocumentCard | None) -> None:
        key = None if card is None else card.key
        if key != self._document:
            before, self._document = self._document, key
            if before is None:
                self._stop("")
            elif card is None:
                self._stop("Live stopped, as the document was closed. It goes on with the next one.")
            else:
                self._stop(f"Another document is in front: live follows “{card.name}” now.")

    def _obstacle(self) -> str:
        if not self._visible:
            return self._news or "Live waits until the docker is seen again."
        if self._document is None:
            return self._news or "Live waits for a document."
        if why_not := self._why_not():
            return f"Live waits. {why_not}"
        if self._picture_jobs.progress is not None:
            return "Live waits until the picture under way is finished."
        history = self._gallery.history
        if history is not None and history.shown is not None:
            return "Live waits while a result is shown on the canvas. Apply or discard it, or click it once more to hide it."
        return ""

    def _take(self) -> None:
        """Bring the newest picture to the docker: the part of it that goes to its place."""
        made = self._stream.picture
        if made is None or made is self._newest:
            return
        self._newest = made

        def cut(plane: Plane) -> None:
            if self._newest is made:
                self._picture, self._news = (made, plane), ""

        self._desk.background.do(lambda: pixels.crop(made.plane, made.about.box), cut, self._desk.say)

    # Reading -----------------------------------------------------------------------------------------------------------------------------
    def _look(self, form: Form, card: DocumentCard) -> None:
        """Begin to read when something changed."""
        self._looked_at = self._clock()
        if not form.seed_locked:
            self._seed = self._random_seed() if self._seed is None else self._seed
            form = form.changed(seed=self._seed)
        try:
            stamp = seen_of(form, card, self._desk.host.stamp())
        except CanvasProblem:
            return  # the document was closed a moment ago: the next look at it says so
        if not self._stream.wants(stamp):
            return
        turn = self._stream.begin(stamp)
        try:
            reading = reading_of(form, card, self._desk.host, {one.key: one.name for one in self._desk.layers})
        except Exception as error:
            self._stream.give_up(turn, sentence_of(error))
            return
        self._reading = _UnderWay(turn, reading, deque(reading.pieces))
        self._read_on(self._reading)

    def _read_on(self, now: _UnderWay) -> None:
        """Read for a moment; when all is read, ask."""
        host, end = self._desk.host, time.perf_counter() + READ_S
        try:
            while now.left and time.perf_counter() < end:
                piece = now.left[0]
                glimpse = host.glance(piece.place, piece.source[1] or None)
                if glimpse.document != now.reading.document:
                    return  # the next look sees which document is in front
                now.left.popleft()
                made = now.parts.setdefault(piece.source, [])
                self._desk.background.do(
                    lambda piece=piece, glimpse=glimpse: made_small(piece, glimpse, host.scaled),
                    made.append,
                    lambda words: self._stream.give_up(now.turn, words),
                )
        except Exception as error:
            self._give_up(now, sentence_of(error))
            return
        if not now.left:
            self._reading = None
            # After the pieces: the worker thread takes one after another, and hands over in the same order.
            self._desk.background.do(lambda: None, lambda _: self._pose(now))

    def _pose(self, now: _UnderWay) -> None:
        """Find out where the first person's face goes, then ask."""
        reading = now.reading

        def failed(words: str) -> None:
            self._stream.give_up(now.turn, words)

        place_face(reading.form, reading.area, self._pose_of, lambda points: self._ask(now, points), failed)

    def _ask(self, now: _UnderWay, pose: tuple[Point, ...]) -> None:
        scaled = self._desk.host.scaled
        self._desk.background.do(
            lambda: asked(now.reading, now.parts, scaled, pose),
            lambda made: self._stream.show(now.turn, *made),
            lambda words: self._stream.give_up(now.turn, words),
        )

    def _give_up(self, now: _UnderWay, words: str) -> None:
        self._reading = None
        self._stream.give_up(now.turn, words)


def _calm(form: Form, card: DocumentCard) -> str:
    """What is followed."""
    place = "the canvas" if card.selection is None else "the selection"
    if not looks_at_canvas(form, card):
        return "Follows the prompt and the settings: this mode begins from nothing. Choose Refine to follow the brush."
    return {
        Mode.FILL: "Follows the prompt, and what is around the selection.",
        Mode.REFINE: f"Follows {place}.",
        Mode.EXPAND: f"Follows the prompt, and what is around the transparent part of {place}.",
    }.get(form.mode, "")
