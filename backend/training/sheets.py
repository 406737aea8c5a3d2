"""Sheets: many pictures in one file, to judge a training by eye."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from .typed import tensor


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures (N, 3, H, W) in -1 … 1 to bytes (N, H, W, 3)."""
    scaled = (pictures.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def from_bytes(pictures: NDArray[np.uint8]) -> Tensor:
    """Bytes (N, H, W, 3) to pictures (N, 3, H, W) in -1 … 1, channels last in memory."""
    return tensor(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def write_sheet(path: Path, rows: list[list[NDArray[np.uint8]]], zoom: int = 1) -> None:
    """Write rows of equally large pictures (H, W, 3)."""
    sheet = np.concatenate([np.concatenate(row, 1) for row in rows], 0)
    picture = Image.fromarray(sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.LANCZOS if zoom > 1 else Image.Resampling.NEAREST).save(
        path
    )


def write_curve(history: Path, path: Path, width: int = 640, height: int = 320) -> None:
    """Draw a training's loss over its steps from lines of {"step", "loss"}; nothing is written for fewer than two lines."""
    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()] if history.exists() else []
    if len(lines) < 2:
        return
    steps, losses = np.array([line["step"] for line in lines], float), np.array([line["loss"] for line in lines], float)
    # The first losses of a training dwarf all others; what they would squeeze flat is what one wants to see.
    low, high = float(losses.min()), float(np.quantile(losses, 0.97))
    x = 60 + (width - 75) * (steps - steps[0]) / max(steps[-1] - steps[0], 1)
    y = height - 30 - (height - 45) * np.clip((losses - low) / max(high - low, 1e-9), 0, 1)
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    pen.line([(60, 15), (60, height - 30), (width - 15, height - 30)], fill=(120, 120, 120))
    pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=(36, 98, 178), width=2)
    for value, at in ((high, 15), (low, height - 30)):
        pen.text((8, at - 6), f"{value:.4f}", fill=(60, 60, 60))
    pen.text((width - 110, height - 22), f"step {int(steps[-1])}", fill=(60, 60, 60))
    picture.save(path)
