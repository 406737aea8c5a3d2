"""The built-in model, opened once for each file of tests; no other model is found."""

from __future__ import annotations

import pytest

from backend.config import load_settings
from backend.workbench import Workbench, open_workbench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    elsewhere = tmp_path_factory.mktemp("no-other-models")
    return open_workbench(load_settings({"models": str(elsewhere), "device": "cpu"}, {}))
