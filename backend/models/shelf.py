"""What lies in a model's folders `loras/` and `embeddings/`, by the names that artists use: the files' own. No torch; nothing is read but
folders, and of a LoRA what it says of itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest, LikenessError, UnknownModel

from ..files import sha256_of
from .catalog import Catalog
from .distilled import Regimen, Told, regimen, told_by_metadata, told_by_name
from .header import read_header

if TYPE_CHECKING:
    from protocol.jobs import Lora

    from .bundle import Model

ENDINGS = (".safetensors", ".pt", ".bin", ".ckpt")
NAMELESS = ("pytorch_lora_weights", "adapter_model", "learned_embeds", "model", "diffusion_pytorch_model")
"""What libraries call every file; its folder has the name then."""


@dataclass(frozen=True, slots=True)
class FewSteps:
    """How a picture is sampled with a few-step LoRA; `scheduler` by its name in `backend.pipelines.schedulers`."""

    steps: int
    guidance_scale: float
    scheduler: str


def shelf(folder: Path) -> dict[str, Path]:
    """The files of tensors in a folder and those below it, by name: the file's own without its ending; with its folder where two are
    alike."""
    seen = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    files = [path for path in seen if path.is_file()]
    names: dict[str, list[Path]] = {}
    for path in files:
        named = path.parent.name if path.stem in NAMELESS and path.parent != folder else path.stem
        names.setdefault(named, []).append(path)
    found: dict[str, Path] = {}
    for name, paths in names.items():
        for path in paths:
            found[name if len(paths) == 1 else path.relative_to(folder).with_suffix("").as_posix()] = path
    return found


def loras(model: Model) -> dict[str, Path]:
    """The LoRAs of a model, by name."""
    return shelf(model.folder / "loras")


def embeddings(model: Model) -> dict[str, Path]:
    """The textual inversions of a model, by name."""
    return shelf(model.folder / "embeddings")


def lora_file(model: Model, name: str) -> Path:
    """The file of the LoRA called `name`; case does not matter. UnknownModel with the nearest names."""
    known = loras(model)
    if name in known:
        return known[name]
    for other, path in known.items():
        if other.casefold() == name.casefold():
            return path
    close = difflib.get_close_matches(name, known, 3, 0.5) or sorted(known)[:8]
    hint = f"It has: {', '.join(close)}." if known else f"Put the file into {model.folder / 'loras'}, or use `likeness models add FILE`."
    raise UnknownModel(f"The model {model.id!r} has no LoRA called {name!r}. {hint}")


def told_of(path: Path) -> Told | None:
    """Which few-step method a LoRA is for, or None: by its name, by what it says of itself, by its hash in the catalogue."""
    told = told_by_name(path.stem) or (told_by_name(path.parent.name) if path.stem in NAMELESS else None)
    if told is None and path.suffix == ".safetensors":
        try:
            told = told_by_metadata(read_header(path).notes)
        except LikenessError:
            return None  # loading will say what is wrong with it
    return told or _told_by_hash(path)


def few_steps(model: Model, chosen: Iterable[Lora], steps: int | None = None) -> FewSteps | None:
    """How to sample with the first of `chosen` that makes few steps do; `steps` are the user's own. None where none does."""
    for one in chosen:
        told = told_of(lora_file(model, one.name)) if one.weight > 0 else None
        if told is not None:
            return _as_chosen(regimen(told, steps))
    return None


def check(model: Model, chosen: Iterable[Lora]) -> None:
    """Refuse a LoRA that the model lacks, and one that is named twice."""
    seen: set[Path] = set()
    for one in chosen:
        path = lora_file(model, one.name)
        if path in seen:
            raise InvalidRequest(f"The LoRA {one.name!r} is named twice. Name it once, with the weight that it should have.")
        seen.add(path)


def _as_chosen(way: Regimen) -> FewSteps:
    spacing = way.changes.get("timestep_spacing")
    return FewSteps(way.steps, way.guidance_scale, f"{way.scheduler}-{spacing}" if spacing else way.scheduler)


def _told_by_hash(path: Path) -> Told | None:
    """Only a file of exactly the size of a catalogued one is hashed: that takes a second for each gigabyte."""
    size = path.stat().st_size
    same = [file for file in Catalog.load().files if file.place.startswith("loras/") and file.sha256 and file.bytes == size]
    sha256 = sha256_of(path) if same else ""
    return next((told_by_name(Path(file.place).stem) for file in same if file.sha256 == sha256), None)
