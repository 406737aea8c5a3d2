"""Every control changes the form, through the presenter, and shows the form that the presenter has."""

from __future__ import annotations

import pytest

from plugin_krita.form import GuideRow, Mode, PersonRow, Pose, PromptRow, Quality


def choose(chooser, value: object) -> None:
    """Pick a value as the artist does."""
    place = [offered for _, offered in chooser._offered].index(value)
    chooser.setCurrentIndex(place)
    chooser.activated.emit(place)


SETTINGS = [
    ("mode by a button", lambda d: d.prompt.modes[Mode.EXPAND].click(), "mode", Mode.EXPAND),
    ("prompt", lambda d: d.prompt.prompt.insertPlainText("a red coat"), "prompt", "a red coat"),
    ("negative prompt", lambda d: d.advanced.negative.insertPlainText("blurry"), "negative", "blurry"),
    ("change strength", lambda d: d.prompt.change.setValue(0.25), "change", 0.25),
    ("count", lambda d: d.prompt.count.setValue(5), "count", 5),
    ("seed", lambda d: d.advanced.seed.setValue(77), "seed", 77),
    ("seed locks when typed", lambda d: d.advanced.seed.setValue(77), "seed_locked", True),
    ("lock", lambda d: d.advanced.lock.click(), "seed_locked", True),
    ("dice locks", lambda d: d.advanced.dice.click(), "seed_locked", True),
    ("model", lambda d: choose(d.advanced.model, "plain"), "model", "plain"),
    ("quality", lambda d: choose(d.advanced.quality, Quality.FINE), "quality", Quality.FINE),
    ("guidance scale", lambda d: d.advanced.guidance.setValue(6.5), "guidance_scale", 6.5),
    ("guidance scale of nought", lambda d: d.advanced.guidance.setValue(0.0), "guidance_scale", 0.0),
    ("feather", lambda d: d.advanced.feather.setValue(12), "feather", 12),
    ("grow", lambda d: d.advanced.grow.setValue(20), "grow", 20),
    ("shrink", lambda d: d.advanced.grow.setValue(-30), "grow", -30),
    ("live preview", lambda d: d.advanced.live.click(), "live_preview", False),
]


@pytest.mark.parametrize(("act", "name", "value"), [case[1:] for case in SETTINGS], ids=[case[0] for case in SETTINGS])
def test_a_control_changes_the_form(docker, presenter, act, name, value):
    assert getattr(presenter.form, name) != value
    act(docker)
    assert getattr(presenter.form, name) == value
    assert all(call[0] == "change" for call in presenter.asked)


def test_dice_give_another_seed_each_time(docker, presenter):
    seeds = set()
    for _ in range(4):
        docker.advanced.dice.click()
        presenter.tick()
        seeds.add(presenter.form.seed)
        assert docker.advanced.seed.value() == presenter.form.seed
    assert len(seeds) > 1


@pytest.mark.parametrize("name", ["guidance", "feather"])
def test_the_lowest_step_of_a_number_is_auto(docker, presenter, name):
    field = getattr(docker.advanced, name)
    key = "guidance_scale" if name == "guidance" else name
    field.setValue(4)
    assert getattr(presenter.form, key) == 4
    field.setValue(field.minimum())
    assert getattr(presenter.form, key) is None
    assert field.text() == "auto"


def test_what_the_form_says_is_shown_without_telling_the_presenter(docker, presenter):
    presenter.form = presenter.form.changed(
        mode=Mode.REFINE,
        prompt="an old man",
        negative="hat",
        change=0.3,
        count=7,
        seed=99,
        seed_locked=True,
        model="sketch",
        quality=Quality.DRAFT,
        guidance_scale=3.5,
        feather=9,
        grow=2,
        live_preview=False,
        persons=(PersonRow("Ben", 0.4, 1.1),),
        pose=Pose.PHOTO,
    )
    presenter.put(form=presenter.form)
    prompt, advanced, card = docker.prompt, docker.advanced, docker.persons.cards[0]
    assert [mode for mode, button in prompt.modes.items() if button.isChecked()] == [Mode.REFINE]
    assert (prompt.prompt.toPlainText(), advanced.negative.toPlainText()) == ("an old man", "hat")
    assert (prompt.change.value(), prompt.count.value(), advanced.seed.value()) == (0.3, 7, 99)
    assert advanced.lock.isChecked()
    assert (advanced.model.currentText(), advanced.quality.currentText()) == ("Sketch", "draft (15 steps)")
    assert (advanced.guidance.value(), advanced.feather.value(), advanced.grow.value()) == (3.5, 9, 2)
    assert not advanced.live.isChecked()
    assert (card.likeness.value(), card.structure.value()) == (0.4, 1.1)
    assert docker.persons.pose.currentText() == "as in the photo"
    assert presenter.asked == []


