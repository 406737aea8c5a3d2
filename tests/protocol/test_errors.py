from __future__ import annotations

import re

import pytest

from protocol import errors
from protocol.errors import LikenessError, error_classes, error_from_wire

CLASSES = sorted(error_classes().values(), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_says_what_happened_and_what_to_do(cls: type[LikenessError]) -> None:
    sentence = str(cls())
    assert sentence.startswith((cls.__doc__ or "").strip()[:20])
    assert sentence.endswith(cls.cure)
    assert re.fullmatch(r"[A-Z].*[.]", cls.cure)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code)


def test_a_sentence_of_its_own_is_shown_as_it_is() -> None:
    assert str(errors.NoFace("Photo 2 shows no face.")) == "Photo 2 shows no face."


def test_every_error_has_a_code_of_its_own_and_survives_the_wire() -> None:
    defined = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, LikenessError)}
    assert set(CLASSES) == defined
    for cls in CLASSES:
        again = error_from_wire(cls.code, "What, why, what to do.")
        assert (type(again), str(again)) == (cls, "What, why, what to do.")


def test_a_code_of_a_newer_version_is_shown_by_its_sentence() -> None:
    again = error_from_wire("moon-phase", "The moon is full. Wait.")
    assert (type(again), str(again)) == (LikenessError, "The moon is full. Wait.")


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = re.findall(r"^([│ ]*)(?:[├└]── )?([A-Z]\w+)", (errors.__doc__ or "").split("\n\n", 1)[1], re.MULTILINE)
    for (depth, name), _ in zip(drawn, drawn, strict=True):
        cls = getattr(errors, name)
        assert len(cls.__mro__) - len(LikenessError.__mro__) == (len(depth) // 4 + 1 if cls is not LikenessError else 0), name
    assert {name for _, name in drawn} == {cls.__name__ for cls in CLASSES}
