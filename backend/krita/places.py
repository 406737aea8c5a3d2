"""Where the Kritas of this user keep plug-ins and settings, on each system; what their Python is, and whether one runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..addons.starting import is_running


class Starts(Enum):
    """How this Krita can start a backend outside itself."""

    DIRECTLY = "directly"
    THROUGH_FLATPAK = "through flatpak-spawn"
    NOT = "not at all"


@dataclass(frozen=True)
class Place:
    """One Krita of this user. `resources` holds pykrita/ and actions/; neither it nor `kritarc` needs to be there yet."""

    name: str
    resources: Path
    kritarc: Path
    starts: Starts = Starts.DIRECTLY
    state: Path | None = None
    """The backend's folder as this Krita must be told it; None: where it looks by itself."""


def places(environment: Mapping[str, str], platform: str, home: Path, state: Path) -> list[Place]:
    """The usual Krita first, also when it never ran; then those in sandboxes, which count when their folder is there.

    `platform` is `sys.platform`'s word; `state` is the backend's folder on this machine.
    """
    match platform:
        case "win32":
            return _on_windows(environment, home)
        case "darwin":
            return _on_macos(home)
        case _:
            return _on_linux(environment, home, state)


def _on_linux(environment: Mapping[str, str], home: Path, state: Path) -> list[Place]:
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    found = [Place("Krita", data / "krita", config / "kritarc")]
    flatpak = home / ".var" / "app" / "org.kde.krita"
    if flatpak.is_dir():
        found.append(Place("Krita from Flatpak", flatpak / "data" / "krita", flatpak / "config" / "kritarc", Starts.THROUGH_FLATPAK, state))
    snap = home / "snap" / "krita"
    if (snap / "current").is_dir():
        inside = snap / "current"
        kritarc = inside / ".config" / "kritarc"
        # A snap sees no hidden folder of the home folder, so its backend keeps its files in the snap's own.
        found.append(Place("Krita from Snap", inside / ".local" / "share" / "krita", kritarc, Starts.NOT, snap / "common" / "likeness"))
    return found


def _on_macos(home: Path) -> list[Place]:
    def kept_in(root: Path, name: str, starts: Starts, state: Path | None) -> Place:
        return Place(name, root / "Library" / "Application Support" / "krita", root / "Library" / "Preferences" / "kritarc", starts, state)

    found = [kept_in(home, "Krita", Starts.DIRECTLY, None)]
    inside = home / "Library" / "Containers" / "org.kde.krita" / "Data"
    if inside.is_dir():
        state = inside / "Library" / "Application Support" / "Likeness"  # it sees nothing outside of its container
        found.append(kept_in(inside, "Krita from the App Store", Starts.NOT, state))
    return found


def _on_windows(environment: Mapping[str, str], home: Path) -> list[Place]:
    roaming = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
    local = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    found = [Place("Krita", roaming / "krita", local / "kritarc")]
    for package in sorted((local / "Packages").glob("49800Krita_*")):  # the publisher's number in Microsoft's shop
        cache = package / "LocalCache"
        found.append(Place("Krita from the Microsoft Store", cache / "Roaming" / "krita", cache / "Local" / "kritarc"))
    return found


def python_of_krita(krita: str | None = None) -> tuple[int, int] | None:
    """The Python of the Krita that is installed as a package of a Linux distribution, or None where that cannot be told.

    `krita` is the program's path; without it, it is looked for on the PATH. Its plug-in for Python names the library that it loads.
    """
    program = krita or shutil.which("krita")
    if program is None:
        return None
    prefix = Path(program).resolve().parent.parent
    for plugin in [*prefix.glob("lib*/kritaplugins/kritapykrita.so"), *prefix.glob("lib/*/kritaplugins/kritapykrita.so")]:
        try:
            found = re.search(rb"libpython(\d+)\.(\d+)\.so", plugin.read_bytes())
        except OSError:
            continue
        if found:
            return int(found[1]), int(found[2])
    return None


def krita_runs() -> bool:
    """Whether a Krita runs on this machine; False where processes cannot be looked at."""
    return is_running("krita")
