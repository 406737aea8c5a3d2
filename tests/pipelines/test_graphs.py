"""Captured nets, on a processor: a tape stands for the GPU. It does operations again by address, so that whatever differs from call to call
must have come through a buffer; what is shown is order, decisions and equal bits, not speed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tape import TapeCapturer
from tiny_models import FakeFaces
from torch.utils._python_dispatch import TorchDispatchMode

from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.memory_plan import Level
from backend.models.part_sizes import captured_bytes, parts_of
from backend.pipelines.checks import Leash, Mark, StepLeash
from backend.pipelines.engine import Engine, Unwatched
from backend.pipelines.graphs import Graphs
from protocol.errors import Cancelled, OutOfMemory
from protocol.geometry import Extent
from protocol.jobs import Course, Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Schedule, Shortcut, Subject, Window
from protocol.planes import Layout, Plane


@pytest.fixture
def captured(tiny_folders) -> Engine:
    engine = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    engine.capturer = TapeCapturer()
    engine.said = []
    engine.parts.graphs = Graphs(engine.capturer, engine.said.append)
    return engine


def regions(left: bool) -> Plane:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, slice(0, 32) if left else slice(32, 64)] = 255
    return Plane(Layout.A8, Extent(64, 64), mask.tobytes())


def wish(photo, person: int = 1, weight: float = 0.8, prompt: str = "a person", seed: int = 3, guide: int = 90) -> PictureJob:
    subject = Subject(Photos((photo(person),)), adapter=weight, identity_net=weight / 2, identity_net_window=Window(0.0, 0.7))
    return PictureJob(
        prompt,
        "blurry",
        subjects=(subject,),
        image_prompts=(ImagePrompt(photo(person + 3), weight=weight / 3, adapter="plus", schedule=Schedule(Course.EASE_IN)),),
        guides=(Guide(GuideKind.DEPTH, to_plane(np.full((64, 64, 3), guide, np.uint8)), weight=weight),),
        sampling=Sampling(steps=6, seed=seed),
        preview_every=0,
    )


def test_captured_nets_draw_the_same_bits_and_everything_that_changes_comes_through_a_buffer(captured, engine, photo) -> None:
    first = wish(photo)
    assert np.array_equal(captured.run(first)[0].pixels, engine.run(first)[0].pixels)
    tapes, replays = len(captured.capturer.tapes), captured.capturer.replays
    assert tapes >= 3, "the UNet, IdentityNet and the ControlNet"
    assert replays > tapes, "captured once, replayed in the steps that follow"
    others = ({"seed": 4}, {"prompt": "somebody else, at the sea"}, {"person": 2, "weight": 0.5, "guide": 20}, {})
    for changed in (wish(photo, **one) for one in others):
        assert np.array_equal(captured.run(changed)[0].pixels, engine.run(changed)[0].pixels)
    assert len(captured.capturer.tapes) == tapes, "nothing is captured anew for another seed, text, person, strength or guide"
    assert captured.said == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": Sampling(steps=4, seed=1, guidance_scale=1.0)},
        {"sampling": Sampling(steps=8, seed=1, shortcuts=(Shortcut.GUIDANCE_INTERVAL, Shortcut.CONDITIONAL_IDENTITY))},
        {"sampling": Sampling(steps=5, seed=1, scheduler="pndm")},
        {"sampling": Sampling(steps=5, seed=1, guidance_rescale=0.7)},
        {"count": 2},
    ],
    ids=["no guidance", "halves", "a scheduler that keeps what the net said", "rescaled", "two"],
)
def test_other_ways_of_sampling_draw_the_same_bits(captured, engine, photo, changes) -> None:
    job = replace(wish(photo), **changes)
    for _ in range(1 if job.count > 1 else 2):
        for one, other in zip(captured.run(job), engine.run(job), strict=True):
            assert np.array_equal(one.pixels, other.pixels)
    assert captured.capturer.replays


def test_two_people_in_regions_share_the_graph_of_identity_net(captured, engine, photo) -> None:
    people = tuple(Subject(Photos((photo(number),)), region=regions(number == 1)) for number in (1, 2))
    job = PictureJob("two", subjects=people, sampling=Sampling(steps=4, seed=1), preview_every=0)
    assert np.array_equal(captured.run(job)[0].pixels, engine.run(job)[0].pixels)
    assert len(captured.capturer.tapes) == 2


def test_a_face_adapter_with_a_lora_in_every_layer_draws_the_same_bits(captured, engine, photo) -> None:
    prompts = (ImagePrompt(photo(4), weight=0.5, adapter="faceid", window=Window(0.2, 1.0)),)
    job = PictureJob("a face", image_prompts=prompts, sampling=Sampling(steps=6, seed=1), preview_every=0)
    for _ in range(2):
        assert np.array_equal(captured.run(job)[0].pixels, engine.run(job)[0].pixels)
    assert captured.capturer.replays


def test_other_sizes_are_captured_on_their_own_and_few_are_kept(captured, engine, photo) -> None:
    captured.parts.graphs = Graphs(captured.capturer, kept=2)
    for width, height in ((64, 64), (128, 64), (64, 128), (64, 64)):
        job = PictureJob("a hat", extent=Extent(width, height), sampling=Sampling(steps=3, seed=1), preview_every=0)
        assert np.array_equal(captured.run(job)[0].pixels, engine.run(job)[0].pixels)
        assert len(captured.parts.graphs) <= 2
    assert len(captured.capturer.tapes) == 4, "the first was given up for the third"
    assert [bool(tape.noted) for tape in captured.capturer.tapes] == [False, False, True, True], "what is given up is given back"


def test_weights_that_moved_are_found_out_and_everything_is_captured_anew(captured, engine, photo) -> None:
    job = wish(photo)
    captured.run(job)
    former = list(captured.capturer.tapes)
    for weight in captured.parts.unet.parameters():
        weight.data = weight.data.clone()  # what leaving the device and coming back does
    assert np.array_equal(captured.run(job)[0].pixels, engine.run(job)[0].pixels)
    assert not any(tape.noted for tape in former)
    assert len(captured.capturer.tapes) == 2 * len(former)


def test_parts_that_take_turns_on_the_device_are_not_captured(captured, engine, photo) -> None:
    captured.parts.residency.change(Level.TAKING_TURNS)
    assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)
    assert captured.capturer.tapes == []


def test_after_a_failed_capture_nets_go_on_as_they_are_and_it_is_said_once(captured, engine, photo) -> None:
    class Broken:
        asked = 0

        def capture(self, work):
            self.asked += 1
            work()
            raise RuntimeError("operation not permitted when stream is capturing")

    broken, said = Broken(), []
    captured.parts.graphs = Graphs(broken, said.append)
    for _ in range(2):
        assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)
    assert broken.asked == 1
    assert len(said) == 1
    assert "cannot be captured" in said[0]


def test_nobody_is_asked_whether_to_go_on_while_a_graph_is_captured(captured, photo) -> None:
    graphs, asked = captured.parts.graphs, []

    class Watch(Unwatched):
        def cancelled(self) -> bool:
            asked.append(graphs.capturing)
            return False

    captured.run(wish(photo), Watch())
    assert captured.capturer.tapes
    assert not any(asked), "waiting for a device that only notes what it is asked for would end the capture"


def test_a_cancelled_picture_ends_before_the_next_net_and_the_one_after_it_is_whole(captured, engine, photo) -> None:
    captured.run(wish(photo))
    nets: list[int] = []

    class Impatient(Unwatched):
        def step(self, done: int, total: int) -> None:
            nets.append(captured.capturer.replays)

        def cancelled(self) -> bool:
            return len(nets) >= 2

    with pytest.raises(Cancelled):
        captured.run(wish(photo, seed=9), Impatient())
    assert captured.capturer.replays == nets[-1], "no net ran after the wish to stop"
    assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)


@pytest.mark.parametrize("moment", ["while the net is captured", "while a graph runs"])
def test_a_wish_to_stop_that_comes_inside_a_net_is_heard_before_the_next_one(captured, engine, photo, moment) -> None:
    asked: list[int] = []

    class Stopping(TapeCapturer):
        def capture(self, work):
            tape, answer = super().capture(work)
            if moment == "while the net is captured":
                asked.append(self.replays)
            return tape, answer

    class Impatient(Unwatched):
        def cancelled(self) -> bool:
            if moment == "while a graph runs" and capturer.replays >= 3:
                asked.append(3)
            return bool(asked)

    capturer = Stopping()
    captured.parts.graphs = Graphs(capturer)
    with pytest.raises(Cancelled):
        captured.run(wish(photo), Impatient())
    assert capturer.replays - asked[0] <= 1, "what had begun ends, and nothing else begins"
    asked.clear()
    captured.parts.graphs = Graphs(TapeCapturer())
    assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)


class Queue:
    """A device that runs behind: calls of nets that it was asked for and has not done. Whoever waits for a mark sees it come that far."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.asked = self.done = 0

    def ask(self, net: str) -> None:
        self.waiting.append(net)
        self.asked += 1

    def mark(self) -> Mark:
        queue = self

        class Place:
            at = 0

            def record(self) -> None:
                self.at = queue.asked

            def synchronize(self) -> None:
                while queue.done < self.at:
                    queue.waiting.pop(0)
                    queue.done += 1

        return Place()


