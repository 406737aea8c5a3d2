"""One file from a server that does what servers do. What stands under the final name is always exactly right, or nothing is there."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from model_server import Asked, FakeHub, Fault, etag_of, running

from backend.models import store_http
from backend.models.catalog import CatalogFile
from backend.models.store_fetch import Download, Fetched, Patience, Trust, install
from backend.models.store_http import Answer, Hub
from protocol.errors import Cancelled, ModelError

CONTENT = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(310_000)
NO_WAIT = Patience(tries=4, first_s=0.0)
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running(FakeHub()) as server:
        yield server


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wanted(content: bytes = CONTENT, *, known: bool = True, size: bool = True) -> CatalogFile:
    return CatalogFile("org/repo", "main", "x.bin", "x.bin", len(content) if size else None, sha(content) if known else None)


def fetch(hub: FakeHub, folder: Path, file: CatalogFile, kind: type[Download] = Download, **more: object) -> Fetched:
    hub_of = Hub(hub.endpoint, **{key: more.pop(key) for key in ("token",) if key in more})
    return kind(hub_of, file, file.sha256, folder / "x.part", threading.Event(), patience=NO_WAIT, **more).run()


def nothing_kept(folder: Path) -> bool:
    return list(folder.iterdir()) == []


def test_a_file_arrives_whole_in_one_request(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    fetched = fetch(hub, tmp_path, wanted())
    install(fetched, tmp_path / "blobs" / fetched.sha256)
    assert (tmp_path / "blobs" / sha(CONTENT)).read_bytes() == CONTENT
    assert (fetched.trust, len(hub.asked)) == (Trust.CATALOGUE, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]


@pytest.mark.parametrize("known", [True, False])
def test_a_connection_that_is_cut_again_and_again_costs_no_byte_twice(hub: FakeHub, tmp_path: Path, known: bool) -> None:
    hub.put("org/repo", "x.bin", CONTENT, *[Fault(cut_after=count) for count in (1, 70_000, 0, 262_144 - 70_001, 1, 37_000)])
    heard: list[int] = []
    assert fetch(hub, tmp_path, wanted(known=known), heard=heard.append).path.read_bytes() == CONTENT
    assert [asked.start for asked in hub.asked] == [0, 1, 70_001, 70_001, 262_144, 262_145, 299_145]
    assert {asked.headers.get("if-range") for asked in hub.asked[1:]} == {etag_of(CONTENT)}
    assert sum(heard) == len(CONTENT)


def test_a_server_that_ignores_ranges_sends_everything_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(cut_after=1000), Fault(ignore_range=True))
    heard: list[int] = []
    assert fetch(hub, tmp_path, wanted(known=False), heard=heard.append).path.read_bytes() == CONTENT
    assert sum(heard) == len(CONTENT)


def test_a_server_that_ignores_ranges_and_always_cuts_is_given_up(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    hub.always = Fault(cut_after=1000, ignore_range=True)
    with pytest.raises(ModelError, match=r"could not be fetched: the connection ended after 1,000 of 300,000 bytes"):
        fetch(hub, tmp_path, wanted())
    assert len(hub.asked) == NO_WAIT.tries


class Mixing(Download):
    """The unsafe twin: it asks for the rest without saying of what, and appends whatever comes."""

    def _kept(self) -> tuple[int, str, str]:
        have, _, linked = super()._kept()
        return have, "", linked


@pytest.mark.parametrize(
    "second", [Fault(become=OTHER), Fault(become=OTHER, ignore_if_range=True)], ids=["if-range is known", "if-range is ignored"]
)
def test_a_file_that_changes_on_the_server_under_way_is_never_mixed(hub: FakeHub, tmp_path: Path, second: Fault) -> None:
    place = hub.put("org/repo", "x.bin", CONTENT, Fault(cut_after=5000), replace(second))
    assert fetch(hub, tmp_path, wanted(known=False, size=False)).path.read_bytes() == OTHER
    hub.put("org/repo", "x.bin", CONTENT, Fault(cut_after=5000), replace(second))
    (tmp_path / "twin").mkdir()
    assert fetch(hub, tmp_path / "twin", wanted(known=False, size=False), Mixing).path.read_bytes() == CONTENT[:5000] + OTHER[5000:]
    assert place in hub.files


def test_bytes_of_no_known_version_are_only_gone_on_with_when_a_hash_will_tell(hub: FakeHub, tmp_path: Path) -> None:
    hub.etags = False
    hub.put("org/repo", "x.bin", CONTENT, Fault(cut_after=5000))
    fetch(hub, tmp_path, wanted(known=False))
    assert [asked.start for asked in hub.asked] == [0, 0]
    (tmp_path / "x.part").unlink()
    hub.put("org/repo", "x.bin", CONTENT, Fault(cut_after=5000))
    fetch(hub, tmp_path, wanted())
    assert [asked.start for asked in hub.asked[2:]] == [0, 5000]


def test_a_flipped_bit_is_noticed_and_the_file_fetched_once_more(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(flip=123_456))
    assert fetch(hub, tmp_path, wanted()).path.read_bytes() == CONTENT
    assert [asked.start for asked in hub.asked] == [0, 0]


def test_without_a_hash_the_flipped_bit_would_come_through(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(flip=123_456))
    fetched = fetch(hub, tmp_path, wanted(known=False))
    assert fetched.path.read_bytes() != CONTENT
    assert fetched.trust is Trust.FIRST_USE


def test_the_hash_that_the_hub_names_catches_the_flipped_bit_too(tmp_path: Path) -> None:
    with running(FakeHub(linked=True)) as hub, running(FakeHub()) as storage:
        hub.storage = storage
        hub.put("org/repo", "x.bin", CONTENT)
        storage.put("org/repo", "x.bin", CONTENT, Fault(flip=99))
        fetched = fetch(hub, tmp_path, wanted(known=False))
    assert (fetched.path.read_bytes(), fetched.trust) == (CONTENT, Trust.HUB)


def test_small_files_are_held_to_the_name_that_git_gives_them(hub: FakeHub, tmp_path: Path) -> None:
    content = b'{"a": 1}\n'
    git = hashlib.sha1(b"blob 9\0" + content).hexdigest()
    hub.put("org/repo", "x.bin", content, Fault(flip=3))
    hub.linked = True
    original = store_http._linked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_http, "_linked", lambda headers: git if original(headers) else "")
        assert fetch(hub, tmp_path, wanted(content, known=False)).path.read_bytes() == content
    assert len(hub.asked) == 2


def test_a_file_that_stays_wrong_is_named_and_nothing_of_it_is_kept(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    hub.always = Fault(flip=5)
    with pytest.raises(ModelError, match=r"x\.bin of org/repo is damaged or another file: its sha256 is \w{12}… instead of") as error:
        fetch(hub, tmp_path, wanted())
    assert str(error.value).endswith(".")
    assert nothing_kept(tmp_path)


@pytest.mark.parametrize(
    ("status", "token", "sentence"),
    [
        (401, None, "Set HF_TOKEN"),
        (401, "secret", "is not accepted"),
        (403, "secret", "Accept its terms at http"),
        (404, None, "is not there"),
        (451, None, "answers with 451"),
    ],
)
def test_a_refusal_is_final_and_says_what_to_do(hub: FakeHub, tmp_path: Path, status: int, token: str | None, sentence: str) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(status=status))
    with pytest.raises(ModelError, match=sentence) as error:
        fetch(hub, tmp_path, wanted(), token=token)
    assert len(hub.asked) == 1
    assert "secret" not in str(error.value)


def test_a_server_that_is_busy_is_asked_again_when_it_said(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(status=429, headers={"Retry-After": "7"}), Fault(status=503), Fault(status=500))
    stop = Pauses()
    Download(Hub(hub.endpoint), wanted(), sha(CONTENT), tmp_path / "x.part", stop, patience=Patience(4, 2.0)).run()
    assert stop.pauses[0] == 7
    assert 1.5 * 2 <= stop.pauses[1] <= 2.5 * 2
    assert 1.5 * 4 <= stop.pauses[2] <= 2.5 * 4


class Pauses(threading.Event):
    """Nobody waits; it is written down for how long it would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        return False


