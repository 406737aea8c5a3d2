"""What holds for every test file."""

from __future__ import annotations

import gc
import os
import tempfile

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Before torch is imported, and for what the tests start. Tiny models gain nothing from a second thread, and on a machine that does other
work too each of their thousands of small operations waits until it, too, was given a core: ten times as long. Say another number to have
it."""


@pytest.fixture(scope="module", autouse=True)
def _collector_minds_its_own_file() -> None:
    """Python's garbage collector looks through what a test file makes, not through a million objects of torch and diffusers each time.

    That takes a quarter of a second, and the worker collects between any two attempts at a picture.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _a_home_of_their_own(tmp_path_factory: pytest.TempPathFactory):
    """What the tests, and the Kritas, Blenders and browsers that they start, read and leave behind is not in the machine's folders.

    The names are short: sockets lie in the temporary folder, and a socket's path has at most a hundred characters.
    """
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("t")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
            patch.setenv(name, str(home))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        for name in ("TMPDIR", "TEMP", "TMP"):
            patch.setenv(name, str(temporary))
        patch.setattr(tempfile, "tempdir", None)  # Python asks the environment once
        yield


@pytest.fixture(scope="session", autouse=True)
def _pickles_of_the_tests(tmp_path_factory: pytest.TempPathFactory):
    """Pickles that the tests themselves made are read in their process, as a process each takes seconds; copies go to a folder of theirs.

    tests/models/test_pickles.py undoes the first: it shows what the throw-away process is for.
    """
    from backend.models import pickles, unpickle

    folder = tmp_path_factory.mktemp("store") / "converted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickles, "_run", lambda arguments, _: unpickle.run(arguments))
        patch.setattr(pickles, "cache_folder", lambda: folder)
        yield
