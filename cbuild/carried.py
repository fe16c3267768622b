"""Runs inside libpysk.so, where it finds the modules that carry.py has put into one file."""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


_ModuleSpec: Any = type(sys.__spec__)


class _Carried:
    """A finder and loader (importlib.abc has what the methods mean) of modules that are all in memory."""

    def __init__(self, modules: dict[str, tuple[bool, bytes]], folder: str) -> None:
        self._modules = modules
        self._folder = folder

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        if name not in self._modules:
            return None
        is_package = self._modules[name][0]
        spec = _ModuleSpec(name, self, is_package=is_package)
        if is_package:
            # For the modules that are not carried.
            spec.submodule_search_locations = [f"{self._folder}/{name.replace('.', '/')}"]
        return spec

    def create_module(self, _spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self._modules[module.__name__][1]), module.__dict__)  # noqa: S102, S302 - it is our own code


def install(modules: dict[str, tuple[bool, bytes]], folder: str) -> None:
    """Let modules come from memory, unless the host's Python has the package already.

    modules: whether it is a package, and its marshalled code, by its full name; folder: our site-packages.
    """
    if "sk_provider" not in sys.modules:
        sys.meta_path.insert(0, _Carried(modules, folder))
