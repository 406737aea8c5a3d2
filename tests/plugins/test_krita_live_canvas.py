"""What live pictures read with Krita's real library, without a window: what an ordinary picture reads, in documents of every kind."""

from __future__ import annotations

from typing import Any

import krita_runs
import pytest

WHY_NOT = krita_runs.why_no_krita("kritarunner")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All cases, in one run of kritarunner."""
    out = tmp_path_factory.mktemp("live-cases")
    return krita_runs.run_cases("krita_live_cases", krita_runs.kept_home(out / "home"), out)


@pytest.fixture
def case(told: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    answer = told[request.param]
    assert "failed" not in answer, answer["failed"]
    return answer


def of(name: str):
    return pytest.mark.parametrize("case", [name], indirect=True)


@of("kinds")
def test_rgb_of_every_depth_is_seen_as_an_ordinary_picture_sees_it(case: dict[str, Any]):
    rgb = [told for kind, told in case.items() if kind.startswith("RGBA")]
    assert len(rgb) == 5
    for far, _, same in rgb:
        assert far <= 1
        assert same


@of("kinds")
def test_inks_grey_and_lab_are_seen_nearly_so(case: dict[str, Any]):
    """Krita converts them for its screen by another rendering intent; these are the strongest colours that there are."""
    others = [told for kind, told in case.items() if not kind.startswith("RGBA")]
    assert len(others) == 4
    assert all(far <= 48 and same for far, _, same in others)


@of("kinds")
def test_where_krita_converts_less_is_read_at_once(case: dict[str, Any]):
    assert {at_once for _, at_once, _ in case.values()} == {1 << 18, 1 << 15}
    assert case["RGBA U8 sRGB-elle-V2-srgbtrc.icc"][1] == 1 << 18


@of("stamps")
def test_opacity_and_visibility_are_noticed_and_looking_changes_nothing(case: dict[str, Any]):
    assert case == {"same": True, "fainter": True, "hidden": True, "nothing": None, "ends": True}


@of("layers")
def test_a_layer_is_read_where_it_is(case: dict[str, Any]):
    assert case["box"] == [8, 6, 4, 3]
    assert case["pixels"] == "0a141ec8" * 4
    assert case["mask"]


@of("layers")
def test_what_cannot_be_read_has_its_sentence(case: dict[str, Any]):
    assert "not in the document any more" in case["gone"]
    assert "another size" in case["beyond"]
    assert "8-bit sRGB pictures only" in case["deep"]
    assert "No document is open" in case["none"]


@of("selections")
def test_the_selection_is_seen_as_an_ordinary_picture_sees_it(case: dict[str, Any]):
    assert case == {"none": True, "same": True}
