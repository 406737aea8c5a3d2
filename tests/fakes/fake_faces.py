"""A face pack of two tiny ONNX files with the shapes of SCRFD and ArcFace, which really look at the picture.

A "face" is a square with red at full and green at none; who it is stands in its blue channel, as 4 x 4 fields. The detector sees squares
whose side is 16 to 128 pixels at its input, no others, so that detector sizes and borders matter as they do with real ones. Squares must
not share rows or columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = 128
SMALLEST = 16
_REACH = LARGEST + 8
"""How far the detector looks for an edge: a little further than the largest face, to notice that one is larger."""

KEYPOINTS = np.array([[0.30, 0.40], [0.70, 0.40], [0.50, 0.60], [0.35, 0.78], [0.65, 0.78]], dtype=np.float32)
"""Where the five keypoints lie in a face's box, as fractions of its sides."""


def blank(width: int, height: int, grey: int = 90) -> np.ndarray:
    """A picture without faces, (height, width, 3)."""
    return np.full((height, width, 3), grey, dtype=np.uint8)


def paint_face(picture: np.ndarray, left: int, top: int, side: int, person: int) -> np.ndarray:
    """Paint person number `person` into the picture, in place; returns it."""
    fields = np.random.default_rng(person).choice([0, 255], size=(4, 4))
    rows = np.arange(side) * 4 // side
    picture[top : top + side, left : left + side] = (255, 0, 0)
    picture[top : top + side, left : left + side, 2] = fields[np.ix_(rows, rows)]
    return picture


def write_pack(folder: Path, *, detector_side: int | None = None, keypoints: bool = True, width: int = 512) -> Path:
    """det.onnx and rec.onnx in `folder`; `detector_side` fixes the detector's input; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_detector(detector_side, keypoints), folder / "det.onnx")
    onnx.save(_recogniser(width), folder / "rec.onnx")
    return folder


def write_recogniser(file: Path, seed: int) -> Path:
    """Another recogniser alone: it sees the same, and what it says of it has nothing in common with what others say."""
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(_recogniser(512, seed), file)
    return file


class _Graph:
    """Collects nodes and constants; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        out = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"node_{out}", **attributes))
        return out

    def numbers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, dtype=np.float32))

    def cut(self, tensor: str, axis: int, start: int, end: int, step: int = 1) -> str:
        return self.add("Slice", tensor, self.numbers(start), self.numbers(end), self.numbers(axis), self.numbers(step))

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "fake", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _distances(graph: _Graph, inside: str) -> list[str]:
    """From every pixel inside a face to its left, top, right and bottom edge: counts of inside pixels within reach.

    Those to the left and above are counted without the pixel itself, the others with it. Each is a running sum less the one out of reach.
    """
    far, edges = 2**31, []
    for axis, before in ((3, True), (2, True), (3, False), (2, False)):
        summed = graph.add("CumSum", inside, graph.constant(np.array(axis, dtype=np.int64)), exclusive=int(before), reverse=int(not before))
        pads = np.zeros(8, dtype=np.int64)
        pads[axis if before else 4 + axis] = _REACH
        padded = graph.add("Pad", summed, graph.constant(pads))
        beyond = graph.cut(padded, axis, 0, -_REACH) if before else graph.cut(padded, axis, _REACH, far)
        edges.append(graph.add("Sub", summed, beyond))
    return edges


def _flat(graph: _Graph, channels: list[str], name: str) -> None:
    """(1, 1, h, w) each -> (2 * h * w, channels), every row twice: SCRFD has two anchors at each place."""
    joined = graph.add("Concat", *channels, axis=1)
    rows = graph.add("Reshape", graph.add("Transpose", joined, perm=[0, 2, 3, 1]), graph.numbers(-1, 1, len(channels)))
    twice = graph.add("Concat", rows, rows, axis=1)
    graph.add("Reshape", twice, graph.numbers(-1, len(channels)), name=name)


def _detector(side: int | None, keypoints: bool) -> onnx.ModelProto:
    graph = _Graph()
    red, green = graph.cut("input.1", 1, 0, 1), graph.cut("input.1", 1, 1, 2)
    inside = graph.add("Cast", graph.add("Greater", graph.add("Sub", red, green), graph.scalar(1.2)), to=TensorProto.FLOAT)
    left, top, right, bottom = _distances(graph, inside)
    width, height = graph.add("Add", left, right), graph.add("Add", top, bottom)
    names: dict[str, list[str]] = {"score": [], "bbox": [], "kps": []}
    for stride, (low, high) in {8: (SMALLEST, 32), 16: (32, 64), 32: (64, LARGEST)}.items():

        def at_anchors(tensor: str, step: int = stride) -> str:
            return graph.cut(graph.cut(tensor, 2, 0, 2**31, step), 3, 0, 2**31, step)

        def in_strides(tensor: str, step: int = stride) -> str:
            return graph.add("Div", at_anchors(tensor), graph.scalar(float(step)))

        not_small = graph.add("GreaterOrEqual", width, graph.scalar(low))
        right_size = graph.add("And", not_small, graph.add("Less", width, graph.scalar(high + 0.5)))
        score = graph.add("Mul", graph.add("Mul", inside, graph.add("Cast", right_size, to=TensorProto.FLOAT)), graph.scalar(0.9))
        _flat(graph, [at_anchors(score)], f"score_{stride}")
        _flat(graph, [in_strides(edge) for edge in (left, top, right, bottom)], f"bbox_{stride}")
        offsets: list[str] = []
        for fx, fy in KEYPOINTS.tolist():
            offsets.append(in_strides(graph.add("Sub", graph.add("Mul", width, graph.scalar(fx)), left)))
            offsets.append(in_strides(graph.add("Sub", graph.add("Mul", height, graph.scalar(fy)), top)))
        _flat(graph, offsets, f"kps_{stride}")
        for kind, names_of_kind in names.items():
            names_of_kind.append(f"{kind}_{stride}")
    kinds = ("score", "bbox", "kps") if keypoints else ("score", "bbox")
    channels = {"score": 1, "bbox": 4, "kps": 10}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, channels[kind]]) for kind in kinds for name in names[kind]]
    shape = [1, 3, side or "?", side or "?"]
    return graph.model([helper.make_tensor_value_info("input.1", TensorProto.FLOAT, shape)], outputs)


def _recogniser(width: int, seed: int = 7) -> onnx.ModelProto:
    """The blue channel on a 16 x 16 grid, through a fixed random matrix: linear, and not normalised."""
    graph = _Graph()
    grid = graph.add("AveragePool", graph.cut("data", 1, 2, 3), kernel_shape=[7, 7], strides=[7, 7])
    matrix = np.random.default_rng(seed).standard_normal((256, width)).astype(np.float32)
    graph.add("MatMul", graph.add("Flatten", grid), graph.constant(matrix), name="embedding")
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 112, 112])]
    return graph.model(inputs, [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", width])])