@pytest.mark.parametrize("step", [["unet"], ["identity", "unet"], ["identity", "depth", "unet"], ["identity", "identity", "unet"]])
def test_no_more_than_a_step_is_ever_in_the_queue_of_a_device_that_is_behind(step: list[str]) -> None:
    """With the unsafe twin: a leash of so many blocks lets nearly two steps of a UNet alone into it."""
    queue, twin = Queue(), Queue()
    leash, blocks = StepLeash(queue.mark), Leash(twin.mark, 1)
    names = {name: object() for name in step}
    most = 0
    for name in step * 6:
        leash.before(names[name])
        queue.ask(name)
        leash.after(names[name])
        assert len(queue.waiting) <= len(step)
        assert all(queue.waiting.count(one) <= step.count(one) for one in step)
        blocks()
        twin.ask(name)
        most = max(most, len(twin.waiting))
    assert queue.asked == 6 * len(step)
    assert most > 1


def test_when_memory_is_short_graphs_give_theirs_back(captured, photo) -> None:
    captured.run(wish(photo))
    assert len(captured.parts.graphs)

    class Full(Unwatched):
        def step(self, done: int, total: int) -> None:
            raise torch.OutOfMemoryError("full")

    with pytest.raises(OutOfMemory):
        captured.run(wish(photo), Full())
    assert len(captured.parts.graphs) == 0


