"""Runs inside libpysk.so, where it starts the package, with the modules that build_libpysk.py has put into files.

The code in these files serves only while it is that of the installed modules.
"""

from __future__ import annotations

import _thread
import marshal
import posix
import sys
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    # By full name: whether it is a package, the size of its source, and its code, marshalled.
    Marshalled = dict[str, tuple[bool, int, bytes]]


_ModuleSpec: Any = type(sys.__spec__)

# In this time, at most, an installer or a copy puts all files of the package into their places.
_PLACED_WITHIN_S = 60

# Whether bytecode is of a Python that has a global interpreter lock.
_GIL, _NO_GIL = "gil", "free-threading"


# What tells that a file of carried modules is missing or not whole. To make a class takes as long as to read a file.
_Damaged = EOFError


class _Installed:
    """The modules in the package's folder, among which an edited one is told by what stat says of it.

    pip dates each file when it writes it, and writes RECORD, which names them all, as the last: a module with a later
    date was edited. What keeps the dates, such as dpkg or cp -a, keeps that order. The time at which a file came to its
    place, which nobody can set, is about the same for all.

    An edit passes for none if it keeps the size and bears an earlier date, and came to its place within a minute of the
    others, or while the clock was slow.
    """

    def __init__(self, folder: str, carried: str, record: str) -> None:
        """Take the folder, the name of the file of carried modules in it, and the path of RECORD."""
        self.folder = folder
        found = posix.stat(f"{folder}/{carried}")
        self._placed = found.st_ctime + _PLACED_WITHIN_S
        try:
            self._dated = posix.stat(record).st_mtime
        except OSError:
            # Distributions leave RECORD out of their packages.
            self._dated = found.st_mtime + _PLACED_WITHIN_S

    def changed(self, name: str, is_package: bool, size: int) -> str | None:
        """Return the path of a module's file, of this size as it was compiled, None if it is as it was installed."""
        path = self.folder_of(name) + ("/__init__.py" if is_package else ".py")
        try:
            found = posix.stat(path)
        except OSError:
            return path
        if found.st_size != size or found.st_mtime > self._dated or found.st_ctime > self._placed:
            return path
        return None

    def folder_of(self, name: str) -> str:
        """Return where the modules of a package are."""
        return self.folder + name.removeprefix("sk_provider").replace(".", "/")


