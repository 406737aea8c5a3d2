"""Installed packages are found by the names of their folders, as importlib.metadata finds them by what is in them."""

from __future__ import annotations

import re
from importlib import metadata

from backend.installed import release, versions


def test_all_that_importlib_finds_is_found_with_its_version() -> None:
    expected: dict[str, str] = {}
    for one in metadata.distributions():
        expected.setdefault(re.sub(r"[-_.]+", "-", one.name or "").lower(), one.version)
    found = versions("")
    assert {name: version for name, version in expected.items() if name in found} == found
    assert {"torch", "diffusers", "numpy"} <= found.keys()


def test_names_are_told_apart_and_written_as_one(tmp_path) -> None:
    for folder in (
        "onnxruntime_gpu-1.31.0.dist-info",
        "Onnx.Runtime-2.dist-info",
        "onnxruntime-1.30.1rc1.dist-info",
        "old-3-py3.11.egg-info",
    ):
        (tmp_path / folder).mkdir()
    assert versions("onnxruntime", [str(tmp_path)]) == {"onnxruntime-gpu": "1.31.0", "onnxruntime": "1.30.1rc1"}
    assert versions("o", [str(tmp_path / "nowhere"), str(tmp_path)]).keys() == {"onnxruntime-gpu", "onnx-runtime", "onnxruntime", "old"}


def test_the_release_is_that_of_the_package_or_none() -> None:
    try:
        assert release() == metadata.version("likeness-studio")
    except metadata.PackageNotFoundError:
        assert release() is None
