"""A presenter for tests of the docker: the same surface as the real one, a memory of what it was asked, and no canvas or backend."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from plugin_krita.protocol.desk.loras import added
from plugin_krita.protocol.geometry import Bounds, Box, Extent, Point
from plugin_krita.protocol.planes import Layout, Plane

from plugin_krita.form import Form, Mode, PersonRow, Pose
from plugin_krita.view import Backend, Choice, DraftFace, DraftPhoto, Light, Person, Progress, Result

WORDS = {Mode.FILL: "Fill", Mode.REFINE: "Refine", Mode.EXPAND: "Expand", Mode.NEW: "Generate"}


@cache
def plane(width: int, height: int, blue: int = 90, layout: Layout = Layout.BGRA8) -> Plane:
    """A picture with a soft light in it: enough to see where it is drawn and that it is not turned."""
    rows = bytearray()
    for y in range(height):
        for x in range(width):
            glow = max(0, 255 - int(((x - width * 0.5) ** 2 + (y - height * 0.4) ** 2) ** 0.5 * 400 / (width + height)))
            rows += bytes((blue, glow, min(255, glow + 40), 255)[: layout.channels] if layout.channels > 1 else (glow,))
    return Plane(layout, Extent(width, height), bytes(rows))


class FakePresenter:
    """Attributes are set through `put`, which tells the listener at the next `tick`; calls are kept in `asked`."""

    def __init__(self) -> None:
        self.form = Form()
        self.backend = Backend(Light.READY, "The backend is ready.")
        self.persons = ()
        self.models = ()
        self.draft = ()
        self.draft_name = ""
        self.draft_sentence = ""
        self.draft_faces = {}
        self.progress = None
        self.results = ()
        self.notice = ""
        self.waiting = ""
        self.preview = None
        self.live = None
        self.document = None
        self.layers = ()
        self.can_generate = False
        self.why_not = ""
        self.pose_picture = None
        self.pose_bounds = None
        self.pose_points = ()
        self.asked: list[tuple] = []
        self._heard = []
        self._news: set[str] = set()

    @property
    def button(self) -> str:
        return WORDS[self.form.mode]

    def put(self, **values: object) -> None:
        """Set attributes, and tell the docker of them."""
        for name, value in values.items():
            assert hasattr(self, name), name
            setattr(self, name, value)
        self._news |= set(values)
        self.tick()

    def listen(self, heard) -> None:
        self._heard.append(heard)

    def tick(self) -> None:
        news, self._news = frozenset(self._news), set()
        if news:
            for heard in self._heard:
                heard(news)

    def change(self, **values: object) -> None:
        self.asked.append(("change", values))
        self.form = self.form.changed(**values)
        self._news |= {"form", "button"}

    def add_person(self, name: str) -> None:
        self.change(persons=(*self.form.persons, PersonRow(name)))

    def remove_person(self, index: int) -> None:
        self.change(persons=tuple(row for place, row in enumerate(self.form.persons) if place != index))

    def change_person(self, index: int, **values: object) -> None:
        rows = self.form.persons
        self.change(persons=tuple(replace(row, **values) if place == index else row for place, row in enumerate(rows)))

    def add_lora(self, name: str) -> None:
        model = next((one for one in self.models if one.id == self.form.model), self.models[0] if self.models else None)
        self.change(loras=added(self.form.loras, name, model))

    def remove_lora(self, index: int) -> None:
        self.change(loras=tuple(row for place, row in enumerate(self.form.loras) if place != index))

    def change_lora(self, index: int, weight: float) -> None:
        rows = self.form.loras
        self.change(loras=tuple(replace(row, weight=weight) if place == index else row for place, row in enumerate(rows)))

    def add_lora_words(self, index: int) -> None:
        self.asked.append(("add_lora_words", index))

    def set_pose(self, points: tuple[Point, ...]) -> None:
        self.asked.append(("set_pose", points))
        self.pose_points = points
        self.form = self.form.changed(pose=Pose.HAND, points=points)
        self._news |= {"form", "pose_points"}

    def start_backend(self) -> None:
        self.asked.append(("start_backend",))

    def generate(self) -> None:
        self.asked.append(("generate",))

    def turn_live(self, on: bool) -> None:
        self.asked.append(("turn_live", on))
        self.change(live=on)

    def watched(self, visible: bool) -> None:
        self.asked.append(("watched", visible))

    def throw_live_dice(self) -> None:
        self.asked.append(("throw_live_dice",))

    def keep_live(self) -> None:
        self.asked.append(("keep_live",))

    def live_in_full(self) -> None:
        self.asked.append(("live_in_full",))

    def cancel(self) -> None:
        self.asked.append(("cancel",))

    def dismiss(self) -> None:
        self.asked.append(("dismiss",))
        self.notice = ""
        self._news.add("notice")

    def show(self, key: str | None) -> None:
        self.asked.append(("show", key))

    def apply(self, key: str, transparency_mask: bool = False) -> None:
        self.asked.append(("apply", key, transparency_mask))

    def discard(self, key: str) -> None:
        self.asked.append(("discard", key))

    def take_waiting(self) -> None:
        self.asked.append(("take_waiting",))

    def reuse(self, key: str) -> None:
        self.asked.append(("reuse", key))

    def draft_from_layer(self) -> None:
        self.asked.append(("draft_from_layer",))

    def draft_from_selection(self) -> None:
        self.asked.append(("draft_from_selection",))

    def draft_from_files(self, paths: list[str]) -> None:
        self.asked.append(("draft_from_files", paths))

    def draft_remove(self, number: int) -> None:
        self.asked.append(("draft_remove", number))

    def draft_choose_face(self, number: int, face: int) -> None:
        self.asked.append(("draft_choose_face", number, face))

    def draft_rename(self, name: str) -> None:
        self.asked.append(("draft_rename", name))
        self.draft_name = name
        self._news.add("draft_name")

    def draft_save(self, replace: bool = False) -> None:
        self.asked.append(("draft_save", replace))

    def draft_clear(self) -> None:
        self.asked.append(("draft_clear",))

    def rename_character(self, old: str, new: str) -> None:
        self.asked.append(("rename_character", old, new))

    def delete_character(self, name: str) -> None:
        self.asked.append(("delete_character", name))

    def export_character(self, name: str, path: str, photos: bool = False) -> None:
        self.asked.append(("export_character", name, path, photos))

    def import_character(self, path: str) -> None:
        self.asked.append(("import_character", path))

    def ask_pose(self) -> None:
        self.asked.append(("ask_pose",))

    def close(self) -> None:
        self.asked.append(("close",))


def person(name: str, photos: int = 1, blue: int = 90) -> Person:
    return Person(name, plane(48, 48, blue), photos, 0.91, 0.74 if photos > 1 else None)


def result(key: str, similarity: float | None, blue: int = 90, **values: object) -> Result:
    return Result(key, Bounds(10, 20, 412, 516), plane(60, 75, blue), "portrait of a woman in a red coat", 1234567, similarity, **values)


def photo(number: int, faces: int | None, sentence: str = "") -> DraftPhoto:
    boxes = ((14, 8, 50, 60), (66, 20, 90, 52), (2, 50, 20, 78))
    found = None
    if faces is not None:
        found = tuple(DraftFace(Box(*map(float, box)), (), 0.92 - 0.07 * place) for place, box in enumerate(boxes[:faces]))
    return DraftPhoto(number, f"holiday_{number}.jpg", plane(100, 80, 40 + number * 30), found, sentence)


def model(title: str = "Sketch", *, subjects: bool = True, guides: tuple[str, ...] = ("depth", "lines"), steps: int = 30) -> Choice:
    return Choice(title.lower(), title, subjects, guides, ("plus-face",), steps)


def progress(share: float = 0.4, words: str = "step 12 of 30, 6 s left", waiting: int = 0) -> Progress:
    return Progress(share, words, waiting)


def face_points(bounds: Bounds) -> tuple[Point, ...]:
    shares = ((0.36, 0.36), (0.64, 0.36), (0.5, 0.52), (0.39, 0.68), (0.61, 0.68))
    return tuple(Point(bounds.x + x * bounds.width, bounds.y + y * bounds.height) for x, y in shares)
