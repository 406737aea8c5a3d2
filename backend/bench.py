"""What the way from a host to the backend and back costs: a selection in, a picture out, with a pipeline that does nothing.

Three ways are measured in turns, so that a busy machine is busy for all of them: ours; its floor (the same bytes written to the spool and
sent through CURVE, nothing else); and the way of others (PNG of level 1 over HTTP up, over a websocket down, as clients of ComfyUI do).
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from protocol.client import Client
from protocol.errors import Lost, ServiceError
from protocol.events import Link
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob, Sampling
from protocol.messages import Fetched, JobUpdate, Priority, Stage
from protocol.planes import Layout, Plane

from .bench_rivals import PngServer, RawCurve
from .launch import connect
from .planefile import write_planes
from .server.dispatch import KEEP_ACKNOWLEDGED_JOBS
from .server.queue import Entry, leased
from .server.spool import Spool

FLOOR_GOAL, FIELD_GOAL = 1.5, 8.0
WAIT_S = 60.0


@dataclass(frozen=True)
class Measured:
    """Medians in seconds of each way; `growth` is what the backend's memory grew by, in bytes per job, if it was watched."""

    side: int
    ours: float
    spool: float
    curve: float
    field: float
    growth: float | None = None

    @property
    def over_floor(self) -> float:
        """Ours as a multiple of the spool's writes and the raw transfer."""
        return self.ours / (self.spool + self.curve)

    @property
    def under_field(self) -> float:
        """How many times faster than the field's way."""
        return self.field / self.ours

    @property
    def good(self) -> bool:
        """Whether the goals are met."""
        flat = self.growth is None or self.growth < 100
        return self.over_floor <= FLOOR_GOAL and self.under_field >= FIELD_GOAL and flat


def measure(side: int, rounds: int, jobs: int = 0) -> Measured:
    """All ways, `rounds` times each in turns, and `jobs` small jobs with an eye on the backend's memory."""
    canvas = _canvas(side)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client = stack.enter_context(own_backend(folder / "state"))
        curve = stack.enter_context(RawCurve(folder / "curve"))
        png = stack.enter_context(PngServer())
        spool = Spool(folder / "spool")
        stack.callback(spool.close)
        ways = (
            lambda: _round_trip(client, _job(canvas)),
            lambda: _spool_alone(spool, canvas),
            lambda: curve.round_trip([canvas.picture.data, canvas.mask.data if canvas.mask else b""], side * side * 4),
            lambda: png.round_trip(np.frombuffer(canvas.picture.data, np.uint8).reshape(side, side, 4)),
        )
        for way in ways:
            way()
        times = [[_timed(way) for way in ways] for _ in range(rounds)]
        ours, kept, sent, field = (statistics.median(column) for column in zip(*times, strict=True))
        return Measured(side, ours, kept, sent, field, _growth(client, jobs) if jobs else None)


def report(found: Measured) -> list[str]:
    """The numbers in words."""
    lines = [
        f"{found.side} x {found.side} RGBA and mask in, RGBA out; medians:",
        f"  ours                          {found.ours * 1000:8.1f} ms",
        f"  its floor: spool's writes     {found.spool * 1000:8.1f} ms",
        f"             CURVE transfer     {found.curve * 1000:8.1f} ms",
        f"  PNG level 1, HTTP, websocket  {found.field * 1000:8.1f} ms",
        f"ours is {found.over_floor:.2f} times its floor (goal: at most {FLOOR_GOAL}),",
        f"and {found.under_field:.1f} times faster than the field's way (goal: at least {FIELD_GOAL:.0f})",
    ]
    if found.growth is not None:
        lines.append(f"the backend's memory grew by {found.growth:.0f} bytes a job (goal: under 100)")
    return lines


def _canvas(side: int) -> Canvas:
    """Something like a photo: smooth, with noise, since a flat picture would flatter PNG."""
    rng = np.random.default_rng(5)
    ramp = np.linspace(0, 200, side, dtype=np.float32)
    picture = np.stack([ramp[:, None] + ramp[None] / 4, ramp[None] + 0 * ramp[:, None], 220 - ramp[:, None] + 0 * ramp[None]], axis=-1)
    noisy = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    rgba = np.dstack([noisy, np.full((side, side), 255, np.uint8)])
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : side // 2] = 255
    extent = Extent(side, side)
    return Canvas(Plane(Layout.RGBA8, extent, rgba.tobytes()), Plane(Layout.A8, extent, mask.tobytes()))


def _job(canvas: Canvas) -> PictureJob:
    return PictureJob("nothing", canvas=canvas, preview_every=0, sampling=Sampling(seed=1))


@contextmanager
def own_backend(state: Path) -> Generator[Client]:
    """A client of a backend that was started in this folder, draws nothing, and ends with the block."""
    client = connect(state, start=True, program="bench", options=["--pipeline", "nothing"])
    try:
        yield client
    finally:
        client.shutdown()
        end = time.monotonic() + 5
        while (state / "connection.json").exists() and time.monotonic() < end:
            client.poll()
            client.wait(0.02)
        client.close()


def _round_trip(client: Client, job: PictureJob) -> None:
    """Submit, wait, fetch, acknowledge: until the picture is here."""
    job_id = client.submit(job, priority=Priority.INTERACTIVE)
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        events = client.poll()
        for event in events:
            match event:
                case JobUpdate(stage=Stage.DONE) if event.job_id == job_id:
                    client.fetch(job_id)
                case Fetched() if event.job_id == job_id:
                    client.acknowledge(job_id)
                    return
                case _:
                    pass
        _check_alive(client)
        if not events:  # what was just asked for is sent by the next poll
            client.wait(0.5)
    raise ServiceError("The backend did not answer in time. Look into its log.")


def _spool_alone(spool: Spool, canvas: Canvas) -> None:
    """What the spool does for one job: the planes in, the result's planes, and the rows."""
    entry = Entry(uuid.uuid4().hex, "b" * 32, Priority.INTERACTIVE, 1)
    spool.add(entry, "", b"header", [canvas.picture.data, canvas.mask.data if canvas.mask else b""])
    running = leased(entry)
    spool.save(running)
    write_planes(spool.output_path(running.job_id, running.attempt), [canvas.picture.data])
    spool.finish(replace(running, stage=Stage.DONE), b"outcome", [len(canvas.picture.data)], None)


def _timed(way: Callable[[], None]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def _growth(client: Client, jobs: int) -> float:
    """Bytes by which the backend's memory grows per small job, once it keeps as many old ones as it ever does."""
    from .bench_rivals import resident_bytes

    job = PictureJob("small", extent=Extent(8, 8), preview_every=0)
    pid = int(_pid(client))
    for _ in range(KEEP_ACKNOWLEDGED_JOBS + 500):
        _round_trip(client, job)
    before = resident_bytes(pid)
    for _ in range(jobs):
        _round_trip(client, job)
    return (resident_bytes(pid) - before) / jobs


def _pid(client: Client) -> int:
    from protocol.messages import StatusReport

    client.ask_status()
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        for event in client.poll():
            if isinstance(event, StatusReport):
                return event.status.pid
        _check_alive(client)
        client.wait(0.05)
    raise ServiceError("The backend did not answer in time. Look into its log.")


def _check_alive(client: Client) -> None:
    """A backend that died is not measured any more: its successor would begin with an empty memory."""
    if client.link is not Link.CONNECTED:
        raise Lost(f"The backend ended while it was measured, so there is no figure. {client.sentence}")
