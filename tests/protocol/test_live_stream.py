"""The live stream of add-ons by itself: when pixels are wanted, what is sent, and what comes of each answer of the backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.desk.live import BUSY_S, DRAFT, PACE_S, SLOWEST_PACE_S, LiveStream, draft, small
from protocol.errors import Busy, InvalidRequest, UnknownJob
from protocol.events import Link, LinkChanged, Refused
from protocol.geometry import Extent
from protocol.jobs import FacePass, PictureJob, Sampling, SecondPass
from protocol.messages import Accepted, Acknowledge, Cancel, Fault, Fetch, Fetched, JobUpdate, Preview, Stage, Submit
from protocol.planes import Layout, Plane
from protocol.results import Faces, MadePicture, Pictures

JOB = PictureJob("x", extent=Extent(8, 8), sampling=Sampling(steps=30, guidance_scale=7.0, scheduler="ddim", seed=5), count=4)


class Wire:
    """A client that only writes down what is asked of it."""

    def __init__(self) -> None:
        self.link = Link.CONNECTED
        self.sent: list[tuple[PictureJob, str, str | None]] = []
        self.cancelled: list[str] = []
        self.fetched: list[str] = []
        self.acknowledged: list[str] = []
        self.problem: Exception | None = None

    def submit(self, job: PictureJob, *, note: str = "", live: str | None = None) -> str:
        if self.problem is not None:
            raise self.problem
        self.sent.append((job, note, live))
        return f"{len(self.sent):032x}"

    def cancel(self, job_id: str) -> int:
        self.cancelled.append(job_id)
        return 0

    def fetch(self, job_id: str) -> int:
        self.fetched.append(job_id)
        return 0

    def acknowledge(self, job_id: str) -> int:
        self.acknowledged.append(job_id)
        return 0


class World:
    def __init__(self) -> None:
        self.wire, self.now = Wire(), 100.0
        self.live: LiveStream[str] = LiveStream(self.wire, "brush", lambda: self.now)

    def ask(self, stamp: object, content: object = None, heard: bool = True) -> str:
        """What a host does for one stamp; the job's id."""
        self.now += SLOWEST_PACE_S
        assert self.live.wants(stamp)
        self.live.show(self.live.begin(stamp), JOB, f"about {stamp}", content)
        job_id = f"{len(self.wire.sent):032x}"
        if heard:
            assert self.live.route(Accepted(1, job_id))
        return job_id

    def hear(self, job_id: str, stage: Stage, **more: object) -> bool:
        return self.live.route(JobUpdate(job_id, stage, note=self.wire.sent[-1][1] if self.wire.sent else "", **more))

    def draw(self, job_id: str, seed: int = 1) -> None:
        assert self.hear(job_id, Stage.DONE)
        picture = Plane(Layout.RGB8, Extent(1, 1), bytes((seed, 0, 0)))
        assert self.live.route(Fetched(1, job_id, Pictures((MadePicture(picture, seed, (0.5,)),), "m")))


@pytest.fixture
def world() -> World:
    return World()


def test_a_draft_leaves_the_way_of_sampling_to_the_model() -> None:
    job = replace(JOB, second_pass=SecondPass(), face_pass=FacePass(), preview_every=2)
    quick = draft(job)
    assert quick.sampling == Sampling(seed=5, shortcuts=DRAFT)
    assert (quick.count, quick.preview_every, quick.second_pass, quick.face_pass) == (1, 0, None, None)


@pytest.mark.parametrize(("extent", "wanted"), [((4000, 3000), 640 * 640), ((100, 50), 5000), ((16384, 4), 65536)])
def test_what_is_sent_keeps_its_proportions_and_is_never_made_larger(extent: tuple[int, int], wanted: int) -> None:
    made = small(Extent(*extent))
    assert made.area <= max(wanted, 1)
    assert made.area > wanted * 0.99
    assert abs(made.width * extent[1] - made.height * extent[0]) <= max(extent)


def test_the_same_stamp_is_wanted_once(world: World) -> None:
    world.draw(world.ask("a"))
    world.now += 100
    assert not world.live.wants("a")
    assert world.live.wants("b")


def test_nothing_is_wanted_while_something_is_read_and_until_the_backend_has_it(world: World) -> None:
    turn = world.live.begin("a")
    assert not world.live.wants("b")
    world.live.show(turn, JOB, "")
    world.now += 100
    assert not world.live.wants("b")
    world.live.route(Accepted(1, f"{1:032x}"))
    assert world.live.wants("b")


def test_the_pace_follows_the_time_that_pictures_take_within_its_bounds(world: World) -> None:
    world.ask("a")
    world.now += PACE_S * 0.9
    assert not world.live.wants("b")
    world.now += PACE_S * 0.2
    assert world.live.wants("b")
    world.now += 60
    world.draw(f"{1:032x}")
    world.ask("c")
    world.now += SLOWEST_PACE_S * 0.9
    assert not world.live.wants("d")
    world.now += SLOWEST_PACE_S * 0.2
    assert world.live.wants("d")


def test_jobs_are_drafts_of_the_named_stream(world: World) -> None:
    world.ask("a")
    job, _, live = world.wire.sent[0]
    assert (job, live) == (draft(JOB), "brush")


def test_the_same_content_is_sent_once_also_after_a_pause_with_nothing_under_way(world: World) -> None:
    world.draw(world.ask("a", content=1))
    world.live.pause()
    world.now += 10
    world.live.show(world.live.begin("b"), JOB, "", 1)
    assert len(world.wire.sent) == 1
    assert not world.live.working