def test_a_server_that_stays_busy_is_given_up_with_a_sentence(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    hub.always = Fault(status=503)
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+ answers with 503\. What came so far is kept"):
        fetch(hub, tmp_path, wanted())
    assert len(hub.asked) == NO_WAIT.tries


def test_a_server_that_is_not_there_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        hub = Hub(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"cannot be reached \(Connection refused\)"):
            Download(hub, wanted(), None, tmp_path / "x.part", threading.Event(), patience=NO_WAIT).run()


@pytest.mark.parametrize("length", [10, 299_999, 300_001, 10**9])
def test_a_lie_about_the_length_is_noticed(hub: FakeHub, tmp_path: Path, length: int) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(length=length))
    assert fetch(hub, tmp_path, wanted()).path.read_bytes() == CONTENT
    hub.always = Fault(length=length)
    (tmp_path / "x.part").unlink()
    with pytest.raises(ModelError, match="another file than the catalogue's"):
        fetch(hub, tmp_path, wanted())
    assert not (tmp_path / "x.part").exists()


def test_a_promise_of_more_bytes_is_asked_for_before_the_file_counts_as_whole(hub: FakeHub, tmp_path: Path) -> None:
    """Nothing is known of the file here. That there is no more is only believed when the server says so."""
    hub.put("org/repo", "x.bin", CONTENT, Fault(length=len(CONTENT) + 10))
    assert fetch(hub, tmp_path, wanted(known=False, size=False)).path.read_bytes() == CONTENT
    assert [asked.start for asked in hub.asked] == [0, len(CONTENT)]


