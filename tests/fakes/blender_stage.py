"""Blender's presenter without Blender: with a real backend in the same thread, or with one whose answers a test writes, or with none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from krita_stage import FakeLauncher
from plugin_blender.protocol.client import Client
from plugin_blender.protocol.desk.store import Store
from plugin_blender.protocol.geometry import Extent, Point
from plugin_blender.protocol.jobs import GuideKind
from plugin_blender.protocol.planes import Layout, Plane
from running_backend import Pair

from plugin_blender.chores import Steps
from plugin_blender.png_steps import png_in_steps
from plugin_blender.presenter import Presenter
from plugin_blender.shelf import Shelf
from plugin_blender.wish import Shot, Target

FACE = (Point(24, 24), Point(40, 24), Point(32, 32), Point(26, 42), Point(38, 42))


class FakePictures:
    """Encodes as the add-on does; what it opens has one pixel, of the file's first bytes."""

    def png(self, plane: Plane, level: int = 1) -> Steps[bytes]:
        return png_in_steps(plane, level)

    def open_png(self, data: bytes) -> Plane:
        return Plane(Layout.RGB8, Extent(1, 1), bytes(data[:3]))


def grey(side: int = 64, layout: Layout = Layout.RGB8, level: int = 128) -> Plane:
    return Plane(layout, Extent(side, side), bytes([level]) * (side * side * layout.channels))


def a_shot(name: str = "Camera", **values: object) -> Shot:
    """64 x 64, a face seen from the front, all maps."""
    maps = {kind: grey() for kind in (GuideKind.SKELETON, GuideKind.DEPTH, GuideKind.NORMALS)}
    camera = {"placement": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]}
    return Shot(
        **{
            **{"name": name, "extent": Extent(64, 64), "camera": camera, "maps": maps, "keypoints": FACE},
            **{"targets": (Target("Head", "session:7"),), "document": "scene.blend"},
            **values,
        }
    )


class Stage:
    """One Blender session. `turn` is what serves the backend between two ticks."""

    def __init__(self, folder: Path, state: Path, launcher: FakeLauncher | None = None) -> None:
        self.folder, self.state = folder, state
        self.launcher = launcher or FakeLauncher()
        self.turn: Callable[[], object] = lambda: time.sleep(0.002)
        self.now = itertools.count(1_000)
        self.presenter = self._presenter()

    def _presenter(self) -> Presenter:
        store = Store(self.folder)
        client = Client(self.state, store.client_id())
        shelf = Shelf(self.folder / "results")
        return Presenter(client, self.launcher, store, shelf, FakePictures(), now_ms=lambda: next(self.now))

    def serve(self, pair: Pair) -> None:
        self.turn = lambda: pair.service.broker.turn(0.005) if pair.service is not None else time.sleep(0.002)

    def until(self, done: Callable[[], object], timeout_s: float = 300.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, f"still waiting: {self.presenter.notice!r} {self.presenter.backend} {self.presenter.progress}"
            self.presenter.tick()
            self.turn()
            time.sleep(0.001)  # the sockets' own threads need the processor too

    def ready(self) -> None:
        self.until(lambda: self.presenter.connected and self.presenter.models)

    def ended(self, press: int):
        """What came of a press, once all of it has ended."""
        self.until(lambda: not self.presenter.ended(press).open)
        return self.presenter.ended(press)

    def again(self) -> None:
        """Blender is killed, without goodbye, and started again."""
        self.presenter.close()
        self.presenter = self._presenter()
