"""What the goals count, and what is said of them. No test here depends on how long anything takes."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from backend.config import load_settings
from backend.models.kept import Kept
from backend.models.memory_plan import Level
from backend.speed import engine_goals
from backend.speed.chart import draw
from backend.speed.engine_goals import Run
from backend.speed.goals import Figure, Report
from backend.speed.memory import LiveBytes, levels
from backend.speed.phases import Phases, phases
from backend.speed.run import measure_engine
from backend.speed.start import imported
from protocol.errors import InvalidRequest, ServiceError

QUICK = Run(steps=5, rounds=1, cancels=3)


def test_a_known_persons_second_picture_asks_neither_for_the_face_nor_the_text_nor_the_projection(rig):
    calls, _ = engine_goals.known_person(rig, QUICK)
    assert (calls.value, calls.met) == (0, True)


def test_a_forgetful_engine_misses_that_goal(rig, monkeypatch):
    """The unsafe twin: nothing of a face is kept."""
    monkeypatch.setattr(Kept, "get", lambda self, maker, content, make: make())
    calls, _ = engine_goals.known_person(rig, QUICK)
    assert calls.value > 0
    assert not calls.met


def test_the_window_is_counted_in_calls_and_equals_a_run_at_scale_zero(rig):
    calls, time = engine_goals.window(rig, QUICK)
    assert (calls.value, calls.target) == (3, 3)
    assert "outputs equal bit for bit" in time.detail


def test_the_comparison_with_plain_diffusers_says_that_outputs_are_equal_and_how_much_arithmetic_is_saved(rig):
    figure = engine_goals.against_plain(rig, QUICK)
    assert "outputs equal bit for bit" in figure.detail
    share = float(figure.detail.split("operations ")[1].split()[0])
    assert 0 < share < 1


def test_every_cancelled_picture_ends_and_is_counted(rig):
    figure = engine_goals.cancelling(rig, QUICK)
    assert figure.detail.startswith("3 requests")
    assert figure.value > 0


def test_previews_change_no_picture_and_come_once_a_step(rig):
    watch = engine_goals._Noting(lambda: 0.0)
    rig.draw(rig.job(11, 4, previews=1), watch)
    assert len(watch.previews) == 3, "the last step is followed by the picture"
    assert engine_goals.previews(rig, QUICK).detail == "pictures equal; 2 pairs of steps"


def test_steps_that_a_preview_follows_are_compared_with_the_next_ones():
    watch = engine_goals._Noting(lambda: 0.0)
    watch.steps = [0.0, 1.0, 12.0, 15.0, 26.0, 28.0]
    assert watch.in_pairs == [(11.0, 3.0), (11.0, 2.0)]


def test_previews_that_cost_much_miss_their_goal(rig, monkeypatch):
    """The unsafe twin: every preview takes as long as some steps, on a clock that only previews and steps move."""
    clock = iter(range(1000))
    monkeypatch.setattr(rig.timer, "now", lambda: float(next(clock)))
    monkeypatch.setattr(engine_goals._Noting, "preview", lambda self, pixels, step: [self._now() for _ in range(5)] and None)
    assert not engine_goals.previews(rig, QUICK).met


def test_phases_of_a_picture_are_in_their_order_and_none_is_left_out(rig):
    found = phases(rig, 12, 3)
    assert min(found.before, found.text, found.face, found.steps, found.decoding) > 0
    assert found.text + found.face < found.before


def test_the_shares_of_a_picture_add_up_with_the_way_to_the_backend():
    (line,) = Phases(before=0.4, text=0.1, face=0.2, steps=1.3, decoding=0.2).lines(0.1)
    assert "text 100.0 ms (5.0%), face 200.0 ms (10.0%), the rest before the first step 100.0 ms (5.0%)" in line
    assert "steps 1.30 s (65.0%), VAE 200.0 ms (10.0%), protocol 100.0 ms (5.0%)" in line


def report() -> Report:
    good = Figure("G1", "a picture", 0.97, 1.0, "", "outputs equal bit for bit", {"engine": 1.5, "plain": 1.6})
    bad = Figure("G7", "the end of a cancelled picture", 0.3, 0.15, "steps")
    none = Figure("G8", "calls", 0, 0, "calls")
    return Report("The engine", {"shapes": "tiny"}, (good, bad, none), ("a note",), ("G2: it needs a GPU.",))


def test_each_goal_has_a_row_with_figure_target_and_whether_it_is_met():
    lines = report().lines()
    assert any(line.startswith("G1 ") and "0.970" in line and "at most 1.000" in line and line.endswith("met") for line in lines)
    assert any(line.startswith("G7 ") and line.endswith("MISSED") for line in lines)
    assert "Not measured here: G2: it needs a GPU." in lines
    assert not report().good


def test_a_report_is_written_for_programs_and_drawn_for_people(tmp_path):
    report().write_json(tmp_path / "bench.json")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert [figure["met"] for figure in found["figures"]] == [True, False, True]
    assert found["figures"][0]["seconds"] == {"engine": 1.5, "plain": 1.6}
    draw(report(), tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as picture:
        colours = {colour for _, colour in picture.getcolors(picture.width * picture.height)}
    assert {(58, 125, 68), (181, 67, 47)} <= colours, "a bar for what is met and one for what is missed"


def test_memory_follows_tensors_until_they_are_gone():
    import torch

    with LiveBytes() as live:
        first = torch.ones(1000)
        view = first[:10]
        second = first * 2
        assert live.now == 8000
        del first
        assert live.now == 8000, "the view still holds it"
        del view, second
        assert live.now == 0
    assert live.peak == 8000


def test_every_level_of_the_memory_plan_draws_the_same_picture_and_the_rig_is_whole_again(rig):
    whole, others = levels(rig, 2, [Level.ALL, Level.ENCODERS_AWAY, Level.TAKING_TURNS])
    assert list(others) == [Level.ENCODERS_AWAY, Level.TAKING_TURNS]
    assert min(whole.peak, *(taken.peak for taken in others.values())) > 0
    assert rig.engine.parts.residency.level is Level.ALL


def test_a_level_that_draws_something_else_is_not_measured(rig, monkeypatch):
    """The unsafe twin: each picture has another seed."""
    jobs = iter(range(100))
    plain = rig.job
    monkeypatch.setattr(rig, "job", lambda number, steps: plain(number, steps, seed=next(jobs)))
    with pytest.raises(ServiceError, match="another picture"):
        levels(rig, 1, [Level.ALL, Level.ENCODERS_AWAY])


def test_compiled_blocks_are_compared_with_plain_ones_and_the_next_requests_compile_nothing(rig):
    figure = engine_goals.compiled(rig, Run(steps=2, rounds=1), backend="eager")
    assert "graphs made after the first requests: 0" in figure.detail
    assert rig.engine.parts.compiler is None


def test_an_import_that_fails_is_said():
    assert imported("pass") > 0
    with pytest.raises(ServiceError, match="could not import"):
        imported("import a_module_that_nobody_has")


def test_unknown_shapes_are_refused_with_those_that_there_are(tmp_path):
    settings = load_settings({"device": "cpu", "models": str(tmp_path)}, {})
    with pytest.raises(InvalidRequest, match="sdxl, small, tiny"):
        measure_engine(settings, "huge", QUICK, lambda line: None)


@pytest.mark.slow
def test_a_whole_run_measures_every_goal_that_a_processor_can_and_says_what_it_cannot(tmp_path):
    settings = load_settings({"device": "cpu", "models": str(tmp_path)}, {})
    said: list[str] = []
    found = measure_engine(settings, "tiny", QUICK, said.append)
    assert [figure.goal for figure in found.figures] == ["G1", "G5", "G6", "G7", "G8", "G8", "G9", "G9", "G15", "G15"]
    assert [words[:3].strip(" (") for words in found.not_measured[:2]] == ["G2", "G10"]
    assert found.figures[4].met
