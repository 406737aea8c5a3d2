"""Clip skip: the text encoders are read some layers before their end, for the prompt and for what it must not show.

Counted as A1111 and ComfyUI count it: 1 reads the last layer, 2 the one before, as models in NovelAI's line want it. SDXL was trained on
the last but one layer of both encoders, so 1 and 2 mean the same there. diffusers skips for the prompt alone, and its way to SD 1.5's
final norm leads nowhere since transformers flattened CLIPTextModel; hence hooks, which whoever encodes a text goes through.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from protocol.errors import InvalidRequest

from ..models.adapters import Untyped
from ..models.bundle import Family


def accent(clip_skip: int, family: Family) -> str:
    """What makes the encodings of prompts different from those without; "" for nothing."""
    return f" clip skip {clip_skip}" if clip_skip > _usual(family) else ""


@contextmanager
def skipping(shell: Untyped, clip_skip: int, family: Family) -> Generator[None]:
    """Within, the text encoders of a pipeline answer with the layer that `clip_skip` says, where the usual one is expected.

    Raises InvalidRequest for more layers than the encoders have. Afterwards they are as before.
    """
    usual = _usual(family)
    encoders = [shell.text_encoder, getattr(shell, "text_encoder_2", None)]
    with ExitStack() as stack:
        for encoder in encoders:
            if encoder is not None and clip_skip > usual:
                layers = encoder.config.num_hidden_layers
                if clip_skip > layers:
                    raise InvalidRequest(f"A clip skip of {clip_skip} is more than the text encoder's {layers} layers. 1 and 2 are usual.")
                stack.callback(encoder.register_forward_pre_hook(_all_layers, with_kwargs=True).remove)
                stack.callback(encoder.register_forward_hook(_earlier(clip_skip, usual)).remove)
        yield


def _usual(family: Family) -> int:
    """The layer that the family's pipelines read, counted from the end."""
    return 2 if family is Family.SDXL else 1


def _all_layers(_: Untyped, args: tuple[Untyped, ...], kwargs: dict[str, Untyped]) -> tuple[tuple[Untyped, ...], dict[str, Untyped]]:
    return args, kwargs | {"output_hidden_states": True}


def _earlier(clip_skip: int, usual: int) -> Untyped:
    """A hook that puts the chosen layer where the usual one stands: SDXL's last but one, or SD 1.5's last, which is normalised."""

    def chosen(encoder: Untyped, _: Untyped, said: Untyped) -> Untyped:
        layers = said.hidden_states
        kept = layers[: len(layers) - (clip_skip - usual)]
        changed = dict(said) | {"hidden_states": kept}
        if usual == 1:
            changed["last_hidden_state"] = getattr(encoder, "text_model", encoder).final_layer_norm(kept[-1])
        return type(said)(**changed)

    return chosen
