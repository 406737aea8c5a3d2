"""`--quick`: shortcuts by name, kept in the recipe, and made again to the byte."""

from __future__ import annotations

import pytest

from backend.cli.main import main
from backend.images import read_metadata
from backend.pipelines.quick import FEW_SCHEDULER, FEWEST
from backend.recipe import Recipe


def run(*words: object) -> int:
    return main([str(word) for word in words])


def recipe(path) -> Recipe:
    return Recipe.read(read_metadata(path) or {}, path.name)


@pytest.mark.parametrize(
    ("words", "names"),
    [(["--quick"], ("few-steps", "guidance-interval", "conditional-identity")), (["--quick=guidance-interval"], ("guidance-interval",))],
)
def test_a_quick_portrait_keeps_its_shortcuts_and_again_makes_the_same_bytes(tmp_path, photo, words, names) -> None:
    out = tmp_path / "a.png"
    assert run("portrait", "--face", photo, "--seed", 5, *words, "-o", out) == 0
    kept = recipe(out)
    assert kept.shortcuts == names
    usual = (2, 3.0, "default")
    assert (kept.steps, kept.guidance_scale, kept.scheduler) == ((FEWEST, 3.0, FEW_SCHEDULER) if "few-steps" in names else usual)
    assert run("again", out) == 0
    assert (tmp_path / "a-again.png").read_bytes() == out.read_bytes()


def test_without_it_the_recipe_says_nothing_of_shortcuts(tmp_path, photo) -> None:
    assert run("portrait", "--face", photo, "--seed", 5, "-o", tmp_path / "a.png") == 0
    assert "shortcuts" not in read_metadata(tmp_path / "a.png")


def test_a_shortcut_that_is_none_is_refused_with_those_that_are(tmp_path, photo, capsys) -> None:
    with pytest.raises(SystemExit):
        run("portrait", "--face", photo, "--quick=teleport", "-o", tmp_path / "a.png")
    assert "guidance-interval" in capsys.readouterr().err


def test_the_doctor_shows_the_plan_of_a_card_that_is_given(capsys) -> None:
    run("doctor", "--memory", "12")
    said = capsys.readouterr().out
    assert "SDXL with InstantID and an IP-Adapter on a card of 12 GB: encoders leave after use" in said
    assert "works on the processor: faces" in said
    with pytest.raises(SystemExit):
        run("doctor", "--memory", "many")
