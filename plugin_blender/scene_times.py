"""Several shots of one press: other frames, markers and cameras, seen in a copy of the scene. The user's frame and unkeyed poses stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .scene import SceneProblem
from .scene_quiet import quiet

MOST = 64


@dataclass(frozen=True)
class Moment:
    """One shot to take. `frame` None: now; `camera` None: the panel's."""

    name: str
    frame: int | None = None
    camera: Any = None


def frames(scene: Any, first: int, last: int, step: int) -> list[Moment]:
    """One for every `step`th frame. Raises `SceneProblem` for none, and for more than 64."""
    numbers = range(first, last + 1, max(1, step))
    return _some([Moment(f"frame {number}", number, _marked_camera(scene, number)) for number in numbers[: MOST + 1]], "frame")


def markers(scene: Any) -> list[Moment]:
    """One for every marker of the timeline, in order, with the camera that is bound to it. Raises `SceneProblem` for none, or too many."""
    found = sorted(scene.timeline_markers, key=lambda marker: marker.frame)
    return _some([Moment(marker.name, marker.frame, marker.camera or _marked_camera(scene, marker.frame)) for marker in found], "marker")


def cameras(scene: Any, selected: Any = ()) -> list[Moment]:
    """One for every selected camera, or where fewer than two are, for every camera of the scene, by name; all of this moment."""
    chosen = [thing for thing in selected if thing.type == "CAMERA"]
    found = chosen if len(chosen) > 1 else [thing for thing in scene.objects if thing.type == "CAMERA"]
    return _some([Moment(thing.name, None, thing) for thing in sorted(found, key=lambda one: one.name)], "camera")


@contextmanager
def other_times(scene: Any, view_layer: Any) -> Iterator[Any]:
    """A function from a frame to the scene and depsgraph of that frame.

    They belong to a copy of the scene: animation that is evaluated there is not written into the user's objects, so a pose without keys
    is still there afterwards. Other add-ons' frame handlers do not hear of it.
    """
    with quiet() as made:

        def at(frame: int) -> tuple[Any, Any]:
            if not made:
                made.append(scene.copy())
            copy = made[0]
            copy.frame_set(frame)
            return copy, copy.view_layers[view_layer.name].depsgraph

        yield at


def _marked_camera(scene: Any, frame: int) -> Any:
    """The camera that markers switch to at that frame; None: none of them does."""
    before = [marker for marker in scene.timeline_markers if marker.camera and marker.frame <= frame]
    return max(before, key=lambda marker: marker.frame).camera if before else None


def _some(moments: list[Moment], what: str) -> list[Moment]:
    if not moments:
        raise SceneProblem(f"The scene has no {what} to draw. Add one, or choose another way in the panel.")
    if len(moments) > MOST:
        raise SceneProblem(f"More than {MOST} shots are more than one press takes. Choose fewer {what}s.")
    return moments
