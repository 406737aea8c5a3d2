"""What to tell the person at the screen about any error that somebody raised."""

from __future__ import annotations

import logging

from ..errors import LikenessError

_LOG = logging.getLogger("likeness")


def sentence_of(error: BaseException) -> str:
    """What to tell the artist about an error that somebody raised."""
    if isinstance(error, LikenessError):
        return str(error)
    if isinstance(error, OSError):
        return f"A file could not be read or written: {error.strerror or error}. Look whether the folder is there and the disk has room."
    if isinstance(error, MemoryError):
        return "The computer's memory is full. Choose a smaller size or area, or close other documents."
    _LOG.error("A mistake of the plug-in", exc_info=error)
    return f"Likeness made a mistake ({type(error).__name__}) and left the document as it was. Please report it; the terminal says where."
