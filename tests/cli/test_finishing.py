"""The options about sampling and second passes: understood, kept in the picture, and asked for again as they were."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import replace
from types import SimpleNamespace

import pytest

from backend.cli.finishing import add_finishing, finished
from backend.recipe import Recipe
from protocol.jobs import FacePass, SecondPass

PLAIN = Recipe("tiny", "a (hat:1.2)", "", 3, 20, 4.0, "default", 64, 64)
ALL = "--steps 12 --guidance 6.5 --scheduler 'DPM++ 2M SDE Karras' --guidance-rescale 0.7 --tiled --second-pass 1.5:0.4 --face-pass 0.6:0.3"


def options(*words):
    parser = ArgumentParser(exit_on_error=False)
    add_finishing(parser)
    return parser.parse_args(list(words))


def words_of(line):
    import shlex

    return shlex.split(line)


def test_without_an_option_a_recipe_is_as_it_was_and_says_nothing_new():
    recipe = finished(PLAIN, options())
    assert recipe == PLAIN
    assert not {"guidance_rescale", "tiled", "second_pass", "face_pass"} & recipe.metadata().keys()


def test_what_is_asked_for_is_kept_in_the_picture_and_asked_for_again():
    recipe = finished(PLAIN, options(*words_of(ALL)))
    read = Recipe.read(json.loads(json.dumps(recipe.metadata())), "a picture")
    assert read == recipe
    job = read.job(SimpleNamespace(model=None), beside=None)
    assert (job.sampling.steps, job.sampling.guidance_scale, job.sampling.scheduler) == (12, 6.5, "dpm++2m-sde-karras")
    assert (job.sampling.guidance_rescale, job.sampling.tiled) == (0.7, True)
    assert job.second_pass == SecondPass(1.5, 0.4)
    assert job.face_pass == FacePass(0.6, 0.3)


def test_passes_without_numbers_are_the_usual_ones():
    recipe = finished(PLAIN, options("--second-pass", "--face-pass", "--no-tiled"))
    assert (recipe.second_pass, recipe.face_pass, recipe.tiled) == (SecondPass(), FacePass(), False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scheduler", "Eulr"), "Did you mean Euler"), (("--steps", "0"), "from 1 to 1000"),
        (("--second-pass", "9"), "scale from 1 to 4"),
        (("--face-pass", "0"), "changes nothing"), (("--guidance-rescale", "2"), "from 0 to 1"), (("--guidance", "much"), "give a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said(words, said):
    import argparse

    with pytest.raises(argparse.ArgumentError, match=said):
        options(*words)


def test_the_recipe_of_an_older_picture_is_still_read():
    old = PLAIN.metadata()
    assert Recipe.read(old, "old").second_pass is None
    assert Recipe.read(replace(PLAIN, second_pass=SecondPass()).metadata(), "new").second_pass == SecondPass()
