"""The docker's promises (krita_docker/promises_*.py), kept with PyQt5 and with PyQt6.

Two Qts do not fit into one process, so each has its own, without a screen; every promise is reported here by its name.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

import pytest
from krita_presenter import FakePresenter

ROOT = Path(__file__).resolve().parents[2]
BINDINGS = ("PyQt5", "PyQt6")
Kept: TypeAlias = dict[str, list[tuple[bool, str]]]
"""For each promise and each of its cases: whether it was kept, and what was said about it."""
FILES = sorted((Path(__file__).parent / "krita_docker").glob("promises_*.py"))
PROMISES = [
    f"{file.stem}::{node.name}"
    for file in FILES
    for node in ast.parse(file.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


def surface(presenter: object) -> dict[str, list[str] | None]:
    """Public names, with the parameters of those that are called."""
    names = [name for name in dir(presenter) if not name.startswith("_")]
    kinds = {name: inspect.getattr_static(presenter, name) for name in names}
    return {name: list(inspect.signature(kind).parameters) if inspect.isfunction(kind) else None for name, kind in kinds.items()}


def test_the_presenter_of_these_tests_has_the_surface_of_the_real_one():
    """Whatever the docker asks in these tests, the real one answers."""
    from plugin_krita.heart import NAMES
    from plugin_krita.presenter import Presenter

    fake = {name: kind for name, kind in surface(FakePresenter()).items() if name not in ("asked", "put")}
    real = surface(Presenter)
    assert set(NAMES) <= set(fake)
    assert {**real, **dict.fromkeys(NAMES)} == fake


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Kept]]]:
    """Both at once: each computes on one core."""
    with ThreadPoolExecutor(len(BINDINGS)) as pool:
        yield {binding: pool.submit(promises_with, binding, tmp_path_factory.mktemp(binding)) for binding in BINDINGS}


@pytest.fixture(scope="module", params=BINDINGS)
def kept(request: pytest.FixtureRequest, bindings: Mapping[str, Future[Kept]]) -> Kept:
    return bindings[str(request.param)].result()


def promises_with(binding: str, folder: Path) -> Kept:
    """Have all promises tried with one Qt."""
    tries = [sys.executable, "-c", f"import {binding}.QtWidgets, {binding}.QtTest"]
    tried = subprocess.run(tries, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        why = (tried.stderr.strip().splitlines() or ["no reason was given"])[-1]
        pytest.skip(f"{binding} cannot be imported here ({why}). Install the extra `test`, and libGL and libEGL where they are missing.")
    report = folder / "report.xml"
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "DOCKER_BINDING": binding, "XDG_RUNTIME_DIR": str(report.parent)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={report}", *map(str, FILES)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert report.is_file(), f"the tests with {binding} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    out: Kept = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname', '').split('.')[-1]}::{case.get('name', '').split('[')[0]}"
        faults = [f"{fault.get('message')}\n{fault.text}" for fault in case]
        out.setdefault(name, []).append((not faults, "\n".join(faults)))
    return out


@pytest.mark.parametrize("promise", PROMISES)
def test_the_docker_keeps(promise: str, kept: Kept):
    cases = kept.get(promise, [])
    assert cases, f"{promise} has not been run: its process ended before"
    assert [words for good, words in cases if not good] == []
