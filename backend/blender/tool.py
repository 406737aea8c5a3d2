"""Blender's own command for extensions: of a Blender program, or of Blender as a Python module (bpy), which has the same code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import InvalidRequest

OLDEST = (4, 2)
"""The first Blender that has extensions."""
REPOSITORY = "user_default"
"""Where Blender keeps what is installed from a file."""
TOOL_S = 120.0
"""Blender starts within seconds, also on a slow disk; one that needs longer waits for something that nobody will give it."""
_FIND = "import importlib.util as u; s = u.find_spec('bpy'); print(s.submodule_search_locations[0] if s else '')"


@dataclass(frozen=True)
class Tool:
    """Words that a command can be appended to; `is_program` where it is a whole Blender, which can also install."""

    words: tuple[str, ...]
    name: str
    is_program: bool
    tags: str = ""
    """The file of the tags that Blender knows; a whole Blender finds it by itself."""

    def validate(self, file: Path) -> str:
        """Have it check a ZIP; what it said. Raises `InvalidRequest` with that when something is wrong."""
        return self.run("validate", *(["--valid-tags", self.tags] if self.tags else []), str(file))

    def run(self, *words: str) -> str:
        """Run one of its commands; what it said. Raises `InvalidRequest` with that when it refuses."""
        code, said = _run([*self.words, *words])
        if code != 0:
            lines = [line for line in said.splitlines() if line.strip()]
            raise InvalidRequest(f'{self.name} refuses: "{" / ".join(lines[-4:]) or "without a word"}".')
        return said


def find_tool(given: Path | None, environment: Mapping[str, str]) -> Tool | None:
    """The tool of `given` (a Blender, a Python that has bpy, or blender_ext.py), else of a Blender on this machine; None: there is none.

    Raises `InvalidRequest` when `given` is none of these. A Blender that is found and is too old is passed over.
    """
    if given is not None:
        return _given(given.expanduser())
    for place in _usual_places(environment):
        version = _version(place)
        if version is not None and version >= OLDEST:
            return _program(place, version)
    return None


def is_installed(tool: Tool) -> bool:
    """Whether the add-on is among what this Blender has, from whichever repository; a whole Blender is asked for its list."""
    return re.search(r"^\s+likeness\b.*\[installed\]", tool.run("list"), re.MULTILINE) is not None


def _given(path: Path) -> Tool:
    if path.is_dir() and (path / "Contents" / "MacOS" / "Blender").is_file():
        path = path / "Contents" / "MacOS" / "Blender"
    program = str(path) if path.is_file() else shutil.which(str(path))
    if program is None:
        raise InvalidRequest(f"The file {path} does not exist. Give Blender's program, or a Python that has bpy.")
    if path.suffix == ".py":
        return Tool((sys.executable, program), str(path), is_program=False)
    if path.name.lower().startswith("python"):
        return _module(program)
    version = _version(program)
    if version is None:
        raise InvalidRequest(f"{path} is no Blender: it does not say its version. Give Blender's program, or a Python that has bpy.")
    if version < OLDEST:
        raise InvalidRequest(f"{path} is Blender {version[0]}.{version[1]}. Extensions need Blender 4.2 or newer.")
    return _program(program, version)


def _program(program: str, version: tuple[int, int]) -> Tool:
    return Tool((program, "--command", "extension"), f"Blender {version[0]}.{version[1]} ({program})", is_program=True)


def _module(python: str) -> Tool:
    _, said = _run([python, "-c", _FIND])
    folder = Path(said.strip().splitlines()[-1]) if said.strip() else Path()
    found = sorted(folder.glob("[0-9]*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not said.strip() or not found:
        raise InvalidRequest(f"{python} has no bpy with Blender's tool for extensions. Install it there (`pip install bpy`).")
    scripts = found[-1].parents[3]
    tags = scripts / "modules" / "_bpy_internal" / "extensions" / "tags.py"
    name = f"Blender {scripts.parent.name} (bpy of {python})"
    return Tool((python, str(found[-1])), name, is_program=False, tags=str(tags) if tags.is_file() else "")


def _usual_places(environment: Mapping[str, str]) -> list[str]:
    """The Blender on the PATH, then where installers put it; the newest first."""
    on_path = shutil.which("blender", path=environment.get("PATH", ""))
    homes = [Path(environment[name]) / "Blender Foundation" for name in ("PROGRAMFILES", "ProgramW6432") if name in environment]
    windows = {program for home in homes for program in home.glob("Blender */blender.exe")}
    newest = sorted(windows, key=lambda program: [int(number) for number in re.findall(r"\d+", program.parent.name)], reverse=True)
    mac = Path("/Applications/Blender.app/Contents/MacOS/Blender")
    return [*([on_path] if on_path else []), *map(str, newest), *([str(mac)] if sys.platform == "darwin" and mac.is_file() else [])]


def _version(program: str) -> tuple[int, int] | None:
    _, said = _run([program, "--version"])
    found = re.search(r"^Blender (\d+)\.(\d+)", said, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def _run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code, and everything that was said; 1 with the reason when it does not start or does not end."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TOOL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"It did not finish within {TOOL_S:.0f} s."
    except OSError as error:
        return 1, f"It does not start ({error.strerror})."
    return done.returncode, done.stdout.decode("utf-8", "replace")
