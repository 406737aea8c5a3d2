"""The house rules, read from the source: who may import whom, how long things may be, and that no path of one machine is in it."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("protocol", "backend", "plugin_krita", "plugin_blender", "tests")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

MODEL_LIBRARIES = {"torch", "diffusers", "transformers", "accelerate", "peft", "safetensors"}
TORCH_STACK = MODEL_LIBRARIES | {"insightface", "onnxruntime", "onnx", "cv2", "skimage", "scipy"}
PIXELS = {"numpy", "PIL"}
HOSTS = {"krita", "PyQt5", "PyQt6", "PySide6", "bpy"}

# The arrows of the design: what each room must never import. The most specific entry that fits a file counts.
WIRE = {"zmq", "msgpack", "protocol.client", "protocol.transport", "protocol.codec"}
FRONT = {"backend.server", "backend.worker", "backend.cli", "backend.evaluation", "backend.speed"}
PACKING = TORCH_STACK | PIXELS | HOSTS | WIRE | FRONT | {"plugin_krita", "plugin_blender"}
"""Who packs an add-on reads its files and never imports it."""
FORBIDDEN: dict[str, set[str]] = {
    "protocol": TORCH_STACK | PIXELS | HOSTS | {"tqdm", "backend", "plugin_krita", "plugin_blender"},
    "backend": HOSTS | {"plugin_krita", "plugin_blender"},
    "backend/server": TORCH_STACK
    | PIXELS
    | HOSTS
    | {f"backend.{room}" for room in ("worker", "pipelines", "models", "faces", "images", "training", "cli", "evaluation", "speed")},
    "backend/worker": WIRE | HOSTS | {"backend.server", "backend.cli", "backend.evaluation", "backend.speed"},
    "backend/pipelines": WIRE | HOSTS | FRONT | {"backend.training"},
    "backend/models": WIRE | HOSTS | FRONT | {"backend.training", "backend.pipelines"},
    "backend/training": WIRE | HOSTS | FRONT,
    "backend/faces.py": WIRE | HOSTS | FRONT | {"backend.training", "backend.pipelines"},
    "backend/images.py": WIRE | HOSTS | FRONT | {"backend.training", "backend.pipelines"},
    "backend/config.py": TORCH_STACK | PIXELS | HOSTS | FRONT,
    "backend/files.py": TORCH_STACK | PIXELS | HOSTS | FRONT,
    "backend/addons": PACKING | {"backend.krita", "backend.blender"},
    "backend/krita": PACKING | {"backend.blender"},
    "backend/blender": PACKING | {"backend.krita"},
    "plugin_krita": TORCH_STACK | PIXELS | {"bpy", "backend"},
    "plugin_krita/presenter.py": TORCH_STACK | PIXELS | HOSTS | {"backend"},
    "plugin_blender": TORCH_STACK | {"PIL", "krita", "PyQt5", "PyQt6", "backend"},
    "plugin_blender/presenter.py": TORCH_STACK | PIXELS | HOSTS | {"backend"},
}
# Inside protocol, third-party modules have one place each.
ONLY_IN = {"msgpack": {"protocol/codec.py"}, "zmq": {"protocol/transport.py", "protocol/client.py"}}
PROTOCOL_WORDS = {"jobs", "planes", "results", "geometry", "errors", "limits"}
"""What the rooms behind the worker's pipe may know of the contract."""
BEHIND_THE_PIPE = ("backend/worker", "backend/pipelines", "backend/models", "backend/training", "backend/faces.py", "backend/images.py")
LATE = TORCH_STACK | PIXELS | {"tqdm"}
"""What the command line may import inside functions only."""


