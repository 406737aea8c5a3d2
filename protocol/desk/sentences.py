"""Words for the person at the screen: about any error that somebody raised, and a prompt as a name."""

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


def title_of(prompt: str, most: int) -> str:
    """A prompt as the name of a layer or an image: one line of at most `most` characters; "" of an empty one."""
    words = " ".join(prompt.split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"
