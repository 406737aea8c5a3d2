"""The arithmetic of projecting a picture onto a mesh: what a camera sees of it, how steeply, and how pictures are weighted. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .camera import Camera, Floats

Mask = NDArray[np.bool_]
Ints = NDArray[np.intp]

FADE = (70.0, 85.0)
"""Degrees between a surface and the line of sight: up to the first it gets the whole picture, from the second on nothing. Steeper skin
would be stretched more than threefold, and a picture's silhouette is never exactly the mesh's.
"""
SHARPNESS = 10.0
"""Of several cameras, the one that looks at a surface most directly wins: weights are cosines to this power. Lower ones let a second
picture's eyes show through.
"""
CELLS = 16
"""Of a mesh's longest side: over about two of them, normals are smoothed before cameras are compared by them."""
LEAST = 0.2
"""The cosine that counts at least, where cameras are compared: to its power, something is left to divide by."""
STEEPEST = 0.15
"""The cosine below which a surface's slope no longer widens what counts as the same surface."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A mesh in the world as arrays: what is needed of it to project onto it."""

    places: Floats
    """(vertices, 3) in the world."""
    corners: Ints
    """(corners,) the vertex of every face corner."""
    begins: Ints
    """(faces,) the first corner of every face; faces follow each other without gaps."""
    normals: Floats
    """(corners, 3) as shaded, of length 1, in the world."""
    mirrored: bool
    """The object's scale is negative, so the order of corners is turned around."""

    @property
    def faces(self) -> Ints:
        """(corners,) the face of every corner."""
        counts = np.diff(np.append(self.begins, len(self.corners)))
        return np.repeat(np.arange(len(self.begins)), counts)

    def face_normals(self) -> Floats:
        """(faces, 3) by Newell's method, so bent faces have one, too; length: twice the area."""
        following = np.arange(1, len(self.corners) + 1)
        ends = np.append(self.begins[1:], len(self.corners)) - 1
        following[ends] = self.begins
        here, there = self.places[self.corners], self.places[self.corners[following]]
        normals = np.add.reduceat(np.cross(here, there), self.begins, axis=0)
        return -normals if self.mirrored else normals

    def face_middles(self) -> Floats:
        """(faces, 3) the mean of the corners."""
        counts = np.diff(np.append(self.begins, len(self.corners)))
        return np.add.reduceat(self.places[self.corners], self.begins, axis=0) / counts[:, None]


def towards(camera: Camera, places: Floats) -> Floats:
    """Directions (n, 3) of length 1 from places in the world to the camera."""
    if camera.lens.orthographic:
        return np.broadcast_to(camera.placement[:3, 2], places.shape)
    ways = camera.placement[:3, 3] - places
    return ways / np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-12)


def homogeneous(camera: Camera, places: Floats) -> Floats:
    """World (n, 3) -> (n, 3): u * w, v * w, w, which are linear over a flat face, however coarse; u and v are its texture coordinates.

    u is 0 at the picture's left and 1 at its right edge, v 0 at the bottom and 1 at the top; w is the distance, 1 without perspective.
    """
    seen = camera.project(places)
    depth = np.where(np.abs(seen[:, 2]) < 1e-9, 1e-9, seen[:, 2])
    u, v = seen[:, 0] / camera.frame.width, 1 - seen[:, 1] / camera.frame.height
    w = np.ones_like(depth) if camera.lens.orthographic else depth
    return np.nan_to_num(np.stack([u * w, v * w, w], axis=1))


def texture_coordinates(values: Floats) -> Floats:
    """(n, 3) homogeneous -> (n, 2) u and v. What lies behind the camera is put far outside the picture."""
    before = values[:, 2] > 1e-9
    return np.where(before[:, None], values[:, :2] / np.where(before, values[:, 2], 1.0)[:, None], -10.0)


def pixel_size(camera: Camera) -> float:
    """The side of a pixel in scene units: at distance 1, or anywhere without perspective."""
    begin, way = camera.rays(np.array([[0.0, 0.0], [1.0, 0.0]]))
    if camera.lens.orthographic:
        return float(np.linalg.norm(begin[1] - begin[0]))
    axis = -camera.placement[:3, 2]
    flat = way / (way @ axis)[:, None]
    return float(np.linalg.norm(flat[1] - flat[0]))


