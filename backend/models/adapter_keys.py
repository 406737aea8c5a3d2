"""Names in adapter files, as they are found in the wild -> the official ones: `image_proj.*` and `ip_adapter.N.*`.

Official: tencent-ailab/IP-Adapter, `{"image_proj": {...}, "ip_adapter": {...}}`. Its training script writes `image_proj_model.*` and
`adapter_modules.*` beside the frozen base (`unet.*`), accelerate and DDP put `module.` before or between, and who keeps the adapter as a
part of a larger module has `ip_adapter.image_proj_model.*`. Where keys and values were saved within the UNet, they go by the name of
their attention processor instead of its number. What is none of this is refused; where another program's format is known, it is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from protocol.errors import ModelError

State = dict[str, Tensor]
HALVES = {"image_proj": "image_proj", "image_proj_model": "image_proj", "ip_adapter": "ip_adapter", "adapter_modules": "ip_adapter"}
"""Names of the two halves; the second of each pair is what the training scripts write."""
WRAPPING = {"module", "_orig_mod"}
"""What DDP and torch.compile put into names."""
IN_UNET = re.compile(
    r"(?:unet\.)?(?P<name>.*attn[12]\.processor)"
    r"\.(?P<rest>to_(?:[kv]_ip|(?:q|k|v|out)_lora\.(?:down|up)))(?P<number>\.\d+)?\.weight"
)
OTHERS = {
    "id_encoder": "PhotoMaker, which Likeness does not draw with",
    "lora_weights": "PhotoMaker, which Likeness does not draw with",
    "pulid_encoder": "PuLID, which Likeness does not draw with",
    "id_adapter": "PuLID, which Likeness does not draw with",
    "double_blocks": "Flux, another family of models",
    "ip_adapter_proj_model": "Flux, another family of models",
    "single_blocks": "Flux, another family of models",
    "encoder_hid_proj": "a UNet of diffusers that was saved with an adapter in it; Likeness reads adapter files alone",
}
"""First words of what people take for an IP-Adapter, and what it is."""


def official_halves(path: Path, state: Mapping[str, Tensor], processors: Sequence[str] = ()) -> dict[str, State]:
    """The two halves of the adapter file `path`, by their official names.

    `processors` are the names of the UNet's attention processors in their order; they are needed for files that use them as keys. Raises
    ModelError for a file that is no adapter, or says one thing twice.
    """
    halves: dict[str, State] = {"image_proj": {}, "ip_adapter": {}}
    in_unet: State = {}
    for key, tensor in state.items():
        words = [word for word in key.split(".") if word not in WRAPPING]
        while len(words) > 2 and words[0] in {"ip_adapter", "state_dict"} and words[1] in HALVES:
            words = words[1:]
        if words[0] in HALVES and len(words) > 1:
            _put(path, halves[HALVES[words[0]]], ".".join(words[1:]), tensor)
        elif found := IN_UNET.fullmatch(".".join(words)):
            _put(path, in_unet, _numbered(path, found, processors), tensor)
        elif words[0] != "unet":  # the frozen base, which training scripts save beside
            raise ModelError(f"{path.name} is no IP-Adapter or InstantID file: it holds {key!r}{_known(words[0])}. {CURE}")
    halves["ip_adapter"] = halves["ip_adapter"] or in_unet
    for half, tensors in halves.items():
        if not tensors:
            raise ModelError(f"{path.name} is no IP-Adapter or InstantID file: {half} is missing. Download it again.")
    return halves


CURE = "Choose a file in the official layout."


def _numbered(path: Path, found: re.Match[str], processors: Sequence[str]) -> str:
    if found["number"] not in {None, ".0"}:
        raise ModelError(f"{path.name} holds several adapters in one. Save each in a file of its own.")
    if found["name"] not in processors:
        raise ModelError(f"{path.name} was made for another base model: this one has no layer {found['name']}. Choose an adapter for it.")
    return f"{processors.index(found['name'])}.{found['rest']}.weight"


def _put(path: Path, half: State, key: str, tensor: Tensor) -> None:
    if key in half and not torch.equal(half[key], tensor):
        raise ModelError(f"{path.name} says {key} twice, and not the same. Download it again.")
    half[key] = tensor


def _known(word: str) -> str:
    return f", so it is for {OTHERS[word]}" if word in OTHERS else ""
