"""What several tests of the plug-ins start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from krita_stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A presenter on a fake canvas with the document "one", and the real backend with a worker that paints. It looks often."""
    from krita_host import Document
    from krita_stage import Stage, painting

    monkeypatch.setattr("plugin_krita.heart.LOOK_S", 0.02)
    pair = painting(tmp_path / "state")
    made = Stage(tmp_path / "krita", tmp_path / "state", Document("one", name="portrait.kra"))
    made.serve(pair)
    yield made
    made.presenter.close()
    pair.close()
