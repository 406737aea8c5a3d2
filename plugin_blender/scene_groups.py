"""Where vertex groups lie on evaluated meshes. To ask every vertex for its groups takes long, to ask where the vertices are does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


FEW = 500
"""So many vertices are asked one by one in less time than all of a large mesh in one go."""


@dataclass(frozen=True, eq=False)
class _Members:
    """Of one group: vertices of the evaluated mesh, and their weights."""

    vertices: NDArray[np.intp]
    weights: Floats


class Groups:
    """The vertex groups of these names. Who belongs to them is read once for each mesh, and anew when it has more or fewer vertices."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._known: dict[tuple[int, int], dict[str, _Members]] = {}

    def middle(self, mesh: Any, depsgraph: Any, name: str) -> Floats | None:
        """The middle of a group on the evaluated mesh, by its weights, in the world (3,); follows shape keys, bones and subdivision."""
        if mesh.type != "MESH" or mesh.vertex_groups.get(name) is None:
            return None
        shown = mesh.evaluated_get(depsgraph)
        vertices = shown.data.vertices
        key = (mesh.session_uid, len(vertices))
        if key not in self._known:
            self._known[key] = self._read(mesh, vertices)
        members = self._known[key].get(name)
        if members is None:
            return None
        place = np.average(_places(vertices, members.vertices), axis=0, weights=members.weights)
        matrix = np.array(shown.matrix_world, dtype=np.float64)
        return matrix[:3, :3] @ place + matrix[:3, 3]

    def _read(self, mesh: Any, vertices: Any) -> dict[str, _Members]:
        """All groups in one pass; one that nothing belongs to is left out."""
        wanted = {mesh.vertex_groups[name].index: name for name in self._names if name in mesh.vertex_groups}
        found: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in wanted.values()}
        for number, vertex in enumerate(vertices):
            for member in vertex.groups:
                if (name := wanted.get(member.group)) is not None and member.weight > 0:
                    found[name][0].append(number)
                    found[name][1].append(member.weight)
        return {name: _Members(np.array(which), np.array(weights)) for name, (which, weights) in found.items() if which}


def _places(vertices: Any, which: NDArray[np.intp]) -> Floats:
    """Where some vertices of a mesh are, in its own space: (n, 3)."""
    if len(which) <= FEW:
        return np.array([vertices[number].co for number in which.tolist()], dtype=np.float64)
    places = np.empty(3 * len(vertices), np.float32)
    vertices.foreach_get("co", places)
    return places.reshape(-1, 3)[which].astype(np.float64)
