"""The two checkers that read all of the source: ruff, and pyright in its strict mode. Their rules are in pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MACHINE = dict(os.environ)
"""Before the tests have a home of their own: pyright keeps what it fetched in the machine's."""


def checked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, env=MACHINE, capture_output=True, text=True, check=False)


def test_ruff_finds_nothing():
    done = checked("ruff", "check", ".")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_pyright_finds_nothing_in_its_strict_mode():
    started = checked("pyright", "--version")
    if started.returncode != 0:
        pytest.skip(f"pyright fetches itself from the npm registry once, and could not: {started.stderr.strip()[-200:]}")
    done = checked("pyright", "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout


def test_the_tests_of_the_readme_are_those_that_the_clone_is_judged_by():
    """`.ci/run` takes its command from the README, so the two cannot drift; both commands there are one line each."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv ")]
    assert len(commands) == 2
    assert commands[0].endswith("likeness demo")
    assert commands[1].endswith("pytest")
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
