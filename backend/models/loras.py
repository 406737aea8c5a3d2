"""LoRAs and their relatives, fitted to one base: for each layer what is added to it. Nothing of the base is changed here or later.

    LoRA        W x + s B A x                                 Hu et al. 2021, arXiv:2106.09685; s = weight * alpha / rank
    LoCon       the same for convolutions, with a middle factor perhaps
    LoHa        s (A1 B1) * (A2 B2), factor by factor         Hyeon-Woo et al. 2022, arXiv:2108.06098; LyCORIS, arXiv:2309.14859
    LoKr        s (A1 B1) (x) (A2 B2), Kronecker's product    LyCORIS
    full        s D, whole matrices and biases, norms too     LyCORIS
    DoRA        m (W + s BA) / |W + s BA| - W                 Liu et al. 2024, arXiv:2402.09353, with PEFT's order of weight and norm

A LoRA of low rank is added while the layer runs; of the others a matrix is made when a job puts them on, and forgotten after it. Where nets
are compiled or captured, all of them are merged into the layer's weights instead, for one picture (`merge`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from protocol.errors import ModelError

from .adapters import Untyped
from .lora_files import LoraFile, read_lora_file
from .lora_names import Names, Place

Roles = Mapping[str, Tensor]
Added = Callable[[Tensor], Tensor]
"""What a LoRA adds to a layer's output, from the layer's input."""
PLAIN = (torch.float32, torch.float16, torch.bfloat16)
"""Precisions to compute in; weights may be kept in less."""
FAMILY_OF_WIDTH = {768: "SD 1.5", 1024: "SD 2", 2048: "SDXL", 1280: "Stable Cascade", 4096: "Kolors"}
"""How wide the text is that a base attends to."""


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """One LoRA for one base. `layers` says what each layer is given, on the base's device; `stamp` names the file and its version."""

    name: str
    layers: Mapping[Place, Roles]
    stamp: str = ""

    @property
    def speaks(self) -> bool:
        """Whether a text encoder is changed, so that a prompt means something else with it."""
        return any(place.part != "unet" for place in self.layers)


def load_lora(path: Path, modules: Mapping[str, Untyped]) -> Lora:
    """The LoRA of the file `path`, fitted to `modules` (UNet and text encoders by their names in a pipeline).

    Raises ModelError with a sentence for a damaged file, a kind that cannot be added, a layer that the base lacks, or one of another shape.
    """
    facts = path.stat() if path.is_file() else None
    file = read_lora_file(path)
    stamp = f"{path}:{facts.st_size}:{facts.st_mtime_ns}" if facts else ""
    return fit(path.name, file, modules, stamp)


def fit(name: str, file: LoraFile, modules: Mapping[str, Untyped], stamp: str = "") -> Lora:
    """As `load_lora`, for a file that is read already."""
    names = Names(modules)
    layers: dict[Place, Roles] = {}
    for stem, roles in file.layers.items():
        place = names.place(stem)
        if place is None:
            raise ModelError(_nowhere(name, file, stem, names))
        if place in layers:
            raise ModelError(f"{name} changes the layer {place.layer} twice. Save each LoRA in a file of its own.")
        layer = modules[place.part].get_submodule(place.layer)
        _check(name, file, place, layer, roles)
        layers[place] = {role: _moved(tensor, layer, role) for role, tensor in roles.items()}
    return Lora(file.name, layers, stamp)