def is_clear(camera: Camera, distance: NDArray[np.float32], covered: Mask, places: Floats, cosine: Floats) -> Mask:
    """(n,) whether the nearest surface around a place's pixel is not before it. `distance` and `covered` are of this camera's frame.

    Of the 3 x 3 pixels around it the farthest counts, and as much is forgiven as the surface may slope within two pixels: what hides a
    place by less than a pixel hides nothing that anybody could see.
    """
    seen = camera.project(places)
    height, width = distance.shape
    farthest = np.where(covered, distance, np.inf)
    padded = np.pad(farthest, 1, constant_values=-np.inf)
    around = np.max([padded[row : row + height, column : column + width] for row in range(3) for column in range(3)], axis=0)
    inside = (seen[:, 2] > 0) & (seen[:, 0] >= 0) & (seen[:, 0] < width) & (seen[:, 1] >= 0) & (seen[:, 1] < height)
    x, y = (np.clip(np.nan_to_num(seen[:, axis]), 0, side - 1).astype(np.intp) for axis, side in ((0, width), (1, height)))
    steep = np.clip(np.abs(cosine), STEEPEST, 1.0)
    footprint = pixel_size(camera) * (1.0 if camera.lens.orthographic else np.abs(seen[:, 2]))
    slack = 2.0 * footprint * np.sqrt(1 / steep**2 - 1) + 1e-3 * np.abs(seen[:, 2])
    # Outside the picture nothing is known, and the picture's own edge cuts it off.
    return (seen[:, 2] > camera.lens.clip_start) & (~inside | (around[y, x] >= seen[:, 2] - slack))


def fading(cosine: Floats, fade: tuple[float, float] = FADE) -> Floats:
    """Cosines, in any shape, of the angle to the line of sight -> 1 for what is looked at, 0 for what is too steep, smoothly between."""
    begin, end = (np.cos(np.radians(angle)) for angle in fade)
    share = np.clip((cosine - end) / max(begin - end, 1e-6), 0.0, 1.0)
    return share * share * (3 - 2 * share)


def bent_by(camera: Camera, shape: Shape, shown: Mask) -> float:
    """By how many pixels plain texture coordinates miss true perspective, at most, along an edge of a shown face (`shown`: of corners).

    Texture coordinates are linear over a face, a perspective picture is not: that counts on coarse meshes.
    """
    if camera.lens.orthographic or not shown.any():
        return 0.0
    values = homogeneous(camera, shape.places)
    # Every corner with the next but one (or the next, in a triangle): a diagonal bends more than an edge.
    ends = np.append(shape.begins[1:], len(shape.corners))
    counts = (ends - shape.begins)[shape.faces]
    first = shape.begins[shape.faces]
    other = first + (np.arange(len(shape.corners)) - first + np.where(counts > 3, 2, 1)) % counts
    one, two = values[shape.corners][shown], values[shape.corners[other]][shown]
    before = (one[:, 2] > 0) & (two[:, 2] > 0)
    middle = texture_coordinates((one + two)[before] / 2)
    flat = (texture_coordinates(one[before]) + texture_coordinates(two[before])) / 2
    side = np.array([camera.frame.width, camera.frame.height])
    return float(np.linalg.norm((middle - flat) * side, axis=1).max(initial=0.0))


def smoothed(places: Floats, normals: Floats) -> Floats:
    """(n, 3) normals as their mean around each place, over about an eighth of the mesh, of length 1.

    Which camera looks at a cheek most directly is a matter of the head: by the skin's own normals the side of a nose would fall to
    another picture than the nose. Normals are spread over the corners of the cells of a grid, blurred there, and read again.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    spot = (places - low) / (max(float((high - low).max()), 1e-9) / CELLS) + 2
    cell = spot.astype(np.intp)
    share = spot - cell
    size = CELLS + 6
    near = [np.array(corner) for corner in np.ndindex(2, 2, 2)]
    indices = [np.ravel_multi_index(tuple((cell + corner).T), (size,) * 3) for corner in near]
    weights = [np.prod(np.where(corner == 1, share, 1 - share), axis=1) for corner in near]
    out = np.empty_like(normals)
    for part in range(3):
        grid = sum(np.bincount(index, weight * normals[:, part], size**3) for index, weight in zip(indices, weights, strict=True))
        cube = np.asarray(grid).reshape(size, size, size)
        for axis in (0, 0, 1, 1, 2, 2):
            cube = (np.roll(cube, 1, axis) + 2 * cube + np.roll(cube, -1, axis)) / 4
        flat = cube.ravel()
        out[:, part] = sum(weight * flat[index] for index, weight in zip(indices, weights, strict=True))
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(length > 1e-6, out / np.maximum(length, 1e-6), normals)
