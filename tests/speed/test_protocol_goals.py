"""What `likeness bench protocol` measures: bytes that must be equal, who waits for whom, pings, pixels of the add-ons. Nothing here depends
on how long anything takes."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from backend.launch import connect
from backend.speed import framing, protocol_goals, serving
from backend.speed.add_ons import BlenderPixels, KritaPixels
from backend.speed.chart import draw
from backend.speed.goals import shown
from backend.speed.serving import Crowd, Pinger, jain
from backend.speed.turns import Clock, Family, check_same, in_turns
from protocol import handover, outbox
from protocol.errors import ServiceError
from protocol.handover import supported
from protocol.jobs import PictureJob, Sampling
from protocol.messages import Stage

PIXELS = np.random.default_rng(1).integers(0, 256, (32, 32, 4), dtype=np.uint8)


@pytest.fixture(autouse=True)
def nobody_is_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may start a worker in minutes."""
    monkeypatch.setattr(serving, "ANSWER_S", 600.0)
    monkeypatch.setattr(protocol_goals, "WAIT_S", 600.0)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A backend whose worker computes, and its state folder."""
    state = tmp_path_factory.mktemp("busy") / "state"
    with protocol_goals.own_backend(state, "busy") as client:
        yield client, state


def test_a_round_trip_brings_the_same_pixels_and_a_preview_for_each_step(busy):
    client, _ = busy
    job = PictureJob("x", canvas=protocol_goals._canvas(16), preview_every=1, sampling=Sampling(steps=3))
    previews, picture = protocol_goals._round_trip(client, job)
    assert previews == 3
    assert bytes(picture.data) == bytes(protocol_goals._canvas(16).picture.data)


@pytest.mark.skipif(not supported(), reason="this system hands nothing over")
def test_both_ways_are_what_they_are_called(busy, monkeypatch):
    """One of the two that fell back to the other in silence would be measured against itself."""
    _, state = busy
    went: list[str] = []
    monkeypatch.setattr(outbox, "HANDOVER_PATIENCE_S", 300.0)  # a busy disk has its time
    put, get = handover.put, handover.get
    monkeypatch.setattr(handover, "put", lambda *given: (went.append("up"), put(*given))[1])
    monkeypatch.setattr(handover, "get", lambda *given: (went.append("down"), get(*given))[1])
    for wanted, expected in ((False, []), (True, ["up", "down"])):
        client = connect(state, start=False, handover=wanted)
        protocol_goals._trip(client, protocol_goals._canvas(300))()
        assert went == expected
        client.close()


def test_other_pixels_are_no_measurement():
    with pytest.raises(ServiceError, match="Other pixels"):
        check_same(b"one", b"two")


def test_two_clients_are_served_in_turns_and_their_jobs_are_all_done(busy):
    client, state = busy
    found = serving.queueing(client, state, 1)
    assert [figure.goal for figure in found] == ["G11"] * 3
    assert found[0].value > 0
    assert found[2].met, "ten jobs of each, and half of the first ten belong to each"
    assert all(update is None or update.stage is Stage.DONE for update in client.jobs().values())


def test_a_backend_that_served_one_client_first_would_miss_that():
    """The unsafe twin: first come, first served."""
    assert jain([10, 0]) == 0.5
    assert jain([5, 5]) == 1.0


def test_pings_are_answered_while_a_worker_computes(busy, monkeypatch):
    client, state = busy
    monkeypatch.setattr(serving, "PINGS", 5)
    found = serving.heartbeat(client, state, 1)
    assert found[2].value == 0
    assert found[1].value >= found[0].value > 0


def test_a_ping_is_answered_by_its_own_pong(busy):
    pinger = Pinger(busy[1])
    assert [pinger.ping() > 0 for _ in range(3)] == [True] * 3
    pinger.close()


def test_a_crowd_that_waits_for_something_that_never_comes_says_so(busy, monkeypatch):
    monkeypatch.setattr(serving, "ANSWER_S", 0.1)
    with pytest.raises(ServiceError, match="in time"):
        Crowd((busy[0],)).until(["0" * 32], Stage.DONE)


def test_three_framings_give_the_picture_back(tmp_path):
    with framing.Echo(tmp_path, PIXELS.nbytes) as echo:
        for way in (echo.ours, echo.one_body, echo.shared):
            assert bytes(way(PIXELS)) == PIXELS.tobytes()


def test_a_framing_that_gives_other_pixels_is_not_measured():
    """The unsafe twin."""
    with pytest.raises(ServiceError, match="Other pixels"):
        in_turns({"a wrong one": lambda: partial(check_same, bytes(PIXELS.nbytes), PIXELS)}, 1, Clock.WALL)


@pytest.mark.parametrize("kind", [KritaPixels, BlenderPixels])
def test_the_add_ons_own_functions_bring_the_same_pixels_out_and_in(tmp_path, kind):
    with kind(tmp_path / "add_on", 16) as add_on:
        wall, processor = add_on.work()
        assert wall > 0
        assert processor > 0


def test_what_is_done_after_a_picture_is_shown_is_measured_too(tmp_path):
    with BlenderPixels(tmp_path / "add_on", 16) as add_on:
        wall, processor = add_on.compress()
        assert wall > 0
        assert processor > 0


def test_an_add_on_whose_functions_fail_is_said(tmp_path, capfd):
    folder = tmp_path / "add_on"
    with KritaPixels(folder, 16) as good:
        good.work()
    (folder / "pixels.py").write_text("raise RuntimeError('broken')\n")
    from backend.speed.add_ons import _KRITA, _Pixels

    with pytest.raises(ServiceError, match="could not be measured"):
        _Pixels(folder, _KRITA, 16)
    assert "broken" in capfd.readouterr().err


def test_ways_take_turns_and_the_first_round_does_not_count():
    order: list[str] = []
    ways = {name: partial(order.append, name) for name in ("one", "other")}
    rows = in_turns(ways, 2, Clock.WALL)
    assert order == ["one", "other"] * 3
    assert [sorted(row) for row in rows] == [["one", "other"]] * 2


def test_a_way_in_another_process_says_by_itself_what_it_took():
    assert in_turns({"told": lambda: (2.0, 1.0)}, 1, Clock.WALL) == [{"told": 2.0}]
    assert in_turns({"told": lambda: (2.0, 1.0)}, 1, Clock.PROCESSOR) == [{"told": 1.0}]


def test_the_processors_clock_counts_the_processes_that_were_started_and_not_who_waits():
    work = "import sys\nfor _ in sys.stdin: print(sum(range(300000)), flush=True)"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        family = Family()
        before = family.used_s()
        child.stdin.write("go\n")
        child.stdin.flush()
        child.stdout.readline()
        assert family.used_s() > before
        child.stdin.close()


def test_figures_are_shown_in_units_that_people_read():
    assert [shown(0.0213, "s"), shown(2.5, "s"), shown(0.0152, "%"), shown(57.04, ""), shown(3, "calls")] == [
        "21.3 ms",
        "2.50 s",
        "1.5 %",
        "57.0",
        "3 calls",
    ]


@pytest.mark.slow
def test_a_whole_run_has_every_goal_of_the_way_and_is_written_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "PINGS", 5)
    said: list[str] = []
    report = protocol_goals.measure(32, 1, say=said.append, clock=Clock.PROCESSOR)
    assert [figure.goal for figure in report.figures] == ["G3"] * 8 + ["G4"] * 2 + ["G11"] * 3 + ["G12"] * 3 + ["G16"] * 2
    assert said
    report.write_json(tmp_path / "protocol.json")
    assert len(json.loads((tmp_path / "protocol.json").read_text())["figures"]) == 18
    draw(report, tmp_path / "protocol.png")
    assert (tmp_path / "protocol.png").read_bytes()[1:4] == b"PNG"


def test_small_jobs_are_sent_when_memory_is_watched(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol_goals, "KEEP_ACKNOWLEDGED_JOBS", -499)
    with protocol_goals.own_backend(Path(tmp_path) / "state") as client:
        assert protocol_goals._growth(client, 2) < 1e9
