"""The protocol as the hosts carry it: inside another package, on their Python, with only msgpack and pyzmq beside it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgpack
import pytest
from sample_messages import sample

import protocol
from protocol.codec import request_codec
from protocol.messages import Request

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


CONTRACT = """
import sys
from foreign.parent.protocol import checks, codec, discovery, errors, events, geometry
from foreign.parent.protocol import jobs, limits, messages, planes, results, shapes, version
wire = codec.request_codec()
for frames in eval(sys.stdin.read()):
    message = wire.decode(frames)
    assert [bytes(frame) for frame in wire.encode(message)] == frames, message
print("fine")
"""


def python_of(version: str, *modules: str) -> str:
    """An interpreter of this version on the path that has these modules."""
    if version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    found = shutil.which(f"python{version}")
    if (
        found is None
        or subprocess.run([found, "-c", f"import {', '.join(('sys', *modules))}"], capture_output=True, env=chosen(version)).returncode
    ):
        pytest.skip(f"There is no Python {version} with {' and '.join(modules) or 'its library'} on the path.")
    return found


def chosen(version: str) -> dict[str, str]:
    """pyenv puts programs on the path that run the version which the environment names."""
    return {**os.environ, "PYENV_VERSION": version}


def foreign(folder: Path) -> None:
    """The protocol as a part of another package."""
    (folder / "foreign" / "parent").mkdir(parents=True)
    for package in ("foreign", "foreign/parent"):
        (folder / package / "__init__.py").write_text("")
    shutil.copytree(HERE, folder / "foreign" / "parent" / "protocol", ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.parametrize("version", PYTHONS)
def test_it_works_inside_a_foreign_package(version: str, tmp_path: Path) -> None:
    foreign(tmp_path)
    command = [python_of(version, "zmq", "msgpack"), "-W", "error", "-c", USE, str(tmp_path / "state")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=chosen(version))
    assert done.returncode == 0, done.stderr
    assert "fine" in done.stdout


@pytest.mark.parametrize("version", PYTHONS)
def test_every_python_reads_and_writes_the_same_messages_with_msgpacks_pure_part_alone(version: str, tmp_path: Path) -> None:
    """Also one that has no wheels: only the sockets need one."""
    foreign(tmp_path)
    shutil.copytree(Path(msgpack.__file__).parent, tmp_path / "msgpack", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"))
    rng, codec = random.Random(9), request_codec()
    wire = [[bytes(frame) for frame in codec.encode(sample(rng.choice(get_args(Request)), rng))] for _ in range(60)]
    command = [python_of(version), "-W", "error", "-c", CONTRACT]
    done = subprocess.run(
        command, cwd=tmp_path, input=repr(wire), capture_output=True, text=True, timeout=300, env={**chosen(version), "PYTHONPATH": ""}
    )
    assert done.returncode == 0, done.stderr
    assert "fine" in done.stdout
