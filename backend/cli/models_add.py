"""`likeness models add`: what is on this computer already, used where it lies; a checkpoint becomes a model."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

if TYPE_CHECKING:
    from ..models.catalog import Catalog
    from ..models.store import Store
    from ..models.store_base import Added


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("place", type=Path, metavar="FILE|FOLDER", help="a checkpoint, a LoRA, a textual inversion, or a folder of models")
    parser.add_argument(
        "--into", metavar="MODEL", help="the model that a LoRA or a textual inversion is for (default: the one that it fits)"
    )
    parser.add_argument("--name", metavar="ID", help="what the checkpoint is called as a model (default: by its file)")
    parser.add_argument(
        "--with", action="append", default=[], dest="sets", metavar="SET", help="what is joined to it (default: all that fits)"
    )
    parser.add_argument("--vae", type=Path, metavar="FILE", help="another VAE than its own: a file, or a folder of diffusers")
    parser.add_argument("--prediction", choices=("epsilon", "v"), help="what it predicts, where the file does not say it")
    parser.add_argument(
        "--distilled", metavar="HOW", help='lcm, lightning, turbo, hyper or tcd, as in "lightning 4 steps"; none (default: by its name)'
    )
    parser.add_argument("--clip-skip", type=int, metavar="N", help="its own clip skip, as A1111 counts it")


def add(catalog: Catalog, store: Store, options: Namespace, say: Callable[[str], None]) -> int:
    """Add a checkpoint as a model, or a folder to where the store looks."""
    place: Path = options.place.expanduser().absolute()
    given = [name for name in ("name", "vae", "prediction", "distilled", "clip_skip") if getattr(options, name) is not None]
    if place.is_file():
        _tell_of_pickle(place, say)
        return 0 if _add_extra(store, options, place, say) else _add_file(catalog, store, options, place, say)
    if given or options.sets:
        raise InvalidRequest(f"{place} is no file, so it is no checkpoint. Give the file, or the folder without further options.")
    return _add_folder(catalog, store, place, say)


def _tell_of_pickle(file: Path, say: Callable[[str], None]) -> None:
    from ..models.pickles import is_pickle, known_copy

    if file.is_file() and is_pickle(file) and known_copy(file) is None:
        say(f"{file.name} is a pickle: it is read once, as numbers only, and a safetensors copy of it is used from then on.")


def _add_extra(store: Store, options: Namespace, file: Path, say: Callable[[str], None]) -> bool:
    """Whether the file was a LoRA or a textual inversion, and has its place now."""
    from ..models.extras import MOST_BYTES, add_extra, recognised_extra

    extra = recognised_extra(file) if options.into is not None or file.stat().st_size <= MOST_BYTES else None
    if extra is None:
        if options.into is not None:
            raise InvalidRequest(f"{file.name} is neither a LoRA nor a textual inversion, so it goes into no model. Leave --into out.")
        return False
    model, name = add_extra(store.models, extra, file, options.into)
    how = f"--lora {name}" if extra.folder == "loras" else f'--prompt "… {name}"'
    say(f"{file.name} is {extra.title}: likeness portrait --model {model} {how} …")
    return True


def _add_file(catalog: Catalog, store: Store, options: Namespace, file: Path, say: Callable[[str], None]) -> int:
    from ..models.base import check_words
    from ..models.store_base import Wanted, add_base

    check_words(options.distilled, options.clip_skip)
    vae = None if options.vae is None else options.vae.expanduser().absolute()
    wanted = Wanted(file, options.name, vae, options.prediction, options.distilled, options.clip_skip, tuple(options.sets))
    if vae is not None:
        _tell_of_pickle(vae, say)
    with store.locked():
        added = add_base(catalog, store, wanted)
    for line in _told(added):
        say(line)
    return 0


def _told(added: Added) -> list[str]:
    """What was found out, and what can be done with it."""
    from ..models.bundle import Model
    from ..models.checkpoint import Prediction

    model, found = Model.open(added.folder), added.checkpoint
    what = ["SDXL" if model.family.value == "sdxl" else "SD 1.5", f"{model.extent.width} x {model.extent.height}"]
    what += ["v-prediction"] if model.base.prediction is Prediction.VELOCITY else []
    what += ["down to pure noise"] if model.base.zero_snr else []
    what += ["for inpainting only"] if model.base.inpaints else []
    if model.base.told is not None:
        how = model.defaults
        what.append(f"{model.base.told.method.value}: {how.steps} steps with {how.scheduler}, guidance {how.guidance_scale:g}")
    what += [f"clip skip {model.defaults.clip_skip}"] if model.defaults.clip_skip > 1 else []
    lines = [f"{found.title}: {', '.join(what)}"]
    lines += [f"Licence, as the file says: {found.licence}"] if found.licence else []
    lines += [f"Joined: {', '.join(added.joined)}"] if added.joined else []
    if added.left_out:
        lines.append(f"Not joined, for their places were taken: {', '.join(added.left_out)}. Choose with --with SET.")
    if not model.instant_id and not any("faceid" in entry.name for entry in model.adapters):
        best = "instantid-sdxl" if model.family.value == "sdxl" else "faceid-sd15"
        lines.append(f"For people it still needs: likeness models pull {best} --into {added.name}")
    return [*lines, f"{added.name} is ready in {added.folder}: likeness portrait --model {added.name} …"]


def _add_folder(catalog: Catalog, store: Store, folder: Path, say: Callable[[str], None]) -> int:
    from ..models.store_found import search
    from ..models.store_pull import adopt

    if not folder.is_dir():
        raise InvalidRequest(f"{folder} does not exist. Give a checkpoint, or the models' folder of ComfyUI, A1111 or krita-ai-diffusion.")
    with store.locked():
        record = store.read()
        wanted = [file for file in catalog.files if not store.is_there(record, file)]
        found = search(wanted, record, folder / "nothing", [folder], say)
        record = adopt(store, record, found)
        store.write(replace(record, folders=tuple(dict.fromkeys((*record.folders, str(folder))))))
    for hit in found:
        say(f"{hit.path}: {hit.file.repository}/{hit.file.path}, {hit.bytes / 2**20:.1f} MiB")
    say(f"{len(found)} file(s) of the catalogue are used where they lie. `likeness models pull` looks into {folder} from now on.")
    return 0
