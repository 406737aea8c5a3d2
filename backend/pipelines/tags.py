"""`<lora:NAME:WEIGHT>` in a prompt, as A1111 has it: taken out of the text and added to the job's LoRAs. Pure text."""

from __future__ import annotations

import re
from dataclasses import replace

from protocol.errors import InvalidRequest
from protocol.jobs import Lora, PictureJob

MOST = 4.0
"""As `protocol.limits.LoraWeight`."""
_TAG = re.compile(r"\s?<(?P<kind>lora|lyco|hypernet):(?P<name>[^<>:]+)(?::(?P<weight>[^<>:]*))?(?::(?P<more>[^<>]*))?>", re.IGNORECASE)


def tagged(prompt: str) -> tuple[str, tuple[Lora, ...]]:
    """The prompt without its tags, and what they ask for. InvalidRequest for a tag that cannot be meant.

    >>> tagged("a hat <lora:ink:0.5>, red")
    ('a hat, red', (Lora(name='ink', weight=0.5),))
    """
    found = tuple(_lora(tag) for tag in _TAG.finditer(prompt))
    return (_TAG.sub("", prompt), found) if found else (prompt, ())


def untagged(job: PictureJob) -> PictureJob:
    """The job with the tags of its prompt as LoRAs; the same job if it has none."""
    prompt, found = tagged(job.prompt)
    return replace(job, prompt=prompt, loras=(*job.loras, *found)) if found else job


def _lora(tag: re.Match[str]) -> Lora:
    whole, name = tag[0].strip(), tag["name"].strip()
    if tag["kind"].lower() == "hypernet":
        raise InvalidRequest(f"The prompt names a hypernetwork ({whole}), which Likeness does not draw with. Take it out.")
    if tag["more"]:
        raise InvalidRequest(f"{whole} asks for more than one weight. Give one, for UNet and text encoders alike: <lora:{name}:0.8>.")
    try:
        weight = float(tag["weight"]) if tag["weight"] else 1.0
    except ValueError:
        weight = float("nan")
    if not -MOST <= weight <= MOST or not 1 <= len(name) <= 80:
        raise InvalidRequest(f"{whole} cannot be meant. Write <lora:NAME:WEIGHT> with a weight from {-MOST:g} to {MOST:g}.")
    return Lora(name, weight)
