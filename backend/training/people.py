"""Folders of captioned pictures of known persons, as the recognition room reads them.

A folder holds parallel arrays, memory-mapped: pictures.npy uint8 (N, S, S, 3), keypoints.npy float32 (N, 5, 2) in pixels,
boxes.npy float32 (N, 4) as x0 y0 x1 y1, persons.npy int64 (N,), and text files of N lines: descriptions.txt (caption with words about the
person), attributes.jsonl (one dict of attribute -> value a line).
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest


@dataclass(frozen=True)
class People:
    """One such folder."""

    folder: Path

    def _array(self, name: str) -> NDArray[Any]:
        path = self.folder / f"{name}.npy"
        if not path.is_file():
            raise InvalidRequest(_missing(self.folder, path.name))
        return np.load(path, mmap_mode="r")

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        if not path.is_file():
            raise InvalidRequest(_missing(self.folder, name))
        return path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def pictures(self) -> NDArray[np.uint8]:
        """RGB pictures, uint8 (N, S, S, 3)."""
        return self._array("pictures")

    @cached_property
    def keypoints(self) -> NDArray[np.float32]:
        """Eyes, nose, mouth corners as seen left to right, float32 (N, 5, 2), pixels."""
        return self._array("keypoints")

    @cached_property
    def boxes(self) -> NDArray[np.float32]:
        """Face boxes x0 y0 x1 y1, float32 (N, 4), pixels."""
        return self._array("boxes")

    @cached_property
    def persons(self) -> NDArray[np.int64]:
        """Which person is drawn, int64 (N,)."""
        return self._array("persons")

    @cached_property
    def captions(self) -> list[str]:
        """One caption for every picture, without words about the person."""
        return self._lines("captions.txt")

    @cached_property
    def descriptions(self) -> list[str]:
        """One caption with words about the person for every picture."""
        return self._lines("descriptions.txt")

    @cached_property
    def attributes(self) -> list[dict[str, str]]:
        """Attribute -> value for every picture; a missing thing has the value "none"."""
        rows = [json.loads(line) for line in self._lines("attributes.jsonl")]
        return [{str(key): _word(value) for key, value in row.items()} for row in rows]

    def split(self, held: int, first: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices to train on, and indices of the last `held` persons, whom training never sees; of the `first` persons only, if given."""
        known = np.unique(self.persons)[:first]
        if len(known) <= held:
            raise InvalidRequest(
                f"The folder {self.folder} has {len(known)} persons, too few to keep {held} of them back for the measurement. "
                "Ask for fewer with --held."
            )
        learned, kept = np.split(known, [len(known) - held])
        return np.flatnonzero(np.isin(self.persons, learned)), np.flatnonzero(np.isin(self.persons, kept))


def _missing(folder: Path, name: str) -> str:
    return f"The folder {folder} has no {name}, so nothing can be learned from it. Make it anew with 'python -m backend.training data'."


def _word(value: object) -> str:
    match value:
        case None | False | "":
            return "none"
        case True:
            return "yes"
        case _:
            return str(value)
