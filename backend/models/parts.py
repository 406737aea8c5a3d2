"""The weights of one model, loaded when first needed and shared by every pipeline."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from protocol.errors import ModelError, UnknownModel
from protocol.jobs import GuideKind

from .adapters import AdapterKind, ImageAdapter, Untyped
from .base_parts import load_base_part, load_scheduler, load_tokenizer
from .bundle import AdapterEntry, Family, Model, instant_id_file
from .inversions import Inversion, load_inversion
from .kept import Kept
from .loading import load_adapter, load_part, read_lora
from .lora_names import PARTS as WEARERS
from .loras import Lora, load_lora
from .memory_plan import Level, Role
from .originals import Originals
from .residency import CPU, Residency, lora_on, shell_of
from .shelf import embeddings, lora_file
from .unions import FOLDER as UNION
from .unions import control_types

Part = TypeVar("Part")
SHELVED = 6
"""LoRAs and textual inversions that stay loaded: those of the last jobs. One of SDXL takes 50 to 400 MB."""


class Parts:
    """The loaded modules of `model` on one device in one precision. Modules are shared: whoever changes one must put it back.

    `unet`, `vae`, `text_encoders`, … are diffusers and transformers objects, without gradients and in evaluation mode.
    """

    def __init__(self, model: Model, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.model = model
        self.device = torch.device(device)
        self.dtype = dtype
        self.prompts: OrderedDict[str, Untyped] = OrderedDict()
        """What the text encoders said of the last prompts; `backend.pipelines.build` fills it."""
        self.kept = Kept()
        """Tokens of faces and pictures; `backend.pipelines.engine` fills it."""
        self.residency = Residency(self.device)
        """Which of the modules are on the device."""
        self.storage: torch.dtype | None = None
        """How the UNet and the ControlNets are kept, if not as they are computed with (diffusers' layerwise casting)."""
        self.originals = Originals()
        """What of the UNet is otherwise while a picture is drawn with LoRAs."""
        self.compiler: Untyped = None
        """A `backend.pipelines.compiled.Compiler` where blocks are to be compiled."""
        self.graphs: Untyped = None
        """`backend.pipelines.graphs.Graphs` where nets are to be captured."""
        self._loaded: dict[str, Any] = {}
        self._shelved: OrderedDict[str, Any] = OrderedDict()

    @property
    def base(self) -> dict[str, Any]:
        """What every stock pipeline of the family takes: unet, vae, text encoders and tokenizers, by their names in the pipeline."""
        import transformers
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        parts: dict[str, Any] = {"unet": self.unet, "vae": self._of_base("vae", AutoencoderKL)}
        parts["text_encoder"] = self._of_base("text_encoder", transformers.CLIPTextModel)
        parts["tokenizer"] = self._tokenizer("tokenizer")
        if self.model.family is Family.SDXL:
            parts["text_encoder_2"] = self._of_base("text_encoder_2", transformers.CLIPTextModelWithProjection)
            parts["tokenizer_2"] = self._tokenizer("tokenizer_2")
        return parts

    @property
    def wearers(self) -> dict[str, Untyped]:
        """What LoRAs act on: the UNet and the text encoders, by their names in the pipeline."""
        return {name: part for name, part in self.base.items() if name in WEARERS}

    def lora(self, name: str) -> Lora:
        """The LoRA called `name` in the model's folder, fitted to this base; read anew when its file has changed. Where weights leave the
        device, it waits in the processor's memory, and only comes for the pictures that wear it."""
        path = lora_file(self.model, name)
        place = self.device if self.residency.level is Level.ALL else CPU
        if place.type != self.device.type:
            self._forget(f"@{self.device}")
        return self._shelf(path, lambda: lora_on(load_lora(path, self.wearers), place), f"@{place}")

    def inversion(self, name: str) -> Inversion:
        """The textual inversion called `name` in the model's folder, for this base's text encoders."""
        path = embeddings(self.model)[name]
        encoders = {part: module for part, module in self.wearers.items() if part != "unet"}
        return self._shelf(path, lambda: load_inversion(name, path, encoders))

    @property
    def unet(self) -> Untyped:
        """UNet2DConditionModel, with the LoRA of the model's style already in its weights."""
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        return self._once("unet", lambda: self._adopted("unet", Role.UNET, self._styled(self._read("unet", UNet2DConditionModel))))

    @property
    def scheduler(self) -> Untyped:
        """The folder's own scheduler; pipelines get a fresh one with its config, since schedulers keep state."""
        return self._once("scheduler", lambda: load_scheduler(self.model))

    @property
    def identity_net(self) -> Untyped:
        """InstantID's ControlNet; `backend.pipelines.identity.IdentityNet` wraps it per subject."""
        self._need_instant_id()
        return self._control_net("identitynet")

    @property
    def face_adapter(self) -> ImageAdapter:
        """InstantID's image adapter."""
        self._need_instant_id()
        path = instant_id_file(self.model.folder)
        if path is None:
            raise ModelError(f"InstantID's adapter file is missing in {self.model.folder}. Install the model again.")
        return self._once("instantid", lambda: self._looked_after("instantid", load_adapter(path, self.unet, AdapterKind.INSTANT_ID)))

    def adapter(self, entry: AdapterEntry) -> ImageAdapter:
        """One of the model's IP-Adapters."""
        name = f"ip_adapter/{entry.name}"
        return self._once(name, lambda: self._looked_after(name, load_adapter(entry.file, self.unet, entry.kind)))

    def control_net(self, kind: GuideKind) -> Untyped:
        """The ControlNet for one kind of guide; of a model with a union network, which is one for several kinds, a ControlNetUnionModel."""
        folder = self.model.control(kind)
        if folder.name == UNION:
            return self._union_net(folder)
        return self._control_net(f"controlnets/{kind.value}")

    def image_encoder(self, name: str = "image_encoder") -> Untyped:
        """CLIPVisionModelWithProjection from the folder `name`."""
        import transformers

        return self._module(name, transformers.CLIPVisionModelWithProjection)

    @property
    def image_processor(self) -> Untyped:
        """The image encoder's preprocessor, always the Pillow one: another backend would give other embeddings."""
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        folder = self.model.folder / "feature_extractor"
        if not folder.is_dir():
            side = self.image_encoder().config.image_size
            square = {"height": side, "width": side}
            return self._once("processor", lambda: CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=square))
        load: Untyped = getattr(CLIPImageProcessorPil, "from_pretrained")
        return self._once("processor", lambda: load(str(folder), local_files_only=True))

    @property
    def preview_table(self) -> dict[str, Any] | None:
        """The contents of preview.json, or None."""
        path = self.model.folder / "preview.json"
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    @property
    def preview_decoder(self) -> Untyped:
        """AutoencoderTiny for previews from the folder `preview_decoder`, or None without one."""
        from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

        folder = self.model.folder / "preview_decoder"
        if not folder.is_dir():
            return None
        load = partial(load_part, AutoencoderTiny, folder, self.dtype)
        return self._once("preview_decoder", lambda: self._adopted("preview_decoder", Role.ADAPTER, load()))

    def put(self, name: str, part: Untyped) -> None:
        """Use `part` for what would be loaded from the folder `name` (unet, vae, text_encoder, identitynet, …)."""
        roles = {"unet": Role.UNET, "vae": Role.VAE, "text_encoder": Role.TEXT, "text_encoder_2": Role.TEXT, "image_encoder": Role.PICTURE}
        self._loaded[name] = self._adopted(name, roles.get(name, Role.NET), part)

    def park(self) -> None:
        """Everything off the device: another model needs the room. The next picture brings it back."""
        if self.graphs is not None:
            self.graphs.drop()
        self.originals.forget()
        self.residency.park()
        self._forget(f"@{self.device}")

    def weight_bytes(self) -> int:
        """Bytes of all weights that are loaded now, and of what is kept of them for LoRAs in the processor's memory."""
        modules = [part for part in self._loaded.values() if isinstance(part, torch.nn.Module)]
        tensors = {id(tensor): tensor for module in modules for tensor in module.parameters()}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) + self.originals.bytes_away

    def _need_instant_id(self) -> None:
        if not self.model.instant_id:
            advice = "Use a FaceID image prompt instead." if self.model.family is Family.SD15 else "Choose another model."
            raise UnknownModel(f"The model {self.model.id!r} has no InstantID, so it cannot draw a given person. {advice}")

    def _control_net(self, name: str) -> Untyped:
        from diffusers.models.controlnets.controlnet import ControlNetModel

        return self._module(name, ControlNetModel)

    def _union_net(self, folder: Path) -> Untyped:
        from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel

        name = f"controlnets/{UNION}"
        load = partial(load_part, ControlNetUnionModel, folder, self.dtype, num_control_type=control_types(folder))
        return self._once(name, lambda: self._adopted(name, Role.NET, load()))

    def _module(self, name: str, kind: Untyped) -> Untyped:
        role = Role.PICTURE if "encoder" in name else Role.NET
        return self._once(name, lambda: self._adopted(name, role, load_part(kind, self.model.folder / name, self.dtype)))

    def _of_base(self, name: str, kind: Untyped) -> Untyped:
        role = Role.VAE if name == "vae" else Role.TEXT
        return self._once(name, lambda: self._adopted(name, role, self._read(name, kind)))

    def _adopted(self, name: str, role: Role, module: Untyped) -> Untyped:
        if self.storage is not None and role in (Role.UNET, Role.NET):
            module.enable_layerwise_casting(storage_dtype=self.storage, compute_dtype=self.dtype)
        return self.residency.adopt(name, role, module)

    def _looked_after(self, name: str, adapter: ImageAdapter) -> ImageAdapter:
        self.residency.adopt(name, Role.ADAPTER, shell_of(adapter))
        return adapter

    def _read(self, name: str, kind: Untyped) -> Untyped:
        part = load_base_part(self.model, name, kind, self.dtype)
        if name == "vae" and self.dtype is torch.float16 and self.model.family is Family.SDXL and part.config.force_upcast:
            from .half_vae import fit_half_precision

            fit_half_precision(part)  # else diffusers decodes in single precision, as ever
        return part

    def _tokenizer(self, name: str) -> Untyped:
        return self._once(name, lambda: load_tokenizer(self.model, name))

    def _styled(self, unet: Untyped) -> Untyped:
        """`unet` with the style's LoRA added to its weights: nothing is left of it that a job could switch off or leak."""
        style = self.model.style
        if style is None:
            return unet
        state = read_lora(style.file)
        try:
            unet.load_lora_adapter(state, prefix="unet", adapter_name="style")
            unet.fuse_lora(lora_scale=style.weight, adapter_names=["style"])
            unet.unload_lora()
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"The style {style.name!r} does not fit the model {self.model.folder.name!r}: {error}") from error
        return unet.requires_grad_(False)

    def _forget(self, ending: str) -> None:
        for key in [key for key in self._shelved if key.endswith(ending)]:
            del self._shelved[key]

    def _shelf(self, path: Path, load: Callable[[], Part], ending: str = "") -> Part:
        facts = path.stat()
        key = f"{path}:{facts.st_size}:{facts.st_mtime_ns}{ending}"
        if key not in self._shelved:
            while len(self._shelved) >= SHELVED:
                self._shelved.popitem(last=False)
            self._shelved[key] = load()
        self._shelved.move_to_end(key)
        return cast("Part", self._shelved[key])

    def _once(self, name: str, load: Callable[[], Part]) -> Part:
        if name not in self._loaded:
            self._loaded[name] = load()
        return cast("Part", self._loaded[name])