def test_the_plan_counts_at_least_what_graphs_hold_and_not_twice_as_much(captured, photo) -> None:
    """Of buffers and answers, which a tape has as a GPU has them; what kernels need in between is the step that the plan knows."""
    model = captured.parts.model
    job = wish(photo)
    captured.run(replace(job, guides=tuple(replace(guide, window=Window(0.0, 0.7)) for guide in job.guides)))
    parts = parts_of(model, 4, guides=[dict(model.controls)[GuideKind.DEPTH]])
    assert len(captured.parts.graphs) == 4, "the UNet with and without nets, and the nets"
    assert captured.parts.graphs.bytes <= captured_bytes(model, parts, 0, 4) <= 2 * captured.parts.graphs.bytes


def test_with_nothing_allowed_nothing_is_captured_and_what_was_is_given_back(captured, engine, photo) -> None:
    captured.run(wish(photo))
    graphs, capturer = captured.parts.graphs, captured.capturer
    assert graphs.bytes > 0
    graphs.allow(0)
    assert (len(graphs), graphs.bytes) == (0, 0)
    assert capturer.forgotten == 1, "what graphs share is let go of with the last of them"
    tapes = len(capturer.tapes)
    assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)
    assert len(capturer.tapes) == tapes
    graphs.allow(None)
    captured.run(wish(photo))
    assert len(capturer.tapes) == 2 * tapes


