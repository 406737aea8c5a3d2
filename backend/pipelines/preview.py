"""A small picture from latents without the VAE: a matrix from latent channels to red, green and blue, with an offset.

Good enough to see what a picture becomes, and thousands of times cheaper than decoding. Latents are scaled ones (as the UNet sees them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PreviewMatrix:
    """`factors` (channels, 3) and `bias` (3,): latents -> red, green, blue, 0 to 1."""

    factors: Floats
    bias: Floats

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> PreviewMatrix:
        """From preview.json: `{"factors": [[r, g, b], …], "bias": [r, g, b]}`. Raises `ModelError` for anything else."""
        try:
            factors, bias = np.asarray(table["factors"], dtype=np.float32), np.asarray(table["bias"], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The model's preview.json is wrong at {error}. Install the model once more.") from error
        if factors.ndim != 2 or factors.shape[1:] != (3,) or bias.shape != (3,) or not np.isfinite([*factors.ravel(), *bias]).all():
            raise ModelError("The model's preview.json does not hold three numbers per channel and for the bias. Install it once more.")
        return cls(factors, bias)

    def to_table(self) -> dict[str, list[Any]]:
        """The contents of preview.json."""
        return {"factors": self.factors.astype(float).round(5).tolist(), "bias": self.bias.astype(float).round(5).tolist()}


def _fractions(values: object, whole: float) -> Floats:
    return (np.asarray(values, dtype=np.float32) / whole).astype(np.float32)


SDXL = PreviewMatrix(
    _fractions([[60, 60, 60], [-60, -5, 10], [25, 15, -5], [-70, -50, -35]], 255),
    _fractions([150, 140, 130], 255),
)
"""Timothy Alexis Vass, "Explaining the SDXL latent space" (huggingface.co/blog/TimothyAlexisVass/explaining-the-sdxl-latent-space)."""

SD15 = PreviewMatrix(
    _fractions([[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]], 2),
    _fractions([1, 1, 1], 2),
)
"""keturn, "Decoding latents to RGB without upscaling" (discuss.huggingface.co/t/23204); there for a range of -1 to 1."""


def latents_to_rgb(latents: Tensor | Floats, table: Mapping[str, Any] | PreviewMatrix | None = None) -> Pixels:
    """Latents (1, channels, h, w) or (channels, h, w) -> (h, w, 3), one pixel for each latent.

    `table` is the model's preview.json or a matrix; None takes SDXL's. Raises `ModelError` if its channels are not as many.
    """
    matrix = table if isinstance(table, PreviewMatrix) else SDXL if table is None else PreviewMatrix.from_table(table)
    values = np.asarray(latents if isinstance(latents, np.ndarray) else latents.detach().float().cpu(), dtype=np.float32)
    values = values.reshape(values.shape[-3:])
    if len(values) != len(matrix.factors):
        raise ModelError(f"The model's latents have {len(values)} channels, its preview.json {len(matrix.factors)}. Install it once more.")
    colours = np.einsum("chw,cr->hwr", np.nan_to_num(values), matrix.factors) + matrix.bias
    return np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def fit_matrix(latents: Floats, pictures: Pixels) -> PreviewMatrix:
    """The matrix that comes nearest, by least squares: latents (n, channels, h, w) and their pictures (n, h * factor, w * factor, 3)."""
    count, channels, height, width = latents.shape
    factor = pictures.shape[1] // height
    small = pictures.reshape(count, height, factor, width, factor, 3).mean(axis=(2, 4)).reshape(-1, 3) / 255
    known = np.column_stack([latents.transpose(0, 2, 3, 1).reshape(-1, channels), np.ones(len(small))]).astype(np.float64)
    solution: Floats = np.asarray(np.linalg.lstsq(known, small, rcond=None)[0], dtype=np.float32)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    return PreviewMatrix(solution[:-1], solution[-1])
