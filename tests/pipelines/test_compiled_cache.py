"""What was compiled is kept on the disk: a second process finds it. Each in a process of its own, with the real compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++ on processors.")]

BLOCK = """
import json, sys
from pathlib import Path
import torch
from torch._dynamo.utils import counters
from diffusers.models.attention import BasicTransformerBlock
from backend.pipelines.attention import attached
from backend.pipelines.compiled import Compiler

torch.manual_seed(0)
net = torch.nn.Module()
net.conv_in = torch.nn.Conv2d(4, 4, 3)
net.down_blocks = torch.nn.ModuleList([BasicTransformerBlock(16, 2, 8, cross_attention_dim=24).eval().requires_grad_(False)])
block, said = net.down_blocks[0], []
compiler = Compiler(cache=Path(sys.argv[1]), say=said.append)
states, text = torch.randn(2, 16, 16), torch.randn(2, 77, 24)
drawn = []
with torch.no_grad(), attached(net):
    for number in range(3):
        with compiler.within([net]):
            drawn.append(block(states, encoder_hidden_states=text))
        assert compiler.wait(600)
compiler.close()
found = counters["inductor"]
print(json.dumps({
    "hits": found["fxgraph_cache_hit"], "misses": found["fxgraph_cache_miss"], "graphs": counters["stats"]["unique_graphs"],
    "apart": float((drawn[0] - drawn[1]).abs().max()), "same": torch.equal(drawn[1], drawn[2]), "said": said,
}))
"""


def compiled(cache: Path) -> dict:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", BLOCK, str(cache)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_second_process_reads_what_the_first_compiled_and_compiles_nothing(tmp_path: Path) -> None:
    first, second = compiled(tmp_path / "cache"), compiled(tmp_path / "cache")
    for found in (first, second):
        assert found["said"] == ["1 of 1 kinds of blocks are compiled"]
        assert found["graphs"] == 1, "a block is one graph, and no later picture makes another"
        assert found["apart"] < 1e-5
        assert found["same"]
    assert (first["hits"], first["misses"]) == (0, 1)
    assert (second["hits"], second["misses"]) == (1, 0)