def test_another_part_than_asked_for_is_not_taken(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT, Fault(cut_after=1000), Fault(wrong_start=True))
    assert fetch(hub, tmp_path, wanted(known=False)).path.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [True, False])
def test_a_download_that_was_killed_after_its_last_byte_is_not_fetched_again(hub: FakeHub, tmp_path: Path, size: bool) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    (tmp_path / "x.part").write_bytes(CONTENT)
    assert fetch(hub, tmp_path, wanted(size=size)).path.read_bytes() == CONTENT
    assert [asked.start for asked in hub.asked] == ([] if size else [len(CONTENT)])


@pytest.mark.parametrize("left", [b"rubbish", OTHER, CONTENT[:1000] + b"x", b""])
def test_whatever_lies_in_the_partial_file_the_result_is_right(hub: FakeHub, tmp_path: Path, left: bytes) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    (tmp_path / "x.part").write_bytes(left)
    assert fetch(hub, tmp_path, wanted()).path.read_bytes() == CONTENT


def test_the_token_is_shown_to_the_hub_and_never_to_the_storage_behind_it(tmp_path: Path) -> None:
    with running(FakeHub()) as hub, running(FakeHub()) as storage:
        hub.storage = storage
        hub.put("org/repo", "x.bin", CONTENT)
        place = storage.put("org/repo", "x.bin", CONTENT, Fault(cut_after=10))
        fetch(hub, tmp_path, wanted(), token="secret")
        assert {asked.headers.get("authorization") for asked in hub.asked} == {"Bearer secret"}
        assert {asked.headers.get("authorization") for asked in storage.asked} == {None}
        assert [asked.start for asked in storage.asked] == [0, 10]
        storage.asked.clear()  # the unsafe twin: Python's own way to follow a redirect gives the token away
        request = urllib.request.Request(hub.endpoint + place, headers={"Authorization": "Bearer secret"})
        urllib.request.urlopen(request, timeout=300).close()
        assert storage.asked[0].headers["authorization"] == "Bearer secret"


def test_redirects_without_end_are_given_up(hub: FakeHub, tmp_path: Path) -> None:
    hub.storage = hub
    hub.put("org/repo", "x.bin", CONTENT)
    with pytest.raises(ModelError, match="from address to address"):
        fetch(hub, tmp_path, wanted())


def test_the_environments_proxy_is_used(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", hub.endpoint)
    hub.put("org/repo", "x.bin", CONTENT)
    file = wanted()
    Download(Hub("http://hub.invalid"), file, file.sha256, tmp_path / "x.part", threading.Event(), patience=NO_WAIT).run()
    assert hub.asked[0].path.startswith("http://hub.invalid/")


def test_a_stop_keeps_what_came_and_the_next_run_goes_on_with_it(hub: FakeHub, tmp_path: Path) -> None:
    hub.put("org/repo", "x.bin", CONTENT)
    stop = threading.Event()
    file = wanted()
    with pytest.raises(Cancelled):
        Download(Hub(hub.endpoint), file, file.sha256, tmp_path / "x.part", stop, lambda count: stop.set()).run()
    came = (tmp_path / "x.part").stat().st_size
    assert 0 < came < len(CONTENT)
    assert fetch(hub, tmp_path, file).path.read_bytes() == CONTENT
    assert hub.asked[-1].start == came


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(ModelError, match="HF_ENDPOINT is 'nowhere'"):
        Hub.of({"HF_ENDPOINT": "nowhere"})


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_environment_says_where_as_whom_and_whether(tmp_path: Path, value: str, offline: bool) -> None:
    hub = Hub.of({"HF_ENDPOINT": "https://mirror.example/", "HF_TOKEN": " t ", "HF_HUB_OFFLINE": value, "HF_HOME": str(tmp_path)})
    assert hub == Hub("https://mirror.example", "t", offline)
    assert hub.url(wanted()) == "https://mirror.example/org/repo/resolve/main/x.bin"


def test_an_address_that_is_not_encrypted_is_not_followed_from_one_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Redirect:
        status = 302
        headers = {"Location": "http://plain.example/x"}  # noqa: RUF012

        def close(self) -> None:
            pass

    answer: Callable[..., object] = lambda *words: Redirect()  # noqa: E731
    monkeypatch.setattr(store_http, "_open", answer)
    with pytest.raises(ModelError, match="not encrypted"):
        store_http.ask(Hub("https://hub.example"), wanted(), {})


def test_the_parts_of_an_answer_are_read_as_they_stand() -> None:
    answer = Answer(206, {"content-range": "bytes 5-9/10", "etag": 'W/"weak"', "content-length": "x"}, None, "")  # type: ignore[arg-type]
    assert (answer.span, answer.etag, answer.length, answer.whole) == ((5, 10), "", None, None)
    assert Asked("", {"range": "bytes=5-"}).start == 5
