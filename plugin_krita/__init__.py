"""Likeness in Krita: a docker that paints one person's likeness into the canvas. This file finds the contract and registers the docker.

Krita imports every plug-in into one interpreter, so nothing here is imported by a common name: the contract is `.protocol`, a copy inside
an installed plug-in. In the source folder it is the neighbour of this one.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
if not (_HERE / "protocol").is_dir():
    __path__.append(str(_HERE.parent))


def _register() -> None:
    try:
        import krita  # noqa: F401 - only whether it is there
    except ImportError:
        return  # the parts without Krita are used by tests
    from .wheels import provide

    sentence = provide()
    if sentence:
        from .trouble import register as register_trouble

        register_trouble(sentence)
    else:
        from .plugin import register

        register()


_register()
