"""The version of the wire, apart from any release's. SPEC.md has the same one."""

from __future__ import annotations

from typing import NamedTuple

from .errors import BadMessage, VersionMismatch

MAGIC = b"LKNS"


class Version(NamedTuple):
    """Another major version cannot be understood; a higher minor version adds fields and kinds, which older sides ignore or refuse."""

    major: int
    minor: int


VERSION = Version(1, 5)
PREAMBLE = MAGIC + bytes(VERSION)


def read_preamble(frame: bytes) -> Version:
    """The version of a message by its first frame; `BadMessage` if it is none of ours, `VersionMismatch` for another major version."""
    if len(frame) != len(PREAMBLE) or frame[:4] != MAGIC:
        raise BadMessage(f"The message does not begin with Likeness's preamble. {BadMessage.cure}")
    version = Version(frame[4], frame[5])
    if version.major != VERSION.major:
        raise VersionMismatch(mismatch_sentence(version))
    return version


def mismatch_sentence(other: Version) -> str:
    """Which side to update."""
    older, newer = ("this side", "the other") if other.major > VERSION.major else ("the other side", "this one")
    return (
        f"The other side speaks version {other.major}.{other.minor} of the protocol, this one {VERSION.major}.{VERSION.minor}. "
        f"Update {older}: {newer} is newer."
    )
