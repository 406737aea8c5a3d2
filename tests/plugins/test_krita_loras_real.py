"""LoRAs in a real Krita, with the real backend and the built-in model's own ink LoRA; typed and clicked through the X server.

`LIKENESS_SCREENSHOTS` names a folder where the pictures of the screen are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import krita_real
import krita_runs
import numpy as np
import pytest
from krita_real import PATIENCE_S
from PIL import Image

WHY_NOT = krita_runs.why_no_krita("krita", "Xvfb", "xdotool", "import")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
PLAN = {"prompt": "portrait of a woman, green jacket", "seed": 7, "window": [1400, 900]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One session, and what was told of it."""
    folder = tmp_path_factory.mktemp("loras")
    with krita_real.installed(folder) as (home, backend):
        out = folder / "out"
        out.mkdir()
        (out / "plan.json").write_text(json.dumps(PLAN), encoding="utf-8")
        told: dict[str, Any] = {"out": out}
        with krita_runs.krita(home, out, 1400, 900, LIKENESS_SCENARIO="loras", LIKENESS_STATE=str(backend.state)) as running:
            running.click(running.wait_for("click-prompt", PATIENCE_S)["place"])
            running.type("a woman <lora:in")
            running.say("typed")
            told["listed"] = dict(running.wait_for("listed", PATIENCE_S))
            running.screenshot("loras-1-list")
            running.xdotool("key", "Return")
            running.say("chosen")
            for name in ("completed", "drawn", "gone"):
                told[name] = dict(running.wait_for(name, PATIENCE_S))
            running.wait_for("closing", PATIENCE_S)
            told["code"], told["log"] = running.process.wait(300), running.log()
        yield told


def picture(run: dict[str, Any], name: str) -> np.ndarray:
    return np.asarray(Image.open(run["out"] / f"{name}.png").convert("RGB")).astype(np.int16)


def test_the_session_ends_well(run: dict[str, Any]) -> None:
    assert run["code"] == 0
    assert "Traceback" not in run["log"]


def test_a_tag_is_completed_with_the_keyboard(run: dict[str, Any]) -> None:
    assert run["listed"]["suggestions"] == ["ink"]
    assert (run["completed"]["prompt"], run["completed"]["open"]) == ("a woman <lora:ink:1>", False)


def test_the_same_seed_is_another_picture_with_the_lora_and_the_weight_is_remembered(run: dict[str, Any]) -> None:
    assert run["drawn"]["kept"] == [{"name": "ink", "weight": 0.5}]
    difference = np.abs(picture(run, "with") - picture(run, "without"))
    assert 2 < difference.mean() < 100


def test_one_that_is_gone_is_said_in_the_list_and_by_the_backend(run: dict[str, Any]) -> None:
    assert "has no LoRA called 'watercolour'" in run["gone"]["card"]
    assert "has no LoRA called 'watercolour'" in run["gone"]["notice"]
    assert "It has: ink" in run["gone"]["notice"]
