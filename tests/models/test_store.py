"""A store with a small catalogue: what is planned, found elsewhere, linked, verified and removed."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from model_server import FakeHub, Fault, running

from backend.models.catalog import Catalog, CatalogFile, Part
from backend.models.store import Held, Record, Store
from backend.models.store_fetch import Patience, Trust
from backend.models.store_found import hub_cache, search, usual_folders
from backend.models.store_http import Hub
from backend.models.store_pull import Plan, Pull, adopt, checked, need_network, need_room, plan
from backend.models.store_remove import remove_unfinished
from protocol.errors import DiskFull, InvalidRequest, ModelError

BIG = random.Random(3).randbytes(50_000)
TWIN = random.Random(4).randbytes(50_000)
"""Another file of the same size, as IP-Adapter Plus and Plus Face are."""
SMALL = b"{}"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_of(path: str, content: bytes, known: bool = True) -> CatalogFile:
    size, digest = (len(content), sha(content)) if known else (None, None)
    return CatalogFile("org/repo", "main", path, path, size, digest)


KNOWN, OTHER, FREE = file_of("a/big.bin", BIG), file_of("a/twin.bin", TWIN), file_of("a/free.json", SMALL, known=False)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running(FakeHub()) as server:
        for file, content in ((KNOWN, BIG), (OTHER, TWIN), (FREE, SMALL)):
            server.put("org/repo", file.path, content)
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "models")
    made.partial.mkdir(parents=True)
    return made


def pull(store: Store, hub: FakeHub, *files: CatalogFile, record: Record | None = None) -> Record:
    todo, known = plan(store, record or store.read(), files)
    return Pull(store, Hub(hub.endpoint), Patience(3, 0.0)).run(known, todo)


def test_what_is_there_is_not_fetched_again(store: Store, hub: FakeHub) -> None:
    record = pull(store, hub, KNOWN, FREE)
    assert record == store.read()
    asked = len(hub.asked)
    assert pull(store, hub, KNOWN, FREE) == record
    assert len(hub.asked) == asked
    assert {held.trust for held in record.files.values()} == {"catalogue", "first use"}


def test_two_names_of_one_file_are_one_download_and_one_blob(store: Store, hub: FakeHub) -> None:
    again = replace(KNOWN, path="b/copy.bin", repository="org/other")
    record = pull(store, hub, KNOWN, again)
    assert len(hub.asked) == 1
    assert len({held.path for held in record.files.values()}) == 1


def test_a_blob_that_the_record_does_not_know_is_read_and_taken(store: Store, hub: FakeHub) -> None:
    store.blob("x").parent.mkdir(parents=True)
    store.blob(sha(BIG)).write_bytes(BIG)
    store.blob(sha(TWIN)).write_bytes(TWIN[:-1] + b"?")
    todo, record = plan(store, store.read(), [KNOWN, OTHER])
    assert todo.there == (KNOWN,)
    assert [job[0] for job in todo.fetch] == [OTHER]
    assert record.files[KNOWN.key].sha256 == sha(BIG)


def test_what_was_trusted_on_first_use_is_held_to_it_ever_after(store: Store, hub: FakeHub) -> None:
    record = pull(store, hub, FREE)
    assert record.fixed == {FREE.key: sha(SMALL)}
    forgotten = replace(record, files={})
    store.blob(sha(SMALL)).unlink()
    hub.put("org/repo", FREE.path, b"[]")
    with pytest.raises(ModelError, match=r"a/free\.json of org/repo is damaged or another file"):
        pull(store, hub, FREE, record=forgotten)
    hub.put("org/repo", FREE.path, SMALL)
    assert pull(store, hub, FREE, record=forgotten).files[FREE.key].sha256 == sha(SMALL)


def test_the_first_error_ends_the_pull_and_what_came_stays(store: Store, hub: FakeHub) -> None:
    hub.put("org/repo", KNOWN.path, BIG, Fault(status=404))
    with pytest.raises(ModelError, match="is not there"):
        pull(store, hub, FREE, KNOWN)
    todo, _ = plan(store, store.read(), [FREE, KNOWN])
    assert KNOWN in [job[0] for job in todo.fetch]
    assert pull(store, hub, FREE, KNOWN).files.keys() == {FREE.key, KNOWN.key}


def test_room_is_asked_for_before_the_first_byte(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    todo, _ = plan(store, store.read(), [replace(KNOWN, bytes=50 * 2**30)])
    monkeypatch.setattr(Store, "free_bytes", lambda self: 3 * 2**30)
    with pytest.raises(DiskFull, match=r"50\.1 GiB are still to be fetched, and 3\.0 GiB are free"):
        need_room(store, todo)
    begun = Plan(todo.there, todo.fetch, 48 * 2**30)
    need_room(store, begun)


def test_a_disk_that_fills_under_way_is_a_sentence_and_the_rest_goes_on_later(
    store: Store, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    full = [True]

    def fsync(handle: int) -> None:
        if full[0]:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("backend.models.store_fetch.os.fsync", fsync)
    with pytest.raises(DiskFull, match=r"The disk is full: a/big\.bin"):
        pull(store, hub, KNOWN)
    full[0] = False
    assert pull(store, hub, KNOWN).files[KNOWN.key].bytes == len(BIG)
    assert len(hub.asked) == 1


def test_offline_names_what_is_missing(store: Store) -> None:
    todo, _ = plan(store, store.read(), [KNOWN])
    with pytest.raises(InvalidRequest, match=r"HF_HUB_OFFLINE.*org/repo/a/big\.bin"):
        need_network(Hub(offline=True), todo)
    need_network(Hub(offline=True), Plan((KNOWN,), (), 0))


def test_a_file_of_another_program_is_found_under_any_name_and_used_in_place(store: Store, tmp_path: Path) -> None:
    comfy = tmp_path / "ComfyUI" / "models"
    (comfy / "ipadapter").mkdir(parents=True)
    (comfy / "ipadapter" / "renamed.safetensors").write_bytes(BIG)
    (comfy / "big.bin").write_bytes(TWIN)  # the right name and the right size, and not the file
    before = {path: path.stat() for path in comfy.rglob("*")}
    found = search([KNOWN, FREE], store.read(), tmp_path / "none", [comfy])
    assert [(hit.file, hit.path.name) for hit in found] == [(KNOWN, "renamed.safetensors")]
    record = adopt(store, store.read(), found)
    assert store.path(record.files[KNOWN.key]) == comfy / "ipadapter" / "renamed.safetensors"
    assert not store.is_own(record.files[KNOWN.key])
    assert {path: path.stat() for path in comfy.rglob("*")} == before


def test_files_of_one_name_and_no_known_size_are_all_found(store: Store, tmp_path: Path) -> None:
    wanted = [replace(file, path=f"{folder}/model.bin", bytes=None) for folder, file in (("depth", KNOWN), ("edges", OTHER))]
    for folder, content in (("one", TWIN), ("two", BIG)):
        (tmp_path / "webui" / folder).mkdir(parents=True)
        (tmp_path / "webui" / folder / "model.bin").write_bytes(content)
    found = search(wanted, store.read(), tmp_path / "none", [tmp_path / "webui"])
    assert {hit.file.path: hit.path.parent.name for hit in found} == {"depth/model.bin": "two", "edges/model.bin": "one"}


def test_the_name_and_the_size_alone_would_have_taken_the_wrong_file(tmp_path: Path) -> None:
    """The unsafe twin of the test above: what programs do that trust a file which is there."""
    (tmp_path / "big.bin").write_bytes(TWIN)
    taken = [path for path in tmp_path.rglob("*") if path.name == "big.bin" and path.stat().st_size == KNOWN.bytes]
    assert taken
    assert sha(taken[0].read_bytes()) != KNOWN.sha256


def test_the_cache_of_the_hubs_library_is_used(store: Store, tmp_path: Path) -> None:
    snapshots = tmp_path / "hub" / "models--org--repo" / "snapshots"
    (snapshots.parent / "refs").mkdir(parents=True)
    (snapshots.parent / "refs" / "main").write_text("new")
    for revision, path, content in (("new", FREE.path, SMALL), ("old", KNOWN.path, BIG), ("old", "other.json", SMALL)):
        place = snapshots / revision / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    other = replace(FREE, path="other.json")
    found = search([KNOWN, FREE, other], store.read(), tmp_path / "hub", [])
    assert {hit.file.path: hit.trust for hit in found} == {KNOWN.path: Trust.CATALOGUE, FREE.path: Trust.FIRST_USE}


def test_the_usual_places_of_other_programs_are_known(tmp_path: Path) -> None:
    places = [
        "ComfyUI/models",
        "stable-diffusion-webui/models",
        ".local/share/krita-ai-diffusion/server/models",
        ".local/share/krita/ai_diffusion/server/ComfyUI/models",
    ]
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    assert {path.relative_to(tmp_path).as_posix() for path in usual_folders({}, tmp_path)} == set(places)
    assert hub_cache({"HF_HOME": "/h"}, tmp_path) == Path("/h/hub")
    assert hub_cache({"HF_HUB_CACHE": "/c"}, tmp_path) == Path("/c")
    assert hub_cache({}, tmp_path) == tmp_path / ".cache" / "huggingface" / "hub"


def test_every_way_for_a_file_to_go_wrong_is_named(store: Store, hub: FakeHub, tmp_path: Path) -> None:
    record = pull(store, hub, KNOWN, OTHER, FREE)
    store.blob(sha(BIG)).write_bytes(BIG[:-1] + b"?")
    store.blob(sha(TWIN)).unlink()
    wrong = checked(store, record)
    assert "has changed: its sha256 is" in wrong[KNOWN.key]
    assert wrong[OTHER.key].endswith("is gone")
    assert FREE.key not in wrong
    bad = replace(record, files={key: replace(held, bad=key in wrong) for key, held in record.files.items()})
    mended = pull(store, hub, KNOWN, OTHER, FREE, record=bad)
    assert checked(store, mended) == {}


def test_only_one_command_at_a_time_changes_a_store(store: Store) -> None:
    with store.locked(), pytest.raises(InvalidRequest, match="Another `likeness models` works"), Store(store.models).locked():
        pass
    with store.locked():
        pass


@pytest.mark.parametrize("text", ["", "{}", '{"version": 9}', "[1]", '{"version": 1, "files": {"a": 1}}'])
def test_a_damaged_record_is_a_sentence(store: Store, text: str) -> None:
    (store.root / "record.json").write_text(text)
    with pytest.raises(ModelError, match=r"cannot be read .*found by their hash\."):
        store.read()


def test_the_record_comes_back_as_it_was_written(store: Store) -> None:
    record = Record({"k": Held("blobs/x", 3, "x", "hub", True)}, {"k": "x"}, {"m": ("p",)}, ("/f",), {"l": "2026-01-01"})
    store.write(record)
    assert store.read() == record


def test_files_belong_to_the_models_whose_parts_have_them(store: Store) -> None:
    part = Part("p", "", "any", None, (KNOWN,))  # type: ignore[arg-type]
    record = Record(models={"one": ("p",), "two": ("gone",), "three": ("p",)})
    assert store.users(record, Catalog({"p": part}, {}), KNOWN.key) == ["one", "three"]


def test_downloads_that_were_not_finished_can_be_thrown_away(store: Store) -> None:
    (store.partial / "a.part").write_bytes(b"12345")
    (store.partial / "a.json").write_bytes(b"{}")
    assert remove_unfinished(store) == 7
    assert remove_unfinished(store) == 0


def test_files_come_side_by_side_under_one_bar(store: Store, hub: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    """The server falls silent in both files until both are under way; one after the other would never come to that."""
    let_go = threading.Event()
    for file, content in ((KNOWN, BIG), (OTHER, TWIN)):
        hub.put("org/repo", file.path, content, Fault(cut_after=100, hold=let_go))
    under_way: list[bool] = []

    def watch() -> None:
        under_way.extend(hub.sent.acquire(timeout=300) for _ in range(2))
        let_go.set()

    watching = threading.Thread(target=watch)
    watching.start()
    record = pull(store, hub, KNOWN, OTHER)
    watching.join()
    assert under_way == [True, True]
    assert {record.files[file.key].sha256 for file in (KNOWN, OTHER)} == {KNOWN.sha256, OTHER.sha256}
    lines = [line for line in capfd.readouterr().err.replace("\r", "\n").splitlines() if "%|" in line]
    assert lines
    assert all(line.startswith("Fetching") and "/97.7k" in line for line in lines), "the bar counts the bytes of both"


def test_ctrl_c_does_not_wait_for_a_silent_server(store: Store, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = threading.Event()
    hub.put("org/repo", KNOWN.path, BIG, Fault(cut_after=100, hold=let_go))
    run = Pull(store, Hub(hub.endpoint), Patience(3, 0.0))

    def interrupted(self: Pull, done: object) -> object:
        assert hub.sent.acquire(timeout=300)
        raise KeyboardInterrupt

    monkeypatch.setattr(Pull, "_next", interrupted)
    todo, record = plan(store, store.read(), [KNOWN])
    with pytest.raises(KeyboardInterrupt):
        run.run(record, todo)
    assert run.stop.is_set()
    let_go.set()
