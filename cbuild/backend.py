"""What an installer calls to build the package: setuptools, once it is known that this can succeed."""

import sys  # noqa: I001 - an older Python reads no further than to the next line

from cbuild import check_python  # noqa: F401
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_wheel",
]


def build_editable(*_arguments: object, **_options: object) -> str:
    """Refuse an editable install (PEP 660)."""
    sys.exit(
        "libpysk cannot be installed as editable, since its library finds the package beside itself; "
        "leave --editable (-e) out: an installed module that you edit takes effect at once"
    )


# Before anything is fetched for it.
get_requires_for_build_editable = build_editable
