"""Files that are no files, names that nobody types, and places where nothing can be written: one sentence each, before any work."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

import pytest

from backend.cli.main import main

LONG = "x" * 300
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a place in a folder")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


@needs_pipes
@pytest.mark.parametrize("words", [("--face", "{pipe}"), ("--face", "{photo}", "--image-prompt", "{pipe}")])
def test_a_pipe_is_refused_and_not_waited_for(refused, tmp_path, photo, pipe, words):
    words = [word.format(pipe=pipe, photo=photo) for word in words]
    assert "a pipe or a device" in refused("portrait", *words, "-o", tmp_path / "out.png")


def test_an_image_prompt_that_is_no_picture_is_named_as_it_was_typed(refused, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    Path("text.png").write_text("no picture")
    said = refused("portrait", "--face", photo, "--image-prompt", "text.png:0.5", "-o", "below/out.png")
    assert "portrait: text.png is not a picture" in said


@pytest.mark.parametrize("option", ["--face", "--person", "--pose", "--image-prompt"])
def test_a_file_without_a_name_is_not_taken_for_the_folder_that_one_is_in(refused, tmp_path, option):
    assert "no file without a name" in refused("portrait", option, "", "-o", tmp_path / "out.png")


@pytest.mark.parametrize("words", [("--face", LONG), ("--face", "{photo}", "--image-prompt", LONG), ("--face", "{photo}", "--pose", LONG)])
def test_a_name_that_is_too_long_to_be_read(refused, tmp_path, photo, words):
    assert "name too long" in refused("portrait", *(word.format(photo=photo) for word in words), "-o", tmp_path / "out.png").lower()


def test_a_name_that_is_too_long_to_be_written(refused, tmp_path, photo):
    assert "File name too long" in refused("portrait", "--face", photo, "-o", tmp_path / f"{LONG}.png")


def test_a_name_that_becomes_too_long_by_its_number(refused, tmp_path, photo):
    words = ("--face", photo, "--count", 2, "-o", tmp_path / f"{LONG[:251]}.png")
    assert "-2.png cannot be written: File name too long" in refused("portrait", *words)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder where even an administrator writes nothing")
def test_a_place_where_nothing_can_be_written_is_found_before_anything_is_opened(refused):
    said = refused("portrait", "--face", "there is no such photo.png", "-o", "/proc/out.png")
    assert "/proc/out.png cannot be written" in said


def test_what_cannot_be_printed_of_a_name_is_escaped(refused, tmp_path):
    assert "a\\nb\\x1b[2J.png cannot be read" in refused("portrait", "--face", "a\nb\x1b[2J.png", "-o", tmp_path / "out.png")
    assert "a\\nb.jpg does not end in .png" in refused("portrait", "-o", "a\nb.jpg")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a name that is no Unicode")
def test_a_result_whose_name_is_no_unicode_is_written_and_said(tmp_path, photo, capsysbinary):
    out = Path(os.fsdecode(bytes(tmp_path) + b"/n\xff.png"))
    assert main(["portrait", "--face", str(photo), "--seed", "1", "-o", str(out)]) == 0
    assert out.is_file()
    assert b"n\\udcff.png: seed 1" in capsysbinary.readouterr().out


def test_a_prompt_that_is_no_text(refused, tmp_path, photo):
    assert "not written in the terminal's encoding" in refused(
        "portrait", "--face", photo, "--prompt", os.fsdecode(b"\xff"), "-o", tmp_path / "out.png"
    )


def test_help_is_shown_where_only_ascii_can_be(monkeypatch, tmp_path):
    with (tmp_path / "help.txt").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", TextIOWrapper(file, "ascii"))
        with pytest.raises(SystemExit) as leave:
            main(["portrait", "--help"])
        sys.stdout.flush()
        assert leave.value.code == 0
    assert b"OUT-3.png \\u2026" in (tmp_path / "help.txt").read_bytes()


def test_an_option_that_there_is_not_names_the_help_of_its_command(refused):
    assert "`likeness portrait --help`" in refused("portrait", "--face", "a.png", "--brush", "3", "-o", "out.png")


def test_an_option_of_all_commands_that_stands_behind_the_command(refused):
    assert "`likeness --alone portrait …`" in refused("portrait", "--face", "a.png", "-o", "out.png", "--alone")


@pytest.mark.parametrize("name", ["", ".png"])
def test_a_result_without_a_name(refused, name):
    said = refused("portrait", "--face", "a.png", "-o", name)
    assert ("an empty name does not end" if not name else "has no name before .png") in said


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a folder where even an administrator writes nothing")
@pytest.mark.parametrize("command", ["demo", "evaluate"])
def test_a_folder_of_results_where_nothing_can_be_written_is_found_before_anything_is_opened(refused, command):
    assert "Nothing can be written into /proc" in refused(command, "--out", "/proc")


@pytest.mark.parametrize("what", ["a file in its place", "a place that cannot be"])
def test_a_backend_that_cannot_keep_its_files_says_where_and_what_to_do(refused, tmp_path, photo, monkeypatch, what):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LIKENESS_STATE", str(tmp_path / "file" / "state") if what != "a file in its place" else str(tmp_path / "file"))
    monkeypatch.setenv("LIKENESS_ALONE", "no")
    assert "Set LIKENESS_STATE to a folder" in refused("portrait", "--face", photo, "-o", tmp_path / "out.png")
