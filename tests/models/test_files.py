"""A file is hashed, written and linked as everybody expects of it: whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.files import link, sha256_of, write_whole


def test_the_hash_is_the_one_that_other_programs_tell(tmp_path: Path):
    file = tmp_path / "a"
    file.write_bytes(os.urandom(2_500_000))
    heard: list[int] = []
    told = subprocess.run(
        [sys.executable, "-c", "import hashlib, sys; print(hashlib.file_digest(open(sys.argv[1], 'rb'), 'sha256').hexdigest())", file],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sha256_of(file, heard=heard.append) == told.stdout.strip()
    assert sum(heard) == 2_500_000


def test_hashing_stops_when_it_is_told_to(tmp_path: Path):
    (tmp_path / "a").write_bytes(bytes(10))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sha256_of(tmp_path / "a", stop)


@pytest.mark.skipif(os.name == "nt", reason="rights are POSIX's")
def test_a_file_that_is_replaced_keeps_its_rights(tmp_path: Path):
    file = tmp_path / "kritarc"
    file.write_bytes(b"old")
    file.chmod(0o640)
    write_whole(file, b"new")
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"new", 0o640)


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path: Path):
    write_whole(tmp_path / ("x" * 255), b"1")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]


def test_of_a_file_that_cannot_be_written_nothing_is_left(tmp_path: Path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("relative", [False, True])
def test_a_link_takes_the_place_of_an_older_one(tmp_path: Path, relative: bool):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        link(tmp_path / "link", tmp_path / name, relative=relative)
    assert (tmp_path / "link").read_text() == "two"
    assert (tmp_path / "link").readlink() == (Path("two") if relative else tmp_path / "two")
    assert len(list(tmp_path.iterdir())) == 3


def test_where_links_are_for_administrators_the_file_has_a_second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(self: Path, target: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refused)
    (tmp_path / "file").write_text("x")
    link(tmp_path / "link", tmp_path / "file")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").samefile(tmp_path / "file")
