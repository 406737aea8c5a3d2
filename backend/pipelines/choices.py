"""What can be chosen: where a picture starts, and which stock pipeline that takes. Words only, no torch."""

from __future__ import annotations

from enum import Enum

from ..models.bundle import Family


class Mode(Enum):
    """What a picture starts from."""

    TEXT = "text"
    IMAGE = "image"
    INPAINT = "inpaint"


PIPELINES = {
    (Family.SDXL, Mode.TEXT, False): "StableDiffusionXLPipeline",
    (Family.SDXL, Mode.IMAGE, False): "StableDiffusionXLImg2ImgPipeline",
    (Family.SDXL, Mode.INPAINT, False): "StableDiffusionXLInpaintPipeline",
    (Family.SDXL, Mode.TEXT, True): "StableDiffusionXLControlNetPipeline",
    (Family.SDXL, Mode.IMAGE, True): "StableDiffusionXLControlNetImg2ImgPipeline",
    (Family.SDXL, Mode.INPAINT, True): "StableDiffusionXLControlNetInpaintPipeline",
    (Family.SD15, Mode.TEXT, False): "StableDiffusionPipeline",
    (Family.SD15, Mode.IMAGE, False): "StableDiffusionImg2ImgPipeline",
    (Family.SD15, Mode.INPAINT, False): "StableDiffusionInpaintPipeline",
    (Family.SD15, Mode.TEXT, True): "StableDiffusionControlNetPipeline",
    (Family.SD15, Mode.IMAGE, True): "StableDiffusionControlNetImg2ImgPipeline",
    (Family.SD15, Mode.INPAINT, True): "StableDiffusionControlNetInpaintPipeline",
}
"""Family, mode, with ControlNets -> diffusers class."""
