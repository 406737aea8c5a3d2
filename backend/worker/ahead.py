"""What a first picture imports beside the studio itself: imported once the worker is ready, while nobody waits for it."""

from __future__ import annotations

import importlib
from contextlib import suppress

FACES = ("onnxruntime", "insightface.app")
DRAWING = {
    "torch.fx.experimental.symbolic_shapes": (),  # with sympy: torch asks for it where a net is made on its meta device
    "transformers": ("CLIPTextModel", "CLIPTextModelWithProjection", "CLIPTokenizer", "CLIPVisionModelWithProjection"),
    "transformers.models.clip.image_processing_pil_clip": ("CLIPImageProcessorPil",),
    "diffusers": ("AutoencoderKL", "UNet2DConditionModel", "StableDiffusionXLPipeline", "StableDiffusionXLControlNetPipeline"),
}
"""Of SDXL, for which InstantID is; a model of another family imports its pipeline with its first picture."""


def import_ahead() -> None:
    """Import it. What cannot be imported is said by the job that needs it."""
    for module in FACES:
        with suppress(ImportError, OSError):
            importlib.import_module(module)
    for module, names in DRAWING.items():
        with suppress(ImportError, OSError, RuntimeError, AttributeError):  # the lazy modules of both raise all of these
            there = importlib.import_module(module)
            for name in names:
                getattr(there, name)
