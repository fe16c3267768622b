"""Modules of other packages: those for schemes that are none of ours, and how to get those that are used if there.

The former are found by entry points, whose search takes its time.
"""

from __future__ import annotations

from .errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def load(group: str, scheme: str, what: str, own: Iterable[str], *, named_where: str, own_only: bool) -> Any:
    """Return what another package has registered for a scheme in a group of entry points.

    what: what it is to a person, such as "transport"; own: our own schemes; named_where: where a person may name it;
    own_only: refuse it, because of who named it.

    Raises ConfigurationError if there is none, or none that may be used.
    """
    from importlib.metadata import entry_points

    for entry_point in entry_points(group=group, name=scheme):
        if own_only:
            raise ConfigurationError(
                f"{scheme}: is another package's {what}, which a file named in PYSK_CONFIG may not use",
                f"name it {named_where}",
            )
        try:
            return entry_point.load()
        except Exception as error:
            raise ConfigurationError(
                f"the {what} {scheme}: cannot be loaded ({type(error).__name__}: {error})", "reinstall its package"
            ) from error
    known = ", ".join(f"{name}:" for name in own)
    raise ConfigurationError(f"there is no {what} {scheme}:", f"use one of {known} or install the package that has it")


def by_apt(module: str, package: str) -> str | None:
    """Return what installs a module where we are a package of Debian, which refers to where the named one has it."""
    import posix

    try:
        posix.readlink(f"{__file__.rpartition('/')[0].rpartition('/')[0]}/{module}")
    except OSError:
        return None
    return f"install it with: apt install {package}"
