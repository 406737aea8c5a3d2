"""Pictures outlive Krita before their document is saved: a copy on this computer, whole, bounded, and gone when it is not needed."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from krita_host import Document
from krita_stage import Stage
from scripted_worker import let_go

from plugin_krita.form import Mode
from plugin_krita.krita_files import annotation_in
from plugin_krita.unsaved import KEEP_S, Unsaved


def copies(stage: Stage) -> list[Path]:
    folder = stage.folder / "unsaved"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def jobs(stage: Stage) -> object:
    return stage.presenter._desk.client.jobs()


def generate(stage: Stage, count: int = 2) -> list[tuple[str, int]]:
    """Pictures that the backend has been told to forget."""
    before = len(stage.presenter.results)
    stage.ready()
    stage.presenter.change(count=count, live_preview=False, mode=Mode.FILL)
    stage.presenter.generate()
    stage.until(lambda: len(stage.presenter.results) == before + count)
    stage.until(lambda: not jobs(stage))
    return seen(stage)


def seen(stage: Stage) -> list[tuple[str, int]]:
    return [(one.key, one.seed) for one in stage.presenter.results]


def die_and_reopen(stage: Stage) -> None:
    stage.die()
    stage.host.reopen("one")
    stage.again()


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin_krita.keeping.LOOK_S", 0.01)


def test_pictures_are_there_again_when_krita_died_before_the_document_was_saved(stage: Stage):
    stage.document.select(20, 10, 30, 30)
    made = generate(stage)
    assert not jobs(stage)
    die_and_reopen(stage)
    assert stage.document.note is None
    stage.until(lambda: stage.presenter.results)
    assert seen(stage) == made
    stage.presenter.apply(made[0][0])
    stage.until(lambda: stage.document.undo)
    assert stage.presenter.results[0].bounds.x == 20


def test_the_unsafe_twin_without_the_copy_they_are_lost(stage: Stage):
    generate(stage)
    for copy in copies(stage):
        copy.unlink()
    die_and_reopen(stage)
    stage.ready()
    stage.settle()
    assert stage.presenter.results == ()


def test_they_are_there_again_when_the_document_was_closed_without_saving_and_krita_started_anew(stage: Stage):
    made = generate(stage)
    stage.host.reopen("one")
    stage.presenter.close()
    stage.again()
    stage.until(lambda: stage.presenter.results)
    assert seen(stage) == made


@pytest.mark.usefixtures("looks_often")
def test_a_copy_is_kept_until_the_document_is_saved_and_no_longer(stage: Stage, tmp_path: Path):
    made = generate(stage)
    stage.settle()
    assert len(copies(stage)) == 1
    assert stat.S_IMODE(copies(stage)[0].stat().st_mode) == 0o600 or os.name != "posix"
    stage.host.save("one", tmp_path / "one.kra")
    stage.until(lambda: not copies(stage))
    die_and_reopen(stage)
    stage.until(lambda: stage.presenter.results)
    assert seen(stage) == made


@pytest.mark.usefixtures("looks_often")
def test_a_file_that_was_saved_before_the_pictures_came_leaves_the_copy_alone(stage: Stage, tmp_path: Path):
    first = generate(stage, 1)
    stage.host.save("one", tmp_path / "one.kra")
    stage.until(lambda: not copies(stage))
    made = generate(stage, 2)
    os.utime(tmp_path / "one.kra")  # saving that began before, and ended now
    stage.settle(60)
    assert len(copies(stage)) == 1
    die_and_reopen(stage)
    stage.until(lambda: len(stage.presenter.results) == 3)
    assert seen(stage) == made
    assert first[0] in made


@pytest.mark.usefixtures("looks_often")
def test_the_copy_of_a_document_that_was_saved_and_closed_at_once_goes_as_well(stage: Stage, tmp_path: Path):
    generate(stage, 1)
    stage.host.save("one", tmp_path / "one.kra")
    stage.until(lambda: not copies(stage))
    generate(stage, 1)
    stage.host.save("one")
    stage.host.close("one")
    stage.until(lambda: not copies(stage))


@pytest.mark.usefixtures("looks_often")
def test_without_room_for_a_copy_the_backend_keeps_them_until_the_document_is_saved(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(self: Unsaved, document: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Unsaved, "keep", full)
    stage.ready()
    stage.presenter.change(count=1, live_preview=False)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.results and stage.presenter.notice)
    assert "No space left on device" in stage.presenter.notice
    assert "Save the document" in stage.presenter.notice
    stage.settle()
    assert len(jobs(stage)) == 1
    stage.host.save("one", tmp_path / "one.kra")
    stage.until(lambda: not jobs(stage))


def test_new_pictures_make_the_document_modified_and_looking_at_old_ones_does_not(stage: Stage, tmp_path: Path):
    generate(stage, 1)
    assert stage.document.modified
    stage.host.save("one", tmp_path / "one.kra")
    die_and_reopen(stage)
    stage.until(lambda: stage.presenter.results)
    stage.settle()
    assert not stage.document.modified


def test_a_copy_that_is_damaged_is_as_good_as_none(stage: Stage):
    generate(stage)
    copies(stage)[0].write_bytes(b"no archive")
    die_and_reopen(stage)
    stage.ready()
    stage.settle()
    assert stage.presenter.results == ()
    assert stage.presenter.notice == ""


def test_copies_are_bounded_in_size_and_age_and_the_newest_always_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("plugin_krita.unsaved.MOST_BYTES", 100)
    unsaved = Unsaved(tmp_path / "unsaved")
    now = time.time()
    for number, name in enumerate("abc"):
        unsaved.keep(name, bytes(40))
        os.utime(tmp_path / "unsaved" / name, (now - 10 + number, now - 10 + number))
    unsaved.keep("d", bytes(40))
    assert [unsaved.read(name) is not None for name in "abcd"] == [False, False, True, True]
    unsaved.keep("e", bytes(4000))
    assert [unsaved.read(name) is not None for name in "cde"] == [False, False, True]
    os.utime(tmp_path / "unsaved" / "e", (now - KEEP_S - 60, now - KEEP_S - 60))
    unsaved.prune()
    assert unsaved.read("e") is None


@pytest.mark.parametrize("name", ["", "../one", "a/b", "x" * 65])
def test_a_key_that_is_no_name_is_not_written(tmp_path: Path, name: str):
    unsaved = Unsaved(tmp_path / "unsaved")
    with pytest.raises(OSError, match="no name"):
        unsaved.keep(name, b"1")
    assert unsaved.read(name) is None
    unsaved.forget(name)
    assert not (tmp_path / "unsaved").exists()


def test_a_file_that_is_no_archive_has_no_annotation(tmp_path: Path):
    (tmp_path / "words.kra").write_text("PK but no archive")
    assert annotation_in(str(tmp_path / "words.kra"), "likeness/state") is None
    assert annotation_in(str(tmp_path / "gone.kra"), "likeness/state") is None


# Documents that are gone -----------------------------------------------------------------------------------------------------------------
def test_pictures_of_a_document_that_never_had_a_file_can_be_taken_into_another(stage: Stage):
    made = generate(stage)
    stage.die()
    stage.host.close("one")
    stage.host.open(Document("two", name="two.kra"))
    stage.again()
    stage.until(lambda: stage.presenter.waiting)
    assert "“portrait.kra”" in stage.presenter.waiting
    assert stage.presenter.results == ()
    stage.presenter.take_waiting()
    stage.until(lambda: stage.presenter.results)
    assert seen(stage) == made
    stage.until(lambda: [path.name for path in copies(stage)] == ["two"])
    assert stage.presenter.waiting == ""
    stage.presenter.apply(made[0][0])
    stage.until(lambda: stage.document.undo)


def test_a_picture_that_was_finished_after_its_document_was_closed_can_be_taken_into_another(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="hold=closed", count=1, live_preview=False)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    stage.host.close("one")
    stage.host.open(Document("two"))
    stage.until(lambda: stage.presenter.document.key == "two")
    let_go(stage.state, "closed")
    stage.until(lambda: stage.presenter.waiting)
    stage.presenter.take_waiting()
    stage.until(lambda: stage.presenter.results and not jobs(stage))
    assert stage.presenter.document.key == "two"
    assert stage.presenter.waiting == ""


@pytest.mark.usefixtures("looks_often")
def test_what_a_file_brings_back_is_not_offered_elsewhere(stage: Stage, tmp_path: Path):
    generate(stage, 1)
    stage.host.save("one", tmp_path / "one.kra")
    stage.until(lambda: not copies(stage))
    generate(stage, 1)
    stage.host.reopen("one")
    closed = stage.host.close("one")
    stage.host.open(Document("two"))
    stage.settle(60)
    assert len(copies(stage)) == 1
    assert stage.presenter.waiting == ""
    (tmp_path / "one.kra").unlink()
    stage.host.open(Document("three"))
    stage.until(lambda: stage.presenter.waiting)
    assert closed.name in stage.presenter.waiting


def test_without_a_document_taking_them_is_a_sentence(stage: Stage):
    generate(stage)
    stage.host.close("one")

    def refused() -> bool:
        stage.presenter.take_waiting()
        return "No document is open" in stage.presenter.notice

    stage.until(refused)  # the docker looks now and then only which document is in front