class _Finder:
    """A finder and loader (importlib.abc has what the methods mean) of modules that are all in memory, or soon are.

    more: those in another file, of which whoever wants one wants all.
    """

    def __init__(
        self, installed: _Installed, modules: Marshalled, more: list[str], more_file: str, build: str, notes: list[str]
    ) -> None:
        self._installed = installed
        self._modules = modules
        self._more = more
        self._more_file = more_file
        self._build = build
        self._notes = notes
        self._lock = _thread.RLock()

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        if name in self._more:
            # Python's own locks are of one module each: a thread that wants another of these must wait as well.
            with self._lock:
                if name in self._more:
                    try:
                        return self._import_more(name)
                    finally:
                        self._more = []
                if name in sys.modules:
                    return _ModuleSpec(name, self)
        if name not in self._modules:
            return None
        is_package, size, _ = self._modules[name]
        if self._installed.changed(name, is_package, size):
            return None
        spec = _ModuleSpec(name, self, is_package=is_package)
        if is_package:
            # For the modules that are not carried.
            spec.submodule_search_locations = [self._installed.folder_of(name)]
        return spec

    def _import_more(self, name: str) -> Any:
        """Import the modules of the other file, and return the spec of the one of this name, None if that failed."""
        path = f"{self._installed.folder}/{self._more_file}"
        try:
            modules = _read(path, self._build)
        except (_Damaged, ImportError):
            self._notes.append(_damaged(path))
            return None
        return _ModuleSpec(name, self) if _import_carried(self._installed, modules, self._notes) else None

    def create_module(self, spec: Any) -> Any:
        # One of the other file is there already.
        return sys.modules.get(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in self._modules:
            exec(marshal.loads(self._modules[module.__name__][2]), module.__dict__)  # noqa: S102, S302 - our own code


def _damaged(path: str) -> str:
    return f"{path} is missing or damaged, which slows every use; reinstall libpysk"


def _read(path: str, build: str) -> Any:
    """Return what is in a file of carried modules, of the build of this name.

    Raises _Damaged if it is missing or not whole, and ImportError if it is of another build or not for this Python.
    """
    try:
        with open(path, "rb", 0) as file:
            # All at once, and no copy of what follows the first line: a page of memory takes as long as a stat.
            content = file.read()
        begin = content.index(b"\n") + 1
        magic, gil, found, size = content[:begin].decode().split()
        if int(size) != len(content) - begin:
            raise _Damaged
        if (magic, gil, found) != (MAGIC_NUMBER.hex(), _NO_GIL if "t" in sys.abiflags else _GIL, build):
            raise ImportError(f"{path} is of another build than the library")
        return marshal.loads(memoryview(content)[begin:])  # noqa: S302 - it is our own code
    except (OSError, EOFError, ValueError, TypeError):
        raise _Damaged from None


def _import_carried(installed: _Installed, modules: Any, notes: list[str]) -> bool:
    """Import modules from memory, none before one that it imports, unless one of their files has changed."""
    for name, is_package, size, _ in modules:
        changed = installed.changed(name, is_package, size)
        if changed:
            notes.append(
                f"{changed}, or its date, mode or owner, is not as it was installed, so that the package's files are "
                "read one by one, which slows every use; reinstall libpysk unless that is meant"
            )
            return False
    # Python's own way to each would take as long as the module itself.
    for name, is_package, _, code in modules:
        module = type(sys)(name)
        parent, _, child = name.rpartition(".")
        module.__package__ = parent
        if is_package:
            module.__package__ = name
            module.__path__ = [installed.folder_of(name)]
        exec(code, module.__dict__)  # noqa: S102 - it is our own code
        # Not before it is whole: neither another thread nor, where memory is wanting, the next call finds half of it.
        sys.modules[name] = module
        if parent:
            setattr(sys.modules[parent], child, module)
    return True


def start(ffi: Any, lib: Any, api_major: int, build: str, carried: str, record: str, codecs: str) -> None:
    """Start the package for a library, or let the library record the sentence that tells why it cannot be started.

    ffi, lib: CFFI's view of the library; api_major: what it answers to sk_api_version(); build: the hash of what it was
    built from; carried, record: the names of the file of carried modules, in the package's folder, and of the
    installer's record, beside it; codecs: the folder of the standard library's encodings.
    """
    try:
        import encodings

        if not encodings.__path__:
            # A frozen package does not know where its other modules are.
            encodings.__path__.append(codecs)
        site_packages = ffi.string(lib.pysk_site_packages()).decode("utf-8", "surrogateescape")
        notes: list[str] = []
        loaded = sys.modules.get("sk_provider")
        folder = loaded.__path__[0] if loaded else f"{site_packages}/sk_provider"
        try:
            modules = _read(f"{folder}/{carried}", build)
        except _Damaged:
            if not loaded:
                notes.append(_damaged(f"{folder}/{carried}"))
        else:
            if not loaded:
                installed = _Installed(folder, carried, f"{site_packages}/{record}")
                at_once, on_demand, more, more_file = modules
                # What every signature wants, and then what looks for the others.
                if _import_carried(installed, at_once, notes):
                    sys.meta_path.insert(0, _Finder(installed, on_demand, more, more_file, build, notes))
        from sk_provider import embed

        embed.attach(ffi, lib, api_major, notes)
    except BaseException as error:  # noqa: BLE001 - the host must live on
        sentence = (
            f"the Python package sk_provider cannot be loaded ({type(error).__name__}: {str(error)[:300]}); "
            "reinstall libpysk"
        )
        lib.pysk_start_failed(sentence.encode("utf-8", "replace"))
