"""Many jobs: one photo in memory at a time, and no result that overwrites another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend import batch
from backend.batch import Order, from_csv, from_folder, run_batch
from backend.pictures import Result, Results
from protocol.errors import BadPicture, InvalidRequest, NoFace
from protocol.jobs import PictureJob


class FakeStudio:
    """Gives a grey picture for each job, and notes how many photos had been read by then."""

    def __init__(self) -> None:
        self.read: list[Path] = []
        self.before: list[int] = []

    def run(self, job: PictureJob, *, batch: bool) -> Results:
        self.before.append(len(self.read))
        pictures = tuple(Result(Image.new("RGB", (8, 8)), seed, (), {}) for seed in range(job.count))
        return Results(pictures, "fake", 0.0, None)


def folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(path / name)
    return path


def test_photos_of_a_folder_are_read_one_at_a_time_when_it_is_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio, read = FakeStudio(), batch.picture_plane
    monkeypatch.setattr(batch, "picture_plane", lambda path: studio.read.append(path) or read(path))
    orders = from_folder(folder(tmp_path / "in", "a.png", "b.jpg", "c.webp"), "a portrait")
    assert studio.read == []
    made = run_batch(studio, orders, tmp_path / "out", bar=False)
    assert [path.name for path in made] == ["a.png", "b.png", "c.png"]
    assert studio.before == [1, 2, 3]


def test_what_is_there_already_is_not_even_read(tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", "a.png", "b.png")
    run_batch(FakeStudio(), from_folder(photos, "x"), tmp_path / "out", bar=False)
    (photos / "a.png").write_bytes(b"damaged")
    assert run_batch(FakeStudio(), from_folder(photos, "x"), tmp_path / "out", bar=False) == []


def test_a_photo_that_cannot_be_read_ends_the_batch_there_with_its_name(tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", "a.png", "b.png")
    (photos / "b.png").write_bytes(b"damaged")
    with pytest.raises(BadPicture, match=r"b\.png"):
        run_batch(FakeStudio(), from_folder(photos, "x"), tmp_path / "out", bar=False)
    assert (tmp_path / "out" / "a.png").exists()


def test_an_order_that_fails_ends_the_batch_with_its_own_error_and_the_orders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faceless(job: PictureJob, *, batch: bool) -> Results:
        raise NoFace("Photo 1 shows no face.")

    studio = FakeStudio()
    monkeypatch.setattr(studio, "run", faceless)
    with pytest.raises(NoFace, match=r"^anna: Photo 1 shows no face\.$"):
        run_batch(studio, from_folder(folder(tmp_path / "in", "anna.png"), "x"), tmp_path / "out", bar=False)


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("A.png", "a.jpg")])
def test_two_photos_whose_results_would_have_one_name_are_refused_and_named(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"would both be saved as a\.png\. Rename one") as refused:
        from_folder(folder(tmp_path / "in", *names), "x")
    assert all(name in str(refused.value) for name in names)


def test_a_result_that_is_numbered_does_not_overwrite_one_that_is_called_so(tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", "a.png", "a-2.png")
    assert len(from_folder(photos, "x")) == 2
    with pytest.raises(InvalidRequest, match=r"would both be saved as a-2\.png"):
        from_folder(photos, "x", count=2)


def test_two_lines_of_a_table_with_one_name_are_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,prompt\none,x\ntwo,x\none,y\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"line 2 and .*line 4 would both be saved as one\.png"):
        from_csv(tmp_path / "t.csv")


def test_orders_made_by_a_script_are_checked_before_the_first_is_done(tmp_path: Path) -> None:
    studio = FakeStudio()
    orders = [Order("one", lambda: PictureJob("x")), Order("one", lambda: PictureJob("y"))]
    with pytest.raises(InvalidRequest, match="one and one"):
        run_batch(studio, orders, tmp_path / "out", bar=False)
    assert studio.before == []
