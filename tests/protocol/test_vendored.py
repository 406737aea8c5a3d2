"""The protocol as the hosts carry it: inside another package, on their Python, with only msgpack and pyzmq beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import protocol

HERE = Path(protocol.__file__).parent
USE = """
import sys
from foreign.parent.protocol import checks, client, codec, discovery, errors, geometry, jobs, messages, planes, transport
assert not [name for name in sys.modules if name.split(".")[0] in ("protocol", "backend", "numpy", "PIL", "torch")], sys.modules.keys()
picture = planes.Plane(planes.Layout.RGB8, geometry.Extent(1, 1), b"abc")
submit = messages.Submit(1, "a" * 32, jobs.PictureJob("x", canvas=jobs.Canvas(picture)))
wire = codec.request_codec()
assert wire.decode(wire.encode(submit)) == submit
assert errors.error_from_wire("no-face", "x").__class__ is errors.NoFace
from pathlib import Path
me = client.Client(Path(sys.argv[1]), "b" * 32)
assert [event.link.value for event in me.poll()] == ["not running"]
me.close()
print(sys.version_info[:2], "fine")
"""
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


def python_of(version: str) -> str:
    """An interpreter of this version that has both wheels."""
    if version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-c", "import zmq, msgpack"], capture_output=True).returncode:
        pytest.skip(f"no Python {version} with pyzmq and msgpack on the path")
    return found


@pytest.mark.parametrize("version", PYTHONS)
def test_it_works_inside_a_foreign_package(version: str, tmp_path: Path) -> None:
    (tmp_path / "foreign" / "parent").mkdir(parents=True)
    for package in ("foreign", "foreign/parent"):
        (tmp_path / package / "__init__.py").write_text("")
    shutil.copytree(HERE, tmp_path / "foreign" / "parent" / "protocol", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [python_of(version), "-W", "error", "-c", USE, str(tmp_path / "state")], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "fine" in done.stdout
