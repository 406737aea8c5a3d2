"""The one place that chooses PyQt5 or PyQt6; every other file takes Qt from here.

Krita 5 has PyQt5 and Krita 6 PyQt6, and either machine may have the other one installed too, so the one that is already loaded goes first.
Enums are written with their scope (`Qt.AlignmentFlag.AlignLeft`), which both accept.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def _chosen() -> str:
    for name in ("PyQt6", "PyQt5"):
        if f"{name}.QtCore" in sys.modules:
            return name
    try:
        importlib.import_module("PyQt5.QtCore")
    except ImportError:  # Krita's own import hook raises this for the wrong one
        return "PyQt6"
    return "PyQt5"


BINDING = _chosen()
"""Name of the package in use: PyQt5 or PyQt6."""

# Qt is untyped for us: PyQt5 and PyQt6 have different stubs, and neither is needed to check the rest.
QtCore: Any = importlib.import_module(f"{BINDING}.QtCore")
QtGui: Any = importlib.import_module(f"{BINDING}.QtGui")
QtWidgets: Any = importlib.import_module(f"{BINDING}.QtWidgets")

Qt: Any = QtCore.Qt
QAction: Any = getattr(QtGui, "QAction", None) or QtWidgets.QAction
"""In QtGui since Qt 6."""


def is_deleted(thing: Any) -> bool:  # any Qt object
    """Whether Qt has deleted the object behind a Python one, as it does with the children of a widget that goes."""
    try:
        sip: Any = importlib.import_module(f"{BINDING}.sip")
    except ImportError:  # some old distributions have it beside the package
        sip = importlib.import_module("sip")
    return bool(sip.isdeleted(thing))
