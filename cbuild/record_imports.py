"""Prints what importing modules of sk_provider imports of it, in the order in which these imports end.

Called as record_imports.py FOLDER GROUP..., by a Python that finds no package elsewhere: the folder is the one that
sk_provider is in, and a group names modules of it, separated by commas. For each group comes a line with the full names
of the modules that it was the first to import.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_imported: list[str] = []


class _Recorder(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if module.__name__.partition(".")[0] == "sk_provider":
            _imported.append(module.__name__)


def _record(folder: str, groups: list[str]) -> None:
    hook = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (_Recorder, SOURCE_SUFFIXES))
    sys.path_hooks.insert(0, hook)
    sys.path.append(folder)
    for group in groups:
        for name in filter(None, group.split(",")):
            __import__(f"sk_provider.{name}")
        print(*_imported)  # noqa: T201 - it is what the build reads
        _imported.clear()


_record(sys.argv[1], sys.argv[2:])
