"""The index of a folder of extensions, as Blender's own `extension server-generate` writes it: a repository that Blender updates from.

It is written here, since most machines that pack have no Blender; a test holds it against what Blender writes.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from protocol.errors import InvalidRequest

from .package import MANIFEST

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Likeness for Blender</title></head>
<body>
<h1>Likeness for Blender</h1>
<p>Drag the link for your computer into Blender's window, or add this page's address with <tt>index.json</tt> at its end under
Edit &gt; Preferences &gt; Get Extensions &gt; Repositories &gt; + &gt; Add Remote Repository: then Blender tells of updates.</p>
<table>
<tr><th>Add-on</th><th>Computer</th><th>Blender</th><th>MB</th></tr>
{rows}
</table>
</body>
</html>
"""
_KEPT = ("id", "schema_version", "name", "tagline", "version", "type", "maintainer", "license", "blender_version_min")
_KEPT_WHERE_GIVEN = ("blender_version_max", "website", "copyright", "permissions", "tags", "platforms")


def entries(folder: Path) -> list[dict[str, Any]]:
    """What `index.json` says of each extension in `folder`, in the order of their file names.

    Raises `InvalidRequest` when there is none, when one is damaged, or when two are for the same platform.
    """
    files = sorted(file for file in folder.glob("*.zip") if not file.name.startswith("."))
    if not files:
        raise InvalidRequest(f"There is no ZIP in {folder}. Make them with `likeness blender zip`.")
    found = [_entry(file) for file in files]
    taken: dict[tuple[str, str], str] = {}
    for file, entry in zip(files, found, strict=True):
        for platform in entry.get("platforms", [""]):
            if before := taken.get((entry["id"], platform)):
                both = f"{before} and {file.name} are both for {platform or 'every platform'}"
                raise InvalidRequest(f"{both}, and Blender would not know which to take. Leave one of them in {folder}.")
            taken[entry["id"], platform] = file.name
    return found


def page(listed: Sequence[dict[str, Any]]) -> str:
    """`index.html`: the same for people, with links that can be dragged into Blender."""
    return _PAGE.format(rows="\n".join(_row(entry) for entry in listed))


def write_index(folder: Path) -> list[dict[str, Any]]:
    """Write `index.json` and `index.html` into `folder`; the extensions in it. Raises `InvalidRequest`, as `entries` does."""
    listed = entries(folder)
    try:
        text = json.dumps({"version": "v1", "blocklist": [], "data": listed}, indent=2)
        (folder / "index.json").write_text(text, encoding="utf-8")
        (folder / "index.html").write_text(page(listed), encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"The index in {folder} cannot be written ({error.strerror}). Choose another folder.") from error
    return listed


def _entry(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            manifest = tomllib.loads(archive.read(MANIFEST).decode())
        data = file.read_bytes()
        entry = {name: manifest[name] for name in _KEPT} | {name: manifest[name] for name in _KEPT_WHERE_GIVEN if name in manifest}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidRequest(f"{file} is no extension for Blender, or damaged ({error}). Take it out of the folder.") from error
    if wheels := manifest.get("wheels"):
        entry["python_versions"] = _pythons(wheels)
    entry["archive_url"] = f"./{quote(file.name)}"
    entry["archive_size"] = len(data)
    entry["archive_hash"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return entry


def _pythons(wheels: list[str]) -> list[str]:
    """The Pythons that wheels are for. One for a stable ABI counts only where no other says more: so Blender reads them."""
    found: set[tuple[int, ...]] = set()
    for wheel in wheels:
        python, abi = wheel.rsplit("-", 3)[1:3]
        for tag in python.split("."):
            digits = re.sub(r"\D", "", tag)
            found.add((int(digits[0]),) if abi.startswith("abi") or len(digits) == 1 else (int(digits[0]), int(digits[1:])))
    exact = {version for version in found if len(version) == 2}
    return [".".join(map(str, version)) for version in sorted(exact or found)]


def _row(entry: dict[str, Any]) -> str:
    words = {"repository": "./index.json", "blender_version_min": entry["blender_version_min"]}
    words |= {name: ",".join(entry[name]) for name in ("platforms", "python_versions") if name in entry}
    link = html.escape(f"{entry['archive_url']}?{urlencode(words)}")
    name = html.escape(f"{entry['name']} {entry['version']}")
    computer = html.escape(", ".join(entry.get("platforms", ["any"])))
    size = f"{entry['archive_size'] / 2**20:.1f}"
    oldest = html.escape(entry["blender_version_min"])
    return f'<tr><td><a href="{link}">{name}</a></td><td>{computer}</td><td>{oldest} or newer</td><td>{size}</td></tr>'
