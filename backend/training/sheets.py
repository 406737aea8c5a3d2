"""Sheets: many pictures in one file, to judge a training by eye."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures (N, 3, H, W) in -1 … 1 to bytes (N, H, W, 3)."""
    scaled = (pictures.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def from_bytes(pictures: NDArray[np.uint8]) -> Tensor:
    """Bytes (N, H, W, 3) to pictures (N, 3, H, W) in -1 … 1, channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def write_sheet(path: Path, rows: list[list[NDArray[np.uint8]]], zoom: int = 1) -> None:
    """Write rows of equally large pictures (H, W, 3)."""
    sheet = np.concatenate([np.concatenate(row, 1) for row in rows], 0)
    picture = Image.fromarray(sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.LANCZOS if zoom > 1 else Image.Resampling.NEAREST).save(path)
