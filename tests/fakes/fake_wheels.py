"""Tiny wheels with the names, needs and file paths of the real ones that get in each other's way."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ONNXRUNTIME = "onnxruntime/capi/onnxruntime_pybind11_state.so"
OPENCV = "cv2/cv2.abi3.so"


def write_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str] | None = None,
    needs: Sequence[str] = (),
    version: str = "1.0",
    tag: str = "py3-none-any",
) -> Path:
    """A wheel `name` in `folder`, with `files` (path -> text), for the Python and system of `tag`; returns its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    extras = [need.split("extra == ")[1].strip("'\"") for need in needs if "extra == " in need]
    lines = [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {need}" for need in needs]
    contents = dict(files or {f"{name.replace('-', '_')}.py": ""})
    contents[f"{stem}.dist-info/METADATA"] = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""])
    contents[f"{stem}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    record = f"{stem}.dist-info/RECORD"
    contents[record] = "".join(f"{path},{_hash(text)},{len(text.encode())}\n" for path, text in contents.items()) + f"{record},,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, text in contents.items():
            wheel.writestr(inner, text)
    return path


def unpack(wheel: Path, site: Path) -> None:
    """What an installer does, at its simplest; later wheels overwrite earlier ones."""
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)


def write_all(folder: Path) -> Path:
    """The wheels that meet in an installation of Likeness: all kinds of both modules, insightface, the application; returns the folder."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        write_wheel(folder, name, {ONNXRUNTIME: f"binding of {name}", "onnxruntime/__init__.py": ""}, needs=["numpy"])
    for name in ("opencv-python", "opencv-python-headless", "opencv-contrib-python-headless"):
        write_wheel(folder, name, {OPENCV: f"binding of {name}", "cv2/__init__.py": ""}, needs=["numpy"])
    write_wheel(folder, "numpy")
    write_wheel(folder, "insightface", needs=["numpy", "onnxruntime", "opencv-python"])
    write_wheel(folder, "likeness-like", needs=["insightface", "opencv-contrib-python-headless", "onnxruntime-gpu; extra == 'gpu'"])
    return folder


def _hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
