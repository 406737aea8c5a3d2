from __future__ import annotations

from dataclasses import replace

import pytest
from saved_people import reading

from protocol.checks import check_job
from protocol.errors import InvalidRequest
from protocol.geometry import Extent, Point
from protocol.jobs import (
    BlendCharacters,
    BlockWeight,
    Canvas,
    Character,
    Embed,
    Guide,
    GuideKind,
    ImagePrompt,
    ImportCharacter,
    Lends,
    Mark,
    PictureJob,
    Schedule,
    Share,
    Subject,
    Window,
)
from protocol.planes import Layout, Plane


def plane(layout: Layout, width: int = 8, height: int = 4) -> Plane:
    return Plane(layout, Extent(width, height), bytes(width * height * layout.channels))


ANNA = Character("Anna")
MASK, RGBA, RGB = plane(Layout.A8), plane(Layout.RGBA8), plane(Layout.RGB8)
POINTS = (Point(1.0, 1.0),) * 5
BLOCK = BlockWeight("mid_block", 1.0)
BACKWARDS = Schedule(marks=(Mark(0.5, 1.0), Mark(0.2, 0.0)))
READING = reading(photos=2)
GOOD = {
    "an image prompt of a person alone": PictureJob(image_prompts=(ImagePrompt(who=ANNA),)),
    "who lies between two": Embed(shares=(Share("Anna", 1.0), Share("Ben", 0.0))),
    "a character of a file": ImportCharacter("Anna", RGB, (READING, reading(digit="b")), (RGB,), (0.5, 0.5)),
    "a prompt": PictureJob("x"),
    "image to image at another size": PictureJob(canvas=Canvas(RGBA), extent=Extent(16, 8)),
    "inpaint": PictureJob(canvas=Canvas(RGBA, MASK), extent=Extent(8, 4)),
    "everything together": PictureJob(
        "x",
        canvas=Canvas(RGBA, MASK),
        subjects=(Subject(ANNA, region=MASK), Subject(ANNA)),
        image_prompts=(ImagePrompt(RGB, lends=Lends.STYLE, region=MASK),),
        guides=(Guide(GuideKind.KEYPOINTS, keypoints=POINTS), Guide(GuideKind.DEPTH, RGB)),
    ),
    "blocks, a schedule and a negative picture": PictureJob(
        image_prompts=(ImagePrompt(RGB, blocks=(BLOCK,), schedule=Schedule(marks=(Mark(0.0, 0.2), Mark(1.0, 1.0))), negative=RGB),)
    ),
    "as many large ones as can be sent back": PictureJob(extent=Extent(4096, 4096), count=10),
    "a blend": BlendCharacters("x", (Share("a", 0.0), Share("b"))),
}
BAD = {
    "The canvas is a mask": PictureJob(canvas=Canvas(MASK)),
    "masks are A8": PictureJob(canvas=Canvas(RGBA, RGB)),
    "the picture 8 x 4": PictureJob(canvas=Canvas(RGBA, plane(Layout.A8, 4, 8))),
    "has the canvas's size": PictureJob(canvas=Canvas(RGBA, MASK), extent=Extent(16, 8)),
    "region of subject 2": PictureJob(subjects=(Subject(ANNA), Subject(ANNA, region=MASK)), extent=Extent(64, 64)),
    "region of image prompt 1": PictureJob(image_prompts=(ImagePrompt(RGB, region=RGB),)),
    "Image prompt 1 is a mask": PictureJob(image_prompts=(ImagePrompt(MASK),)),
    "negative picture of image prompt 1 is a mask": PictureJob(image_prompts=(ImagePrompt(RGB, negative=MASK),)),
    "names a block twice": PictureJob(image_prompts=(ImagePrompt(RGB, blocks=(BLOCK, BLOCK)),)),
    "lends its style and composition": PictureJob(image_prompts=(ImagePrompt(RGB, lends=Lends.STYLE_AND_COMPOSITION, blocks=(BLOCK,)),)),
    "schedule of image prompt 1 goes back": PictureJob(image_prompts=(ImagePrompt(RGB, schedule=BACKWARDS),)),
    "schedule of subject 1's IdentityNet": PictureJob(subjects=(Subject(ANNA, identity_net_schedule=BACKWARDS),)),
    "subject 1's IdentityNet ends": PictureJob(subjects=(Subject(ANNA, identity_net_window=Window(0.5, 0.5)),)),
    "guide 1 ends": PictureJob(guides=(Guide(GuideKind.DEPTH, RGB, window=Window(0.9, 0.1)),)),
    "face has five": PictureJob(guides=(Guide(GuideKind.KEYPOINTS, keypoints=POINTS[:4]),)),
    "guide of their own": PictureJob(guides=(Guide(GuideKind.DEPTH, RGB, POINTS),)),
    "one of the two": PictureJob(guides=(Guide(GuideKind.KEYPOINTS),)),
    "Ask for 10 at a time": PictureJob(extent=Extent(4096, 4096), count=11),
    "67108864 are allowed": PictureJob(extent=Extent(16384, 8192)),
    "weight above 0": BlendCharacters("x", (Share("a", 0.0),)),
    "neither a picture nor a person": PictureJob(image_prompts=(ImagePrompt(),)),
    "takes photos or saved characters": Embed(),
    "characters: one of the two": Embed((RGB,), shares=(Share("a"),)),
    "needs at least one character": Embed(shares=(Share("a", 0.0),)),
    "neither photos of the person": ImportCharacter("x", RGB),
    "thumbnail is a mask": ImportCharacter("x", MASK, (READING,)),
    "two readings of one recogniser": ImportCharacter("x", RGB, (READING, reading(photos=1))),
    "antelopev2 read of the person does not fit": ImportCharacter("x", RGB, (replace(READING, extents=READING.extents[:1]),)),
    "five points and a size for each": ImportCharacter("x", RGB, (replace(READING, keypoints=POINTS),)),
    "a row of 512 numbers": ImportCharacter("x", RGB, (replace(READING, numbers=RGB),)),
}


@pytest.mark.parametrize("name", GOOD)
def test_parts_that_fit_each_other_are_taken(name: str) -> None:
    check_job(GOOD[name])


@pytest.mark.parametrize("words", BAD)
def test_parts_that_do_not_fit_are_refused_with_the_reason(words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        check_job(BAD[words])
