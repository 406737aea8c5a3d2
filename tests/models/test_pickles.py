"""Pickles are read in a throw-away process, tensors only; afterwards only the safetensors copy is used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from pickle_bomb import Bomb
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backend.models import pickles, unpickle
from backend.models.pickles import as_safetensors, is_pickle, known_copy
from protocol.errors import ModelError

IN_A_PROCESS = pickles._run  # taken before tests/conftest.py replaces it


@pytest.fixture(autouse=True)
def _really_in_a_process(monkeypatch):
    monkeypatch.setattr(pickles, "_run", IN_A_PROCESS)


@pytest.fixture
def here(monkeypatch):
    """The same reader in this process: for files that are known to be harmless, where a process each would take seconds."""
    monkeypatch.setattr(pickles, "_run", lambda arguments, folder: unpickle.run(arguments))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "models" / ".store" / "converted"


class Killer:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (3,)


def test_the_tensors_come_out_bit_for_bit_whatever_is_around_them(tmp_path, cache):
    weights = {"model.a": torch.randn(3, 4), "model.b": torch.randn(5).half(), "count": torch.tensor(7)}
    torch.save({"state_dict": weights, "optimizer_states": [1, 2], "global_step": 8}, tmp_path / "model.ckpt")
    found = load_file(as_safetensors(tmp_path / "model.ckpt", cache))
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) and found[key].dtype == weights[key].dtype for key in weights)


def test_nested_names_are_joined_and_short_values_kept_as_notes(tmp_path, cache, here):
    shared = torch.randn(2, 2)
    torch.save({"image_proj": {"w": shared}, "ip_adapter": {"w": shared, "v": shared[0]}, "name": "cat", "step": 5}, tmp_path / "a.bin")
    with safe_open(as_safetensors(tmp_path / "a.bin", cache), "pt") as file:
        assert set(file.keys()) == {"image_proj.w", "ip_adapter.w", "ip_adapter.v"}
        assert torch.equal(file.get_tensor("ip_adapter.v"), shared[0])
        assert file.metadata()["likeness.values"] == '{"name": "cat", "step": 5}'


def test_a_pickle_is_converted_once_and_then_never_opened_again(tmp_path, cache, here, monkeypatch):
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    assert known_copy(tmp_path / "w.pt", cache) is None
    copy = as_safetensors(tmp_path / "w.pt", cache)
    monkeypatch.setattr(pickles, "_run", lambda *_: pytest.fail("converted twice"))
    (tmp_path / "elsewhere").mkdir()
    os.link(tmp_path / "w.pt", tmp_path / "elsewhere" / "other name.pt")
    assert as_safetensors(tmp_path / "w.pt", cache) == copy == known_copy(tmp_path / "w.pt", cache)
    assert as_safetensors(tmp_path / "elsewhere" / "other name.pt", cache) == copy
    assert sorted(path.suffix for path in cache.iterdir()) == [".safetensors", ".sha256", ".sha256"]


def test_a_changed_pickle_is_converted_anew(tmp_path, cache, here):
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    first = as_safetensors(tmp_path / "w.pt", cache)
    torch.save({"w": torch.zeros(2), "v": torch.ones(1)}, tmp_path / "w.pt")
    assert as_safetensors(tmp_path / "w.pt", cache) != first
    assert torch.equal(load_file(as_safetensors(tmp_path / "w.pt", cache))["w"], torch.zeros(2))


def test_safetensors_are_used_as_they_are_also_under_a_pickles_name(tmp_path, cache):
    save_file({"w": torch.ones(2)}, tmp_path / "w.bin")
    assert not is_pickle(tmp_path / "w.bin")
    assert as_safetensors(tmp_path / "w.bin", cache) == tmp_path / "w.bin"
    assert not cache.exists()


@pytest.mark.parametrize("size", range(620, 660))
def test_safetensors_are_never_taken_for_a_pickle_by_the_length_of_their_header(size, tmp_path):
    """640 is 80 02 in bytes, as an old pickle begins."""
    save_file({"w": torch.ones(2)}, tmp_path / "w.safetensors", metadata={"note": "x" * (size - 100)})
    assert not is_pickle(tmp_path / "w.safetensors")


def test_a_pickle_under_the_name_of_safetensors_still_goes_through_the_door(tmp_path, cache, here):
    torch.save({"w": torch.ones(2)}, tmp_path / "w.safetensors")
    assert as_safetensors(tmp_path / "w.safetensors", cache).parent == cache


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_a_malicious_pickle_hits_no_canary_and_leaves_the_worker_alive(zipped, tmp_path, cache):
    evil = {"canary": Bomb(tmp_path / "canary"), "exit": Killer()}
    torch.save({"state_dict": {"w": torch.ones(2), **evil}}, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"more than numbers.*safetensors"):
        as_safetensors(tmp_path / "evil.ckpt", cache)
    assert not (tmp_path / "canary").exists()
    assert not list(cache.glob("*.safetensors"))
    assert not list(cache.glob("half-*"))


def test_the_unsafe_twin_hits_the_canary_and_dies(tmp_path):
    """The same file, read as torch reads them when it is not told to read weights only."""
    unsafe = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
    torch.save({"canary": Bomb(tmp_path / "canary"), "exit": Killer()}, tmp_path / "evil.ckpt")
    done = subprocess.run([sys.executable, "-I", "-c", unsafe, str(tmp_path / "evil.ckpt")], capture_output=True, check=False)
    assert (tmp_path / "canary").exists()
    assert done.returncode == 3


def test_a_class_that_is_no_code_of_torch_is_named(tmp_path, cache, here):
    torch.save({"w": torch.ones(1), "evil": Bomb(tmp_path / "canary")}, tmp_path / "evil.bin")
    with pytest.raises(ModelError, match="mkdir"):
        as_safetensors(tmp_path / "evil.bin", cache)


def test_what_lightning_left_in_well_known_checkpoints_is_passed_over(tmp_path, cache, here):
    """sd-v1-4.ckpt names a callback class of pytorch_lightning, and numpy's scalars; neither is imported, and the weights are read."""
    module = type(sys)("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__, "__qualname__": "ModelCheckpoint"})
    packages = {name: type(sys)(name) for name in ("pytorch_lightning", "pytorch_lightning.callbacks")}
    sys.modules.update({**packages, module.__name__: module})
    try:
        torch.save({"callbacks": {module.ModelCheckpoint: {"best": 1}}, "state_dict": {"w": torch.ones(3)}}, tmp_path / "sd-v1-4.ckpt")
    finally:
        for name in (*packages, module.__name__):
            del sys.modules[name]
    assert torch.equal(load_file(as_safetensors(tmp_path / "sd-v1-4.ckpt", cache))["w"], torch.ones(3))


def test_a_small_file_that_unfolds_to_terabytes_is_refused(tmp_path, cache, here):
    torch.save({"w": torch.zeros(1).expand(1_000_000, 1_000_000)}, tmp_path / "bomb.bin")
    with pytest.raises(ModelError, match="far more than its size"):
        as_safetensors(tmp_path / "bomb.bin", cache)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_the_process_that_reads_pickles_has_no_more_memory_than_it_is_given(tmp_path):
    """The old format is read into memory as a whole: where that is all there is, nothing is left for Python. Without a limit it is read."""
    torch.save({"w": torch.zeros(600 << 20, dtype=torch.uint8)}, tmp_path / "large.bin", _use_new_zipfile_serialization=False)
    arguments = [str(tmp_path / "large.bin"), str(tmp_path / "copy"), "0" * 64]
    assert pickles._run([*arguments, str(600 << 20), "60"], tmp_path)["error"] in {"memory", "died", "damaged"}
    assert not (tmp_path / "copy").exists()
    assert unpickle.run(arguments) == {"ok": True}


@pytest.mark.parametrize("content", [b"PK\x03\x04 and nothing more", b"\x80\x02 nothing", b"\x80\x02}."], ids=["zip", "old", "empty"])
def test_a_damaged_pickle_is_refused_with_a_sentence(content, tmp_path, cache, here):
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(ModelError, match=r"Download it again|another file"):
        as_safetensors(tmp_path / "w.bin", cache)


def test_the_process_is_told_no_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(pickles, "_SCRIPT", tmp_path / "show.py")
    (tmp_path / "show.py").write_text("import json, os; print(json.dumps(dict(os.environ)))")
    assert "HF_TOKEN" not in pickles._run([], tmp_path)
