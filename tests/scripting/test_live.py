"""Live pictures from Python, against a whole backend with scripted workers in a process of its own."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scripted_worker import pixels

from backend.live import Live, Wire
from backend.scripting import Studio, draft, portrait_job
from protocol.errors import InvalidRequest, NoFace
from protocol.geometry import Extent
from protocol.jobs import FacePass, PictureJob, Sampling, SecondPass, Shortcut
from protocol.limits import QUEUED_PER_CLIENT
from protocol.results import MadePicture, Pictures


def wish(seed: int, words: str = "steps=2 step_s=0.01") -> PictureJob:
    return PictureJob(words, extent=Extent(8, 8), sampling=Sampling(seed=seed), preview_every=0)


def shows(image: Image.Image, seed: int) -> bool:
    return np.array_equal(np.asarray(image).reshape(-1), np.frombuffer(pixels(seed, Extent(8, 8)).data, np.uint8))


def test_of_a_hundred_wishes_shown_at_once_the_last_is_drawn_and_none_is_refused(studio: Studio) -> None:
    assert QUEUED_PER_CLIENT < 100
    with studio.live() as live:
        for seed in range(1, 101):
            live.show(wish(seed))
        assert shows(live.wait()[0].image, 100)
        assert live.take() is None
    assert studio.status().queued == 0


def test_what_is_heard_late_of_an_older_wish_is_not_waited_for_and_does_not_take_the_newer_ones_place() -> None:
    """News of older wishes may be lost, and come with a later heartbeat."""
    heard: dict[str, list[Pictures]] = {"2": [drawn(2)]}
    wire = Wire(
        submit=lambda job: str(job.sampling.seed),
        take=lambda job_id: heard.pop(job_id, []),  # type: ignore[arg-type, return-value]
        settled=lambda _, outcome: outcome,  # type: ignore[arg-type, return-value]
        leave=lambda _: None,
        cancel=lambda _: None,
        pause=lambda: pytest.fail("the picture is there"),
    )
    live = Live(wire)
    live.show(wish(1))
    live.show(wish(2))
    assert live.wait()[0].seed == 2
    heard["1"] = [drawn(1)]
    assert live.take() is None


def drawn(seed: int) -> Pictures:
    return Pictures((MadePicture(pixels(seed, Extent(8, 8)), seed),), "m")


def test_pictures_follow_while_wishes_go_on(studio: Studio) -> None:
    """Each of these takes longer than the next wish is away, and still some are seen before the last."""
    seen: list[int] = []
    with studio.live("brush") as live:
        seed, end = 0, time.monotonic() + 300
        while len(seen) < 3 and time.monotonic() < end:
            seed += 1
            live.show(wish(seed, "steps=4 step_s=0.02"))
            if (results := live.take()) is not None:
                seen.append(results[0].seed)
            time.sleep(0.02)
        last = live.wait()
    assert len(seen) == 3
    assert seen == sorted(seen)
    assert last[0].seed == seed


def test_an_ordinary_picture_is_made_beside_a_live_stream(studio: Studio) -> None:
    with studio.live() as live:
        live.show(wish(1))
        live.show(wish(2))
        assert studio.run(wish(50))[0].seed == 50
        assert live.wait()[0].seed == 2


def test_what_is_wrong_with_a_live_job_is_said_and_the_stream_goes_on(studio: Studio) -> None:
    with studio.live() as live:
        live.show(wish(7, "steps=2 face_at=0"))
        with pytest.raises(NoFace):
            live.wait()
        live.show(wish(8))
        assert live.wait()[0].seed == 8
        with pytest.raises(InvalidRequest, match=r"show\(\) first"):
            live.wait()


def test_leaving_a_stream_cancels_what_is_left_of_it(studio: Studio) -> None:
    with studio.live() as live:
        live.show(wish(1, "steps=1000000 step_s=0.01"))
    assert studio.run(wish(2))[0].seed == 2, "the worker is free again"


def test_a_draft_is_one_small_quick_picture_of_the_same_wish() -> None:
    job = portrait_job("anna", "at the sea", count=4, seed=5)
    quick = draft(job)
    assert set(quick.sampling.shortcuts) == set(Shortcut) - {Shortcut.FEATURE_REUSE}
    assert quick.count == 1
    assert replace(quick, count=4, preview_every=job.preview_every, sampling=job.sampling) == job
    slow = replace(job, second_pass=SecondPass(), face_pass=FacePass(), sampling=replace(job.sampling, steps=50, guidance_scale=9.0))
    assert draft(slow) == quick, "what would take longer is left to the picture that is made in full"
