"""LoRAs through the docker's presenter, with a real backend: listed, asked for, remembered with the picture."""

from __future__ import annotations

from krita_stage import Stage
from plugin_krita.protocol.jobs import Lora
from scripted_worker import let_go

from plugin_krita.form import LoraRow


def test_a_file_that_comes_while_krita_is_open_is_listed_without_a_restart(stage: Stage):
    stage.ready()
    stage.until(lambda: stage.presenter.models)
    assert stage.presenter.models[0].loras == ()
    let_go(stage.state, "ink.lora")
    stage.until(lambda: stage.presenter.models[0].loras)
    assert [one.name for one in stage.presenter.models[0].loras] == ["ink"]


def test_those_of_the_form_are_asked_for_and_come_back_with_the_picture(stage: Stage, monkeypatch):
    submitted = []
    submit = stage.presenter._desk.client.submit
    monkeypatch.setattr(stage.presenter._desk.client, "submit", lambda job, **more: submitted.append(job) or submit(job, **more))
    stage.ready()
    stage.presenter.add_lora("ink")
    stage.presenter.add_lora("oil")
    stage.presenter.change_lora(0, 0.5)
    stage.presenter.change_lora(1, 0.0)
    stage.presenter.change(count=1, live_preview=False)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.results)
    assert [job.loras for job in submitted] == [(Lora("ink", 0.5),)]
    stage.presenter.remove_lora(0)
    stage.presenter.remove_lora(0)
    assert stage.presenter.form.loras == ()
    stage.presenter.reuse(stage.presenter.results[0].key)
    assert stage.presenter.form.loras == (LoraRow("ink", 0.5), LoraRow("oil", 0.0))


def test_a_picture_takes_no_more_than_a_job_and_says_so(stage: Stage):
    for number in range(16):
        stage.presenter.add_lora(f"lora {number}")
    assert stage.presenter.notice == ""
    stage.presenter.add_lora("one more")
    assert stage.presenter.notice == "A picture takes 16 LoRAs at most. Take one out first."
    assert len(stage.presenter.form.loras) == 16


def test_they_are_kept_over_a_restart_of_krita(stage: Stage):
    stage.presenter.add_lora("ink")
    stage.presenter.change_lora(0, 0.35)
    stage.presenter.close()
    stage.again()
    assert stage.presenter.form.loras == (LoraRow("ink", 0.35),)
