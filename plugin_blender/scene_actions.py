"""What the buttons do to the scene and ask of the backend; the same for panels, operators and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .camera import Camera
from .maps import plane_of
from .presenter import Presenter
from .protocol.errors import InvalidRequest
from .protocol.jobs import GuideKind
from .protocol.planes import Plane
from .scene import SceneProblem, camera_of
from .scene_bake import bake, use_texture
from .scene_card import card_before
from .scene_pictures import Origin, image_by_job, image_of, plane_of_image
from .scene_project import project, project_now, projections_of, remove_projection
from .scene_render import fresh_render, joined_mask, last_render, object_masks
from .scene_shot import Setup, camera_from, find_targets, take_maps, take_shot
from .scene_times import Moment, cameras, frames, markers, other_times
from .scene_views import look, why_not
from .settings import session, setup_of, wish_of
from .shelf import Result
from .wish import Kind, Shot, Wish

PHOTO_SIDE = 2048
"""Photos are brought to this size: faces are recognised at 112 pixels, and sixteen photos fit one message."""
MAP = "likeness_map"
"""The custom property of an image that shows a map."""


def ask(context: Any, kind: Kind, batch: str = "ONE", **values: object) -> int:
    """Take what the camera sees now and ask for pictures of it; the number of the press. `values` stand for the panel's.

    Raises a `LikenessError` for what cannot be.
    """
    scene = context.scene
    wish = wish_of(scene.likeness, kind).changed(**values)
    return session().presenter.ask(wish, take_shots(context, wish, batch))


def take_shots(context: Any, wish: Wish, batch: str) -> list[Shot]:
    """The shots of one press. `batch` is one of the settings' BATCHES."""
    scene, setup = context.scene, setup_of(context.scene)
    settings = scene.likeness
    kinds = [*wish.maps, *([GuideKind.KEYPOINTS] if wish.weight(GuideKind.KEYPOINTS) > 0 else [])]
    if wish.kind is Kind.TEXTURE:
        setup = replace(setup, targets=_texture_targets(context, setup))
    if wish.kind is Kind.REPAINT:
        if batch != "ONE":
            raise InvalidRequest("A render is repainted one at a time. Choose one picture.")
        return [_repaint(context, setup, kinds)]
    match batch:
        case "FRAMES":
            moments = frames(scene, settings.first, settings.last, settings.step)
        case "MARKERS":
            moments = markers(scene)
        case "CAMERAS":
            moments = cameras(scene, context.selected_objects)
        case _:
            moments = [Moment("")]
    manager = context.window_manager
    manager.progress_begin(0, len(moments))
    try:
        with other_times(scene, context.view_layer) as at:
            shots: list[Shot] = []
            for number, moment in enumerate(moments):
                manager.progress_update(number)
                there, graph = (scene, context.evaluated_depsgraph_get()) if moment.frame is None else at(moment.frame)
                chosen = setup if moment.camera is None else replace(setup, camera=moment.camera)
                shots.append(_one(there, graph, chosen, kinds, moment.name, wish.kind))
            return shots
    finally:
        manager.progress_end()


def _one(scene: Any, graph: Any, setup: Setup, kinds: Sequence[GuideKind], name: str, kind: Kind) -> Shot:
    view = None
    if kind is Kind.TEXTURE:
        view = look(scene, graph, camera_of(scene, graph, setup.camera, setup.size), setup.targets)
    return take_shot(scene, graph, setup, kinds, name=name, view=view)


def _meshes(context: Any, setup: Setup) -> list[Any]:
    """The selected meshes, or the head; none where there is neither."""
    return [thing for thing in context.selected_objects if thing.type == "MESH"] or ([setup.head] if setup.head else [])


def _texture_targets(context: Any, setup: Setup) -> list[Any]:
    """The selected meshes, or the head. Raises `SceneProblem` where there is neither."""
    chosen = _meshes(context, setup)
    if not chosen:
        raise SceneProblem("No mesh is chosen for the texture. Select one or more meshes, or choose a head in the panel.")
    return chosen


