"""Ends with a sentence where the Python that runs it is older than the package can do with; even that can read it."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - to tell so is what this is for
    version = ".".join(map(str, sys.version_info[:2]))
    sys.exit(
        f"libpysk needs Python 3.10 or newer, and {sys.executable} is {version}; "
        "use a newer one (for make: PYTHON=PROGRAM)"
    )
