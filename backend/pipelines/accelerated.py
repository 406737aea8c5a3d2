"""Compiled blocks and CUDA graphs around the nets of one picture, where these are on and can be."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager

from ..models.adapters import Untyped
from ..models.memory_plan import Role, Stay, stay
from ..models.originals import Originals
from ..models.parts import Parts
from .checks import step_leash_for
from .compiled import Compiler
from .entries import Call, entered
from .graphs import Graphs


@contextmanager
def accelerated(
    parts: Parts, nets: Sequence[Untyped], check: Callable[[], None], worn: bool, whole: bool = True
) -> Generator[Callable[[], bool]]:
    """While a picture is drawn by the UNet of `parts` and `nets`, with our processors attached. `check` is asked before each net, and may
    raise. Gives what says whether a device only notes, right now, what it is asked for.

    Nothing happens where weights are stored in other numbers or streamed, or LoRAs are `worn` as hooks: these act within blocks. Nets that
    are not always `whole`, since in some steps a part of them rests, are not captured: a graph repeats all that it was captured with.
    """
    compiler: Compiler | None = parts.compiler
    graphs: Graphs | None = parts.graphs
    if graphs is not None and (worn or not _may(parts) or not _stay(parts, Role.UNET, Role.NET)):
        graphs.drop()  # what they hold is needed more by what comes and goes
        graphs = None
    graphs = graphs if whole else None
    if worn or not _may(parts) or (compiler is None and graphs is None):
        yield lambda: False
        return
    with ExitStack() as stack:
        modules = [parts.unet, *nets]
        compiled = 0 if compiler is None else stack.enter_context(compiler.within(modules))
        if graphs is not None:
            stack.enter_context(graphs.within(compiled))
            stack.enter_context(entered(modules, _by_graphs(parts, graphs, compiler, check)))
        yield lambda: graphs is not None and graphs.capturing


def merging(parts: Parts) -> Originals | None:
    """Who keeps the UNet's weights while LoRAs are merged into them; None where LoRAs act beside the layers: where nothing is compiled or
    captured, and where the UNet leaves the device, is streamed, or is stored in numbers too short for such small changes."""
    if (parts.compiler is None and parts.graphs is None) or not _may(parts) or not _stay(parts, Role.UNET):
        return None
    return parts.originals


def _by_graphs(parts: Parts, graphs: Graphs, compiler: Compiler | None, check: Callable[[], None]) -> Callable[[Call], Untyped]:
    leash = step_leash_for(parts.device)  # a graph is one thing to ask for: the processor would be through before the device began

    def through(call: Call) -> Untyped:
        if leash is not None:
            leash.before(call.net)
        check()  # after the wait, so that a wish to stop which came meanwhile is heard
        answer = graphs.call(call, may_capture=compiler is None or compiler.idle)
        if leash is not None:
            leash.after(call.net)
        return answer

    return through


def _may(parts: Parts) -> bool:
    return parts.storage is None and not parts.residency.streams


def _stay(parts: Parts, *roles: Role) -> bool:
    """Whether such parts are on the device between pictures: a graph knows where they are."""
    return all(stay(parts.residency.level, role) is Stay.DEVICE for role in roles)
