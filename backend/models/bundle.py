"""`Model`: everything that one model id consists of, read from a folder with a `model.toml`. No weights are loaded here, and no torch.

A folder (only the first block is required; what is not named in `model.toml` is found by its place):

    model.toml
    unet/ vae/ text_encoder/ tokenizer/ scheduler/       a stock diffusers folder; SDXL also text_encoder_2/ tokenizer_2/

    image_encoder/ feature_extractor/                    CLIPVisionModelWithProjection and its preprocessor, for image prompts
    identitynet/ instantid.safetensors                   InstantID: ControlNetModel folder, adapter in the official layout
    ip_adapter/<name>.safetensors                        IP-Adapters in the official layouts
    controlnets/<kind>/                                  ControlNetModel folders; kind as in protocol.jobs.GuideKind
    controlnets/union/                                   ControlNetUnionModel (SDXL), for all kinds that have no folder of their own
    loras/<name>.safetensors                             for `style` below, and for jobs that name them
    embeddings/<name>.safetensors                        textual inversions, by their names in a prompt
    faces/det.onnx rec.onnx                              the face pack that the adapters were trained with
    preview.json                                         latent channels -> RGB
    preview_decoder/                                     AutoencoderTiny (TAESD) for previews, every few steps

`model.toml`, with the defaults:

    id = "sketch"                    # required
    family = "sdxl"                  # required: "sdxl" or "sd15"; a checkpoint in safetensors says it itself
    name = ""                        # for people; the id when empty
    size = [128, 128]                # required: width, height that the model draws best
    sizes = []                       # other sizes it was trained on, [[width, height], ...]; "buckets" for SDXL's, scaled to `size`
    avoid = []                       # sizes never to draw at, although they fit (InstantID at 1024 x 1024)
    side_by_side = false             # it also draws several times its width: a part as wide as `size` for each of several people
    drawn = false                    # the model knows drawn people only; said when a photo shows no face to it
    checkpoint = "best.safetensors"  # the base in one file (kohya, A1111, ComfyUI), here or anywhere, in place of unet/, vae/, …; size and
                                     # family are then optional
    vae = "other.safetensors"        # another VAE: a file or a diffusers folder
    prediction = "v"                 # "epsilon" or "v", where neither scheduler/ nor the checkpoint says it
    zero_snr = false                 # trained down to pure noise (zero terminal SNR)
    distilled = "lightning 4 steps"  # lcm, lightning, turbo, hyper or tcd: scheduler, steps and guidance as its makers say; "none" where
                                     # a name is misleading

    [defaults]
    steps = 30
    guidance_scale = 5.0
    scheduler = "default"            # the folder's own; others: see backend.pipelines.schedulers
    negative = ""
    clip_skip = 1                    # how many of the text encoder's last layers count, as A1111 counts them
    context = 0.5                    # how much is seen around a mask, as a part of its longer side, 0 to 4

    [faces]
    folder = "faces"
    det_sizes = []                   # sides of the squares that faces are looked for in; empty: the analyser's own
                                     # more, and further recognisers: see backend.models.recognisers

    [[ip_adapter]]                   # one per adapter; without any: all of ip_adapter/, sorted by name
    name = "plus"
    file = "ip_adapter/plus.safetensors"
    kind = "plus"                    # optional, see backend.models.adapters.AdapterKind; needed for faceid-plusv2 under another name
    encoder = "image_encoder"        # optional
    recogniser = ""                  # whose embeddings it was trained with; empty: buffalo_l, or the model's own

    [[style]]                        # a LoRA that makes another drawing style of the base: model id "sketch:ink"
    name = "ink"
    file = "loras/ink.safetensors"
    weight = 1.0
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from protocol.errors import ModelError, UnknownModel
from protocol.geometry import Extent
from protocol.jobs import GuideKind

from .adapters import AdapterKind
from .base import Base, config_folder, read_base
from .family import Family as Family
from .recognisers import ANTELOPE, BUFFALO, Recogniser, read_recognisers, recogniser_for
from .unions import FOLDER as UNION
from .unions import ONLY_UNIONS, kinds_of

CONTEXT = 0.5
"""What is shown to a model around a mask, as a part of the mask's longer side, unless model.toml says otherwise: without hair and shoulders
no face fits. A model that has seen heads of one size only needs less."""
BUCKETS = "buckets"
"""What `sizes` says in model.toml for all of SDXL's buckets."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a job that says nothing gets."""

    steps: int = 30
    guidance_scale: float = 5.0
    scheduler: str = "default"
    negative: str = ""
    clip_skip: int = 1
    context: float = CONTEXT

    def __post_init__(self) -> None:
        """ValueError for a context that is none."""
        if not 0 <= self.context <= 4:
            raise ValueError(f"context = {self.context}: 0 to 4")


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """One IP-Adapter of a model: where it is, and which image encoder it reads."""

    name: str
    file: Path
    kind: AdapterKind | None = None
    encoder: str = "image_encoder"
    recogniser: str = ""


