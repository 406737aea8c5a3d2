"""Settings of the command: defaults < file < environment (`LIKENESS_…`) < flags. One frozen value, handed to whoever needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from protocol.errors import InvalidRequest

PREFIX = "LIKENESS_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set once for all commands."""

    models: Path
    """Folder of the installed models, one sub-folder per model id. The built-in model is not in it."""
    logs: Path
    """Folder for the report of an unexpected error."""
    model: str = "sketch"
    """The model that is used when a command names none."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`: where the pictures are computed."""
    dtype: str = "auto"
    """`auto`, `float32`, `float16`, `bfloat16`."""
    storage: str = "same"
    """`same`, or `float8`: the UNet and the ControlNets are kept in 8 bits a number and computed with in `dtype`. Half the memory, and not
    quite the same pictures."""
    compile: str = "no"
    """`yes`: on an NVIDIA GPU, blocks of the nets are compiled in the background; pictures are then alike to those before, not equal."""
    graphs: str = "no"
    """`yes`: on an NVIDIA GPU, the nets' kernels are captured (CUDA graphs) and started as one. The same kernels; it takes memory."""
    attention: str = "auto"
    """`auto`, `flash`, `efficient`, `cudnn`, `math`: how attention is computed on an NVIDIA GPU. They differ in their last bits."""
    faces: str = "cpu"
    """`cpu`, or `auto`: faces are read on an NVIDIA GPU where everything fits beside them. Embeddings differ in their last digits there."""
    alone: str = "no"
    """`yes`: painting commands compute in their own process instead of at the backend."""


def load_settings(flags: Mapping[str, str], environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """The settings for one run of the command.

    `file` is the TOML file that the user named; None means the usual place, where it may be missing.
    Raises InvalidRequest for a file that cannot be read, an unknown name or a value that is no text.
    """
    settings = defaults(environ)
    path = file or config_home(environ) / "config.toml"
    if file is not None or path.is_file():
        settings = _with(settings, _read(path), str(path))
    names = {field.name for field in fields(Settings)}
    from_environ = {name: environ[PREFIX + name.upper()] for name in names if environ.get(PREFIX + name.upper())}
    return _with(_with(settings, from_environ, "the environment"), flags, "the command line")


def defaults(environ: Mapping[str, str]) -> Settings:
    """The settings when nothing is set: the places each system gives to data and logs."""
    return Settings(models=_data_home(environ) / "models", logs=_state_home(environ) / "logs")


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a process that is started and is to have these settings, wherever they came from."""
    given = {field.name: getattr(settings, field.name) for field in fields(Settings) if field.name != "alone"}
    return {**environ, **{f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()}}


def config_home(environ: Mapping[str, str]) -> Path:
    """Where `config.toml` is looked for."""
    return _home(environ, "XDG_CONFIG_HOME", "APPDATA", ".config", "Library/Application Support")


def cache_home(environ: Mapping[str, str]) -> Path:
    """Where downloaded libraries for hosts are kept; whatever is in it can be had again."""
    return _home(environ, "XDG_CACHE_HOME", "LOCALAPPDATA", ".cache", "Library/Caches")


def _data_home(environ: Mapping[str, str]) -> Path:
    return _home(environ, "XDG_DATA_HOME", "LOCALAPPDATA", ".local/share", "Library/Application Support")


def _state_home(environ: Mapping[str, str]) -> Path:
    return _home(environ, "XDG_STATE_HOME", "LOCALAPPDATA", ".local/state", "Library/Logs")


def _home(environ: Mapping[str, str], xdg: str, windows: str, unix: str, mac: str) -> Path:
    match sys.platform:
        case "win32":
            base = Path(environ.get(windows) or Path.home())
        case "darwin":
            base = Path.home() / mac
        case _:
            base = Path(environ.get(xdg) or Path.home() / unix)
    return base / "likeness"


def _read(path: Path) -> dict[str, str]:
    import tomllib  # here: most starts read no file, and the parser takes as long as this module

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(f"The settings file {path} cannot be read: {os.strerror(error.errno or 0)}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The settings file {path} is no valid TOML: {error}.") from error
    for name, value in content.items():
        if not isinstance(value, str):
            raise InvalidRequest(f'The settings file {path} gives {name} a value that is no text. Write it as {name} = "…".')
    return content


def _with(settings: Settings, values: Mapping[str, str], source: str) -> Settings:
    known = {field.name: field for field in fields(Settings)}
    changes: dict[str, str | Path] = {}
    for name, value in values.items():
        if name not in known:
            from difflib import get_close_matches

            close = get_close_matches(name, known, 1)
            hint = f' Did you mean "{close[0]}"?' if close else f" It may have {', '.join(sorted(known))}."
            raise InvalidRequest(f'There is no setting "{name}", which {source} has.{hint}')
        changes[name] = Path(value).expanduser().resolve() if name in ("models", "logs") else value
    return replace(settings, **changes)  # pyright: ignore[reportArgumentType]  # the types were chosen by name just above
