"""What holds for every test file."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _collector_minds_its_own_file() -> None:
    """Python's garbage collector looks through what a test file makes, not through a million objects of torch and diffusers each time.

    That takes a quarter of a second, and the worker collects between any two attempts at a picture.
    """
    gc.collect()
    gc.freeze()
