"""Runs inside libpysk.so, where it gives Python the modules that build_libpysk.py has put into files of their own."""

from __future__ import annotations

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

    Marshalled = dict[str, tuple[bool, bytes]]


_ModuleSpec: Any = type(sys.__spec__)


class _Finder:
    """A finder and loader (importlib.abc has what the methods mean) of modules that are all in memory, or soon are."""

    def __init__(self, folder: str, modules: Marshalled, more: list[str], more_file: str) -> None:
        self._folder = folder
        self._modules = modules
        self._more = more
        self._more_file = more_file

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        if name in self._more:
            self._more = []
            self._read_more()
        if name not in self._modules:
            return None
        is_package = self._modules[name][0]
        spec = _ModuleSpec(name, self, is_package=is_package)
        if is_package:
            # For the modules that are not carried.
            spec.submodule_search_locations = [_folder_of(name, self._folder)]
        return spec

    def _read_more(self) -> None:
        try:
            with open(f"{self._folder}/{self._more_file}", "rb") as file:
                self._modules.update(marshal.loads(file.read()))  # noqa: S302 - it is our own code
        except (OSError, EOFError, ValueError, TypeError):
            # The modules have files of their own as well.
            return

    def create_module(self, _spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self._modules[module.__name__][1]), module.__dict__)  # noqa: S102, S302 - it is our own code


def _folder_of(name: str, folder: str) -> str:
    return folder + name.removeprefix("sk_provider").replace(".", "/")


def install(
    folder: str, at_once: list[tuple[str, bool, CodeType]], on_demand: Marshalled, more: list[str], more_file: str
) -> None:
    """Import modules from memory and let others come from there, unless the host's Python has the package already.

    folder: the package's; at_once: the modules to import now, by full name, whether each is a package, and its code;
    on_demand: by their full names, others, their code marshalled; more: the names of what is in more_file, another file
    like on_demand in the folder.
    """
    if "sk_provider" in sys.modules:
        return
    sys.meta_path.insert(0, _Finder(folder, on_demand, more, more_file))
    # Python's own way to each would take as long as the module itself.
    for name, is_package, code in at_once:
        module = type(sys)(name)
        parent, _, child = name.rpartition(".")
        module.__package__ = parent
        if is_package:
            module.__package__ = name
            module.__path__ = [_folder_of(name, folder)]
        sys.modules[name] = module
        exec(code, module.__dict__)  # noqa: S102 - it is our own code
        if parent:
            setattr(sys.modules[parent], child, module)
