"""What live pictures follow: one scene of the file, watched by handlers that only count, and read when something was counted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import bpy

from .camera import Camera
from .chores import Steps
from .drawing import skeleton_in_steps
from .maps import plane_of
from .protocol.desk.live import small
from .protocol.geometry import Extent, Point
from .protocol.jobs import GuideKind
from .protocol.planes import Plane
from .scene import SceneProblem, camera_of
from .scene_memory import Memory
from .scene_shot import Setup, camera_record, sentences_of
from .settings import session, setup_of, wish_of
from .wish import Kind, Shot, Wish

PIXELS = 512 * 512
"""Of a live picture at most: Blender opens it within a few milliseconds."""


class Watch:
    """Counts what happens to the file while it is watched, and does nothing else; `ended` is called when another file is opened."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self.changes = 0
        """Grows with everything that Blender evaluated anew, and with each frame."""
        self.meshes = 0
        """Grows with each mesh whose own vertices or weights changed; posing and shape keys do not count."""
        self.undone = 0
        """Grows with each step of undo or redo, which may take our image out of the file and out of its editors."""
        self._ended = ended
        self._handlers: tuple[tuple[Any, Callable[..., None]], ...] = ()

    @property
    def on(self) -> bool:
        """Whether there are handlers of ours."""
        return bool(self._handlers)

    def begin(self) -> None:
        """Hear from now on."""
        self.end()

        def changed(scene: Any, graph: Any = None) -> None:
            self.changes += 1
            if graph is not None and graph.id_type_updated("MESH") and not graph.id_type_updated("KEY"):
                self.meshes += 1

        def undone(*_: object) -> None:
            self.changes, self.undone = self.changes + 1, self.undone + 1

        @bpy.app.handlers.persistent
        def opened(*_: object) -> None:
            self.end()
            self._ended()

        handlers = bpy.app.handlers
        self._handlers = (
            (handlers.depsgraph_update_post, changed),
            (handlers.frame_change_post, changed),
            (handlers.undo_post, undone),
            (handlers.redo_post, undone),
            (handlers.load_post, opened),
        )
        for kind, handler in self._handlers:
            kind.append(handler)

    def end(self) -> None:
        """Leave no handler. Blender itself takes some away when another file is opened."""
        for kind, handler in self._handlers:
            if handler in kind:
                kind.remove(handler)
        self._handlers = ()


class SceneEyes:
    """One scene, found again by its number whatever undo and renaming do to it; all of it is read in Blender's main thread."""

    def __init__(self, scene: Any, watch: Watch) -> None:
        self._scene_uid, self._watch, self._memory = scene.session_uid, watch, Memory()

    @property
    def scene(self) -> Any:
        """The scene that is followed. Raises `SceneProblem` when it was deleted."""
        for scene in bpy.data.scenes:
            if scene.session_uid == self._scene_uid:
                return scene
        raise SceneProblem("The scene that was followed is deleted. Switch Live off, and on again in another one.")

    def wish(self) -> Wish:
        """What the panel says, without what is not taken along: maps that must be rendered, further pictures, more steps."""
        return wish_of(self.scene.likeness, Kind.PORTRAIT).changed(depth=0.0, normals=0.0, count=1, steps=0, guidance_scale=0.0)

    def stamp(self) -> Hashable:
        """Another one when another picture may be due. Raises `SceneProblem` while no window shows the scene, so that nothing moves in it,
        and while Blender renders, as nothing must come in between.
        """
        if rendering():
            raise SceneProblem("Blender is rendering; live pictures go on after it.")
        scene = self.scene
        layer, setup = self._layer(scene), setup_of(scene)
        chosen = (setup.camera or scene.camera, setup.armature, setup.head)
        render = scene.render
        size = (setup.size, render.resolution_x, render.resolution_y, render.resolution_percentage)
        return layer.name, *(thing and thing.session_uid for thing in chosen), size, self._watch.changes

    def look(self, kinds: Sequence[GuideKind]) -> Steps[Shot]:
        """What the camera sees of the rig now; `kinds` may be SKELETON and KEYPOINTS. Raises `SceneProblem` for what cannot be followed."""
        scene = self.scene
        graph, setup = self._layer(scene).depsgraph, setup_of(scene)
        if graph is None:
            raise SceneProblem("Blender has not evaluated this scene yet. Move something in it.")
        if setup.armature is None and setup.head is None:
            raise SceneProblem("There is no rig to follow. Choose an armature under Rig and Head, or a head with its five face points.")
        camera = _small(scene, graph, setup)
        figure = self._memory.figure(scene, graph, camera, setup, self._watch.meshes)
        name, document = (setup.camera or scene.camera).name, Path(bpy.data.filepath).name
        has_rig = setup.armature is not None
        # From here on nothing of the file is touched: it may be another one in the next step.
        yield
        width, height = camera.frame.width, camera.frame.height
        maps: dict[GuideKind, Plane] = {}
        if GuideKind.SKELETON in kinds and has_rig:
            maps[GuideKind.SKELETON] = plane_of((yield from skeleton_in_steps(figure.skeleton, width, height)))
        face = GuideKind.KEYPOINTS in kinds
        # Hundredths of a pixel: what moves less is not drawn anew.
        return Shot(
            name=name,
            extent=Extent(width, height),
            camera=camera_record(camera),
            maps=maps,
            keypoints=tuple(Point(round(point.x, 2), round(point.y, 2)) for point in figure.keypoints) if face else (),
            document=document,
            sentences=sentences_of(figure) if face else (),
        )

    def _layer(self, scene: Any) -> Any:
        """The view layer in which the scene is seen: of the first window that shows it."""
        for window in bpy.context.window_manager.windows:
            if window.scene == scene:
                return window.view_layer
        raise SceneProblem(f"No window shows the scene {scene.name}, which is followed. Show it again, or switch Live off and on.")


def follow(scene: Any) -> None:
    """Follow this scene from now on."""
    watch = bpy.types.WindowManager.likeness_watch
    watch.begin()
    session().presenter.live.begin(SceneEyes(scene, watch))


def leave() -> None:
    """Follow nothing any more. The image stays as it is."""
    bpy.types.WindowManager.likeness_watch.end()
    session().presenter.live.end()


def switch(on: bool) -> None:
    """For the panel and for scripts. Raises `SceneProblem` where Blender has no window."""
    if on and bpy.app.background:
        raise SceneProblem(
            "Live pictures need a window: without one nobody poses, and Blender runs no timer. Use scripting.portrait(…) for pictures."
        )
    if on:
        follow(bpy.context.scene)
    else:
        leave()


def ended() -> None:
    """Another file is opened: what was followed is not there any more."""
    if session().is_open:
        session().presenter.live.end()


def rendering() -> bool:
    """Whether Blender renders or bakes in a thread of its own, which may be reading any image."""
    return bool(bpy.app.is_job_running("RENDER") or bpy.app.is_job_running("OBJECT_BAKE"))


def _small(scene: Any, graph: Any, setup: Setup) -> Camera:
    """The camera for a picture of the panel's proportions."""
    frame = camera_of(scene, graph, setup.camera, setup.size).frame
    extent = small(Extent(frame.width, frame.height), PIXELS)
    return camera_of(scene, graph, setup.camera, (extent.width, extent.height))
