"""pysk path: where the library is that ssh is to load."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import click

import sk_provider
from sk_provider import bytecode

# The first release of OpenSSH that wants each major of its API, the newest first.
_FIRST_RELEASES = {10: (9, 1), 9: (8, 9), 7: (8, 4), 5: (8, 3), 4: (8, 2)}
_NEWEST = 10
_PATIENCE = 10
"""Seconds in which ssh must tell its version."""

_LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


@click.command()
@click.option("--api", type=click.Choice([str(api) for api in _FIRST_RELEASES]), help="Major version of the API.")
def path(api: str | None) -> None:
    """Print the absolute path of the library.

    It is the one for the ssh on PATH. With --api it is the one for OpenSSH 9.1 and later (10), 8.9 and 9.0 (9), 8.4 to
    8.8 (7), 8.3 (5) or 8.2 (4).
    """
    major = int(api) if api else _api_of(_ssh_version())
    name = "libpysk.so" if major == _NEWEST else f"libpysk-skapi{major}.so"
    package = os.path.dirname(os.path.realpath(sk_provider.__file__))
    # Where everybody is to name it, it may be a link to that.
    library = os.path.realpath(os.path.join(package, name))
    if not os.path.exists(library):
        raise click.ClickException(f"{library} does not exist; install sk-provider with pip")
    _check_loading(library)
    advice = bytecode.advice(os.path.dirname(package))
    if advice:
        click.echo(f"pysk: {advice}", err=True)
    click.echo(library)


def _check_loading(library: str) -> None:
    """Load the library in another process, as ssh does. Raises ClickException if the dynamic linker refuses it."""
    command = [sys.executable, "-I", "-S", "-c", _LOAD, library]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    reason = (done.stderr.splitlines() or [f"status {done.returncode}"])[-1].removeprefix("OSError: ")
    remedy = "reinstall sk-provider with pip"
    if missing := re.match(r"(libpython\d\.\d+)\S*: cannot open", reason):
        remedy = f"install Python's shared library (Debian: apt-get install {missing[1]})"
    raise click.ClickException(f"{library} cannot be loaded ({reason}); {remedy}")


def _ssh_version() -> tuple[int, int] | None:
    try:
        done = subprocess.run(["ssh", "-V"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"OpenSSH_(\d+)\.(\d+)", done.stderr)
    return (int(found[1]), int(found[2])) if found else None


def _api_of(version: tuple[int, int] | None) -> int:
    """Return the major for a release of OpenSSH; without one, the newest."""
    if version is None:
        return _NEWEST
    for api, first in _FIRST_RELEASES.items():
        if version >= first:
            return api
    raise click.ClickException(f"OpenSSH {version[0]}.{version[1]} has no security keys; upgrade to 8.2 or newer")
