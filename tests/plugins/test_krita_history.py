"""What a document keeps of its pictures, and what the computer keeps over sessions: whole, bounded, and patient with damage."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from krita_host import FakeHost, array_of, plane_of
from plugin_krita.protocol.desk.launcher import Launcher
from plugin_krita.protocol.desk.store import Store
from plugin_krita.protocol.errors import ServiceError
from plugin_krita.protocol.geometry import Bounds

from plugin_krita.results import NOTE_BYTES, Cache, Entry, History, opened, ordered, pack, packed_mask, unpack, unpacked_mask
from plugin_krita.tickets import Ticket, ticket_from

KRITA = {"host": "Krita", "install": "run `likeness krita install` once"}

HOST = FakeHost()
BOX = Bounds(3, 4, 8, 6)


def entry(number: int, generation: int = 1, similarity: float | None = None, **more: object) -> Entry:
    rng = np.random.default_rng(number)
    picture = plane_of(rng.integers(0, 255, (6, 8, 3), np.uint8))
    small = plane_of(np.zeros((2, 2, 4), np.uint8))
    job = f"{generation:032x}"
    made = Entry(
        f"{job}-{number}",
        job,
        generation,
        BOX,
        "a hat",
        number,
        similarity,
        {"prompt": "a hat"},
        HOST.png(picture),
        None,
        small,
        HOST.png(small),
    )
    return replace(made, **more)


def test_what_is_kept_in_the_document_comes_back_as_it_was():
    mask = plane_of(np.random.default_rng(1).integers(0, 2, (6, 8), np.uint8) * 255)
    some = [entry(1, 1, 0.5, opacity=packed_mask(mask)), entry(2, 2, None, applied=True, prompt="ß 漢字\n\"'")]
    found = unpack(HOST, pack(some))
    assert [replace(one, thumbnail=None) for one in found] == [replace(one, thumbnail=None) for one in some]
    assert (array_of(opened(HOST, found[0], False))[..., 3] == array_of(mask)).all()
    assert (array_of(opened(HOST, found[0], True))[..., 3] == 255).all()


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_note_gives_what_can_be_read_of_it_and_no_exception(seed: int):
    rng, data = np.random.default_rng(seed), bytearray(pack([entry(1), entry(2), entry(3)]))
    if seed % 3 == 0:
        data = data[: int(rng.integers(0, len(data)))]
    else:
        for _ in range(int(rng.integers(1, 30))):
            data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
    assert all(one.bounds == BOX or isinstance(one, Entry) for one in unpack(HOST, bytes(data)))


def test_a_record_that_lies_about_its_place_is_left_out():
    data, lying = BytesIO(pack([entry(1), entry(2)])), BytesIO()
    with zipfile.ZipFile(data) as old, zipfile.ZipFile(lying, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "history.json":
                record = json.loads(text)
                record["pictures"][0]["bounds"] = [0, 0, 10**9, 10**9]
                text = json.dumps(record).encode()
            new.writestr(name, text)
    assert [one.seed for one in unpack(HOST, lying.getvalue())] == [2]


def test_a_mask_that_unpacks_to_another_size_is_none():
    mask = packed_mask(plane_of(np.zeros((6, 8), np.uint8)))
    assert unpacked_mask(mask, BOX.extent) is not None
    assert unpacked_mask(mask, Bounds(0, 0, 9, 9).extent) is None
    assert unpacked_mask(b"\x78\x9cno", BOX.extent) is None


def test_the_file_keeps_20_megabytes_and_the_oldest_that_was_not_applied_goes_first():
    big = bytes(NOTE_BYTES // 4)
    history = History("d")
    history.add([entry(1, 1, png=big, applied=True), entry(2, 1, png=big), entry(3, 2, png=big)])
    history.add([entry(4, 3, png=big)])
    history.add([entry(5, 4, png=big)])
    assert sorted(one.seed for one in history.entries.values()) == [1, 4, 5]


def test_the_newest_pictures_stay_however_large_they_are_and_so_does_what_is_not_written_yet():
    history = History("d")
    history.unsaved.add(entry(1).job)
    history.add([entry(1, 1, png=bytes(NOTE_BYTES))])
    history.add([entry(number, 2, png=bytes(NOTE_BYTES)) for number in (2, 3)])
    assert len(history.entries) == 3


def test_the_order_is_newest_first_then_most_alike_then_unknown_ones_by_seed():
    some = [entry(1, 1, 0.9), entry(4, 2, None), entry(2, 2, 0.1), entry(3, 2, None), entry(5, 2, 0.7)]
    assert [one.seed for one in ordered(some)] == [5, 2, 3, 4, 1]


def test_opened_pictures_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("plugin_krita.results.CACHE_PIXELS", 100)
    cache, plane = Cache(), plane_of(np.zeros((6, 8, 4), np.uint8))
    for key in "abc":
        cache.put(key, False, plane)
    assert [cache.get(key, False) is not None for key in "abc"] == [False, True, True]


# Tickets ---------------------------------------------------------------------------------------------------------------------------------
def ticket(prompt: str = "a hat", document: str = "d" * 36) -> Ticket:
    return Ticket(
        "a" * 32, document, "x.kra", BOX, Bounds(0, 0, 900, 900), 1795000000000, prompt, 2**31 - 1, {"count": 2}, b"mask\n\x00\xff"
    )


@pytest.mark.parametrize("prompt", ["", "a hat", "漢字" * 300, "x" * 4000, '"\\\n\t' * 90])
def test_a_note_is_short_enough_for_the_backend_and_finds_the_place_again(prompt: str):
    one = ticket(prompt)
    assert len(one.note()) <= 256
    assert all(character >= " " for character in one.note())
    found = ticket_from(one.job_id, one.note(), None)
    assert (found.document, found.target, found.sent, found.generation, found.seed) == (
        one.document, one.target, one.sent, one.generation, one.seed
    )  # fmt: skip
    assert prompt.startswith(found.prompt)


def test_with_its_file_a_job_is_known_as_it_was():
    one = ticket("x" * 4000)
    assert ticket_from(one.job_id, one.note(), one.pack()) == one


@pytest.mark.parametrize(
    "note", ["", "{}", "[]", "null", '{"k":"AnalyseFaces"}', '{"d":1,"b":[0,0,0,0],"c":[],"g":"x"}', "from another program"]
)
def test_a_note_that_is_not_ours_is_none(note: str):
    assert ticket_from("a" * 32, note, None) is None


def test_a_damaged_file_is_as_good_as_none():
    one = ticket()
    for kept in (b"", b"\x00", b"{}\n", b'{"d": "another"}'):
        assert ticket_from(one.job_id, one.note(), kept).target == one.target


# What the computer keeps -----------------------------------------------------------------------------------------------------------------
def test_the_clients_id_stays_and_is_made_anew_when_its_file_is_damaged(tmp_path: Path):
    store = Store(tmp_path / "krita")
    first = store.client_id()
    assert Store(tmp_path / "krita").client_id() == first
    (tmp_path / "krita" / "client_id").write_bytes(b"\xff\x00")
    assert Store(tmp_path / "krita").client_id() != first


def test_settings_are_private_and_damaged_ones_are_the_defaults(tmp_path: Path):
    store = Store(tmp_path / "krita")
    store.keep_settings({"prompt": "ß"})
    file = tmp_path / "krita" / "settings.json"
    assert Store(tmp_path / "krita").settings() == {"prompt": "ß"}
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_bytes(b'{"prompt": "')
    assert store.settings() == {}


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path):
    (tmp_path / "krita").write_text("a file where the folder should be")
    store = Store(tmp_path / "krita")
    assert len(store.client_id()) == 32
    assert store.settings() == {}
    assert store.job("a" * 32) is None


def test_a_jobs_file_never_lies_outside_of_its_folder(tmp_path: Path):
    store = Store(tmp_path / "krita")
    store.keep_job("../../x", b"")
    store.forget_job("../client_id")
    assert list(tmp_path.rglob("*")) == []


# The launcher --------------------------------------------------------------------------------------------------------------------------
def test_the_launcher_takes_the_installed_command_then_the_environments_then_the_path(tmp_path: Path):
    started: list[list[str]] = []
    run = lambda command, **_: started.append(command)  # noqa: E731
    program = Path(sys.executable)
    own = {"LIKENESS_COMMAND": f"{program} -m backend", "PATH": str(tmp_path)}
    (tmp_path / "likeness").write_text("#!/bin/sh\n")
    (tmp_path / "likeness").chmod(0o755)
    Launcher(tmp_path / "plugin", {"PATH": str(tmp_path)}, run, **KRITA).start()
    Launcher(tmp_path / "plugin", own, run, **KRITA).start()
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "backend.json").write_text(json.dumps({"command": [str(program), "-m", "likeness"], "state": None}))
    Launcher(tmp_path / "plugin", own, run, **KRITA).start()
    assert started == [
        [str(tmp_path / "likeness"), "serve", "--detach"],
        [str(program), "-m", "backend"],
        [str(program), "-m", "likeness"],
    ]


def test_without_a_command_the_launcher_says_why_and_what_to_do(tmp_path: Path):
    launcher = Launcher(tmp_path, {"PATH": str(tmp_path)}, **KRITA)
    assert "likeness krita install" in launcher.available()
    with pytest.raises(ServiceError, match="likeness krita install"):
        launcher.start()
    (tmp_path / "backend.json").write_text(json.dumps({"command": [str(tmp_path / "gone" / "python")]}))
    assert "not there any more" in Launcher(tmp_path, {"PATH": ""}, **KRITA).available()


def test_in_a_sandbox_that_lets_no_program_out_the_docker_says_what_to_run(tmp_path: Path):
    """As `likeness krita install` writes it for Snap and the App Store; a `likeness` on the sandbox's PATH would be another one."""
    (tmp_path / "likeness").write_text("#!/bin/sh\n")
    (tmp_path / "likeness").chmod(0o755)
    state = "/h/Application Support/Likeness"
    (tmp_path / "backend.json").write_text(json.dumps({"command": [], "state": state}))
    launcher = Launcher(tmp_path, {"PATH": str(tmp_path), "LIKENESS_COMMAND": sys.executable}, **KRITA)
    assert f"`likeness serve --state '{state}'`" in launcher.available()
    with pytest.raises(ServiceError, match="likeness serve"):
        launcher.start()
    (tmp_path / "backend.json").write_text(json.dumps({"command": [], "state": None}))
    assert "`likeness serve`" in launcher.available()


