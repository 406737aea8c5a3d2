"""A picture ends soon after it is cancelled, wherever it is; and previews are shown when they have come, without anybody waiting."""

from __future__ import annotations

import pytest
import torch

from backend.pipelines.arriving import Arrivals, Here, begin
from backend.pipelines.attention import attention_layers
from backend.pipelines.build import pipeline, scheduler
from backend.pipelines.checks import Leash, checked, current
from backend.pipelines.choices import Mode
from protocol.errors import Cancelled
from protocol.jobs import Photos, PictureJob, Sampling, Subject


class Stopper:
    """Cancels at the first question after the last step, or at the n-th question."""

    def __init__(self, steps: int | None = None) -> None:
        self.steps, self.done, self.questions, self.late = steps, 0, 0, 0

    def step(self, done, total):
        self.done = done

    def preview(self, pixels, step):
        pass

    def cancelled(self):
        self.questions += 1
        self.late += self.done == self.steps
        return self.late > 1  # the first question after a step comes with the step itself


def test_a_picture_can_be_cancelled_while_it_is_decoded(engine):
    stopper = Stopper(steps=2)
    with pytest.raises(Cancelled):
        engine.run(PictureJob("a hat", sampling=Sampling(steps=2), preview_every=0), stopper)
    assert stopper.done == 2


def test_it_is_asked_before_every_block_of_the_nets_too(engine, photo):
    questions = []
    for subjects in ((), (Subject(Photos((photo(1),))),)):
        watch = Stopper()
        engine.run(PictureJob("a hat", subjects=subjects, sampling=Sampling(steps=1), preview_every=0), watch)
        questions.append(watch.questions)
    assert questions[1] > questions[0] > 10


def test_a_block_that_views_share_is_asked_about_once(engine):
    net = engine.parts.identity_net

    def hooks():
        return [len(part._forward_pre_hooks) for part in net.modules()]

    before = hooks()
    with checked((net, net), lambda: None, torch.device("cpu")):
        assert max(now - then for now, then in zip(hooks(), before, strict=True)) == 1
    assert hooks() == before


class Marks:
    """A device that comes to a mark when somebody waits for it."""

    def __init__(self) -> None:
        self.recorded, self.waited = 0, 0

    def __call__(self):
        return self

    def record(self):
        self.recorded += 1

    def synchronize(self):
        self.waited += 1


def test_a_device_is_never_more_than_two_marks_behind():
    marks = Marks()
    leash = Leash(marks, blocks=8)
    for _ in range(100):
        leash()
        assert marks.recorded - marks.waited <= 1
    assert marks.recorded == 12


def test_without_a_leash_the_queue_would_be_as_long_as_the_picture():
    """The unsafe twin: marks that nobody waits for."""
    marks = Marks()
    leash = Leash(marks, blocks=8)
    leash._last = None
    for _ in range(100):
        leash()
        leash._last = None
    assert marks.recorded - marks.waited == 12


class OnTheWay:
    """A copy that comes when it is told to."""

    def __init__(self, numbers) -> None:
        self.numbers, self.come = numbers, False

    def ready(self) -> bool:
        return self.come


def test_a_preview_is_shown_once_when_it_has_come_and_not_before():
    shown, copies = [], []

    def start(numbers):
        copies.append(OnTheWay(numbers))
        return copies[-1]

    arrivals = Arrivals(lambda numbers, step: shown.append((float(numbers), step)), start)
    arrivals.send(torch.tensor(1.0), 1)
    arrivals.look()
    assert shown == []
    copies[0].come = True
    arrivals.look()
    arrivals.look()
    assert shown == [(1.0, 1)]


def test_a_newer_preview_takes_the_place_of_one_that_has_not_come():
    shown, copies = [], []

    def start(numbers):
        copies.append(OnTheWay(numbers))
        return copies[-1]

    arrivals = Arrivals(lambda numbers, step: shown.append(step), start)
    arrivals.send(torch.tensor(1.0), 1)
    arrivals.send(torch.tensor(2.0), 2)
    for copy in copies:
        copy.come = True
    arrivals.look()
    assert shown == [2]


def test_on_a_processor_a_preview_is_shown_at_once():
    shown = []
    Arrivals(lambda numbers, step: shown.append(step)).send(torch.tensor(1.0), 5)
    assert shown == [5]
    assert isinstance(begin(torch.zeros(1)), Here)


def test_attention_layers_have_the_names_and_the_order_of_diffusers(engine):
    for module in (engine.parts.unet, engine.parts.identity_net):
        layers = attention_layers(module)
        assert [name for name, _ in layers] == list(module.attn_processors)
        assert [layer.processor for _, layer in layers] == list(module.attn_processors.values())


def test_a_pipeline_computes_where_its_parts_are(engine):
    parts = engine.parts
    shell = pipeline(parts, Mode.TEXT, (), scheduler(parts, "default"))
    assert shell._execution_device == parts.device == super(type(shell), shell)._execution_device


def test_marks_are_recorded_on_the_gpu_that_draws_and_not_on_the_first_one(monkeypatch):
    entered = []

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            entered.append(self.device)

        def __exit__(self, *_):
            entered.append("left")

    monkeypatch.setattr(torch.cuda, "device", Device)
    with current(torch.device("cuda", 1)):
        assert entered == [torch.device("cuda", 1)]
    with current(torch.device("cpu")):
        pass
    assert entered == [torch.device("cuda", 1), "left"]