def test_what_was_paused_before_it_was_drawn_is_wanted_and_sent_again(world: World) -> None:
    first = world.ask("a", content=1)
    world.live.pause()
    assert world.wire.cancelled == [first]
    world.ask("a", content=1)
    assert len(world.wire.sent) == 2


def test_a_turn_that_was_stopped_meanwhile_sends_nothing(world: World) -> None:
    turn = world.live.begin("a")
    world.live.stop()
    world.live.show(turn, JOB, "")
    assert world.wire.sent == []


def test_a_picture_has_what_was_told_about_it_and_how_long_it_took(world: World) -> None:
    job_id = world.ask("a")
    world.now += 2.5
    world.draw(job_id, 9)
    made = world.live.picture
    assert made is not None
    assert (made.about, made.seed, made.similarity, made.seconds, bytes(made.plane.data)) == ("about a", 9, 0.5, 2.5, bytes((9, 0, 0)))
    assert world.wire.acknowledged == [job_id]
    assert not world.live.working


def test_an_older_picture_never_takes_the_place_of_a_newer_one(world: World) -> None:
    old, new = world.ask("a"), world.ask("b")
    world.draw(new, 2)
    assert world.hear(old, Stage.DONE)
    assert world.wire.fetched == [new]
    assert world.wire.acknowledged == [new, old]
    assert world.live.picture.seed == 2


def test_one_that_was_overtaken_is_forgotten_without_a_word(world: World) -> None:
    old = world.ask("a")
    world.ask("b")
    assert world.hear(old, Stage.CANCELLED, fault=Fault("cancelled", "A newer version took its place."))
    assert world.live.sentence == ""
    assert world.wire.acknowledged == [old]


def test_a_failure_is_told_until_a_picture_comes_and_not_tried_again_by_itself(world: World) -> None:
    assert world.hear(world.ask("a"), Stage.FAILED, fault=Fault("no-face", "No face."))
    assert world.live.sentence == "No face."
    world.now += 100
    assert not world.live.wants("a")
    world.draw(world.ask("b"))
    assert world.live.sentence == ""


def test_too_many_jobs_are_tried_again_later_and_other_refusals_are_told(world: World) -> None:
    job_id = world.ask("a", heard=False)
    request = Submit(1, job_id, JOB)
    assert world.live.route(Refused(request, Busy("Too many."), None))
    world.now += BUSY_S * 0.9
    assert not world.live.wants("a")
    world.now += BUSY_S
    assert world.live.wants("a")
    job_id = world.ask("b", heard=False)
    assert world.live.route(Refused(Submit(2, job_id, JOB), InvalidRequest("Not so.")))
    assert world.live.sentence == "Not so."
    assert not world.live.working


def test_a_wrong_job_is_told_at_once(world: World) -> None:
    world.wire.problem = InvalidRequest("Not so.")
    world.live.show(world.live.begin("a"), JOB, "")
    assert world.live.sentence == "Not so."
    assert not world.live.working


def test_a_lost_backend_ends_what_is_under_way_and_everything_is_wanted_again(world: World) -> None:
    job_id = world.ask("a")
    world.wire.link = Link.LOST
    assert not world.live.route(LinkChanged(Link.LOST, "Lost.")), "others hear of it too"
    assert world.wire.cancelled == [job_id]
    assert not world.live.wants("a")
    world.wire.link = Link.CONNECTED
    world.now += 10
    assert world.live.wants("a")


def test_jobs_that_were_left_are_acknowledged_when_they_are_over(world: World) -> None:
    job_id = world.ask("a")
    world.live.stop()
    assert world.live.route(Refused(Cancel(1, job_id), UnknownJob("Gone.")))
    assert world.hear(job_id, Stage.FAILED, fault=Fault("unknown-job", "Gone."))
    assert world.wire.acknowledged == [job_id]
    assert world.live.sentence == ""
    assert world.live.route(Refused(Acknowledge(2, job_id), UnknownJob("Gone."))) is False, "nobody waits for it any more"


def test_a_picture_that_comes_after_stop_is_not_shown(world: World) -> None:
    job_id = world.ask("a")
    assert world.hear(job_id, Stage.DONE)
    world.live.stop()
    assert world.live.route(Fetched(1, job_id, Pictures((MadePicture(Plane(Layout.RGB8, Extent(1, 1), bytes(3)), 1),), "m")))
    assert world.live.picture is None
    assert world.wire.acknowledged == [job_id]


def test_jobs_of_a_session_that_is_over_are_ended_and_those_of_others_left_alone(world: World) -> None:
    world.ask("a")
    assert world.hear("e" * 32, Stage.RUNNING)
    assert world.wire.cancelled == ["e" * 32]
    assert world.hear("e" * 32, Stage.CANCELLED)
    assert world.wire.acknowledged == ["e" * 32]
    picture = Plane(Layout.RGB8, Extent(1, 1), bytes(3))
    for event in (
        JobUpdate("f" * 32, Stage.DONE, note='{"k":"live","s":"pose"}'),
        Preview("f" * 32, 1, picture),
        Fetched(1, "f" * 32, Faces(())),
        Refused(Fetch(1, "f" * 32), UnknownJob("Gone.")),
    ):
        assert not world.live.route(event)
