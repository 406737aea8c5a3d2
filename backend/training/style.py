"""A drawing style for a finished base: a LoRA on the frozen UNet, trained on pictures drawn in that style.

Low-rank updates (Hu et al. 2021, https://arxiv.org/abs/2106.09685) of attention, projections and convolutions through peft; the file is
what diffusers' `load_lora_weights` reads. Fused into the base it makes a second base, on which adapters trained on the first one must work.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from . import loop
from .base import SHEET_PROMPTS, load_base
from .parts import Base, Noiser
from .photos import data_of
from .sampling import Prompting, sample
from .sheets import to_bytes, write_sheet
from .typed import seed_torch
from .untyped import diffusers, peft

ADAPTER = "style"
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2", "conv_in", "conv_out")


class StyleTask:
    """Trains a LoRA; `base` has the style's latents."""

    def __init__(self, base: Base, *, batch: int, rank: int = 16) -> None:
        self.base, self.batch, self.noiser = base, batch, Noiser(base)
        self.trained: nn.Module = base.parts.unet
        base.parts.unet.add_adapter(
            peft.LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(TARGETS)), ADAPTER
        )

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Mean squared error of the predicted noise."""
        rows = self.noiser.rows(len(self.base.latents), self.batch, draw)
        batch = self.noiser.batch(rows, torch.rand(self.batch, generator=draw) < 0.1, draw)
        return batch.error(self.base.parts.unet(batch.noisy, batch.t, batch.states, added_cond_kwargs=batch.added, return_dict=False)[0])

    def sheet(self, path: Path) -> None:
        """The sheet prompts with the style above and without it below, from the same noise."""
        unet = self.base.parts.unet
        with_style = to_bytes(sample(self.base, Prompting(list(SHEET_PROMPTS))))
        unet.disable_adapters()
        without = to_bytes(sample(self.base, Prompting(list(SHEET_PROMPTS))))
        unet.enable_adapters()
        write_sheet(path, [list(with_style), list(without)])

    def export(self, folder: Path) -> None:
        """Write `folder`/style.safetensors in half precision."""
        layers = {
            key: value.to("cpu", torch.float16)
            for key, value in peft.get_peft_model_state_dict(self.base.parts.unet, adapter_name=ADAPTER).items()
        }
        diffusers.StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=layers, weight_name="style.safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training style`."""
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of persons drawn in the style ('data --style ink'), or of captioned pictures"
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the finished base's training, or a diffusers folder")
    parser.add_argument("--size", type=int, default=1024, help="side in pixels that captioned pictures are cut to (default: %(default)s)")
    parser.add_argument("--rank", type=int, default=16)
    loop.add_budget(parser, minutes=8, peak=1e-3, batch=16)


def run(args: argparse.Namespace) -> None:
    """Train; leaves `out`/style.safetensors and `out`/sheet.png."""
    seed_torch(args.seed)
    base = load_base(args.base, data_of(args.data, args.out, args.size), args.out)
    sitting = loop.train(StyleTask(base, batch=args.batch, rank=args.rank), loop.settings_from(args))
    print(f"{sitting.step} steps, wrote {args.out / 'style.safetensors'}")
