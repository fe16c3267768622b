"""The Python that the library starts, and the packages that it finds there."""

from __future__ import annotations

import os
import platform
import sys

import sk_provider
from sk_provider import bytecode

from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "Python"

_REQUIRED = ("cffi", "click", "cryptography", "fido2", "rich")
_OPTIONAL = ("pyscard", "python-ldap", "tpm2-pytss")


def check(_account: Account) -> Iterator[Finding]:
    """Look at the Python that runs this, which is the library's, and at the packages beside the library."""
    from importlib.metadata import PackageNotFoundError, version

    yield Finding(SUBJECT, f"pysk {sk_provider.__version__}, Python {platform.python_version()} ({sys.executable})")
    found = []
    for name in (*_REQUIRED, *_OPTIONAL):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            if name in _REQUIRED:
                yield Finding(SUBJECT, f"the package {name} is missing", "reinstall libpysk")
    yield Finding(SUBJECT, f"packages: {', '.join(found)}")
    site_packages = os.path.dirname(os.path.dirname(os.path.realpath(sk_provider.__file__)))
    advice = bytecode.advice(site_packages)
    if advice:
        seen, _, remedy = advice.rpartition("; ")
        yield Finding(SUBJECT, seen, remedy)
