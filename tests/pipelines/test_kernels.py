"""Which kernel computes attention: what a setting stands for reaches torch in every thread, and what torch takes can be asked.

On a processor torch has one quick kernel and plain matrices; that the others are taken on a GPU is shown in tests/gpu.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend

from backend.config import Settings
from backend.doctor import State, examine
from backend.pipelines import kernels
from protocol.errors import InvalidRequest


def allowed() -> set[str]:
    cuda = torch.backends.cuda
    states = {
        "flash": cuda.flash_sdp_enabled(),
        "efficient": cuda.mem_efficient_sdp_enabled(),
        "cudnn": cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    return {name for name, on in states.items() if on}


@pytest.fixture
def prefer() -> Iterator[Callable[[str], None]]:
    ends: list[Callable[[], None]] = []
    yield lambda name: kernels.prefer(name, ends.append)
    for end in reversed(ends):
        end()


def test_auto_leaves_torch_as_it_is(prefer) -> None:
    before = allowed()
    prefer("auto")
    assert allowed() == before


@pytest.mark.parametrize("name", kernels.ORDERS)
def test_a_named_kernel_comes_first_in_every_thread_and_plain_matrices_last(prefer, name: str) -> None:
    before, seen = allowed(), []
    prefer(name)
    thread = threading.Thread(target=lambda: seen.append((allowed(), [SDPBackend(one) for one in torch._C._get_sdp_priority_order()])))
    thread.start()
    thread.join()
    on, order = seen[0]
    tried = [kernels.NAMES[one] for one in order if one in kernels.NAMES and kernels.NAMES[one] in on]
    assert tried[0] == name
    assert tried[-1] == "math"
    assert before == {"flash", "efficient", "cudnn", "math"}


def test_what_torch_takes_can_be_asked(prefer) -> None:
    assert kernels.chosen("cpu", torch.float32, 64) == "flash"
    prefer("math")
    assert kernels.chosen("cpu", torch.float32, 64) == "math"


def test_a_word_that_is_no_kernel_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidRequest, match="auto, flash, efficient, cudnn, math"):
        kernels.prefer("sage")


def note_of(**more: str) -> tuple[State, str]:
    notes = examine(Settings(models=Path("none"), logs=Path("none"), device="cpu", **more))
    return next((note.state, note.found) for note in notes if note.topic == "attention")


def test_the_doctor_says_what_computes_attention_and_what_a_setting_would_do_elsewhere() -> None:
    assert note_of() == (State.GOOD, "torch's own on cpu")
    state, found = note_of(compile="yes", attention="flash")
    assert state is State.GOOD
    assert "compile and attention in the settings would act on an NVIDIA GPU" in found
    state, found = note_of(attention="sage")
    assert state is State.WRONG
    assert "no attention 'sage'" in found


class Card:
    """What the doctor asks of a GPU, answered by hand."""

    def __init__(self, takes: str) -> None:
        self.takes = takes

    def __call__(self, device: str, dtype: torch.dtype, width: int) -> str:
        return self.takes


@pytest.mark.parametrize(("takes", "state"), [("flash", State.GOOD), ("math", State.ADVICE)])
def test_plain_matrices_are_never_taken_on_a_gpu_without_the_doctor_saying_so(monkeypatch, takes: str, state: State) -> None:
    from backend import doctor

    monkeypatch.setattr(kernels, "chosen", Card(takes))
    monkeypatch.setattr(doctor, "device_and_dtype", lambda settings: ("cuda", torch.float16))
    (note,) = doctor._attention(Settings(models=Path("none"), logs=Path("none"), graphs="yes"))
    assert note.state is state
    assert note.found == f"{takes} for SDXL, {takes} for SD 1.5 (auto); blocks are not compiled, nets captured"
    assert ("plain matrices" in note.cure) == (takes == "math")
