"""What the trainings on a frozen base share: image prompts attached to it, condition dropping, and who is kept back for the sheets.

Both IP-Adapter (Ye et al. 2023, https://arxiv.org/abs/2308.06721) and InstantID (Wang et al. 2024, https://arxiv.org/abs/2401.07519)
leave the base as it is and learn a projection of an image's embedding to tokens and, for every cross attention, own keys and values for
these tokens, which begin as copies of the base's. Attention runs in diffusers' own processors, so what is trained is what will be loaded.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protocol.errors import InvalidRequest

from . import loop
from .people import People
from .typed import tensor
from .untyped import Untyped, processors

Floats = NDArray[np.float32]
STRENGTH = 0.8
"""Of InstantID's image adapter and IdentityNet while they are trained: what pictures are made with unless somebody says otherwise."""


def attach(unet: Untyped, tokens: int) -> nn.ModuleList:
    """Give every cross attention keys and values for `tokens` image tokens, copied from its own; returns what is to be trained.

    The UNet then takes `encoder_hidden_states` as (text states, [image tokens]).
    """
    kind: Untyped = processors.IPAdapterAttnProcessor if loop.device().type == "cpu" else processors.IPAdapterAttnProcessor2_0
    attached, trained = dict(unet.attn_processors), nn.ModuleList()
    for name in attached:
        if not name.endswith("attn2.processor"):
            continue
        attention = unet.get_submodule(name.removesuffix(".processor"))
        to_k, to_v = attention.to_k.weight, attention.to_v.weight
        processor: Untyped = kind(to_k.shape[0], to_k.shape[1], num_tokens=(tokens,), scale=1.0).to(to_k.device)
        with torch.no_grad():
            processor.to_k_ip[0].weight.copy_(to_k)
            processor.to_v_ip[0].weight.copy_(to_v)
        attached[name] = processor
        trained.append(processor)
    unet.set_attn_processor(attached)
    return trained


@dataclass(frozen=True)
class Drops:
    """Which of a batch lose their image, their text, and their control picture; bool (N,) each."""

    image: Tensor
    text: Tensor
    control: Tensor


def draw_drops(n: int, draw: torch.Generator, each: float = 0.05) -> Drops:
    """IP-Adapter's dropping by one uniform draw (image, text, both: 5 % each), and the control picture by another."""
    u = torch.rand(n, generator=draw)
    both = (u >= 2 * each) & (u < 3 * each)
    return Drops((u < each) | both, ((u >= each) & (u < 2 * each)) | both, torch.rand(n, generator=draw) < each)


class Shown:
    """Who is who among the `first` pictures of a data set, the last `held` persons kept back for sheets."""

    def __init__(self, people: People, first: int, held: int) -> None:
        persons = np.asarray(people.persons)[:first]
        self.begins = np.flatnonzero(np.r_[True, persons[1:] != persons[:-1]])
        self.ends = np.r_[self.begins[1:], len(persons)]
        self.place = np.repeat(np.arange(len(self.begins)), self.ends - self.begins)
        if len(self.begins) < 2:
            raise InvalidRequest(
                f"The folder {people.folder} has pictures of one person only, and one is kept back for the sheet. Give it more persons."
            )
        self.held = self.begins[len(self.begins) - min(held, len(self.begins) // 2) :]
        """First pictures of the persons kept back."""
        self.train_rows = int(self.held[0])
        """Pictures before this one are trained on."""

    def others(self, row: int) -> NDArray[np.int64]:
        """All other pictures of the person in picture `row`; that one itself if it is the only one."""
        who = self.place[row]
        rows = np.arange(int(self.begins[who]), int(self.ends[who]))
        return rows[rows != row] if len(rows) > 1 else rows


def mean_embedding(embeddings: Floats) -> Floats:
    """Mean of raw embeddings (n, d), rescaled to their mean norm."""
    mean = embeddings.mean(0)
    return mean * (np.linalg.norm(embeddings, axis=1).mean() / max(float(np.linalg.norm(mean)), 1e-9))


def read_embeddings(path: Path, n: int) -> Floats:
    """Embeddings (N, d) of a data set's N pictures.

    Raises:
        InvalidRequest: the file is missing, or belongs to another data set.
    """
    if not path.is_file():
        raise InvalidRequest(f"There is no {path}. Make it with '--embed' of the part that trains its encoder (recogniser or clip).")
    embeddings = np.load(path)
    if len(embeddings) != n:
        raise InvalidRequest(f"{path} has {len(embeddings)} rows, but the data set has {n} pictures. Make it anew from this data set.")
    return embeddings.astype(np.float32)


def face_areas(keypoints: Floats, size: int, side: int, more: float) -> Tensor:
    """How much each place of a latent counts, (n, 1, side, side), 1 on average: `more` times as much around the face as elsewhere.

    The face is the circle around the five keypoints (n, 5, 2, pixels of a picture of `size`), wide enough for hair and chin.
    """
    centre = keypoints.mean(1)
    radius = 2.4 * np.linalg.norm(keypoints - centre[:, None], axis=2).max(1)
    at = (np.arange(side, dtype=np.float32) + 0.5) * (size / side)
    distance = np.hypot(at[None, None, :] - centre[:, 0, None, None], at[None, :, None] - centre[:, 1, None, None])
    area = 1.0 + (more - 1.0) * (distance < radius[:, None, None])
    return tensor((area / area.mean((1, 2), keepdims=True)).astype(np.float32))[:, None]
