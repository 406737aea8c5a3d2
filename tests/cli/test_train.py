"""`likeness train PART` hands its options to the part's own module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import backend.training
from backend.cli.main import main
from backend.cli.train import PARTS


def test_the_samples_are_drawn_again_as_they_are_in_the_repository(tmp_path):
    assert main(["train", "samples", "--out", str(tmp_path)]) == 0
    shipped = Path(backend.training.__file__).parent.parent / "sketch" / "samples"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in shipped.iterdir())
    for path in tmp_path.iterdir():
        drawn, kept = (np.asarray(Image.open(place / path.name)).astype(int) for place in (tmp_path, shipped))
        assert abs(drawn - kept).max() <= 2, "processors round differently, but no more than this"


def test_every_part_has_its_module():
    folder = Path(backend.training.__file__).parent
    modules = [name for names, _ in PARTS.values() for name in names.split()]
    assert [name for name in modules if not (folder / f"{name}.py").is_file()] == []


def test_the_parts_that_the_papers_name_can_be_trained():
    assert {"base", "ip-adapter", "instantid", "faces"} <= set(PARTS)


def test_a_part_tells_its_own_options(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["train", "samples", "--help"])
    assert leave.value.code == 0
    assert "--size" in capsys.readouterr().out


def test_a_wrong_option_of_a_part_is_one_sentence(refused):
    assert "--brush" in refused("train", "samples", "--out", "somewhere", "--brush", "3")