def _repaint(context: Any, setup: Setup, kinds: Sequence[GuideKind]) -> Shot:
    """The render, what of it is to be changed, and the maps, all of the picture's size."""
    scene, settings = context.scene, context.scene.likeness
    graph = context.evaluated_depsgraph_get()
    match settings.source:
        case "IMAGE":
            if settings.image is None:
                raise SceneProblem("No image is chosen. Choose one, or repaint the last render.")
            picture = plane_of_image(settings.image)
        case "FRESH":
            picture = fresh_render(scene, setup.camera, setup.size)
        case _:
            picture = last_render(scene)
    setup = replace(setup, size=(picture.extent.width, picture.extent.height))
    mask: Plane | None = None
    if settings.area != "ALL":
        things = [setup.head] if settings.area == "HEAD" else list(context.selected_objects)
        things = [thing for thing in things if thing is not None and thing.type not in {"CAMERA", "LIGHT", "ARMATURE", "EMPTY"}]
        if not things:
            raise SceneProblem("There is no object whose part is to be repainted. Select one, or choose a head in the panel.")
        mask = joined_mask(object_masks(scene, graph, camera_of(scene, graph, setup.camera, setup.size), things), settings.grow)
        if not np.frombuffer(mask.data, np.uint8).any():
            raise SceneProblem("The camera sees nothing of what is to be repainted. Turn it, or choose another object.")
    return take_shot(scene, graph, setup, kinds, picture=picture, mask=mask)


def preview_maps(context: Any) -> dict[str, Any]:
    """The maps that the panel asks for, as images of the file that replace those of the last time; works without a backend."""
    scene, setup = context.scene, setup_of(context.scene)
    wish = wish_of(scene.likeness, Kind.PORTRAIT)
    kinds = [*wish.maps, *([GuideKind.KEYPOINTS] if wish.face > 0 else [])]
    graph = context.evaluated_depsgraph_get()
    camera = camera_of(scene, graph, setup.camera, setup.size)
    maps, figure = take_maps(scene, graph, camera, setup, kinds)
    if not maps:
        why = figure.why_no_face if figure else ""
        raise SceneProblem(why or "No map is switched on, or there is no rig for it. Choose a rig, or switch on depth.")
    images = {kind.value: _map_image(kind, plane_of(pixels)) for kind, pixels in maps.items()}
    for area in context.screen.areas if context.screen else ():
        if area.type == "IMAGE_EDITOR":
            area.spaces.active.image = next(iter(images.values()))
            break
    return images


def _map_image(kind: GuideKind, plane: Plane) -> Any:
    made, old = image_of(plane, f"Likeness {kind.value}"), [image for image in bpy.data.images if image.get(MAP) == kind.value]
    for image in old:
        image.user_remap(made)
        bpy.data.images.remove(image)
    made.name, made[MAP], made.use_fake_user = f"Likeness {kind.value}", kind.value, False
    made.preview_ensure()  # the panel shows it; while a panel is drawn, nothing can be made
    return made


def image_of_result(result: Result) -> Any:
    """The result as an image of the file; made once, found again by its custom property."""
    image = image_by_job(result.key)
    if image is None:
        try:
            data = result.path.read_bytes()
        except OSError as error:
            raise SceneProblem(f"The file {result.path.name} cannot be read: {error.strerror or error}. Make the picture again.") from error
        image = image_of(data, result.title, Origin(result.wish.prompt, result.seed, result.similarity, result.key))
    return image


def camera_of_result(context: Any, result: Result) -> Camera:
    """The camera that saw it, as it was then; else the panel's, as it is now."""
    setup = setup_of(context.scene)
    then = camera_from(result.camera)
    return then or camera_of(context.scene, context.evaluated_depsgraph_get(), setup.camera, (result.width, result.height))


def make_card(context: Any, result: Result, distance: float = 0.0) -> Any:
    """A card that fills what the camera saw, at this distance (0: behind the head, or as far as the scene's size suggests)."""
    camera = camera_of_result(context, result)
    if distance <= 0:
        setup = setup_of(context.scene)
        thing = setup.head or setup.armature
        depth = float(camera.project(np.array(thing.matrix_world.translation))[0][2]) if thing else 0.0
        distance = 1.2 * depth if depth > 0 else max(2 * camera.lens.clip_start, 2.0)
    return card_before(image_of_result(result), camera, distance, context.collection)


