"""A copy of the provider that writes down which modules a signature loads, and which files it opens for that."""

from __future__ import annotations

import compileall
import json
import marshal
from pathlib import Path

from support.openssh import Person, assert_signs
from support.provider_tree import CARRIED_SOFT, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Whoever imports one of these for every signature makes everybody wait.
HEAVY = {
    "ast", "cffi", "click", "collections", "contextlib", "cryptography", "ctypes", "dataclasses", "enum",
    "fido2", "functools", "hashlib", "importlib.machinery", "importlib.metadata", "inspect", "json", "logging",
    "os", "pathlib", "re", "socket", "subprocess", "tempfile", "threading", "traceback", "typing", "warnings",
}  # fmt: skip

# What the standard library may give besides what the bare interpreter has.
LEAN = {"_sha2", "_sha256", "_socket", "fcntl", "pwd", "select", "time"}

# The first of our modules to be imported, and the end of a signature.
_WATCH = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
before = sorted(sys.modules)
"""
_TELL = """
_sign = sign


def sign(request, configuration, operation):
    import sys

    from sk_provider import before, opened

    response = _sign(request, configuration, operation)
    found = sorted(sys.modules), list(opened)
    import json

    with open({path!r}, "w") as file:
        json.dump({{"before": before, "modules": found[0], "opened": found[1]}}, file)
    return response
"""


class Told:
    """The modules that there were when ours were first looked for, those in the end, and the files opened between."""

    def __init__(self, before: list[str], modules: list[str], opened: list[str]) -> None:
        self.modules = set(modules)
        self.imported = self.modules - set(before)
        self.opened = opened


class Watched:
    """The copy, installed as pip does it."""

    def __init__(self, folder: Path) -> None:
        self._tree = Tree(folder / "tree")
        self._told = folder / "told"
        self._tree.append("__init__.py", _WATCH)
        self._tree.append("sign.py", _TELL.format(path=str(self._told)))
        compileall.compile_dir(self._tree.package, quiet=1)
        self._tree.carry()

    def person(self, folder: Path) -> Person:
        """Return somebody who uses it, and has their files in the folder."""
        return Person(folder, self._tree.library)

    def sign(self, person: Person, key: Path, answers: Sequence[tuple[str, str]] = ()) -> Told:
        """Have the key sign something, and return what ssh-sk-helper loaded and opened for that."""
        self._told.unlink(missing_ok=True)
        assert_signs(person, key, answers)
        return Told(**json.loads(self._told.read_text()))

    def module_files(self, told: Told) -> list[str]:
        """Return the files that were opened to import modules of our package."""
        return [path for path in told.opened if path.startswith(f"{self._tree.package}/") and not path.endswith(".bin")]

    def carried_for_soft(self) -> set[str]:
        """Return the names of the modules in the file that only the software authenticator wants."""
        return {
            name for name, *_ in marshal.loads((self._tree.package / CARRIED_SOFT).read_bytes().partition(b"\n")[2])
        }


def assert_lean(told: Told) -> None:
    """Fail if the signature has loaded what everybody would wait for."""
    assert told.modules & HEAVY == set()
    # What tells of it is for whoever asks.
    assert not [name for name in told.modules if name.startswith("sk_provider.") and "trace" in name]
    assert {name for name in told.imported if name.partition(".")[0] != "sk_provider"} - LEAN == set()
