"""Schedulers by the names that artists know them by: those of A1111, Forge and ComfyUI, and our own short ones. Words only, no torch.

A name is a method and, behind it, how the noise levels are spaced: "DPM++ 2M Karras", "dpmpp_2m_sde_gpu exponential", "euler sgm_uniform".
Case, spaces, hyphens and underscores do not matter. Which class of diffusers a name means is from its own table ("Schedulers" in diffusers'
documentation, section "A1111/k-diffusion"); what that table calls merely similar is not offered under the other's name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol.errors import InvalidRequest

DEFAULT = "default"
"""The scheduler of the model's own folder."""

_SIGMAS = ("karras", "exponential", "beta")
_SPACINGS = ("trailing", "linspace", "leading")
_ALL = (*_SIGMAS, *_SPACINGS)

_FLAGS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas", "lu": "use_lu_lambdas"}
_TITLES = {
    "karras": "Karras", "exponential": "Exponential", "beta": "Beta", "lu": "Lu", "trailing": "SGM Uniform", "linspace": "Normal",
    "leading": "Leading",
}  # fmt: skip
_SPACED_AS = {
    **{name: name for name in _TITLES}, "k": "karras", "exp": "exponential", "sgmuniform": "trailing", "simple": "trailing",
    "normal": "linspace", "uniform": "leading", "ddimuniform": "leading", "automatic": "", "gpu": "",
}  # fmt: skip
"""ComfyUI's "sgm_uniform" and "simple" start at the last training step and stop one interval above 0: what diffusers calls trailing."""

_SDE = {"algorithm_type": "sde-dpmsolver++", "solver_type": "midpoint"}
_ODE = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"}
_SINGLE, _MULTI = "DPMSolverSinglestepScheduler", "DPMSolverMultistepScheduler"


@dataclass(frozen=True, slots=True)
class Method:
    """A way of sampling: `kind` is diffusers' class, `changes` what it changes in the model's own scheduler config, `spacings` how its
    noise levels may be spaced, `aliases` further names."""

    id: str
    title: str
    kind: str
    changes: Mapping[str, Any]
    spacings: tuple[str, ...]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampler:
    """A method with its spacing: `id` is the short name that a recipe keeps, `title` the one that is shown."""

    id: str
    title: str
    kind: str
    changes: Mapping[str, Any]


METHODS = (
    Method("euler", "Euler", "EulerDiscreteScheduler", {}, _ALL, ("k euler",)),
    Method("euler-a", "Euler a", "EulerAncestralDiscreteScheduler", {}, _SPACINGS, ("euler ancestral", "k euler a")),
    Method("heun", "Heun", "HeunDiscreteScheduler", {}, _ALL),
    Method("dpm2", "DPM2", "KDPM2DiscreteScheduler", {}, _ALL, ("kdpm2",)),
    Method("dpm2-a", "DPM2 a", "KDPM2AncestralDiscreteScheduler", {}, _ALL, ("dpm2 ancestral", "kdpm2 a")),
    Method("lms", "LMS", "LMSDiscreteScheduler", {}, _ALL, ("k lms",)),
    Method("dpm++2m", "DPM++ 2M", _MULTI, {"solver_order": 2, **_ODE}, (*_ALL, "lu")),
    Method("dpm++2m-sde", "DPM++ 2M SDE", _MULTI, {"solver_order": 2, **_SDE}, (*_ALL, "lu"), ("dpm++ 2m sde gpu",)),
    Method("dpm++2m-sde-heun", "DPM++ 2M SDE Heun", _MULTI, {"solver_order": 2, **_SDE, "solver_type": "heun"}, _ALL),
    Method("dpm++3m-sde", "DPM++ 3M SDE", _MULTI, {"solver_order": 3, **_SDE}, _ALL, ("dpm++ 3m sde gpu",)),
    Method("dpm++sde", "DPM++ SDE", _SINGLE, {"solver_order": 2, **_SDE}, _SIGMAS, ("dpm++ sde gpu",)),
    Method("dpm++2s", "DPM++ 2S", _SINGLE, {"solver_order": 2, **_ODE}, _SIGMAS),
    Method("unipc", "UniPC", "UniPCMultistepScheduler", {}, _ALL, ("uni pc bh2",)),
    Method("deis", "DEIS", "DEISMultistepScheduler", {"algorithm_type": "deis", "solver_type": "logrho"}, _ALL),
    Method("ddim", "DDIM", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}, _SPACINGS),
    Method("ddpm", "DDPM", "DDPMScheduler", {"clip_sample": False}, _SPACINGS),
    Method("plms", "PLMS", "PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}, _SPACINGS, ("pndm",)),
    Method("lcm", "LCM", "LCMScheduler", {}, _SPACINGS),
    Method("tcd", "TCD", "TCDScheduler", {}, _SPACINGS),
)