def added(layer: Untyped, roles: Roles, weight: float) -> Added:
    """What `roles` add to `layer` (Linear, Conv2d, LayerNorm or GroupNorm) at `weight`, as a function of the layer's input."""
    if _is_low_rank(roles):
        return _low_rank(layer, roles, weight * _scale(roles))
    bias = roles["diff_b"] * weight if "diff_b" in roles else None
    near = _Near(_matrix(layer, roles, weight), bias)

    def whole(states: Tensor) -> Tensor:
        matrix, bias = near(states)
        match layer:
            case nn.Linear():
                return F.linear(states, matrix, bias)
            case nn.Conv2d():
                return F.conv2d(states, matrix, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
            case nn.LayerNorm():
                return F.layer_norm(states, layer.normalized_shape, matrix, bias, layer.eps)
            case _:
                return F.group_norm(states, layer.num_groups, matrix, bias, layer.eps)

    return whole


def merge(layer: Untyped, terms: Sequence[tuple[Roles, float]]) -> None:
    """Add to the weights of `layer` themselves, in place, what `added` adds to its output for each of `terms` (roles and weight). All terms
    are summed before their sum is rounded to the layer's precision."""
    with torch.no_grad():
        if isinstance(layer, nn.Linear) and layer.weight.dtype in PLAIN and all(_is_low_rank(roles) for roles, _ in terms):
            own: Tensor = layer.weight
            down = torch.cat([roles["down"].flatten(1).to(own) for roles, _ in terms])
            up = torch.cat([roles["up"].flatten(1).to(own) * (weight * _scale(roles)) for roles, weight in terms], dim=1)
            own.addmm_(up, down)  # one kernel, which adds in single precision
            return
        if any(set(roles) - {"diff_b"} for roles, _ in terms):
            changes = [_change(layer, roles, weight) for roles, weight in terms]
            layer.weight.copy_(sum(changes, layer.weight.float()))
        biases = [roles["diff_b"].to(layer.bias.device).float() * weight for roles, weight in terms if "diff_b" in roles]
        if biases:
            layer.bias.copy_(sum(biases, layer.bias.float()).reshape(layer.bias.shape))


def _is_low_rank(roles: Roles) -> bool:
    return "down" in roles and not {"magnitude", "diff_b"} & set(roles)


class _Near:
    """Tensors where the layer works, whose weights may come to the device only when it does."""

    def __init__(self, *tensors: Tensor | None) -> None:
        self._tensors = tensors

    def __call__(self, states: Tensor) -> tuple[Untyped, ...]:
        """The tensors, on the device and in the precision of `states`."""
        self._tensors = tuple(None if one is None else one.to(states) for one in self._tensors)
        return self._tensors


def _low_rank(layer: Untyped, roles: Roles, scale: float) -> Added:
    down, up, middle = roles["down"], roles["up"], roles.get("mid")
    if isinstance(layer, nn.Linear):
        factors = _Near(down.flatten(1), up.flatten(1))

        def linear(states: Tensor) -> Tensor:
            down, up = factors(states)
            return F.linear(F.linear(states, down) * scale, up)

        return linear
    factors = _Near(*(factor[..., None, None] if factor.ndim == 2 else factor for factor in (down, up)), middle)

    def conv(states: Tensor) -> Tensor:
        down, up, middle = factors(states)
        if middle is None:
            inner = F.conv2d(states, down, None, layer.stride, layer.padding, layer.dilation)
        else:
            inner = F.conv2d(F.conv2d(states, down), middle, None, layer.stride, layer.padding, layer.dilation)
        return F.conv2d(inner * scale, up)

    return conv


def _matrix(layer: Untyped, roles: Roles, weight: float) -> Tensor:
    """The whole matrix that is added to the layer's weight, in the layer's precision."""
    device = next(tensor.device for role, tensor in roles.items() if role != "alpha")
    change = _change(layer, roles, weight, device)  # the layer itself may be away from the device just now
    return change.to(layer.weight.dtype) if layer.weight.dtype in PLAIN else change


def _change(layer: Untyped, roles: Roles, weight: float, device: torch.device | None = None) -> Tensor:
    """What is added to the layer's weight, in single precision, on `device`; by default where the layer is."""
    own = layer.weight.detach().to(device or layer.weight.device).float()
    near = {role: tensor if role == "alpha" else tensor.to(own.device) for role, tensor in roles.items()}
    change = _delta(near, own.shape).reshape(own.shape) * weight
    if "magnitude" in roles:
        magnitude, whole = near["magnitude"].float(), own + change
        by_row = magnitude.ndim == 1 or magnitude.shape[0] == own.shape[0]
        norm = whole.flatten(1).norm(dim=1) if by_row else whole.transpose(0, 1).flatten(1).norm(dim=1)
        one_each = (1,) * (own.ndim - 2)
        gain = (magnitude.flatten() / norm).reshape((-1, 1, *one_each) if by_row else (1, -1, *one_each))
        change = gain * whole - own
    return change


def _delta(roles: Roles, shape: torch.Size) -> Tensor:
    """What is added to a weight of `shape` at weight 1, in single precision."""
    part = {role: tensor.float() for role, tensor in roles.items()}
    if "diff" in part:
        return part["diff"]
    if "down" in part:
        return _product(part["down"], part["up"], part.get("mid")) * _scale(roles)
    if "hada_w1_a" in part:
        one = _product(part["hada_w1_b"], part["hada_w1_a"], part.get("hada_t1"), transposed="hada_t1" in part)
        other = _product(part["hada_w2_b"], part["hada_w2_a"], part.get("hada_t2"), transposed="hada_t2" in part)
        return one.reshape(shape) * other.reshape(shape) * _scale(roles)
    if not any(role in part for role in _LOKR):
        return torch.zeros(shape, device=part["diff_b"].device)
    one = part["lokr_w1"] if "lokr_w1" in part else part["lokr_w1_a"] @ part["lokr_w1_b"]
    if "lokr_w2" in part:
        other = part["lokr_w2"]
    elif "lokr_t2" in part:
        other = _product(part["lokr_w2_b"], part["lokr_w2_a"], part["lokr_t2"], transposed=True)
    else:
        other = part["lokr_w2_a"] @ part["lokr_w2_b"]
    if other.ndim == 4:
        one = one[..., None, None]
    return torch.kron(one, other.contiguous()) * _scale(roles)


_LOKR = ("lokr_w1", "lokr_w1_a")


def _product(down: Tensor, up: Tensor, middle: Tensor | None, transposed: bool = False) -> Tensor:
    """B A, with a middle factor (rank, rank, h, w) as in Tucker's decomposition; LyCORIS keeps `up` of those as (rank, out)."""
    if middle is None:
        return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])
    up = up if transposed else up.flatten(1).T
    return torch.einsum("ijkl,ip,jr->prkl", middle, up, down.flatten(1))