@dataclass(frozen=True, slots=True)
class Style:
    """A LoRA that makes another drawing style of a base."""

    name: str
    file: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Model:
    """What `model.toml` and the folder say; `backend.models.parts.Parts` loads the weights."""

    folder: Path
    id: str
    name: str
    family: Family
    extent: Extent
    """The size that the model draws best."""
    extents: tuple[Extent, ...]
    """The sizes that the model was trained on, its best first."""
    bucketed: bool
    """Besides, SDXL's buckets in proportion to `extent`."""
    avoid: tuple[Extent, ...]
    defaults: Defaults
    factor: int
    """Pixels per latent, along each side (from the VAE's config; 8 for the real families, 4 for the sketch)."""
    grid: int
    """Sides that are drawn are multiples of this many pixels: the VAE's factor, times the UNet's own halvings."""
    adapters: tuple[AdapterEntry, ...]
    controls: tuple[tuple[GuideKind, Path], ...]
    instant_id: bool
    """Whether InstantID's two parts are there."""
    faces: Path | None
    det_sizes: tuple[int, ...]
    drawn: bool
    side_by_side: bool = False
    """Whether pictures of several people are drawn at several times the width of `extent`."""
    styles: tuple[Style, ...] = ()
    style: Style | None = field(default=None)
    """The style that is applied; set by `with_style`."""
    recognisers: tuple[Recogniser, ...] = ()
    """Those of the model, the one in `faces` first."""
    instant_id_recogniser: str = ""
    """What InstantID's adapter was trained with, where model.toml says so."""
    base: Base = field(default_factory=Base)
    """What the base is made of beside the folders."""

    @classmethod
    def open(cls, folder: Path | str) -> Model:
        """Read `model.toml` in `folder`; raises ModelError with a sentence if it is missing or wrong."""
        folder = Path(folder).resolve()
        try:
            table = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelError(f"There is no model in {folder}: model.toml is missing. Install the model again.") from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ModelError(f"{folder / 'model.toml'} cannot be read: {error}. Install the model again.") from error
        try:
            return _read(folder, table)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder / 'model.toml'} is wrong at {error}. See the docstring of backend/models/bundle.py.") from error

    def adapter(self, name: str | None) -> AdapterEntry:
        """The IP-Adapter called `name`, or the first; UnknownModel if there is none."""
        if not self.adapters:
            raise UnknownModel(f"The model {self.id!r} has no IP-Adapter, so it takes no image prompts. Choose another model.")
        for entry in self.adapters:
            if name in {None, entry.name}:
                return entry
        known = ", ".join(entry.name for entry in self.adapters)
        raise UnknownModel(f"The model {self.id!r} has no IP-Adapter called {name!r}. It has: {known}.")

    def recogniser(self, entry: AdapterEntry | None) -> Recogniser:
        """The recogniser that InstantID (None) or a FaceID adapter was trained with; ModelError with a sentence if the model lacks it."""
        if entry is None:
            return recogniser_for(self.id, self.recognisers, self.instant_id_recogniser, ANTELOPE, "InstantID's adapter")
        return recogniser_for(self.id, self.recognisers, entry.recogniser, BUFFALO, f"The adapter {entry.name!r}")

    def control(self, kind: GuideKind) -> Path:
        """The folder of the ControlNet for `kind`; UnknownModel if there is none."""
        for known, path in self.controls:
            if known is kind:
                return path
        names = ", ".join(known.value for known, _ in self.controls) or "none"
        raise UnknownModel(f"The model {self.id!r} has no ControlNet for {kind.value}. It has: {names}.")

    def with_style(self, name: str) -> Model:
        """The same model in another drawing style; UnknownModel if it has no such style."""
        for style in self.styles:
            if style.name == name:
                return replace(self, style=style, id=f"{self.id}:{name}")
        names = ", ".join(style.name for style in self.styles) or "none"
        raise UnknownModel(f"The model {self.id!r} has no style called {name!r}. It has: {names}.")


