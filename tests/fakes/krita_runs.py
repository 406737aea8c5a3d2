"""Real Krita for tests: a HOME that is filled once, kritarunner without a window, and Krita itself on an X server of its own.

Two folders can be given by the environment: `LIKENESS_KRITA_HOME`, a HOME that is kept from one run of the tests to the next (the first
start in a new one takes a minute on a slow machine), and `LIKENESS_SCREENSHOTS`, where pictures of the screen are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FAKES = ROOT / "tests" / "fakes"
NOT_HERE = "Krita with its Python is not on this machine: `apt install krita python3-pyqt5 xvfb xdotool imagemagick`"
START_S = 600
"""For one run: a cold start on a busy machine takes most of two minutes."""


def why_no_krita(*programs: str) -> str:
    """ "" when everything that a test needs is there, else the sentence to skip with."""
    missing = [name for name in programs if shutil.which(name, path="/usr/bin:/bin") is None]
    if missing:
        return f"{NOT_HERE}. Missing: {', '.join(missing)}"
    asked = "import PyQt5.QtCore"
    done = subprocess.run(["/usr/bin/python3", "-c", asked], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{NOT_HERE}. {done.stderr.strip().splitlines()[-1]}"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of the tests' own Python gets into Krita; where temporary files go does, and how many threads may compute: its backend
    inherits it."""
    private = home / "run"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "TMPDIR") if name in os.environ}
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "XDG_RUNTIME_DIR": str(private), **kept, **more}


def copy_plugin(folder: Path, registering: bool = True) -> None:
    """The plug-in's source as the package `likeness` in `folder`, with the contract inside, as an installed one has it."""
    target = folder / "likeness"
    shutil.rmtree(target, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "pictures")
    shutil.copytree(ROOT / "plugin_krita", target, ignore=ignored)
    shutil.copytree(ROOT / "protocol", target / "protocol", ignore=ignored)
    if not registering:
        (target / "__init__.py").write_text("", encoding="utf-8")


def run_cases(module: str, home: Path, out: Path, timeout_s: float = START_S) -> dict[str, object]:
    """Run `main` of a module of tests/fakes in kritarunner, and give back what it wrote into out/result.json."""
    code = out / "code"
    copy_plugin(code, registering=False)
    for cases in FAKES.glob("krita_*_cases.py"):
        shutil.copy(cases, code)
    values = environment(home, QT_QPA_PLATFORM="offscreen", PYTHONPATH=str(code))
    with (out / "kritarunner.log").open("w") as log:
        command = ["kritarunner", "-s", module, "-f", "main", str(out)]
        subprocess.run(command, env=values, stdout=log, stderr=subprocess.STDOUT, timeout=timeout_s, check=False)
    result = out / "result.json"
    assert result.is_file(), (out / "kritarunner.log").read_text(errors="replace")[-3000:]
    return json.loads(result.read_text(encoding="utf-8"))


def kept_home(made: Path) -> Path:
    """The HOME of this run of the tests: `made`, or the one that the environment names."""
    home = Path(os.environ.get("LIKENESS_KRITA_HOME") or made)
    home.mkdir(parents=True, exist_ok=True)
    return home


def enable_plugins(home: Path, *names: str) -> None:
    """Krita loads these plug-ins, and draws its canvas without a graphics card."""
    config = home / ".config"
    config.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"enable_{name}=true\n" for name in names)
    (config / "kritarc").write_text(f"[python]\n{lines}", encoding="utf-8")
    (config / "kritadisplayrc").write_text("[General]\ncanvasState=TRY_OPENGL\n", encoding="utf-8")