def project_result(context: Any, result: Result) -> Any:
    """Put a result onto the meshes that it was made for, as they were seen then; in another session onto them as they are now."""
    graph, image = context.evaluated_depsgraph_get(), image_of_result(result)
    if result.view is not None:
        return project(result.view, image, graph)
    setup = setup_of(context.scene)
    things = find_targets(result.targets) or _texture_targets(context, setup)
    return project_now(context.scene, graph, camera_of_result(context, result), things, image)


def project_press(context: Any, presenter: Presenter, press: int) -> int:
    """Put the best picture of every shot of a press onto the meshes, blended by angle; how many there were."""
    best: dict[str, Result] = {}
    for result in presenter.results:
        if result.press == press:
            best.setdefault(result.shot, result)
    if not best:
        raise InvalidRequest("There is no picture of that press any more. Make them again.")
    for result in best.values():
        project_result(context, result)
    return len(best)


def bake_objects(context: Any, size: int, use: bool) -> list[Any]:
    """Bake what the selected meshes (or the head) show into a texture of `size` x `size` pixels each; `use`: they show it from now on, and
    nothing else. Raises `SceneProblem` where there is no mesh, or one cannot be baked.
    """
    things = _meshes(context, setup_of(context.scene))
    things = [thing for thing in things if projections_of(thing)] or things
    if not things:
        raise SceneProblem("No mesh is chosen to be baked. Select one that a picture was projected onto.")
    if reason := next((why for thing in things if (why := why_not(thing))), ""):
        raise SceneProblem(reason)
    images = [bake(thing, size) for thing in things]
    for thing, image in zip(things, images, strict=True):
        if use:
            use_texture(thing, image)
    return images


def take_projections_off(context: Any) -> int:
    """Take every projected picture off the selected meshes (or the head), whose materials and UV maps are then as they were.

    Returns how many there were. Raises `SceneProblem` where there is none.
    """
    things = _meshes(context, setup_of(context.scene))
    if reason := next((why for thing in things if projections_of(thing) and (why := why_not(thing))), ""):
        raise SceneProblem(reason)
    count = remove_projection(things)
    if not count:
        raise SceneProblem("Nothing is projected onto the selected meshes. Select one that a picture was projected onto.")
    return count


def save_result(result: Result, path: str) -> Path:
    """Write the PNG as it came; "//" is the file's own folder. Raises `SceneProblem` when the folder cannot be written."""
    place = Path(bpy.path.abspath(path)).with_suffix(".png")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(result.path.read_bytes())
    except OSError as error:
        raise SceneProblem(f"{place} cannot be written: {error.strerror or error}. Choose another folder.") from error
    return place


def photo_of_file(path: str) -> Plane:
    """A picture file as a photo, at most 2048 pixels a side. Raises `SceneProblem` for what is no picture."""
    place, refused = bpy.path.abspath(path), f"{path} cannot be opened as a picture. Choose another file."
    if not Path(place).is_file():
        raise SceneProblem(f"There is no file {path}. Choose a picture file.")
    try:
        image = bpy.data.images.load(place, check_existing=False)
    except RuntimeError as error:
        raise SceneProblem(refused) from error
    try:
        if not all(image.size):
            raise SceneProblem(refused)  # Blender loads a file of any kind, and finds out later
        return plane_of_image(image, PHOTO_SIDE)
    finally:
        bpy.data.images.remove(image)


def photo_of_image(image: Any) -> Plane:
    """An image of the file as a photo."""
    return plane_of_image(image, PHOTO_SIDE)


def photo_of_png(data: bytes) -> Plane:
    """A PNG as a photo."""
    image = image_of(data, "Likeness photo")
    try:
        return plane_of_image(image, PHOTO_SIDE)
    finally:
        bpy.data.images.remove(image)
