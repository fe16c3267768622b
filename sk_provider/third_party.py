"""Modules of other packages: those for schemes that are none of ours, and how to get those that are used if there.

The former are named by entry points. importlib.metadata finds those, too, but takes longer than a signature to load.
"""

from __future__ import annotations

import posix
import sys

from .errors import ConfigurationError, TransportDefect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

_METADATA: Final = (".dist-info", ".egg-info")
_MAX_SIZE: Final = 1 << 16
"""Bytes of a file of entry points that are read."""


class EntryPoint:
    """What a package has registered. package: its name; target: `module` or `module:attribute`; folder: where the
    package's files are.
    """

    def __init__(self, package: str, target: str, folder: str) -> None:
        self.package = package
        self.target = target
        self.folder = folder


def load(
    group: str, scheme: str, what: str, own: Iterable[str], *, named_where: str, own_only: bool
) -> tuple[str, Any]:
    """Return the name of the package that has registered a scheme in a group of entry points, and what that is.

    what: what it is to a person, such as "transport"; own: our own schemes; named_where: where a person may name it;
    own_only: refuse it, because of who named it.

    Raises ConfigurationError if there is none, or none that may be used, or more than one, and TransportDefect if it
    cannot be loaded.
    """
    found = {each.package: each for each in _entry_points(group, scheme)}
    if len(found) > 1:
        raise ConfigurationError(
            f"the packages {' and '.join(sorted(found))} both have a {what} {scheme}:", "uninstall one of them"
        )
    for entry_point in found.values():
        if own_only:
            raise ConfigurationError(
                f"{scheme}: is another package's {what}, which a file named in PYSK_CONFIG may not use",
                f"name it {named_where}",
            )
        return entry_point.package, _load(entry_point, f"the {what} {scheme}: of the package {entry_point.package}")
    known = ", ".join(f"{name}:" for name in own)
    raise ConfigurationError(f"there is no {what} {scheme}:", f"use one of {known} or install the package that has it")


def by_apt(module: str, package: str) -> str | None:
    """Return what installs a module where we are a package of Debian, which refers to where the named one has it."""
    try:
        posix.readlink(f"{__file__.rpartition('/')[0].rpartition('/')[0]}/{module}")
    except OSError:
        return None
    return f"install it with: apt install {package}"


def blame(whose: str, error: BaseException) -> TransportDefect:
    """Return the error for what another package's code has raised: its kind, and where, but none of its values.

    whose: such as "the transport exec: of the package pysk-exec".
    """
    return TransportDefect(f"{whose} failed ({_kind_and_place(error)})", "report this to its authors")


def _kind_and_place(error: BaseException) -> str:
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith("<frozen "):
            place = f" in {code.co_filename.rpartition('/')[2]} line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return f"{type(error).__name__}{place}"


def _load(entry_point: EntryPoint, whose: str) -> Any:
    module, _, attributes = entry_point.target.partition(":")
    try:
        try:
            __import__(module)
        except ModuleNotFoundError:
            # Python's site module, which we do without, adds the folders of packages that are edited where they are.
            if not _add_edited(entry_point.folder):
                raise
            __import__(module)
        target: Any = sys.modules[module]
        for attribute in attributes.split(".") if attributes else []:
            target = getattr(target, attribute)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == module or module.startswith(f"{missing}."):
            raise TransportDefect(
                f"{whose} has no module {missing} here", "install that package again, and not with pip install -e"
            ) from None
        raise TransportDefect(f"{whose} needs the Python package {missing}", "install that as well") from None
    except Exception as error:  # noqa: BLE001 - another package's code
        raise TransportDefect(
            f"{whose} cannot be loaded ({_kind_and_place(error)})", "install another release of it, or tell its authors"
        ) from None
    return target


def _add_edited(folder: str) -> bool:
    """Let the folders be searched that .pth files in one name, and return whether there are any.

    Lines of code in them are not run.
    """
    added = False
    for name in _listed(folder):
        if name.endswith(".pth"):
            for line in _read(f"{folder}/{name}").splitlines():
                path = line.strip()
                if path.startswith("/") and path not in sys.path and _listed(path):
                    sys.path.append(path)
                    added = True
    return added


def _entry_points(group: str, scheme: str) -> Iterator[EntryPoint]:
    for folder in sys.path:
        for name in _listed(folder):
            if name.endswith(_METADATA):
                for target in _targets(_read(f"{folder}/{name}/entry_points.txt"), group, scheme):
                    yield EntryPoint(name.rpartition(".")[0].partition("-")[0].replace("_", "-"), target, folder)


def _targets(text: str, group: str, scheme: str) -> Iterator[str]:
    """Yield what a file of entry points has for a name in a group, see the packaging specifications."""
    section = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[]").strip()
        elif section == group and not stripped.startswith(("#", ";")):
            name, equals, target = stripped.partition("=")
            if equals and name.strip() == scheme:
                yield "".join(target.partition("[")[0].split())


def _listed(folder: str) -> list[str]:
    try:
        return posix.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> str:
    """Return the text of a file, "" if there is none or it cannot be read."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return posix.read(descriptor, _MAX_SIZE).decode(errors="replace")
    except OSError:
        return ""
    finally:
        posix.close(descriptor)
