"""Which kind of adapter a file is. The layout says most of it, and never what it cannot say: those pairs are told apart by what is known of
the file itself, its hash in the catalogue or its name, and by model.toml above all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import ModelError

from ..files import sha256_of
from .adapters import AdapterKind
from .catalog import Catalog

if TYPE_CHECKING:
    from torch import Tensor

FACE_FEATURES = 512
"""Length of an ArcFace embedding, in antelopev2 as in buffalo_l."""
KOLORS_WIDTHS = {"proj_in.weight": 2048, "perceiver_resampler.proj_in.weight": 4096}
"""Kolors' resamplers are wider than any of SD 1.5 and SDXL, in front of keys and values of SDXL's own shapes."""
ALIKE = (
    {AdapterKind.FACE_ID_PLUS, AdapterKind.FACE_ID_PLUS_V2},
    {AdapterKind.INSTANT_ID, AdapterKind.FACE_ID_PORTRAIT_RAW, AdapterKind.PLUS},
)
"""Kinds that have one layout."""


def kind_of(path: Path, projection: Mapping[str, Tensor], told: AdapterKind | None = None) -> AdapterKind:
    """The kind of the adapter file `path`, whose image projection holds `projection` (official names).

    `told` is what model.toml says and decides between kinds of one layout; without it the catalogue's hash does, then the name, then the
    more usual kind (FaceID-Plus version 1; InstantID). ModelError for an unknown layout, or when `told` cannot be.
    """
    found = _by_layout(path, projection)
    alike = next((kinds for kinds in ALIKE if found in kinds), {found})
    if told is not None:
        if told not in alike:
            said = f"{path.name} was to be an adapter of kind {told.value}, but its layout is that of {found.value}."
            raise ModelError(f"{said} Correct model.toml.")
        return told
    if len(alike) == 1 or found is AdapterKind.PLUS:
        return found
    known = _by_hash(path) or _by_name(path)
    return known if known in alike else found


def _by_layout(path: Path, projection: Mapping[str, Tensor]) -> AdapterKind:
    for key, width in KOLORS_WIDTHS.items():
        if key in projection and projection[key].shape[0] == width:
            raise ModelError(f"{path.name} is an adapter for Kolors, another model than SDXL although its layers fit. Choose one for SDXL.")
    if "proj.weight" in projection:
        return AdapterKind.BASE
    if "proj.3.weight" in projection:
        return AdapterKind.FULL
    if "perceiver_resampler.proj_in.weight" in projection:
        return AdapterKind.FACE_ID_PLUS
    if "proj.0.weight" in projection and "norm.weight" in projection:
        return AdapterKind.FACE_ID
    if "latents" in projection and "proj_in.weight" in projection:
        face = projection["proj_in.weight"].shape[-1] == FACE_FEATURES
        return AdapterKind.INSTANT_ID if face else AdapterKind.PLUS
    known = "IP-Adapter base, Plus, Full, FaceID and InstantID"
    raise ModelError(f"{path.name} holds an image projection of an unknown layout. Known are {known}.")


def _by_hash(path: Path) -> AdapterKind | None:
    """What the catalogue says of a file of these bytes. A gigabyte takes a second to hash, so a size that is known goes first."""
    size, sha256 = path.stat().st_size, ""
    for part in Catalog.load().parts.values():
        for file in part.files:
            if file.sha256 is None or file.bytes not in {None, size} or not (part.adapter or part.id == "instantid"):
                continue
            sha256 = sha256 or sha256_of(path)
            if sha256 == file.sha256:
                return AdapterKind(part.adapter["kind"]) if part.adapter else AdapterKind.INSTANT_ID
    return None


def _by_name(path: Path) -> AdapterKind | None:
    name = path.stem.lower().replace("-", "").replace("_", "")
    if "plusv2" in name:
        return AdapterKind.FACE_ID_PLUS_V2
    if "portrait" in name or "unnorm" in name:
        return AdapterKind.FACE_ID_PORTRAIT_RAW
    return None