def _scale(roles: Roles) -> float:
    """alpha / rank; 1 without alpha, and for Kronecker factors that are whole."""
    inner = next((roles[role] for role in ("down", "hada_w1_b", "lokr_w2_b", "lokr_w1_b") if role in roles), None)
    alpha = roles.get("alpha")
    return 1.0 if inner is None or alpha is None else float(alpha) / inner.shape[0]


def _check(name: str, file: LoraFile, place: Place, layer: Untyped, roles: Roles) -> None:
    """Refuse half a LoRA, and one whose matrices have another shape than the layer's."""
    pairs = (("down", "up"), ("hada_w1_a", "hada_w1_b"), ("hada_w1_a", "hada_w2_a"), ("hada_w2_a", "hada_w2_b"))
    half = any((one in roles) != (other in roles) for one, other in pairs)
    whole = any(role in roles for role in ("down", "hada_w1_a", "diff", "diff_b", *_LOKR))
    kronecker = any(role.startswith("lokr") for role in roles)
    if half or not whole or (kronecker and not any(role in roles for role in ("lokr_w2", "lokr_w2_a"))):
        raise ModelError(f"{name} is incomplete at {place.layer}: it holds {', '.join(sorted(roles))} alone. Download it again.")
    try:
        fits = _fits(layer, roles)
    except (RuntimeError, ValueError, KeyError, IndexError):
        fits = False
    if not fits:
        raise ModelError(f"{name} was made for another base: at {place.layer} it has other shapes than this one. {_advice(file)}")


def _fits(layer: Untyped, roles: Roles) -> bool:
    """Whether what is added has the layer's shape; worked out on the meta device, where nothing is computed."""
    shape = layer.weight.shape
    ghosts = {role: tensor.to("meta") for role, tensor in roles.items() if role not in {"alpha", "magnitude", "diff_b"}}
    if "diff_b" in roles and (layer.bias is None or roles["diff_b"].numel() != layer.bias.numel()):
        return False
    if "magnitude" in roles and roles["magnitude"].numel() not in shape[:2]:
        return False
    if not ghosts:
        return True
    delta = _delta(ghosts, shape).shape
    return delta.numel() == shape.numel() and delta[0] == shape[0]


def _moved(tensor: Tensor, layer: Untyped, role: str) -> Tensor:
    if role == "alpha":
        return tensor.float()
    plain = role in {"down", "up", "mid"} and layer.weight.dtype in PLAIN
    return tensor.to(device=layer.weight.device, dtype=layer.weight.dtype if plain else torch.float32)


def _nowhere(name: str, file: LoraFile, stem: str, names: Names) -> str:
    lost, count = [other for other in file.layers if names.place(other) is None], len(file.layers)
    some = f"only {count - len(lost)}" if len(lost) < count else "none"
    what = f"{some} of its {count} layers are in this one (another is {stem})"
    return f"{name} was made for another base: {what}. {_advice(file)}"


def _advice(file: LoraFile) -> str:
    """For which base the file seems to be: by the width of the text that it reads."""
    widths = {int(roles["down"].shape[1]) for stem, roles in file.layers.items() if "attn2" in stem and "to_k" in stem and "down" in roles}
    known = next((FAMILY_OF_WIDTH[width] for width in sorted(widths) if width in FAMILY_OF_WIDTH), None)
    return f"It seems to be for {known}; choose a base of that family." if known else "Choose a LoRA for this base."