@contextlib.contextmanager
def x_server(width: int = 1600, height: int = 1000) -> Iterator[str]:
    """A free display with nothing on it.

    The number is drawn by lot, and the server's own lock says whether it is free. `-displayfd`, which chooses one, makes no lock: where
    abstract sockets are missing, as in some containers, two servers at once both choose 0.
    """
    for _ in range(20):
        display = f":{random.randrange(1000, 30000)}"
        command = ["Xvfb", display, "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-noreset"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if _answers(server, display):
                yield display
                return
        finally:
            server.terminate()
            server.wait(120)
    raise AssertionError("Xvfb did not start")


def _answers(server: subprocess.Popen[bytes], display: str) -> bool:
    values = {"DISPLAY": display, "PATH": "/usr/bin:/bin"}
    end = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < end:
        if subprocess.run(["xdotool", "getdisplaygeometry"], env=values, capture_output=True, check=False).returncode == 0:
            return True
        time.sleep(0.1)
    return False


@dataclass
class RunningKrita:
    """One Krita on its own display. The scenario plug-in in it writes `events.jsonl` and pictures into `out`."""

    process: subprocess.Popen[bytes]
    display: str
    out: Path
    env: dict[str, str] = field(repr=False)

    def events(self) -> list[dict[str, object]]:
        path = self.out / "events.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for(self, name: str, timeout_s: float = START_S) -> dict[str, object]:
        """The first event of that name; fails at once when the scenario told of a failure, or Krita ended."""
        end = time.monotonic() + timeout_s
        while True:
            known = self.events()
            for event in known:
                assert event["event"] != "failed", event["trace"]
                if event["event"] == name:
                    return event
            assert self.process.poll() is None, f"Krita ended with {self.process.returncode} before {name}:\n{self.log()}"
            assert time.monotonic() < end, f"no {name} within {timeout_s} s; last: {known[-1:]}\n{self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        return (self.out / "krita.log").read_text(errors="replace")[-3000:]

    def xdotool(self, *words: str) -> None:
        """Real mouse and keyboard input."""
        subprocess.run(["xdotool", *words], env=self.env, check=True, timeout=60)

    def click(self, place: object) -> None:
        x, y = place  # type: ignore[misc]
        self.xdotool("mousemove", str(x), str(y))
        time.sleep(0.2)
        self.xdotool("click", "1")

    def type(self, text: str) -> None:
        self.xdotool("type", "--delay", "40", text)

    def say(self, name: str) -> None:
        """Let the scenario go on: it waits for files of these names."""
        (self.out / f"go-{name}").touch()

    def screenshot(self, name: str) -> Path:
        path = self.out / f"{name}.png"
        subprocess.run(["import", "-window", "root", str(path)], env=self.env, check=True, timeout=60)
        keep(path)
        return path


def keep(path: Path) -> None:
    """Copy a picture where the environment asks for them."""
    folder = os.environ.get("LIKENESS_SCREENSHOTS")
    if folder and path.is_file():
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, Path(folder) / path.name)


@contextlib.contextmanager
def krita(home: Path, out: Path, width: int = 1600, height: int = 1000, **more: str) -> Iterator[RunningKrita]:
    """Start Krita; it is ended when the block is left, gently where it listens."""
    out.mkdir(parents=True, exist_ok=True)
    with x_server(width, height) as display, (out / "krita.log").open("wb") as log:
        values = environment(home, DISPLAY=display, LIKENESS_SCENARIO_OUT=str(out), **more)
        process = subprocess.Popen(["krita", "--nosplash"], env=values, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        running = RunningKrita(process, display, out, values)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(120)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(120)
            for picture in sorted(out.glob("*.png")):
                keep(picture)


def install_scenario(home: Path) -> None:
    """The plug-in that plays scenarios, beside ours."""
    pykrita = home / ".local" / "share" / "krita" / "pykrita"
    pykrita.mkdir(parents=True, exist_ok=True)
    target = pykrita / "krita_scenario"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(FAKES / "krita_scenario", target, ignore=shutil.ignore_patterns("__pycache__"))
    words = "Type=Service\nServiceTypes=Krita/PythonPlugin\nX-KDE-Library=krita_scenario\nName=Scenario\nComment=Plays a test.\n"
    (pykrita / "krita_scenario.desktop").write_text(f"[Desktop Entry]\n{words}", encoding="utf-8")
