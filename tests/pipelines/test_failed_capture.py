"""A capture that fails on a GPU leaves torch as it was: its stream, and an allocator that knows that nothing is captured any more."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from backend.pipelines.graphs import CudaCapturer

POOL = (7, 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What torch's CUDA is told, by a stand-in that fails as a device does: at the end of the capture, again."""
    calls: list[tuple[object, ...]] = []

    class Capturing:
        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: object, *_: object) -> None:
            if kind is not None:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: "a side stream")
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: "a graph")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the usual stream")
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: POOL)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **_: Capturing())
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: calls.append(("stream", stream)))
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda *given, name=name: calls.append((name, *given)), raising=False)
    return calls


def waits_for_the_device() -> object:
    raise RuntimeError("operation not permitted when stream is capturing")


def test_after_a_failed_capture_the_allocator_is_told_and_the_usual_stream_is_back(told: list[tuple[object, ...]]) -> None:
    with pytest.raises(RuntimeError, match="during capture"):
        CudaCapturer(torch.device("cuda", 0)).capture(waits_for_the_device)
    assert told == [("_cuda_endAllocateToPool", 0, POOL), ("_cuda_releasePool", 0, POOL), ("stream", "the usual stream")]


def test_where_torch_has_ended_it_already_nothing_is_given_back_twice(told, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", ended)
    with pytest.raises(RuntimeError, match="during capture"):
        CudaCapturer(torch.device("cuda", 0)).capture(waits_for_the_device)
    assert told == [("stream", "the usual stream")]


def test_a_capture_that_works_is_left_to_torch(told: list[tuple[object, ...]]) -> None:
    assert CudaCapturer(torch.device("cuda", 0)).capture(lambda: "an answer") == ("a graph", "an answer")
    assert told == [("stream", "the usual stream")]
