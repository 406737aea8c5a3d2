"""What processes import before they are of use, seen in `sys.modules` of fresh ones, never by a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.deferred import PACKAGES
from backend.speed.start import FIRST, SERVER, WORKER, used_by

ROOT = Path(__file__).resolve().parents[2]
STACK = {"torch", "diffusers", "transformers", "numpy", "PIL", "cv2", "insightface", "onnxruntime", "scipy"}
COSTLY = {
    "torch._dynamo.exc",
    "torch._inductor",
    "torch.distributed.tensor._api",
    "triton",
    "scipy.stats._stats_py",
    "scipy.optimize._optimize",
    "peft.config",
}
"""Modules that are there when what stands behind a stand-in was imported."""
PICTURE = """
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from backend.config import defaults
from backend.worker.studio import StudioPipeline
from protocol.geometry import Extent, Point
from protocol.jobs import Embedding, PictureJob, Sampling, Subject
folder = Path(mkdtemp())
studio = StudioPipeline(replace(defaults({}), device="cpu", models=folder), folder)
class Watch:
    step = show = lambda self, *given: None
    cancelled = lambda self: False
person = Subject(Embedding("0000803f" * 512, tuple(Point(40.0 + 8 * n, 50.0 + 5 * n) for n in range(5)), Extent(128, 128)))
made = studio.run(PictureJob("a person", subjects=(person,), sampling=Sampling(steps=1, seed=1), preview_every=0), Watch(), None)
assert made.pictures
"""


def imported(code: str) -> set[str]:
    """The modules of a fresh interpreter after `code`."""
    told = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def output(code: str) -> str:
    """The last line that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_server_imports_no_part_of_the_torch_stack_and_no_event_loop() -> None:
    assert not imported(f"{SERVER}; import backend.cli.main, backend.cli.serve") & (STACK | {"asyncio", "ssl", "psutil", "tqdm"})


@pytest.mark.parametrize("command", ["status", "models", "krita", "character"])
def test_commands_that_draw_nothing_are_read_without_the_torch_stack(command: str) -> None:
    code = f"import sys\nfrom backend.cli.main import main\ntry:\n    main([{command!r}, '--help'])\nexcept SystemExit:\n    pass"
    assert not imported(code) & STACK


@pytest.mark.slow
def test_a_worker_that_has_drawn_has_not_imported_what_pictures_do_not_need() -> None:
    modules = imported(FIRST + PICTURE)
    assert {"torch", "diffusers", "transformers"} <= modules
    assert not modules & COSTLY


@pytest.mark.slow
def test_without_stand_ins_all_of_that_is_imported() -> None:
    """The unsafe twin."""
    assert len(imported("import backend.worker.studio") & COSTLY) >= 4


@pytest.mark.slow
def test_nothing_large_is_left_for_the_first_picture_once_the_worker_has_imported_ahead() -> None:
    code = (
        FIRST
        + "\nimport sys; before = set(sys.modules)"
        + PICTURE
        + "\nprint(sum('sympy' not in name for name in set(sys.modules) - before))"
    )
    assert int(output(code)) < 60


@pytest.mark.slow
def test_every_name_that_is_put_off_is_there_when_it_is_asked_for() -> None:
    wanted = [(module, name.removesuffix("()")) for package in PACKAGES for module, names in package.names.items() for name in names]
    code = f"from importlib import import_module\nprint(all(hasattr(import_module(module), name) for module, name in {wanted!r}))"
    assert output(code) == "True"


SHARED = (
    WORKER
    + "\nimport sys, torch\nfrom torch.distributed.tensor import DTensor, Shard\nfrom peft.tuners.tuners_utils import BaseTunerLayer\n"
)


@pytest.mark.slow
def test_nothing_is_an_instance_of_a_class_that_nobody_has_imported_and_asking_imports_nothing() -> None:
    assert (
        output(SHARED + "print(isinstance(torch.ones(1), DTensor), issubclass(int, BaseTunerLayer), 'sympy' in sys.modules)")
        == "False False False"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("import peft\nfrom peft.tuners.lora import LoraLayer\nprint(issubclass(LoraLayer, BaseTunerLayer))", "True"),
        ("import peft.config\nprint(peft.config.PeftConfig is peft.PeftConfig)", "True"),
        ("class Own(BaseTunerLayer): pass\nprint(Own.__mro__[1] is sys.modules['peft.tuners.tuners_utils'].BaseTunerLayer)", "True"),
        ("one = Shard(0)\nprint(isinstance(one, Shard), one.dim, one == Shard(0), type(Shard(0)).__name__)", "True 0 True Shard"),
        ("import scipy.stats\nprint(round(float(scipy.stats.beta.ppf(0.5, 2, 2)), 3))", "0.5"),
        ("from scipy.optimize import linear_sum_assignment as best\nprint(best([[4, 1], [2, 8]])[1].tolist())", "[1, 0]"),
        ("import torch._dynamo.config\nprint(torch._dynamo.config is sys.modules['torch._dynamo.config'])", "True"),
        ("print(isinstance(torch.ones(1), torch.distributed.tensor.DTensor))", "False"),
        ("print(torch.distributed.checkpoint.FileSystemReader.__name__)", "FileSystemReader"),
        ("f = torch.compile(lambda x: x + 1, backend='eager')\nprint(float(f(torch.ones(1))))", "2.0"),
    ],
)
def test_what_was_put_off_is_the_real_thing_when_it_is_used(code: str, printed: str) -> None:
    assert output(SHARED + code) == printed


@pytest.mark.slow
def test_each_module_is_an_attribute_of_its_package_as_after_any_import() -> None:
    """peft asks for `torch.distributed.tensor.DTensor` without importing it, where somebody else has: so no LoRA of its was loaded."""
    names = [module for package in PACKAGES for module in package.names]
    look = "    importlib.import_module(name)\n    assert eval(name) is sys.modules[name], name\n"
    code = f"import importlib\nfor name in {names!r}:\n{look}print('all')"
    assert output(SHARED + "import peft, scipy\n" + code) == "all"


STYLE = """
import os, sys
from pathlib import Path
from tempfile import mkdtemp
from backend.config import load_settings
from backend.workbench import open_workbench
from protocol.jobs import PictureJob, Sampling
settings = load_settings({"models": mkdtemp(), "device": "cpu", "model": "sketch:ink"}, {})
made = open_workbench(settings).engine.run(PictureJob("a person", sampling=Sampling(steps=1, seed=1), preview_every=0))
import hashlib
print(hashlib.sha256(made[0].pixels.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_style_which_peft_loads_is_the_same_with_stand_ins_and_without() -> None:
    assert output(f"{WORKER}\n{STYLE}") == output(STYLE)


@pytest.mark.slow
def test_what_the_compiler_was_told_before_it_was_there_it_knows_afterwards() -> None:
    code = """
import torch
from backend.deferred import defer
defer()
from torch._dynamo import allow_in_graph, disable
def twice(x): return x * 2
def alone(x): return x * 3
allow_in_graph(twice)
kept = disable(alone)
import torch._dynamo
from torch._dynamo.trace_rules import is_callable_allowed
def both(x): return kept(twice(x)) + 1
found = torch._dynamo.explain(both)(torch.ones(1))
print(is_callable_allowed(twice), found.graph_count, float(both(torch.ones(1))))
"""
    assert output(code) == "True 2 7.0"


def test_what_a_process_used_grows_with_its_work_and_is_told_finer_than_in_hundredths() -> None:
    before = used_by(os.getpid())
    sum(range(2_000_000))
    assert used_by(os.getpid()) > before > 0