def readers_of(model: Model, recogniser: Recogniser) -> tuple[str, ...]:
    """The adapters of a model that read with this recogniser, as far as model.toml and names tell: `instantid`, and FaceID's by name."""
    entries = [entry for entry in model.adapters if "faceid" in (entry.kind.value if entry.kind else entry.name).lower()]
    readers: list[tuple[str, AdapterEntry | None]] = [("instantid", None)] if model.instant_id else []
    found: list[str] = []
    for name, entry in [*readers, *((entry.name, entry) for entry in entries)]:
        try:
            found += [name[:80]] if model.recogniser(entry) == recogniser else []
        except ModelError:  # trained with one that the model lacks
            continue
    return tuple(found)


def _read(folder: Path, table: dict[str, Any]) -> Model:
    base, table = read_base(folder, table)
    family, extent = Family(table["family"]), _extent(table["size"])
    vae, unet = (part_folder(folder, part, base, family) for part in ("vae", "unet"))
    factor, halvings = _halvings(vae), _halvings(unet)
    nets = folder / "controlnets"
    recognisers = read_recognisers(folder, str(table["id"]), table)
    return Model(
        folder=folder,
        id=str(table["id"]),
        name=str(table.get("name") or table["id"]),
        family=family,
        extent=extent,
        extents=_extents(extent, table.get("sizes", [])),
        bucketed=table.get("sizes") == BUCKETS,
        avoid=tuple(map(_extent, table.get("avoid", []))),
        defaults=Defaults(**table.get("defaults", {})),
        factor=factor,
        grid=factor * halvings,
        adapters=_adapters(folder, table.get("ip_adapter")),
        controls=_controls(nets, family),
        instant_id=(folder / "identitynet").is_dir() and instant_id_file(folder) is not None,
        faces=recognisers[0].folder if recognisers else None,
        det_sizes=tuple(int(size) for size in table.get("faces", {}).get("det_sizes", [])),
        drawn=bool(table.get("drawn", False)),
        side_by_side=bool(table.get("side_by_side", False)),
        styles=tuple(Style(entry["name"], folder / entry["file"], float(entry.get("weight", 1.0))) for entry in table.get("style", [])),
        recognisers=recognisers,
        instant_id_recogniser=str(table.get("instantid", {}).get("recogniser", "")),
        base=base,
    )


def _controls(nets: Path, family: Family) -> tuple[tuple[GuideKind, Path], ...]:
    """The folder for each kind of guide: its own, else that of a union network, which is made for SDXL."""
    union = nets / UNION
    joined = kinds_of(union) if family is Family.SDXL else ()
    own = {kind: nets / kind.value for kind in GuideKind if kind not in ONLY_UNIONS and (nets / kind.value).is_dir()}
    return tuple((kind, own.get(kind, union)) for kind in GuideKind if kind in own or kind in joined)


def part_folder(folder: Path, part: str, base: Base, family: Family) -> Path:
    """Where the configuration of a part of the base is; its weights too, unless they are in a file."""
    if part == "vae" and base.vae is not None and base.vae.is_dir():
        return base.vae
    return config_folder(folder, part, family if base.checkpoint or (part == "vae" and base.vae) else None)


def instant_id_file(folder: Path) -> Path | None:
    """InstantID's adapter in a model folder: safetensors, or the official `.bin`."""
    places = (folder / "instantid.safetensors", folder / "instantid.bin", folder / "ip-adapter.bin")
    return next((place for place in places if place.is_file()), None)


def _extents(own: Extent, listed: list[list[int]] | str) -> tuple[Extent, ...]:
    if listed == BUCKETS:
        return (own,)
    if isinstance(listed, str):
        raise ValueError(f"sizes = {listed!r}")
    return tuple(dict.fromkeys((own, *map(_extent, listed))))


def _extent(pair: list[int]) -> Extent:
    width, height = pair
    return Extent(int(width), int(height))


def _halvings(folder: Path) -> int:
    """By how much the part in `folder` makes a side smaller: each of its blocks but the last halves it."""
    try:
        config = cast("dict[str, Any]", json.loads((folder / "config.json").read_text(encoding="utf-8")))
        return 2 ** (len(config["block_out_channels"]) - 1)
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise ModelError(
            f"The folder {folder.name!r} of the model in {folder.parent} is missing or damaged ({error}). Install the model again."
        ) from error


def _adapters(folder: Path, entries: list[dict[str, str]] | None) -> tuple[AdapterEntry, ...]:
    if entries is None:
        files = {path.stem: path for ending in ("bin", "safetensors") for path in (folder / "ip_adapter").glob(f"*.{ending}")}
        return tuple(AdapterEntry(name, files[name]) for name in sorted(files))
    return tuple(
        AdapterEntry(
            entry["name"],
            folder / entry["file"],
            AdapterKind(entry["kind"]) if "kind" in entry else None,
            entry.get("encoder", "image_encoder"),
            entry.get("recogniser", ""),
        )
        for entry in entries
    )
