from __future__ import annotations

from itertools import pairwise

import pytest

from backend.pipe import Beat, Failed, Finished, Lease, Leave, Ready, Step, Stock, Stop, Unfit
from backend.server.supervisor import Death, End, Patience, Progress, Supervisor
from protocol.geometry import Extent
from protocol.results import ModelInfo, WorkerStage

JOB = "a" * 32
PATIENCE = Patience(
    ready_s=100, first_step_s=60, step_s=20, slow_step_factor=10, silent_s=15, cancel_s=5, backoff_s=(1, 2, 4), stable_s=10, failures=3
)


class FakeProcess:
    """Says what a test puts into `words`; remembers what it was told."""

    def __init__(self) -> None:
        self.words, self.told, self.gone, self.killed = [], [], False, False

    def fileno(self) -> int:
        return 0

    def send(self, word, blob=None) -> None:
        if self.gone:
            raise BrokenPipeError
        self.told.append(word)

    def receive(self):
        if self.gone:
            raise EOFError
        words, self.words = self.words, []
        return [(word, b"blob") for word in words]

    def kill(self) -> None:
        self.killed = self.gone = True

    def last_words(self) -> str:
        return "RuntimeError: no CUDA"


class Room:
    """A supervisor, its processes, and the clock of its worker."""

    def __init__(self, devices: tuple[str, ...] = ("cpu",)) -> None:
        self.processes: list[FakeProcess] = []
        self.now = 0.0
        self.supervisor = Supervisor(devices, self.spawn, PATIENCE)

    def spawn(self, device: str) -> FakeProcess:
        self.processes.append(FakeProcess())
        return self.processes[-1]

    @property
    def process(self) -> FakeProcess:
        return self.processes[-1]

    def after(self, seconds: float, *words, beating: bool = True) -> list:
        """Let time pass in small steps; the words are said at the end."""
        reports, end = [], self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1)
            if beating and self.processes and not self.process.gone:
                self.process.words.append(Beat())
            reports += self.supervisor.tick(self.now)
        self.process.words += words
        return reports + self.supervisor.tick(self.now)

    def leased(self, attempt: int = 1) -> None:
        self.supervisor.lease("cpu", Lease(JOB, attempt, "in", "out"), b"header", self.now)


@pytest.fixture
def room() -> Room:
    made = Room()
    made.supervisor.tick(0)
    return made


@pytest.fixture
def busy(room: Room) -> Room:
    room.after(1, Ready("a device"))
    room.leased()
    return room


def test_a_worker_takes_jobs_once_it_is_ready(room: Room) -> None:
    assert room.supervisor.idle() == []
    assert room.supervisor.summary()[0] is WorkerStage.STARTING
    room.after(3, Ready("a device"))
    assert room.supervisor.idle() == ["cpu"]
    assert (room.supervisor.status()[0].title, room.supervisor.summary()[0]) == ("a device", WorkerStage.READY)


def test_what_a_worker_tells_of_models_is_counted_and_the_last_of_it_counts(room: Room) -> None:
    assert (room.supervisor.models(), room.supervisor.models_changed) == ((), 0)
    one, other = (ModelInfo(name, name, "sdxl", Extent(64, 64)) for name in ("one", "other"))
    room.after(1, Ready("a device", (one,)))
    assert (room.supervisor.models(), room.supervisor.models_changed) == ((one,), 1)
    room.after(1, Stock((other,)))
    assert (room.supervisor.models(), room.supervisor.models_changed) == ((other,), 2)


def test_a_job_is_told_its_progress_and_its_end(busy: Room) -> None:
    assert busy.supervisor.idle() == []
    reports = busy.after(1, Step(JOB, 1, 1, 4, 3.0), Finished(JOB, 1, (3,)))
    assert reports == [Progress(JOB, 1, 1, 4, 3.0), End(JOB, 1, b"blob", (3,), None)]
    assert busy.supervisor.idle() == ["cpu"]


def test_an_honest_failure_keeps_the_worker(busy: Room) -> None:
    assert busy.after(1, Failed(JOB, 1, "no-face", "No face.")) == [End(JOB, 1, None, (), ("no-face", "No face."))]
    assert len(busy.processes) == 1


def test_what_is_said_of_another_attempt_is_not_heard(busy: Room) -> None:
    assert busy.after(1, Step(JOB, 7, 1, 4), Finished("b" * 32, 1), Finished(JOB, 2)) == []


def test_a_worker_that_dies_is_said_and_started_again(busy: Room) -> None:
    busy.process.gone = True
    (death,) = busy.supervisor.tick(busy.now)
    assert isinstance(death, Death)
    assert (death.job_id, death.attempt) == (JOB, 1)
    assert "it ended" in death.sentence
    assert busy.supervisor.summary()[0] is WorkerStage.RESTARTING
    busy.after(1)
    assert len(busy.processes) == 2


@pytest.mark.parametrize(
    ("silence", "words", "cause"),
    [(70, (), "no progress"), (25, (Step(JOB, 1, 1, 4),), "no progress")],
)
def test_a_job_without_progress_is_given_up(busy: Room, silence: float, words: tuple, cause: str) -> None:
    busy.after(0, *words)
    deaths = [report for report in busy.after(silence) if isinstance(report, Death)]
    assert len(deaths) == 1
    assert cause in deaths[0].sentence
    assert busy.processes[0].killed


