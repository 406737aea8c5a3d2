"""Likeness from Python, against a whole backend with scripted workers in a process of its own."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_backend import QUICK, setup
from scripted_worker import pixels

from backend.batch import from_csv, run_batch
from backend.launch import connect
from backend.pictures import picture_plane
from backend.scripting import Part, Preview, Progress, Results, Studio, group_job, portrait_job
from backend.service import Service
from protocol.errors import BackendUnavailable, InvalidRequest, NoFace, NotRunning
from protocol.geometry import Extent
from protocol.jobs import Character, ImagePrompt, Lends, Lora
from protocol.results import WorkerStage


def seen(seed: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    width, height = size
    return np.frombuffer(pixels(seed, Extent(width, height)).data, np.uint8).reshape(height, width, 3)


def test_without_a_backend_and_without_leave_to_start_one_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="likeness serve"):
        Studio(tmp_path / "nowhere", start=False)


def test_a_portrait_is_a_pillow_picture_with_its_seed(studio: Studio) -> None:
    results = studio.portrait(Character("captain"), "steps=2", count=3, seed=4, size=(8, 8))
    assert [picture.seed for picture in results] == [4, 5, 6]
    for picture in results:
        assert np.array_equal(np.asarray(picture.image), seen(picture.seed))


def test_several_people_stand_in_one_picture_each_in_their_region(studio: Studio) -> None:
    results = studio.together(["captain", "mate"], "steps=1", [(0, 0, 0.5, 1), (0.5, 0, 1, 1)], size=(64, 32), seed=2)
    assert [picture.seed for picture in results] == [2]
    job = group_job(["captain", "mate"], "at the sea", [(0, 0, 0.5, 1), None], size=(64, 32), likeness=0.5)
    assert [(subject.who, subject.adapter) for subject in job.subjects] == [(Character("captain"), 0.5), (Character("mate"), 0.5)]
    region = job.subjects[0].region
    assert region is not None
    mask = np.frombuffer(region.data, np.uint8).reshape(32, 64)
    assert (mask[:, :30] == 255).all()
    assert (mask[:, 34:] == 0).all()
    assert ((mask[:, 31:33] > 0) & (mask[:, 31:33] < 255)).all(), "the edge is soft"
    assert job.subjects[1].region is None


def test_regions_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="one for each"):
        group_job(["captain", "mate"], "", [(0, 0, 1, 1)], size=(64, 32))
    with pytest.raises(InvalidRequest, match="its size as well"):
        group_job(["captain", "mate"], "", [(0, 0, 0.5, 1), (0.5, 0, 1, 1)])


def test_image_prompts_of_a_script_travel_with_the_job() -> None:
    prompt = ImagePrompt(picture_plane(np.zeros((4, 4, 3), np.uint8)), lends=Lends.STYLE)
    assert portrait_job("captain", "at the sea", image_prompts=[prompt]).image_prompts == (prompt,)


def test_saving_numbers_the_files_and_keeps_the_prompt_in_them(studio: Studio, tmp_path: Path) -> None:
    saved = studio.picture("steps=1", count=2, size=(8, 8)).save(tmp_path / "captain.png")
    assert [path.name for path in saved] == ["captain.png", "captain-2.png"]
    with Image.open(saved[1]) as again:
        assert np.array_equal(np.asarray(again), seen(1))
        assert "steps=1" in str(again.info)


def test_streaming_tells_progress_and_previews_and_ends_with_the_results(studio: Studio) -> None:
    news = list(studio.stream(portrait_job(None, "steps=5 step_s=0.15", size=(8, 8))))
    assert isinstance(news[-1], Results)
    assert [one.step for one in news if isinstance(one, Progress) and one.step] == [1, 2, 3, 4, 5]
    assert all(one.image.size == (4, 4) for one in news if isinstance(one, Preview))
    assert any(isinstance(one, Preview) for one in news)


def test_leaving_a_stream_early_cancels_the_job(studio: Studio) -> None:
    for one in studio.stream(portrait_job(None, "steps=100000 step_s=0.02", size=(8, 8))):
        if isinstance(one, Progress) and one.step:
            break
    assert len(studio.picture("steps=1", size=(8, 8))) == 1


def test_leaving_one_stream_loses_nothing_of_another(studio: Studio) -> None:
    one = studio.stream(portrait_job(None, "steps=3 step_s=0.1", seed=5, size=(8, 8)))
    other = studio.stream(portrait_job(None, "steps=1", seed=6, size=(8, 8)))
    assert isinstance(next(one), Progress)
    assert isinstance(next(other), Progress)
    with studio.beside(Studio, uuid.uuid4().hex) as watcher:
        while (status := watcher.status()).queued or status.running:
            time.sleep(0.02)
    other.close()  # takes from the connection what the backend says of both
    last = list(one)[-1]
    assert isinstance(last, Results)
    assert last[0].seed == 5


def test_asyncio_gives_the_same(studio: Studio) -> None:
    async def both() -> tuple[Results, list[object]]:
        results = await studio.arun(portrait_job(None, "steps=1", seed=3, size=(8, 8)))
        return results, [news async for news in studio.astream(portrait_job(None, "steps=2", size=(8, 8)))]

    results, news = asyncio.run(both())
    assert np.array_equal(np.asarray(results[0].image), seen(3))
    assert isinstance(news[-1], Results)


def test_more_jobs_at_once_than_may_wait_at_the_backend_are_all_done(studio: Studio) -> None:
    async def many() -> list[Results]:
        return await asyncio.gather(*(studio.arun(portrait_job(None, "steps=1", seed=seed, size=(8, 8))) for seed in range(120)))

    assert [results[0].seed for results in asyncio.run(many())] == list(range(120))


def test_a_worker_that_could_not_start_is_said_at_once_to_a_script_that_comes_later(tmp_path: Path) -> None:
    state, leave = tmp_path / "state", threading.Event()
    with Service(setup(state, patience=replace(QUICK, backoff_s=(0.05, 0.05, 600.0)), extra=("--broken",))) as service:
        thread = threading.Thread(target=service.run, args=(leave.is_set,))
        thread.start()
        with Studio(state, start=False) as early:
            while early.status().devices[0].stage is not WorkerStage.UNAVAILABLE:
                time.sleep(0.05)
        begin = time.monotonic()
        with Studio(state, start=False) as late, pytest.raises(BackendUnavailable, match="CUDA is not there"):
            late.picture("x")
        assert time.monotonic() - begin < 120, "the next try, which need not be waited for, is ten minutes away"
        leave.set()
        thread.join()


def test_an_error_of_the_job_is_raised_as_what_it_is(studio: Studio) -> None:
    with pytest.raises(NoFace, match="Photo 1"):
        studio.picture("face_at=0")
    with pytest.raises(InvalidRequest, match=r"job\.count"):
        studio.picture("x", count=99)


def test_the_backend_tells_of_itself(studio: Studio) -> None:
    assert studio.models()[0].id == "scripted"
    assert studio.status().devices[0].stage in (WorkerStage.READY, WorkerStage.WORKING)
    assert studio.characters() == []
    with pytest.raises(InvalidRequest, match="Give its photos"):
        studio.character("nobody")


def test_a_character_may_be_a_region_of_a_picture_and_only_that_region_is_sent(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setattr(studio, "outcome", sent.append)
    canvas = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert studio.character("mate", photos=[Part(canvas, (10, 5, 30, 35)), canvas]) == Character("mate")
    (asked,) = sent
    assert [photo.extent for photo in asked.photos] == [Extent(20, 30), Extent(60, 40)]
    assert bytes(asked.photos[0].data) == canvas[5:35, 10:30].tobytes()


def test_jupyter_shows_the_pictures(studio: Studio) -> None:
    results = studio.picture("steps=1", count=5, size=(8, 8))
    assert results._repr_png_().startswith(b"\x89PNG")
    assert results.sheet().size == (32, 16)
    assert results[0]._repr_png_().startswith(b"\x89PNG")


def test_a_batch_makes_what_is_missing_and_only_that(studio: Studio, tmp_path: Path) -> None:
    table = tmp_path / "shots.csv"
    table.write_text("name,prompt,seed,count\none,steps=1,1,1\ntwo,steps=1,2,2\n", encoding="utf-8")
    out = tmp_path / "out"
    assert [path.name for path in run_batch(studio, from_csv(table), out, bar=False)] == ["one.png", "two.png"]
    assert sorted(path.name for path in out.glob("*.png")) == ["one.png", "two-2.png", "two.png"]
    (out / "one.png").unlink()
    assert [path.name for path in run_batch(studio, from_csv(table), out, bar=False)] == ["one.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\nx\n", "needs the columns"),
        ("name,prompt,colour\nx,y,z\n", "no others"),
        ("name,prompt\n../x,y\n", "line 2"),
        ("name,prompt\n,y\n", "line 2"),
        ("name,prompt,seed\nx,y,many\n", "whole numbers"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidRequest, match=words):
        from_csv(tmp_path / "t.csv")


def test_a_connection_is_made_to_a_backend_that_runs_and_no_second_is_started(studio: Studio) -> None:
    other = connect(studio._client._folder, start=True)
    assert other.link.value == "connected"
    other.close()


def test_loras_are_named_with_their_weights() -> None:
    job = portrait_job(None, "a hat", loras={"ink": 0.5, "oil": -1.0})
    assert job.loras == (Lora("ink", 0.5), Lora("oil", -1.0))
