"""The add-on for scripts inside Blender, with a window or without: everything that the panel does, as functions that can wait.

    from bl_ext.user_default.likeness import scripting as likeness
    likeness.character("Ada", ["ada.jpg"])
    best = likeness.portrait(character="Ada", prompt="portrait of a pilot", seed=7)[0]
    likeness.card(best)

Settings that are not given are the scene's own (`scene.likeness`). Where Blender runs without a window there is no timer, so these
functions tick until all is done; with `wait=False` they return at once, and the panel's timer goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import scene_actions
from .protocol.errors import BackendUnavailable, Cancelled, LikenessError
from .protocol.planes import Plane
from .scene_live import switch
from .settings import session
from .shelf import Result
from .wish import Kind

WAIT_S = 0.02


def portrait(*, batch: str = "ONE", wait: bool = True, timeout_s: float = 600.0, **values: object) -> tuple[Result, ...]:
    """New pictures in this pose, best first; () with `wait=False`. `batch` is "ONE", "FRAMES", "MARKERS" or "CAMERAS".

    `values` are fields of `wish.Wish` (`character`, `prompt`, `negative`, `likeness`, `seed`, `count`, `model`, `loras`, …), which says
    their ranges; what is outside is brought to the nearest that there is. Raises `LikenessError` when the scene does not allow it, a job
    fails, or nothing came within `timeout_s` seconds; `Cancelled` when all was cancelled.
    """
    return _pictures(Kind.PORTRAIT, batch, wait, timeout_s, values)


def repaint(*, wait: bool = True, timeout_s: float = 600.0, **values: object) -> tuple[Result, ...]:
    """A render changed by `strength` (0.05 to 1), whole or where objects are (`scene.likeness.source` and `area`); else as `portrait`."""
    return _pictures(Kind.REPAINT, "ONE", wait, timeout_s, values)


def texture(*, batch: str = "ONE", wait: bool = True, timeout_s: float = 600.0, **values: object) -> tuple[Result, ...]:
    """Pictures for the selected meshes (or the head), to be put on with `project`; else as `portrait`."""
    return _pictures(Kind.TEXTURE, batch, wait, timeout_s, values)


def wait_for(press: int, timeout_s: float = 600.0) -> tuple[Result, ...]:
    """The pictures of a press, best first, once all its jobs have ended. Raises `LikenessError` when one failed or the time is over."""
    presenter = session().presenter
    _until(lambda: not presenter.ended(press).open, timeout_s)
    ended = presenter.ended(press)
    if ended.sentences:
        raise LikenessError(ended.sentences[-1])
    if ended.cancelled and not ended.results:
        raise Cancelled
    return tuple(result for result in presenter.results if result.press == press)


def start_backend(timeout_s: float = 120.0) -> None:
    """Start the backend unless it runs, and wait until it has a model. Raises `LikenessError` when it does not come."""
    presenter = session().presenter
    end = time.monotonic() + 2.0
    while not presenter.connected and time.monotonic() < end:
        presenter.tick()
        presenter.wait(WAIT_S)
    if not presenter.connected:
        presenter.start_backend()
    _until(lambda: presenter.connected and presenter.models, timeout_s)


def character(name: str, photos: Sequence[str | Path | Any], *, face: int = 0, replace: bool = False, timeout_s: float = 300.0) -> None:
    """Save a person from picture files or images of Blender. `face` chooses one where a photo shows several, 0 is the largest.

    Raises `LikenessError` when a photo shows no face, or the name is taken.
    """
    presenter = session().presenter
    planes = [photo_of(photo) for photo in photos]
    presenter.say("")
    presenter.people.make(name, planes, face, replace)
    _until(lambda: not presenter.people.making, timeout_s)
    if presenter.people.made != name.strip():
        raise LikenessError(presenter.notice)


def photo_of(photo: str | Path | Any) -> Plane:
    """A picture file or an image of Blender as a photo. Raises `LikenessError` for what is no picture, or has no pixels."""
    if isinstance(photo, (str, Path)):
        return scene_actions.photo_of_file(str(photo))
    return scene_actions.photo_of_image(photo)


def card(result: Result, distance: float = 0.0) -> Any:
    """A card with the picture in the scene: the object. It stands at `distance` (scene units) before the camera that saw it; 0: a little
    behind the head, or as far as the scene's size suggests.
    """
    return scene_actions.make_card(bpy.context, result, distance)


def project(result: Result) -> Any:
    """Put the picture onto the meshes that it was made for. Raises `LikenessError` where none of them is left, or one cannot take it."""
    return scene_actions.project_result(bpy.context, result)


def bake(size: int = 1024, use: bool = True) -> list[Any]:
    """Bake what the selected meshes (or the head) show into textures of `size` x `size` pixels: the images, one for each mesh.

    With `use` they show these from now on, and nothing else. Raises `LikenessError` where there is no mesh, or it cannot be baked.
    """
    return scene_actions.bake_objects(bpy.context, size, use)


def unproject() -> int:
    """Take the projected pictures off the selected meshes (or the head) again; how many there were. Raises `LikenessError` for none."""
    return scene_actions.take_projections_off(bpy.context)


def live(on: bool = True) -> None:
    """Switch the pictures on or off that follow the scene of this window. Raises `SceneProblem` where Blender has no window."""
    switch(on)


def _pictures(kind: Kind, batch: str, wait: bool, timeout_s: float, values: dict[str, object]) -> tuple[Result, ...]:
    press = scene_actions.ask(bpy.context, kind, batch, **values)
    return wait_for(press, timeout_s) if wait else ()


def _until(done: Callable[[], object], timeout_s: float) -> None:
    presenter = session().presenter
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            raise BackendUnavailable(
                f"Nothing came from the backend within {timeout_s:.0f} s. {presenter.backend.sentence} The jobs are kept; look again later."
            )
        presenter.tick()
        presenter.wait(WAIT_S)
