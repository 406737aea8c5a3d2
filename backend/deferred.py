"""What diffusers and transformers import for tasks that pictures seldom have, imported when it is first used.

These two take single names of torch's compiler, of tensors that lie on several machines, of scipy and of peft at the top of their modules;
importing all that takes as long as everything a picture needs. `defer` puts stand-ins in the place of those modules. A stand-in hands out
names that nobody had to import anything for; calling one, subclassing it or asking for anything of it imports the real module. Whether an
object is an instance of it is known without: while its class does not exist, nothing is. A module that is asked for a name that is not
listed here, and anything beside it in its package, is imported at once, as if there had never been a stand-in: a release of diffusers that
wants more is slower to start, not wrong.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeAlias, cast

Untyped: TypeAlias = Any
COMPILER = "torch._dynamo"


@dataclass(frozen=True, slots=True)
class Package:
    """Modules that are put off together: `names` of each. "Name()" is a class of which objects are made while modules are imported."""

    names: Mapping[str, frozenset[str]]


PACKAGES = (
    Package(
        {
            COMPILER: frozenset(),
            f"{COMPILER}.eval_frame": frozenset({"OptimizedModule"}),
            f"{COMPILER}._trace_wrapped_higher_order_op": frozenset({"TransformGetItemToIndex"}),
        },
    ),
    Package(
        {
            "torch.distributed.tensor": frozenset({"DTensor", "Partial()", "Replicate()", "Shard()", "distribute_tensor"}),
            "torch.distributed.tensor._utils": frozenset({"compute_local_shape_and_global_offset"}),
            "torch.distributed.tensor.placement_types": frozenset({"Shard()", "_StridedShard"}),
            "torch.distributed.checkpoint": frozenset(),
            "torch.distributed.checkpoint.hf_storage": frozenset({"HuggingFaceStorageReader", "HuggingFaceStorageWriter"}),
            "torch.distributed._composable": frozenset(),
            "torch.distributed._composable.fsdp": frozenset({"fully_shard"}),
            "torch.distributed.fsdp": frozenset({"CPUOffloadPolicy", "MixedPrecisionPolicy"}),
        },
    ),
    Package(
        {"scipy.optimize": frozenset({"linear_sum_assignment"}), "scipy.stats": frozenset(), "scipy.integrate": frozenset()},
    ),
    Package(
        {
            "peft": frozenset({"PeftModel"}),
            "peft.helpers": frozenset({"disable_input_dtype_casting"}),
            "peft.tuners.tuners_utils": frozenset({"BaseTunerLayer"}),
        },
    ),
)


class Name:
    """A class or function of a module that is not imported yet."""

    def __init__(self, module: StandIn, name: str, lasting: bool = False) -> None:
        self._module, self._name, self._lasting = module, name, lasting

    def _real(self) -> Untyped:
        return getattr(self._module.real(), self._name)

    def __call__(self, *args: Untyped, **kwargs: Untyped) -> Untyped:
        """What the real one answers."""
        if self._lasting and not self._module.exists:
            return Made(lambda: self._real()(*args, **kwargs))
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Untyped:
        return getattr(self._real(), name)

    def __instancecheck__(self, one: object) -> bool:
        return (self._module.exists or type(one) is Made) and isinstance(one, self._real())

    def __subclasscheck__(self, kind: type) -> bool:
        return self._module.exists and issubclass(kind, self._real())

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (self._real(),)

    def __or__(self, other: Untyped) -> Untyped:
        return self._real() | other

    def __ror__(self, other: Untyped) -> Untyped:
        return other | self._real()

    def __getitem__(self, item: Untyped) -> Untyped:
        return self._real()[item]


class Made:
    """An object that is made when something of it is asked for."""

    def __init__(self, make: Callable[[], Untyped]) -> None:
        self._make = functools.cache(make)

    @property
    def __class__(self) -> Untyped:  # pyright: ignore[reportIncompatibleMethodOverride]  # for isinstance it is what it stands for
        return cast("Untyped", type(self._make()))

    def __getattr__(self, name: str) -> Untyped:
        return getattr(self._make(), name)

    def __eq__(self, other: object) -> bool:
        return self._make() == other

    def __hash__(self) -> int:
        return hash(self._make())


class StandIn(ModuleType):
    """In the place of a module until somebody needs that one."""

    def __init__(self, name: str, names: frozenset[str], finder: Finder) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__ = []
        self._names, self._finder = names, finder

    @property
    def exists(self) -> bool:
        """Whether the real module was imported."""
        return sys.modules.get(self.__name__, self) is not self

    def real(self) -> ModuleType:
        """The real module, which takes this one's place."""
        self._finder.give_up(self.__name__)
        return importlib.import_module(self.__name__)

    def __getattr__(self, name: str) -> Untyped:
        if not self.exists:
            if name.startswith("__"):  # asked of every module by those who go through all of them
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            if name in self._names or f"{name}()" in self._names:
                return Name(self, name, lasting=name not in self._names)
            part = sys.modules.get(f"{self.__name__}.{name}")
            if isinstance(part, StandIn):
                return part
        return getattr(self.real(), name)