ETAS = {"TCDScheduler": 0.3}
"""TCD's own share of fresh noise (Zheng et al., arXiv:2402.19159, and the scheduler's default); pipelines would pass 0."""


def _with_spacing(method: Method, spacing: str) -> Sampler:
    """`method` with one of its spacings, or "" for what the model's folder says. Flags of the folder's own scheduler are taken back: DPM++
    2M is not Karras because the folder's is."""
    changes: dict[str, Any] = {flag: name == spacing for name, flag in _FLAGS.items() if name in method.spacings}
    if spacing in _SPACINGS:
        changes["timestep_spacing"] = spacing
    title = f"{method.title} {_TITLES[spacing]}" if spacing else method.title
    return Sampler(f"{method.id}-{spacing}" if spacing else method.id, title, method.kind, {**changes, **method.changes})


SAMPLERS = tuple(_with_spacing(method, spacing) for method in METHODS for spacing in ("", *method.spacings))
"""Every method with every spacing that it has."""
OFFERED = (
    *(method.title for method in METHODS),
    *(f"{method.title} Karras" for method in METHODS if "karras" in method.spacings and "SDE Heun" not in method.title),
    "DPM++ 3M SDE Exponential", "Euler SGM Uniform",
)  # fmt: skip
"""What a list to choose from shows; every other combination can be typed."""


def find(name: str) -> Sampler:
    """The scheduler that is called so; InvalidRequest with the nearest names for one that is not known."""
    wanted = _bare(name)
    for known, method in _KNOWN:
        if not wanted.startswith(known):
            continue
        rest = wanted.removeprefix(known)
        spacing = _SPACED_AS.get(rest, rest)
        if spacing == "" or spacing in method.spacings:
            return _with_spacing(method, spacing)
        if spacing in _TITLES:
            has = ", ".join(_TITLES[one] for one in method.spacings)
            raise InvalidRequest(f"The scheduler {method.title} cannot be spaced as {_TITLES[spacing]}. It has: {has}.")
    raise InvalidRequest(f"There is no scheduler called {name!r}. {_advice(wanted)}")


def _advice(wanted: str) -> str:
    names = {_bare(one.title): one.title for one in SAMPLERS}
    names |= {_bare(alias): method.title for method in METHODS for alias in method.aliases}
    near = [names[one] for one in difflib.get_close_matches(wanted, names, n=4, cutoff=0.5)]
    all_of_them = ", ".join(method.title for method in METHODS)
    return f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"Known are: {DEFAULT}, {all_of_them}."


def _bare(name: str) -> str:
    return re.sub(r"[\s_\-()]", "", name.casefold()).replace("dpmpp", "dpm++")


_KNOWN = sorted(
    ((_bare(name), method) for method in METHODS for name in (method.id, method.title, *method.aliases)),
    key=lambda pair: len(pair[0]),
    reverse=True,
)
"""The longest name first: "DPM++ 2M SDE" before "DPM++ 2M"."""
