"""A pickle that does something when it is opened: whoever sees the folder has run somebody else's code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path | str) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (self.place,)