def test_a_backend_inherits_nothing_that_krita_has_set_for_its_own_python(tmp_path: Path):
    """Krita 5.1.5 as Debian has it sets PYTHONPATH; the libraries' path is the user's there."""
    seen: list[dict[str, str]] = []
    environ = {"LIKENESS_COMMAND": sys.executable, "PATH": "", "PYTHONPATH": "/krita", "LD_LIBRARY_PATH": "/hers"}
    Launcher(tmp_path, environ, lambda command, env, **_: seen.append(env), **KRITA).start()
    assert seen == [{"LIKENESS_COMMAND": sys.executable, "PATH": "", "LD_LIBRARY_PATH": "/hers"}]


def test_a_backend_does_not_inherit_the_python_inside_an_appimage(tmp_path: Path):
    (tmp_path / "backend.json").write_text(json.dumps({"command": [sys.executable]}))
    seen: list[dict[str, str]] = []
    environ = {"PATH": "", "APPIMAGE": "krita.appimage", "PYTHONHOME": "/inside", "LD_LIBRARY_PATH": "/inside", "HOME": "/h"}
    Launcher(tmp_path, environ, lambda command, env, **_: seen.append(env), **KRITA).start()
    assert seen == [{"PATH": "", "APPIMAGE": "krita.appimage", "HOME": "/h"}]


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX's")
def test_what_is_started_is_in_a_session_of_its_own(tmp_path: Path):
    file = tmp_path / "session"
    command = [sys.executable, "-c", f"import os; open({str(file)!r}, 'w').write(str(os.getsid(0) == os.getpid()))"]
    (tmp_path / "backend.json").write_text(json.dumps({"command": command}))
    made: list[subprocess.Popen[bytes]] = []
    Launcher(tmp_path, {"PATH": ""}, lambda *a, **k: made.append(subprocess.Popen(*a, **k)), **KRITA).start()
    made[0].wait(300)
    assert file.read_text() == "True"