class Compiler(StandIn):
    """In the place of torch's compiler: its decorators do nothing until something is compiled, when they are made up for."""

    def __init__(self, name: str, names: frozenset[str], finder: Finder) -> None:
        super().__init__(name, names, finder)
        self._told: list[Callable[[Untyped], object]] = []

    def real(self) -> ModuleType:
        """The compiler, told what was said before it was there."""
        module = super().real()
        told, self._told = self._told, []
        for say in told:
            say(module)
        return module

    def allow_in_graph(self, one: Untyped) -> Untyped:
        """As of the real one: marks and returns `one`."""
        return self._mark("allow_in_graph", one)

    def assume_constant_result(self, one: Untyped) -> Untyped:
        """As of the real one: marks and returns `one`."""
        return self._mark("assume_constant_result", one)

    def disable(self, one: Untyped = None, *args: Untyped, **kwargs: Untyped) -> Untyped:
        """As of the real one: a function that is not compiled."""
        if self.exists:
            return cast("Untyped", self.real()).disable(one, *args, **kwargs)
        if one is None:
            return functools.partial(self.disable, **kwargs)
        kept = [one]

        @functools.wraps(one)
        def late(*given: Untyped, **named: Untyped) -> Untyped:
            return kept[-1](*given, **named)

        self._told.append(lambda module: kept.append(module.disable(one, *args, **kwargs)))
        return late

    def _mark(self, decorator: str, one: Untyped) -> Untyped:
        if self.exists:
            return getattr(self.real(), decorator)(one)
        self._told.append(lambda module: getattr(module, decorator)(one))
        return one


class Finder:
    """Sees who imports something beside the stand-ins in their packages, which then is imported for real."""

    def __init__(self, packages: Sequence[Package] = PACKAGES) -> None:
        self._packages = list(packages)
        self._lock = threading.RLock()

    def place(self) -> None:
        """Put a stand-in where nothing is imported yet; a package that is there has it as an attribute, too, as after any import."""
        for package in self._packages:
            for name, names in package.names.items():
                if name not in sys.modules:
                    standin = (Compiler if name == COMPILER else StandIn)(name, names, self)
                    sys.modules[name] = standin
                    parent, _, leaf = name.rpartition(".")
                    if parent in sys.modules and leaf not in vars(sys.modules[parent]):
                        setattr(sys.modules[parent], leaf, standin)
        sys.meta_path.insert(0, cast("Any", self))

    def give_up(self, name: str) -> list[StandIn]:
        """Take away the stand-ins of the package that the module `name` belongs to, and give them."""
        taken: list[StandIn] = []
        with self._lock:
            for package in [one for one in self._packages if name in one.names or _within(name, one)]:
                self._packages.remove(package)
                for module in package.names:
                    there = sys.modules.get(module)
                    if isinstance(there, StandIn):
                        del sys.modules[module]
                        taken.append(there)
                        parent, _, leaf = module.rpartition(".")
                        if vars(sys.modules.get(parent, there)).get(leaf) is there:
                            delattr(sys.modules[parent], leaf)
        return taken

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Nothing, but the package of `name` is itself again. Its import may have brought the module already."""
        if not any(_within(name, package) for package in self._packages):
            return None
        taken = self.give_up(name)
        parent = importlib.import_module(name.rpartition(".")[0])
        for standin in taken:
            if standin.exists:
                standin.real()
        there = sys.modules.pop(name, None)  # importlib would take its own loader, and load it a second time
        if there is not None:
            return ModuleSpec(name, cast("Any", _Already(there)), is_package=hasattr(there, "__path__"))
        return importlib.machinery.PathFinder.find_spec(name, parent.__path__)


@dataclass(frozen=True, slots=True)
class _Already:
    """A loader of what is loaded."""

    module: ModuleType
    spec: ModuleSpec | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", self.module.__spec__)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self.spec  # some modules let nobody set anything


def _within(name: str, package: Package) -> bool:
    """Whether `name` is a part of a module that has a stand-in, or lies beside one in its package."""
    return any(name.startswith(f"{module}.") for module in package.names)


def defer() -> None:
    """Put off what is listed in `PACKAGES`, in this process, as far as it is not imported yet. A second time does nothing."""
    importlib.import_module("torch")  # first, so that nothing of it meets a stand-in
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        Finder().place()
