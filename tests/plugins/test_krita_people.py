"""Characters in the docker: drafts with their faces, saving, renaming, files; and the five points of a pose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from krita_host import Document, array_of, plane_of
from krita_people import PeopleBackend, photo
from krita_stage import Stage
from plugin_krita.protocol.geometry import Bounds, Extent, Point
from plugin_krita.protocol.planes import Layout, Plane
from saved_people import kept, reading

from backend.character_files import read_character, write_character
from plugin_krita.asking import fitted
from plugin_krita.form import Pose
from protocol.jobs import About, GuideKind


def ours(faces: int, side: int = 64) -> Plane:
    return Plane(Layout.BGRA8, Extent(side, side), photo(faces, side).data)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    backend = PeopleBackend(tmp_path / "state")
    made = Stage(tmp_path / "krita", tmp_path / "state", Document("one"))
    made.turn, made.backend = backend.serve, backend
    made.host.files = {"anna.png": ours(1), "group.png": ours(3), "cat.png": ours(7), "dark.png": ours(9)}
    yield made
    made.presenter.close()
    backend.stop()


def looked_at(stage: Stage, count: int) -> bool:
    return len(stage.presenter.draft) == count and all(one.faces is not None for one in stage.presenter.draft)


def draft(stage: Stage, *files: str, name: str = "Anna") -> None:
    stage.ready()
    stage.presenter.draft_from_files(list(files))
    stage.until(lambda: looked_at(stage, len(files)))
    stage.presenter.draft_rename(name)


def test_a_photos_faces_and_scores_are_shown_before_anything_is_saved(stage: Stage):
    draft(stage, "anna.png", "group.png")
    one, group = stage.presenter.draft
    assert (one.label, len(one.faces), one.faces[0].score, one.sentence) == ("anna.png", 1, 0.9, "")
    assert (one.faces[0].box.left, one.faces[0].box.right, len(one.faces[0].keypoints)) == (2, 22, 5)
    assert len(group.faces) == 3
    assert stage.presenter.draft_faces == {group.number: 0}
    assert stage.backend.made == []


def test_a_photo_without_a_face_says_so_and_cannot_be_saved(stage: Stage):
    draft(stage, "cat.png", "dark.png")
    assert [one.sentence for one in stage.presenter.draft][1] == "The photo shows no face. Choose another."
    assert "No face was found" in stage.presenter.draft[0].sentence
    stage.presenter.draft_save()
    assert "'cat.png' shows no face" in stage.presenter.draft_sentence
    stage.settle()
    assert stage.backend.made == []


def test_a_saved_character_is_in_the_picker_and_the_draft_is_empty(stage: Stage):
    draft(stage, "anna.png", "group.png")
    stage.presenter.draft_save()
    stage.until(lambda: stage.presenter.persons)
    person = stage.presenter.persons[0]
    assert (person.name, person.photos) == ("Anna", 2)
    assert (person.score, person.alike) == (pytest.approx(0.8), pytest.approx(0.7))
    assert stage.presenter.draft == ()
    assert stage.presenter.draft_sentence == ""
    assert [len(job.photos) for job in stage.backend.made] == [2]


def test_the_chosen_face_is_the_one_that_is_saved(stage: Stage):
    draft(stage, "group.png")
    number = stage.presenter.draft[0].number
    stage.presenter.draft_choose_face(number, 1)
    assert stage.presenter.draft_faces == {number: 1}
    stage.presenter.draft_save()
    stage.until(lambda: stage.backend.made)
    # The second face lies at 22 … 38, the first at 2 … 22: its surroundings begin right of the first one's middle.
    sent = stage.backend.made[0].photos[0]
    assert (sent.extent.width, sent.extent.height) == (48 - 12, 36 - 0)


def test_a_name_that_is_taken_is_asked_about_and_replaced_only_when_told(stage: Stage):
    stage.backend.characters["Anna"] = (photo(1),)
    draft(stage, "anna.png")
    stage.until(lambda: stage.presenter.persons)
    stage.presenter.draft_save()
    assert "already" in stage.presenter.draft_sentence
    stage.settle()
    assert stage.backend.made == []
    stage.presenter.draft_save(replace=True)
    stage.until(lambda: stage.backend.made)
    assert stage.backend.made[0].replace


def test_a_name_that_somebody_else_took_meanwhile_is_the_backends_sentence(stage: Stage):
    draft(stage, "anna.png")
    stage.backend.characters["Anna"] = (photo(1),)
    stage.presenter.draft_save()
    stage.until(lambda: "already" in stage.presenter.draft_sentence)
    assert len(stage.presenter.draft) == 1
    stage.until(lambda: stage.presenter.persons)


def test_photos_come_from_the_active_layer_and_from_the_selection(stage: Stage):
    stage.ready()
    layer = stage.document.add("face")
    layer.pixels[10:30, 20:60] = (1, 50, 50, 255)
    stage.document.select(5, 6, 20, 10)
    stage.settle()
    stage.presenter.draft_from_layer()
    stage.presenter.draft_from_selection()
    stage.until(lambda: looked_at(stage, 2))
    first, second = stage.presenter.draft
    assert (first.label, first.picture.extent) == ("face", Extent(40, 20))
    assert (array_of(second.picture) == stage.document.seen()[6:16, 5:25]).all()
    assert len(first.faces) == 1


def test_without_a_selection_or_a_file_that_opens_there_is_a_sentence(stage: Stage):
    stage.ready()
    stage.presenter.draft_from_selection()
    assert "Nothing is selected" in stage.presenter.notice
    stage.presenter.draft_from_files(["gone.png"])
    stage.until(lambda: stage.presenter.draft_sentence)
    assert "gone.png cannot be opened" in stage.presenter.draft_sentence


def test_more_photos_than_a_character_takes_are_refused_with_a_sentence(stage: Stage):
    stage.ready()
    stage.presenter.draft_from_files(["anna.png"] * 17)
    stage.until(lambda: "16 photos at most" in stage.presenter.draft_sentence)
    assert len(stage.presenter.draft) == 16


def test_removing_a_photo_and_clearing_the_draft_leave_no_late_answer(stage: Stage):
    draft(stage, "anna.png", "group.png")
    stage.presenter.draft_remove(stage.presenter.draft[1].number)
    assert (len(stage.presenter.draft), stage.presenter.draft_faces) == (1, {})
    stage.presenter.draft_from_files(["group.png"])
    stage.presenter.tick()
    stage.presenter.draft_clear()
    stage.settle()
    assert (stage.presenter.draft, stage.presenter.draft_name, stage.presenter.notice) == ((), "", "")


def test_a_large_photo_is_sent_at_a_size_at_which_faces_are_found(stage: Stage):
    stage.host.files["huge.png"] = plane_of(np.full((3000, 4000, 4), 255, np.uint8))
    draft(stage, "huge.png")
    assert stage.presenter.draft[0].picture.extent == Extent(2048, 1536)


def test_the_list_comes_page_by_page_whole(stage: Stage):
    stage.backend.characters = {name: (photo(1),) for name in ("Anna", "Ben", "Cem", "Dora", "Eva")}
    stage.until(lambda: len(stage.presenter.persons) == 5)
    assert [one.name for one in stage.presenter.persons] == ["Anna", "Ben", "Cem", "Dora", "Eva"]
    assert stage.presenter.persons[0].alike is None


def test_renaming_and_deleting_reach_the_form_too(stage: Stage):
    stage.backend.characters = {"Anna": (photo(1),), "Ben": (photo(1),)}
    stage.until(lambda: len(stage.presenter.persons) == 2)
    stage.presenter.add_person("Anna")
    stage.presenter.add_person("Ben")
    stage.presenter.rename_character("Anna", "Ben")
    assert "already" in stage.presenter.notice
    stage.presenter.rename_character("Anna", " Zoe ")
    stage.until(lambda: [one.name for one in stage.presenter.persons] == ["Ben", "Zoe"])
    assert [row.name for row in stage.presenter.form.persons] == ["Zoe", "Ben"]
    stage.presenter.delete_character("Ben")
    stage.until(lambda: [one.name for one in stage.presenter.persons] == ["Zoe"])
    assert [row.name for row in stage.presenter.form.persons] == ["Zoe"]


def test_a_character_file_of_the_docker_is_one_of_the_command_line_and_the_other_way_round(stage: Stage, tmp_path: Path):
    stage.backend.characters["Anna"] = (photo(1), photo(1, 32))
    stage.backend.readings["Anna"] = (reading(photos=2),)
    stage.until(lambda: stage.presenter.persons)
    stage.presenter.export_character("Anna", str(tmp_path / "anna.likeness"), photos=True)
    stage.until(lambda: stage.host.told)
    anna, photos = read_character(tmp_path / "anna.likeness")
    assert (anna.name, anna.readings, [one.extent.width for one in photos]) == ("Anna", (reading(photos=2),), [64, 32])
    write_character(tmp_path / "ben.likeness", kept("Ben", photos, about=About("Ben said yes.", "CC0")), photos=True)
    stage.presenter.import_character(str(tmp_path / "ben.likeness"))
    stage.until(lambda: len(stage.presenter.persons) == 2)
    assert [(len(job.photos), job.readings) for job in stage.backend.brought] == [(2, (reading(),))]
    assert "Consent: Ben said yes. Licence: CC0" in stage.presenter.notice


def test_photos_stay_behind_unless_told_and_a_character_that_was_never_read_takes_them_along(stage: Stage, tmp_path: Path):
    stage.backend.characters = {"Anna": (photo(1),), "Old": (photo(1),)}
    stage.backend.readings["Anna"] = (reading(),)
    stage.until(lambda: len(stage.presenter.persons) == 2)
    for name in ("Anna", "Old"):
        stage.presenter.export_character(name, str(tmp_path / f"{name}.likeness"))
    stage.until(lambda: len(stage.host.told) == 2)
    assert [len(read_character(tmp_path / f"{name}.likeness")[1]) for name in ("Anna", "Old")] == [0, 1]


def test_a_file_without_photos_whose_name_is_taken_is_a_sentence(stage: Stage, tmp_path: Path):
    stage.backend.characters["Anna"] = (photo(1),)
    stage.until(lambda: stage.presenter.persons)
    write_character(tmp_path / "anna.likeness", kept("Anna"))
    stage.presenter.import_character(str(tmp_path / "anna.likeness"))
    stage.until(lambda: "Rename or delete that one" in stage.presenter.notice)
    assert (stage.backend.brought, stage.presenter.draft) == ([], ())


def test_an_imported_character_whose_name_is_taken_becomes_the_draft(stage: Stage, tmp_path: Path):
    stage.backend.characters["Anna"] = (photo(1),)
    stage.until(lambda: stage.presenter.persons)
    write_character(tmp_path / "anna.likeness", kept("Anna", (photo(1),)), photos=True)
    stage.presenter.import_character(str(tmp_path / "anna.likeness"))
    stage.until(lambda: looked_at(stage, 1))
    assert stage.presenter.draft_name == "Anna"
    assert stage.backend.made == []


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip"])
def test_a_file_that_is_no_character_is_a_sentence(stage: Stage, tmp_path: Path, data: bytes):
    (tmp_path / "x.likeness").write_bytes(data)
    stage.presenter.import_character(str(tmp_path / "x.likeness"))
    stage.until(lambda: stage.presenter.notice)
    assert "no character that Likeness exported" in stage.presenter.notice


# Poses -----------------------------------------------------------------------------------------------------------------------------------
def face_on_canvas(stage: Stage) -> None:
    stage.document.layers[0].pixels[:] = 255
    stage.document.layers[0].pixels[0, 0, 0] = 2


def test_the_face_under_the_selection_is_found_and_its_points_can_be_moved(stage: Stage):
    stage.ready()
    face_on_canvas(stage)
    stage.document.select(20, 5, 30, 30)
    stage.presenter.ask_pose()
    assert len(stage.presenter.pose_points) == 5
    # The second face of two (22 … 38) is the one under the selection.
    stage.until(lambda: stage.presenter.pose_points[0] == Point(22 + 0.3 * 16, 10 + 0.3 * 16))
    assert stage.presenter.pose_bounds == Bounds(0, 0, 96, 64)
    assert stage.presenter.form.pose is Pose.CANVAS
    moved = tuple(Point(point.x + 3, point.y) for point in stage.presenter.pose_points)
    stage.presenter.set_pose(moved)
    assert (stage.presenter.form.pose, stage.presenter.form.points) == (Pose.HAND, moved)


def test_where_no_face_is_the_points_lie_where_one_would_fit(stage: Stage):
    stage.ready()
    stage.document.layers[0].pixels[:] = 255
    stage.document.select(20, 5, 30, 30)
    stage.presenter.ask_pose()
    stage.until(lambda: stage.presenter.notice)
    assert "No face was found" in stage.presenter.notice
    assert all(20 <= point.x <= 50 and 5 <= point.y <= 35 for point in stage.presenter.pose_points)


def test_a_pose_as_in_the_photo_is_measured_once_and_fitted_into_the_selection(stage: Stage):
    stage.backend.characters["Anna"] = (photo(1),)
    stage.until(lambda: stage.presenter.persons)
    stage.ready()
    stage.presenter.add_person("Anna")
    stage.presenter.change(pose=Pose.PHOTO)
    stage.document.select(20, 5, 30, 30)
    for number in (1, 2):
        stage.presenter.generate()
        stage.until(lambda number=number: len(stage.backend.pictures) == number)
    guide = stage.backend.pictures[1].guides[0]
    points = tuple(Point(2 + x * 20, 10 + y * 20) for x, y in ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.35, 0.8), (0.65, 0.8)))
    assert guide.kind is GuideKind.KEYPOINTS
    for ours_, theirs in zip(fitted(points, Bounds(20, 5, 30, 30)), guide.keypoints, strict=True):
        assert (ours_.x, ours_.y) == pytest.approx((theirs.x, theirs.y))
    looks = [one for one in stage.backend.heard if type(getattr(one, "job", None)).__name__ == "AnalyseFaces"]
    assert len(looks) == 1


def test_a_photo_whose_pose_cannot_be_measured_is_a_sentence(stage: Stage):
    stage.backend.characters["Anna"] = (photo(7),)
    stage.until(lambda: stage.presenter.persons)
    stage.presenter.add_person("Anna")
    stage.presenter.change(pose=Pose.PHOTO)
    stage.ready()
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.notice)
    assert "place the five points by hand" in stage.presenter.notice
    assert stage.presenter.progress is None


def test_quality_is_a_share_of_the_models_own_steps(stage: Stage):
    from plugin_krita.form import Quality

    stage.until(lambda: stage.presenter.models)
    stage.ready()
    stage.presenter.change(quality=Quality.DRAFT)
    stage.presenter.generate()
    stage.until(lambda: stage.backend.pictures)
    assert stage.backend.pictures[0].sampling.steps == 15
