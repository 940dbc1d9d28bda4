"""sympy for onnx_ir when it first computes with it: half of what onnx_ir takes to import is sympy.

onnx_ir computes with symbolic sizes by sympy, and most commands have no such size to compute. In a process of ours
(:mod:`rr_export.__main__`) onnx_ir is handed a module that imports sympy when something of it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

SYMPY, READER = "sympy", "onnx_ir"


class _Later:
    """A function of sympy, looked up when it is called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(SYMPY), self._name)(*args, **kwargs)


class _Sympy(ModuleType):
    """What onnx_ir has as sympy: while it is imported names of functions, and from then on sympy itself."""

    def __getattr__(self, name: str) -> Any:
        if _is_importing(READER):
            if name.startswith("__"):  # the import system asks, for what a module may lack
                raise AttributeError(name)
            return _Later(name)
        if sys.modules.get(SYMPY) is self:
            del sys.modules[SYMPY]
        return getattr(import_module(SYMPY), name)


class _Finder(MetaPathFinder, Loader):
    """Finds that module where onnx_ir asks for sympy, and nothing else."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Returns where the module comes from that onnx_ir takes for sympy; None for all others."""
        return ModuleSpec(fullname, self) if fullname == SYMPY and _is_importing(READER) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Returns that module."""
        return _Sympy(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leaves it as it is."""


def import_sympy_late() -> None:
    """onnx_ir, where it is imported from now on, imports no sympy before it uses it."""
    sys.meta_path.insert(0, _Finder())


def _is_importing(package: str) -> bool:
    spec = getattr(sys.modules.get(package), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
