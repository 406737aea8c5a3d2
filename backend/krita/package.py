"""The plug-in as files: sources, contract and libraries, for a folder and for the ZIP that Krita's own importer takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from protocol.errors import InvalidRequest

from ..addons import archive
from ..addons.archive import ROOT, backend_note, protocol_files
from .wheels import Library

NAME = "likeness"
"""Krita knows the plug-in by this: its folder, its .desktop and its .action are called so."""
_KINDS = ("*.py", "*.html", "LICENSE")
_NOTICE = """Likeness for Krita is free software under the GNU General Public License, version 3 or later (LICENSE).
The folder protocol is under the Apache License, version 2.0.

The folder _wheels has libraries of others, as their authors built them, without their tests and headers:
{libraries}
pyzmq is under the 3-clause BSD licence. Its builds hold libzmq (Mozilla Public License 2.0) and libsodium (ISC licence); their sources
are at github.com/zeromq/libzmq and github.com/jedisct1/libsodium. msgpack is under the Apache License, version 2.0; its compiled part is
left out. Their licences follow.
"""


def plugin_files(libraries: Mapping[str, Library], backend: Mapping[str, object] | None = None, root: Path = ROOT) -> dict[str, bytes]:
    """The plug-in's folder, as path in it -> bytes. `libraries` is by the folder in `_wheels`; `backend` becomes backend.json.

    Raises `InvalidRequest` when this installation of Likeness came without the plug-in.
    """
    plugin = root / "plugin_krita"
    if not (plugin / "__init__.py").is_file():
        raise InvalidRequest(f"The plug-in for Krita is not in {plugin}: this installation is not whole. Install Likeness again.")
    files = {path.name: path.read_bytes() for kind in _KINDS for path in plugin.glob(kind)}
    files.update(protocol_files(root))
    for folder, library in libraries.items():
        files.update({f"_wheels/{folder}/{path}": data for path, data in library.files.items()})
    files["NOTICE"] = notice(libraries).encode()
    if backend is not None:
        files["backend.json"] = backend_note(backend)
    return dict(sorted(files.items()))


def side_files(root: Path = ROOT) -> dict[str, bytes]:
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
    return archive.zip_of({**beside, **{f"{NAME}/{path}": data for path, data in files.items()}})
