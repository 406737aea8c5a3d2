"""The plug-in as files: sources, contract and libraries, for a folder and for the ZIP that Krita's own importer takes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from protocol.errors import InvalidRequest

from .wheels import Library

NAME = "likeness"
"""Krita knows the plug-in by this: its folder, its .desktop and its .action are called so."""
_ROOT = Path(__file__).resolve().parents[2]
_KINDS = ("*.py", "*.html", "LICENSE")
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a ZIP can tell: no time of ours is in it, so the same files give the same bytes."""
_NOTICE = """Likeness for Krita is free software under the GNU General Public License, version 3 or later (LICENSE).
The folder protocol is under the Apache License, version 2.0.

The folder _wheels has libraries of others, as their authors built them, without their tests and headers:
{libraries}
pyzmq is under the 3-clause BSD licence. Its builds hold libzmq (Mozilla Public License 2.0) and libsodium (ISC licence); their sources
are at github.com/zeromq/libzmq and github.com/jedisct1/libsodium. msgpack is under the Apache License, version 2.0; its compiled part is
left out. Their licences follow.
"""


def plugin_files(libraries: Mapping[str, Library], backend: Mapping[str, object] | None = None, root: Path = _ROOT) -> dict[str, bytes]:
    """The plug-in's folder, as path in it -> bytes. `libraries` is by the folder in `_wheels`; `backend` becomes backend.json.

    Raises `InvalidRequest` when this installation of Likeness came without the plug-in.
    """
    plugin, protocol = root / "plugin_krita", root / "protocol"
    if not (plugin / "__init__.py").is_file():
        raise InvalidRequest(f"The plug-in for Krita is not in {plugin}: this installation is not whole. Install Likeness again.")
    files = {path.name: path.read_bytes() for kind in _KINDS for path in plugin.glob(kind)}
    files.update({path.relative_to(root).as_posix(): path.read_bytes() for path in protocol.rglob("*.py")})
    for folder, library in libraries.items():
        files.update({f"_wheels/{folder}/{path}": data for path, data in library.files.items()})
    files["NOTICE"] = notice(libraries).encode()
    if backend is not None:
        files["backend.json"] = json.dumps(dict(backend), indent=1).encode() + b"\n"
    return dict(sorted(files.items()))


def side_files(root: Path = _ROOT) -> dict[str, bytes]:
    """What lies beside the folder: in pykrita the .desktop, in actions the .action."""
    return {name: (root / "plugin_krita" / name).read_bytes() for name in (f"{NAME}.action", f"{NAME}.desktop")}


def notice(libraries: Mapping[str, Library]) -> str:
    """Whose libraries these are, and every licence once."""
    listed = [f"- {library.name} {library.version}, _wheels/{folder}" for folder, library in sorted(libraries.items())]
    texts: dict[str, str] = {}
    for _, library in sorted(libraries.items()):
        for name, data in library.licences.items():
            text = data.decode("utf-8", "replace").replace("\r\n", "\n").strip()
            if text not in texts.values():
                texts[f"{library.name}: {name}" + ("" if f"{library.name}: {name}" not in texts else f" ({library.version})")] = text
    parts = [f"{'=' * 100}\n{title}\n{'=' * 100}\n{text}\n" for title, text in texts.items()]
    return "\n".join([_NOTICE.format(libraries="\n".join(listed)), *parts])


def zip_of(files: Mapping[str, bytes], beside: Mapping[str, bytes]) -> bytes:
    """The ZIP for Krita's importer, which finds a plug-in by the explicit entry of its folder. The same files give the same bytes."""
    contents = {**beside, **{f"{NAME}/{path}": data for path, data in files.items()}}
    folders = {f"{folder}/" for path in contents for folder in PurePosixPath(path).parents if folder.name}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted({*contents, *folders}):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3
            is_folder = path.endswith("/")
            entry.external_attr = (0o40755 << 16 | 0x10) if is_folder else 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if is_folder else zipfile.ZIP_DEFLATED
            archive.writestr(entry, b"" if is_folder else contents[path], compresslevel=9)
    return out.getvalue()
