"""Another process of the same Python, with the same packages and nothing else of this one."""

from __future__ import annotations

import sys

import sk_provider

_PREAMBLE = "import sys; sys.path.append(sys.argv[1]); "


def python(code: str) -> list[str]:
    """Return the command that runs code so: no environment and no working directory chooses what it imports."""
    free_threading = "t" if "t" in sys.abiflags else ""
    program = f"{sys.base_exec_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}{free_threading}"
    site_packages = sk_provider.__path__[0].rpartition("/")[0]
    return [program, "-I", "-S", "-B", "-X", "utf8", "-c", _PREAMBLE + code, site_packages]