def test_graphs_of_former_pictures_go_for_those_of_this_one(captured, engine) -> None:
    def job(width: int) -> PictureJob:
        return PictureJob("a hat", extent=Extent(width, 64), sampling=Sampling(steps=4, seed=1), preview_every=0)

    graphs = captured.parts.graphs
    captured.run(job(128))
    graphs.allow(int(graphs.bytes * 1.2))
    for width in (64, 128):
        assert np.array_equal(captured.run(job(width))[0].pixels, engine.run(job(width))[0].pixels)
        assert len(graphs) == 1
        assert graphs.bytes <= graphs._allowance


def test_what_is_too_large_is_tried_once_and_never_again_and_again(captured, engine, photo) -> None:
    """Else each step of a picture would capture what the next one throws away."""
    captured.run(wish(photo))
    graphs, tapes = captured.parts.graphs, len(captured.capturer.tapes)
    graphs.allow(graphs.bytes - 1)
    assert len(graphs) == 0
    for _ in range(3):
        assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)
        assert graphs.bytes < graphs._allowance
    assert len(captured.capturer.tapes) <= 2 * tapes
    assert captured.said == []


def test_a_device_that_is_full_while_a_net_is_captured_costs_the_graphs_and_no_picture(captured, engine, photo) -> None:
    class Full(TapeCapturer):
        asked = 0

        def capture(self, work):
            self.asked += 1
            if self.asked == 2:
                raise torch.OutOfMemoryError("full")
            return super().capture(work)

    captured.parts.graphs = Graphs(Full(), captured.said.append)
    for _ in range(2):
        assert np.array_equal(captured.run(wish(photo))[0].pixels, engine.run(wish(photo))[0].pixels)
    assert captured.said == [], "it is not broken: another picture may have room"


def test_a_model_that_makes_room_gives_its_graphs_back_too(captured, photo) -> None:
    captured.run(wish(photo))
    captured.parts.park()
    assert len(captured.parts.graphs) == 0
    assert not any(tape.noted for tape in captured.capturer.tapes)


def test_parts_that_begin_to_take_turns_cost_the_graphs_that_were_there(captured, photo) -> None:
    captured.run(wish(photo))
    captured.parts.residency.change(Level.TAKING_TURNS)
    captured.run(wish(photo))
    assert len(captured.parts.graphs) == 0


def test_buffers_are_filled_before_a_replay_the_answer_is_read_after_it_and_lasting_tensors_are_copied_once(captured, photo) -> None:
    """The order of one step: copy in, replay, copy out."""
    events: list[str] = []

    class Noting(TapeCapturer):
        def capture(self, work):
            tape, answer = super().capture(work)
            plain = tape.replay

            def replay() -> None:
                events.append("replay")
                inside = len(events)
                plain()
                del events[inside:]  # a GPU does these by itself

            tape.replay = replay
            return tape, answer

    captured.parts.graphs = Graphs(Noting())
    job = PictureJob("a hat", sampling=Sampling(steps=5, seed=1), preview_every=0)

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.copy_.default and args[0].shape == args[1].shape:
                events.append(f"copy {args[0].ndim}")
            elif func is torch.ops.aten.clone.default:
                events.append("clone")
            return func(*args, **(kwargs or {}))

    captured.run(job)
    events.clear()
    with Copies():
        captured.run(replace(job, sampling=replace(job.sampling, seed=2)))
    assert events.count("replay") == 5
    places = [number for number, event in enumerate(events) if event == "replay"]
    before = [sum(event == "copy 4" for event in events[start:end]) for start, end in zip([0, *places], places, strict=False)]
    assert before[0] > 10, "keys and values of the new text"
    assert all(count < before[0] / 5 for count in before[1:]), "in the steps that follow only what passes"
    assert all(events[place + 1] == "clone" for place in places), "what a graph says is copied before anything else happens"


def test_without_a_buffer_for_it_a_number_would_stay_what_it_was() -> None:
    """The unsafe twin: the tape is as deaf to Python as a graph is."""
    number, given = [2.0], torch.ones(3)
    tape, answer = TapeCapturer().capture(lambda: given * number[0])
    number[0] = 5.0
    given.fill_(10.0)
    tape.replay()
    assert answer.tolist() == [20.0, 20.0, 20.0]
