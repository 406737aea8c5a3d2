"""The README's examples do what they say: every Python block runs as it stands, at a backend, in a folder with the files that it names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
EVERY = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
IN_BLENDER = [block for block in EVERY if "bl_ext" in block]
"""Played by tests/plugins/blender/test_whole.py."""
BLOCKS = [block for block in EVERY if block not in IN_BLENDER]


def test_the_readme_has_examples_for_scripts() -> None:
    assert len(BLOCKS) >= 3
    assert len(IN_BLENDER) == 1


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs_as_it_stands(block: str, backend: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = models / "tiny" / "samples"
    for name in ("anna-1.png", "anna-2.png"):
        shutil.copy(samples / "anna.png", tmp_path / name)
    (tmp_path / "people").mkdir()
    for name in ("ben.png", "cleo.png"):
        shutil.copy(samples / name, tmp_path / "people" / name)
    (tmp_path / "shots.csv").write_text("name,prompt,character,count\nsea,at the sea,anna,2\nhills,in the hills,anna,1\n")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    made = [path for path in tmp_path.rglob("*.png") if path.name not in ("anna-1.png", "anna-2.png") and path.parent.name != "people"]
    assert made