def test_a_slider_is_dragged_and_shows_its_number(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt, QtCore

    presenter.add_person("Anna")
    presenter.tick()
    slider = docker.persons.cards[0].likeness
    bar = slider.lineEdit()
    test_of_qt.mouseClick(bar, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QtCore.QPoint(bar.width() - 1, 5))
    assert presenter.form.persons[0].likeness == 1.5
    test_of_qt.mouseClick(bar, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QtCore.QPoint(bar.width() // 2, 5))
    assert presenter.form.persons[0].likeness == pytest.approx(0.75, abs=0.02)
    assert bar.text() == f"Likeness: {slider.value():.2f}"


def test_a_number_can_be_typed_into_a_slider(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt, QtCore

    presenter.add_person("Anna")
    presenter.tick()
    bar = docker.persons.cards[0].structure.lineEdit()
    test_of_qt.mouseDClick(bar, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QtCore.QPoint(20, 5))
    test_of_qt.keyClicks(bar, "1.15")
    assert presenter.form.persons[0].structure != 1.15  # not while it is typed
    test_of_qt.keyClick(bar, Qt.Key.Key_Return)
    assert presenter.form.persons[0].structure == 1.15


def test_strengths_and_regions_belong_to_their_own_person(docker, presenter):
    for name in ("Anna", "Ben"):
        presenter.add_person(name)
    presenter.tick()
    first, second = docker.persons.cards
    second.likeness.setValue(0.3)
    first.structure.setValue(1.2)
    choose(second.region, "l3")
    choose(first.region, "selection")
    anna, ben = presenter.form.persons
    assert (anna.likeness, anna.structure, anna.region) == (0.8, 1.2, "selection")
    assert (ben.likeness, ben.structure, ben.region) == (0.3, 0.8, "l3")
    second.remove.click()
    presenter.tick()
    assert [row.name for row in presenter.form.persons] == ["Anna"]
    assert len(docker.persons.cards) == 1


def test_the_face_of_the_first_person_goes_where_the_chooser_says(docker, presenter):
    presenter.add_person("Anna")
    presenter.tick()
    choose(docker.persons.pose, Pose.PHOTO)
    assert presenter.form.pose is Pose.PHOTO
    assert not docker.persons.editor.isVisible()
    choose(docker.persons.pose, Pose.HAND)
    presenter.tick()
    assert docker.persons.editor.isVisible()


def test_layers_become_image_prompts_and_guides(docker, presenter):
    guides = docker.guides
    guides.image_prompts.add.click()
    guides.guides.add.click()
    presenter.tick()
    assert presenter.form.image_prompts == (PromptRow("l2", "style", 0.6),)
    assert presenter.form.guides == (GuideRow("l2", "depth", 0.5),)
    prompt, guide = guides.image_prompts.cards[0], guides.guides.cards[0]
    choose(prompt.layer, "l1")
    choose(prompt.kind, "composition")
    prompt.weight.setValue(1.1)
    choose(guide.layer, "l3")
    choose(guide.kind, "lines")
    guide.weight.setValue(0.9)
    assert presenter.form.image_prompts == (PromptRow("l1", "composition", 1.1),)
    assert presenter.form.guides == (GuideRow("l3", "lines", 0.9),)
    guides.guides.add.click()
    presenter.tick()
    guides.guides.cards[1].weight.setValue(0.2)
    assert [row.weight for row in presenter.form.guides] == [0.9, 0.2]
    guides.guides.cards[0].remove.click()
    guides.image_prompts.cards[0].remove.click()
    presenter.tick()
    assert [row.layer for row in presenter.form.guides] == ["l2"]
    assert presenter.form.image_prompts == ()


def test_only_guides_of_the_chosen_model_are_offered(docker, presenter, words):
    presenter.change(model="sketch")
    presenter.change(guides=(GuideRow("l1"),))
    presenter.tick()
    kind = docker.guides.guides.cards[0].kind
    assert [kind.itemText(place) for place in range(kind.count())] == ["depth", "lines"]
    presenter.change(model="plain")
    presenter.tick()
    assert not docker.guides.guides.add.isEnabled()
    assert "takes no guides" in words(docker.guides)


def test_a_layer_that_is_gone_is_named_so(docker, presenter):
    presenter.change(guides=(GuideRow("l1"),))
    presenter.tick()
    presenter.put(layers=presenter.layers[1:])
    assert docker.guides.guides.cards[0].layer.currentText() == "a layer that is gone"


def test_a_section_that_is_folded_stays_folded(docker, presenter, make):
    docker.sections["results"].heading.click()
    assert presenter.form.folded == ("results",)
    presenter.tick()
    assert not docker.results.isVisible()
    assert docker.prompt.isVisible()
    docker.sections["advanced"].heading.click()
    docker.sections["results"].heading.click()
    presenter.tick()
    assert presenter.form.folded == ("advanced",)
    assert docker.results.isVisible()
    assert not docker.advanced.isVisible()
