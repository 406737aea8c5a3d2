"""Every number that bounds anything, with its reason; and the small types that attach a bound to a field.

A field says its bound in its annotation, `steps: Annotated[int, Between(1, 1000)]`, and the codec checks it on both sides of the wire.
"""

from __future__ import annotations

from typing import Annotated

from .frozen import frozen


@frozen
class Between:
    """A number from `low` to `high`, both included. NaN and infinities are outside of every range."""

    low: float
    high: float


@frozen
class Text:
    """A string of `least` to `most` characters. `lines` allows line breaks and tabs; other control characters are never allowed."""

    most: int
    least: int = 0
    lines: bool = False


@frozen
class Hex:
    """A string of exactly `length` lower-case hexadecimal digits."""

    length: int


@frozen
class Items:
    """A tuple of `least` to `most` items."""

    most: int
    least: int = 0


# What arrives -----------------------------------------------------------------------------------------------------------------------
HEADER_BYTES = 64 * 1024
"""A header holds words and numbers only. 64 KiB bound the work of decoding one (38 ms for the worst case with msgpack's pure decoder)."""
HEADER_ITEMS = 4096
"""Longest array or map in a header; the types set narrower bounds of their own."""
PLANES = 64
"""8 subjects with 6 photos each, a canvas with its mask, and guides; libzmq bounds a frame but not their number, so the codec does."""
SIDE = 16384
"""Longest side of a plane in pixels; larger documents are worked in parts."""
PIXELS = 8192 * 8192
"""Pixels of one plane: 256 MiB as RGBA8. A 6000 x 4000 canvas takes a third of it."""
FRAME_BYTES = PIXELS * 4
"""ZeroMQ's MAXMSGSIZE: the largest plane. Without it a peer that announces 8 GiB is given 8 GiB."""
MESSAGE_BYTES = 512 * 1024 * 1024
"""All frames of one message together: the largest canvas as RGBA8, its mask, and references beside them."""

# What a job may hold ----------------------------------------------------------------------------------------------------------------
COORDINATE = 1_000_000
"""Places in canvas pixels: far outside of every document, and exact in 32-bit floats."""
SUBJECTS = 8
PHOTOS = 16
"""Photos of one person: more do not change the mean embedding by an amount that can be seen."""
EMBEDDING_DIGITS = 512 * 8
"""A face embedding is 512 float32; eight subjects given by theirs fill half a header."""
EMBEDDING_BYTES = 512 * 4
"""The same as bytes: one row of a `Reading`."""
RECOGNISERS = 8
"""Recognisers whose readings one character carries; the field has two that adapters were trained with."""
SCHEDULE_MARKS = 16
"""Points of one schedule: pictures take some dozens of steps."""
BLOCKS = 32
"""Weights of single blocks: SDXL has eleven parts that attend to pictures, SD 1.5 sixteen."""
LORAS = 16
"""LoRAs of one job; more than a handful spoil each other."""
LISTED_LORAS = 512
"""LoRAs, and as many textual inversions, that a model tells of; with several models fewer, as all of them share one header."""
TRIGGERS = 8
"""Trigger words of one LoRA that are told."""
FACES = 128
"""Faces reported in one picture; their text fits the header."""
COUNT = 32
"""Pictures of one job. More pictures are more jobs, which can be cancelled and shared out."""
CHARACTERS_PER_PAGE = 32
"""Cards (with thumbnails) in one reply, so that planes and header stay within their limits."""
MODELS = 64
DEVICES = 16
JOBS_PER_CLIENT = 256
"""Jobs of one client that are not acknowledged: their states fit one header."""

# How much is kept -------------------------------------------------------------------------------------------------------------------
QUEUED_PER_CLIENT = 64
"""A person does not wait for more; a script gets `Busy` and tries again."""
SPOOL_BYTES_PER_CLIENT = 1024**3
KEEP_ACKNOWLEDGED_S = 24 * 3600
"""A host may die between placing a layer and saving the document."""
KEEP_UNCLAIMED_S = 30 * 24 * 3600
"""A result that no program came back for: a month, then its place is needed."""
KEEP_ACKNOWLEDGED_BYTES = 2 * 1024**3
DISK_RESERVE_BYTES = 64 * 1024 * 1024
"""Free space that a new job must leave: the results of the jobs before it need room too."""

# Planes in files ----------------------------------------------------------------------------------------------------------------------
HANDOVER_LEAST_BYTES = 256 * 1024
"""Less than this is sent in the message: two files and a look into a folder cost as much as encrypting it."""
HANDOVER_FILES = 256
"""Files of one client that are looked at in its folder; more than this is no way of working, and they are taken away."""
HANDOVER_KEEP_S = 30.0
"""A file that lies in a client's folder at two looks, so long apart, was left by somebody who died."""
HANDOVER_PATIENCE_S = 1.0
"""Planes that are not written by then, as the disk has other things to do, go in the message."""

# How long -----------------------------------------------------------------------------------------------------------------------------
HANDSHAKE_MS = 1000
"""A peer that says nothing: 300 of them were gone after a second, while a good client was served in 3 ms. libzmq's default is 30 s."""
PING_S = 1.0
"""The client's heartbeat."""
LOST_S = 5.0
"""Silence after which the client says so: five heartbeats."""
RESEND_S = 4.0
"""An unanswered request is sent again; each of them may be repeated without harm."""
SEND_QUEUE = 64
"""Messages that wait for a peer that does not read (SNDHWM). Further events are dropped, and the heartbeat repairs that."""
RECEIVE_QUEUE = 64

# Words ------------------------------------------------------------------------------------------------------------------------------
Prompt = Annotated[str, Text(4000, lines=True)]
"""CLIP reads 77 tokens at a time; 4,000 characters are a dozen times that."""
Name = Annotated[str, Text(80, least=1)]
"""A character's or an adapter's name, a model id, a scheduler: looked up, never used as a path."""
Phrase = Annotated[str, Text(80, least=1)]
"""Words for a prompt."""
Label = Annotated[str, Text(80)]
Sentence = Annotated[str, Text(1000, lines=True)]
Note = Annotated[str, Text(256)]
JobId = Annotated[str, Hex(32)]
"""Minted by the client (a random UUID), so that submitting twice is one job."""
ClientId = Annotated[str, Hex(32)]
Handle = Annotated[str, Hex(32)]
"""Names a file within one client's folder, or that folder: random, and never a path."""

# Numbers ----------------------------------------------------------------------------------------------------------------------------
Fraction = Annotated[float, Between(0.0, 1.0)]
Weight = Annotated[float, Between(0.0, 2.0)]
"""Scales above 2 give no picture with any adapter known."""
LoraWeight = Annotated[float, Between(-4.0, 4.0)]
"""Sliders are made to be used backwards and beyond 1."""
Similarity = Annotated[float, Between(-1.001, 1.001)]
"""A cosine, with room for rounding."""
Coordinate = Annotated[float, Between(-COORDINATE, COORDINATE)]
Side = Annotated[int, Between(1, SIDE)]
Seconds = Annotated[float, Between(0.0, 1e9)]
Bytes = Annotated[int, Between(0, 2**53)]
"""2^53: also exact where numbers are doubles."""
Count = Annotated[int, Between(0, 2**31)]
Seed = Annotated[int, Between(0, 2**53)]
RequestNumber = Annotated[int, Between(0, 2**53)]
