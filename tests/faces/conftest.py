"""One analyser over a synthetic face pack, made once for the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_faces import write_pack

from backend.faces import FaceAnalyser


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def analyser(pack: Path) -> FaceAnalyser:
    return FaceAnalyser(pack)
