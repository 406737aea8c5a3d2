"""One request to a Hub, from the standard library: redirects followed by hand, the token only where it belongs, errors as sentences.

The Hub answers `resolve/` with a redirect whose headers name the file's hash (`X-Linked-Etag`, `X-Repo-Commit`), and the storage that it
points to has an ETag of its own; both are wanted here, which clients that follow redirects by themselves do not give.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote, urljoin, urlsplit

from protocol.errors import ModelError

from .catalog import CatalogFile

HUB = "https://huggingface.co"
TIMEOUT_S = 30.0
"""Of silence, while connecting as between two bytes."""
MAX_HOPS = 5
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that another try may change."""
MAX_RETRY_AFTER_S = 120.0


class Passing(Exception):  # noqa: N818 - inside the store only; it becomes a ModelError when no try is left
    """Something that another try may change; the text is a half-sentence."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Hub:
    """Where files are fetched from, and as whom."""

    endpoint: str = HUB
    token: str | None = None
    offline: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Hub:
        """What HF_ENDPOINT, HF_TOKEN (or the Hub's own login) and HF_HUB_OFFLINE say."""
        endpoint = (environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        if urlsplit(endpoint).scheme not in ("http", "https"):
            raise ModelError(f"HF_ENDPOINT is {endpoint!r}, which is no web address. Set it to one, such as {HUB}, or leave it out.")
        return cls(endpoint, _token(environ), any(_is_yes(environ.get(name)) for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")))

    def url(self, file: CatalogFile) -> str:
        """Where a file is."""
        return f"{self.endpoint}/{file.repository}/resolve/{quote(file.revision, safe='')}/{quote(file.path)}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    """With names in lower case; of the last hop."""
    body: http.client.HTTPResponse
    linked: str
    """What the Hub names as the file's hash (sha256, or git's sha1 of small files), or ""."""

    @property
    def etag(self) -> str:
        """The validator for If-Range: a strong ETag, or ""."""
        etag = self.headers.get("etag", "")
        return etag if etag.startswith('"') else ""

    @property
    def length(self) -> int | None:
        """What Content-Length says of this body."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    @property
    def span(self) -> tuple[int, int | None] | None:
        """First byte and total size, as Content-Range says; None without a usable one."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", self.headers.get("content-range", ""))
        return (int(found[1]), None if found[2] == "*" else int(found[2])) if found else None

    @property
    def whole(self) -> int | None:
        """The file's size, as a 416 says it."""
        found = re.fullmatch(r"bytes \*/(\d+)", self.headers.get("content-range", ""))
        return int(found[1]) if found else None


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str) -> None:
        """Follow nothing: who asked does that."""
        return None


def ask(hub: Hub, file: CatalogFile, extra: Mapping[str, str]) -> Answer:
    """GET a file with these headers besides. `Passing` for what another try may change, ModelError with a sentence for the rest."""
    opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=_trusted()))  # and the environment's proxies
    first = url = hub.url(file)
    linked = ""
    for _ in range(MAX_HOPS + 1):
        response = _open(opener, url, _headers(hub, first, url, extra), file)
        headers = {name.lower(): value for name, value in response.headers.items()}
        linked = linked or _linked(headers)
        if response.status not in REDIRECTS:
            _refuse(response, headers, file, hub)
            return Answer(response.status, headers, response, linked)
        response.close()
        following = urljoin(url, headers.get("location", ""))
        if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
            raise ModelError(f"{file.path} was not fetched: {_host(url)} points to an address that is not encrypted. Try again later.")
        url = following
    raise ModelError(f"{file.path} was not fetched: {_host(first)} points from address to address without end. Try again later.")


def _headers(hub: Hub, first: str, url: str, extra: Mapping[str, str]) -> dict[str, str]:
    headers = {"User-Agent": "likeness-studio", "Accept-Encoding": "identity", **extra}
    if hub.token and urlsplit(url)[:2] == urlsplit(first)[:2]:  # the storage behind the Hub must not see it
        headers["Authorization"] = f"Bearer {hub.token}"
    return headers


def _open(opener: urllib.request.OpenerDirector, url: str, headers: Mapping[str, str], file: CatalogFile) -> http.client.HTTPResponse:
    try:
        return opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as answer:
        if isinstance(answer.fp, http.client.HTTPResponse):
            return answer.fp
        raise Passing(f"{_host(url)} answers with {answer.code}") from answer
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise ModelError(
                f"{file.path} was not fetched: the certificate of {_host(url)} is not trusted ({error.reason.verify_message}). "
                "If your network has a certificate of its own, name its file in SSL_CERT_FILE."
            ) from error
        raise Passing(f"{_host(url)} cannot be reached ({_reason(error.reason)})") from error
    except (http.client.HTTPException, OSError) as error:
        raise Passing(f"{_host(url)} broke the connection ({_reason(error)})") from error


def _refuse(response: http.client.HTTPResponse, headers: Mapping[str, str], file: CatalogFile, hub: Hub) -> None:
    status = response.status
    if status in (200, 206, 416):
        return
    response.close()
    page = f"{hub.endpoint}/{file.repository}"
    what = f"{file.path} of {file.repository}"
    match status:
        case 401 if hub.token:
            raise ModelError(f"{what} was not given: the token in HF_TOKEN is not accepted, or may not see it. Make a new one at {page}.")
        case 401:
            raise ModelError(f"{what} is only given to who is logged in, or is not there. Set HF_TOKEN to a token of your account.")
        case 403:
            raise ModelError(f"{what} was refused (403). Accept its terms at {page} with the account whose token is in HF_TOKEN.")
        case 404:
            raise ModelError(
                f"{what} is not there (404, revision {file.revision}). Update Likeness, or set HF_ENDPOINT to a server that has it."
            )
        case _ if status in PASSING:
            raise Passing(f"{urlsplit(page).netloc} answers with {status}", _retry_after(headers))
        case _:
            raise ModelError(f"{what} was not given: {urlsplit(page).netloc} answers with {status}. Try again later.")


def _linked(headers: Mapping[str, str]) -> str:
    """The hash that the Hub names; an ETag counts only where the Hub's own header stands beside it."""
    named = headers.get("x-linked-etag") or (headers.get("etag", "") if "x-repo-commit" in headers else "")
    named = named.removeprefix("W/").strip('"').lower()
    return named if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", named) else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isdecimal() else None


def _trusted() -> ssl.SSLContext:
    """The system's certificates; certifi's where Python came without any (python.org's builds for macOS)."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and not (paths.cafile or paths.capath):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _token(environ: Mapping[str, str]) -> str | None:
    """HF_TOKEN, else what `hf auth login` left. huggingface_hub is asked only if it may have something: it takes long to import."""
    if given := environ.get("HF_TOKEN", "").strip():
        return given
    home = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    kept = Path(environ.get("HF_TOKEN_PATH") or home / "token")
    if not kept.is_file() or _is_yes(environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN")):
        return None
    from huggingface_hub import get_token

    return get_token()


def _is_yes(value: str | None) -> bool:
    return (value or "").strip().upper() in ("1", "ON", "YES", "TRUE")


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _reason(error: object) -> str:
    if isinstance(error, OSError) and error.strerror:
        return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