def test_a_job_with_slow_steps_is_given_more_time(busy: Room) -> None:
    for step in range(3):
        assert not [r for r in busy.after(15, Step(JOB, 1, step, 9)) if isinstance(r, Death)]
    assert busy.after(100) == []
    assert any(isinstance(report, Death) for report in busy.after(60))


def test_a_silent_worker_is_given_up(busy: Room) -> None:
    reports = busy.after(17, beating=False)
    assert any(isinstance(report, Death) and "silent" in report.sentence for report in reports)


def test_a_worker_that_is_never_ready_is_given_up(room: Room) -> None:
    room.after(102)
    assert len(room.processes) == 2
    assert room.processes[0].killed


def test_a_worker_that_ignores_a_cancel_is_ended_and_the_job_not_mourned(busy: Room) -> None:
    busy.supervisor.stop(JOB, busy.now)
    assert busy.process.told[-1] == Stop(JOB)
    assert [report for report in busy.after(7) if isinstance(report, Death)] == []
    assert busy.processes[0].killed


def test_backoff_grows_and_five_failures_are_said_with_the_last_words(room: Room) -> None:
    starts = []
    for _ in range(40):
        room.process.gone = True
        before = len(room.processes)
        room.after(1)
        if len(room.processes) > before:
            starts.append(room.now)
    pauses = [round(b - a) for a, b in pairwise(starts)]
    assert pauses[:2] == sorted(pauses[:2])
    assert max(pauses) <= 6
    stage, sentence = room.supervisor.summary()
    assert stage is WorkerStage.UNAVAILABLE
    assert "no CUDA" in sentence
    assert "doctor" in sentence


NO_CUDA = "The device 'cuda:9' cannot be used here (no CUDA). `likeness doctor` lists the devices."


def test_a_worker_that_says_it_cannot_work_here_is_said_at_once_without_its_log_and_not_tried_again(room: Room) -> None:
    room.after(1, Unfit("invalid-request", NO_CUDA))
    stage, sentence = room.supervisor.summary()
    assert stage is WorkerStage.UNAVAILABLE
    assert sentence.startswith(NO_CUDA)
    assert "--stop" in sentence
    assert "RuntimeError" not in sentence
    assert room.process.killed
    room.after(1000)
    assert len(room.processes) == 1


def test_a_device_that_worked_before_and_is_refused_now_is_tried_again(room: Room) -> None:
    room.after(0, Ready("a device"))
    room.after(12)
    room.process.gone = True
    room.after(3)
    room.after(0, Unfit("invalid-request", NO_CUDA))
    assert room.supervisor.summary() == (WorkerStage.UNAVAILABLE, NO_CUDA)
    room.after(10)
    assert len(room.processes) == 3
    room.after(0, Ready("a device"))
    assert room.supervisor.summary() == (WorkerStage.READY, "")


def test_a_device_that_is_refused_takes_nothing_from_the_other() -> None:
    room = Room(("cuda:0", "cuda:9"))
    room.supervisor.tick(0)
    room.processes[0].words.append(Ready("one"))
    room.processes[1].words.append(Unfit("invalid-request", NO_CUDA))
    room.supervisor.tick(1)
    assert room.supervisor.idle() == ["cuda:0"]
    assert room.supervisor.summary() == (WorkerStage.READY, "")
    assert room.supervisor.status()[1].sentence.startswith(NO_CUDA)


def test_ten_good_seconds_forgive_earlier_failures(room: Room) -> None:
    for _ in range(2):
        room.process.gone = True
        room.after(5)
    room.after(0, Ready())
    room.after(12)
    room.process.gone = True
    room.after(0.5)
    assert room.supervisor.summary()[0] is WorkerStage.RESTARTING


def test_a_process_that_cannot_be_started_is_a_failure_and_no_crash() -> None:
    def refuse(device: str) -> FakeProcess:
        raise FileNotFoundError(2, "No such file")

    supervisor = Supervisor(["cpu"], refuse, PATIENCE)
    for second in range(40):
        assert supervisor.tick(second) == []
    assert supervisor.summary()[0] is WorkerStage.UNAVAILABLE
    assert "No such file" in supervisor.summary()[1]


def test_a_clock_that_jumps_while_the_computer_sleeps_is_not_the_workers_fault(busy: Room) -> None:
    """Monotonic clocks stand still in sleep on Linux and macOS; elsewhere, words that wait are heard before the time."""
    busy.process.words.append(Step(JOB, 1, 2, 4))
    busy.now += 7200
    assert not [report for report in busy.supervisor.tick(busy.now) if isinstance(report, Death)]


def test_two_devices_work_side_by_side_and_the_best_is_told() -> None:
    room = Room(("cuda:0", "cuda:1"))
    room.supervisor.tick(0)
    room.processes[0].words.append(Ready("one"))
    room.supervisor.tick(1)
    assert room.supervisor.idle() == ["cuda:0"]
    assert room.supervisor.summary()[0] is WorkerStage.READY


def test_closing_ends_all_workers(busy: Room) -> None:
    busy.supervisor.close()
    assert isinstance(busy.processes[0].told[-1], Leave)
    assert busy.processes[0].killed