def python_files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms or ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(source: str, file: str) -> list[tuple[str, int, bool]]:
    """Every import of a file as (absolute dotted name, line, whether at the top level and really executed)."""
    tree = ast.parse(source)
    package = file.removesuffix(".py").split("/")[:-1]
    found: list[tuple[str, int, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        match node:
            case ast.Import(names=names):
                found.extend((alias.name, node.lineno, top) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - (level - 1)]] if level else []
                start = ".".join([*base, *([module] if module else [])])
                found.append((start, node.lineno, top))
                found.extend((f"{start}.{alias.name}", node.lineno, top) for alias in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for child in node.body:
                    visit(child, False)
                for child in node.orelse:
                    visit(child, top)
                return
            case _:
                pass
        inner = top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, inner)

    visit(tree, True)
    return found


def covers(entry: str, module: str) -> bool:
    return module == entry or module.startswith(entry + ".")


def is_heavy(module: str) -> bool:
    return module.split(".")[0] in LATE


def rule_for(file: str) -> set[str]:
    fitting = [key for key in FORBIDDEN if file == key or file.startswith(key + "/")]
    return FORBIDDEN[max(fitting, key=len)] if fitting else set()


def wrong_imports(source: str, file: str) -> list[str]:
    """Every import of this file that is against an arrow, as a sentence."""
    out: list[str] = []
    own = file.split("/")[0]
    for module, line, _ in imports(source, file):
        absolute_self = own == "protocol" and covers("protocol", module) and not _is_relative(source, line)
        if absolute_self or any(covers(entry, module) for entry in rule_for(file)):
            out.append(f"{file}:{line} imports {module}")
        if own == "protocol" and module.split(".")[0] in ONLY_IN and file not in ONLY_IN[module.split(".")[0]]:
            out.append(f"{file}:{line} imports {module}, which belongs in {sorted(ONLY_IN[module.split('.')[0]])}")
        if own == "protocol" and module.split(".")[0] not in {*sys.stdlib_module_names, *ONLY_IN, "protocol", "__future__"}:
            out.append(f"{file}:{line} imports {module}, which is not in the standard library")
        behind = any(file == room or file.startswith(room + "/") for room in BEHIND_THE_PIPE)
        if behind and module.startswith("protocol.") and module.split(".")[1] not in PROTOCOL_WORDS:
            out.append(f"{file}:{line} imports {module}; behind the pipe only {sorted(PROTOCOL_WORDS)} of the contract are known")
    return out


def _is_relative(source: str, line: int) -> bool:
    return source.splitlines()[line - 1].lstrip().startswith("from .")


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "tests"])
def test_every_import_follows_an_arrow_of_the_design(room: str):
    """Tests may use every room."""
    assert [wrong for path in python_files(room) for wrong in wrong_imports(path.read_text(encoding="utf-8"), name_of(path))] == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("protocol/jobs.py", "import numpy"),
        ("protocol/jobs.py", "from protocol.planes import Plane"),
        ("protocol/jobs.py", "import msgpack"),
        ("protocol/jobs.py", "import yaml"),
        ("backend/server/broker.py", "def f():\n    import torch"),
        ("backend/server/broker.py", "from ..pipelines import engine"),
        ("backend/server/broker.py", "from .. import worker"),
        ("backend/pipelines/engine.py", "import zmq"),
        ("backend/pipelines/engine.py", "from protocol.messages import Submit"),
        ("backend/training/loop.py", "from ..server.queue import next_job"),
        ("plugin_krita/presenter.py", "import krita"),
        ("backend/blender/package.py", "import bpy"),
        ("backend/blender/package.py", "from ..krita import kritarc"),
    ],
)
def test_an_import_against_an_arrow_is_noticed(file: str, source: str):
    assert wrong_imports(source, file) != []


def test_the_command_line_imports_nothing_heavy_at_the_top():
    files = [*(ROOT / "backend" / "cli").glob("*.py"), *(ROOT / "backend" / name for name in ("config.py", "__main__.py", "__init__.py"))]
    found = {name_of(file): imports(file.read_text(encoding="utf-8"), name_of(file)) for file in files}
    assert [f"{name}:{line} {module}" for name, all_of in found.items() for module, line, top in all_of if top and is_heavy(module)] == []


def too_long(path: Path) -> list[str]:
    """The file, if it is long, and each function of it that is."""
    source = path.read_text(encoding="utf-8")
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    long = [f"{name_of(path)}:{f.lineno} {f.name}" for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > MAX_FUNCTION_LINES]
    return [*([name_of(path)] if len(source.splitlines()) > MAX_FILE_LINES else []), *long]


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_and_no_function_is_long(room: str):
    assert [long for path in python_files(room) for long in too_long(path)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_names_a_place_of_one_machine(room: str):
    places = re.compile(r"[\"'](/(?:home|root|work|Users|mnt|media|srv|data)/|[A-Za-z]:\\{1,2}Users)")
    texts = {path: path.read_text(encoding="utf-8") for path in python_files(room) if path != Path(__file__)}
    assert [f"{name_of(path)}: {line}" for path, text in texts.items() for line in text.splitlines() if places.search(line)] == []


def test_no_page_and_no_configuration_names_a_place_of_one_machine():
    places = re.compile(r"(?<![\w.~/])/(?:home|root|work|Users|mnt|media|srv)/\w")
    kinds = (".md", ".toml", ".html", ".json", ".jsonl", ".action", ".desktop")
    inside = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in kinds]
    files = [*inside, *(path for path in ROOT.iterdir() if path.suffix in kinds), *(ROOT / ".ci").iterdir()]
    assert len(files) > 30
    assert [name_of(path) for path in files if places.search(path.read_text(encoding="utf-8"))] == []
    assert places.search("see /home/anna/models")


def test_every_place_on_the_map_is_there():
    """A cell may go on in the folder of its first place: `backend/demo.py`, `contact.py`."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| (`[^|]*) \|", page.split("## Rooms")[1].split("\n#")[0], re.MULTILINE)
    assert len(cells) > 20
    for cell in cells:
        first, *others = re.findall(r"`([^`]+)`", cell)
        assert [place for place in (first, *(f"{Path(first).parent}/{other}" for other in others)) if not (ROOT / place).exists()] == []


def test_nothing_raises_a_bare_exception():
    """Errors for the user are of the one tree: `raise Exception` and `assert` on outside data have no sentence."""
    bare = re.compile(r"raise (Exception|BaseException)\b")
    files = [p for p in python_files() if not p.is_relative_to(ROOT / "tests")]
    assert [name_of(p) for p in files if bare.search(p.read_text(encoding="utf-8"))] == []


def test_no_module_of_the_product_keeps_state_in_a_global_statement():
    files = [p for p in python_files() if not p.is_relative_to(ROOT / "tests")]
    assert [name_of(p) for p in files if any(isinstance(n, ast.Global) for n in ast.walk(ast.parse(p.read_text(encoding="utf-8"))))] == []
