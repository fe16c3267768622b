"""The providers that are measured: libpysk.so as installed or built anew, one of ours that does nothing, OpenSSH's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.measure import BenchError
from support import debian, provider_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.virtual_token import VirtualKey

CACHE = debian.CACHE.parent / "bench"
BUILD_S = 600

NULL_COUNTER = 0
"""By which a signature of the provider that does nothing is told from any other."""

# Takes the place of embed.py, so that all before it is the real thing: the C functions and the start of Python.
_NULL_EMBED = '''"""Gives one signature to every request."""

SIGNATURE = {signature!r}


def attach(ffi, lib, api_major, notes):
    def sign(*arguments):
        response = ffi.cast("struct sk_sign_response *", lib.calloc(1, ffi.sizeof("struct sk_sign_response")))
        response.flags = 1
        response.counter = {counter}
        response.sig_r = ffi.cast("uint8_t *", lib.calloc(1, len(SIGNATURE)))
        response.sig_r_len = len(SIGNATURE)
        ffi.memmove(response.sig_r, SIGNATURE, len(SIGNATURE))
        arguments[-1][0] = response
        return 0

    for name in ("pysk_enroll", "pysk_sign", "pysk_load_resident_keys"):
        ffi.def_extern(name, error=-1)(sign)
'''


def test_double() -> Path:
    """Return the path of OpenSSH's test double, a provider in C."""
    return debian.unpacked() / "usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so"


def null_provider(folder: Path, key: VirtualKey, data: bytes) -> Path:
    """Return the path of a copy of the installed library whose Python gives a signature made before, and no more."""
    tree = provider_tree.Tree(folder)
    signature = key.sign(data, NULL_COUNTER)
    (tree.package / "embed.py").write_text(_NULL_EMBED.format(signature=signature, counter=NULL_COUNTER))
    # No other module of ours is found or read.
    tree.carry("embed")
    return tree.library


def python_version(python: str) -> str:
    """Return the full version of a Python, by which its figures are told from another's.

    :raises BenchError: if it does not run.
    """
    return _call([python, "-I", "-c", "import platform; print(platform.python_version())"])


def build_tree(python: str, folder: Path) -> Path:
    """Return the path of a library that is built from the working tree for another Python, into a folder.

    :raises BenchError: if it cannot be built.
    """
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "source")
        ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")
        shutil.copytree(provider_tree.REPOSITORY, source, ignore=ignored)
        _install(source, folder, python)
    return folder / provider_tree.LIBRARY


def build_commit(revision: str) -> Path:
    """Return the path of a library that is built from a commit, which is kept for the next time.

    :raises BenchError: if there is no such commit, or it cannot be built.
    """
    commit = _call(["git", "-C", str(provider_tree.REPOSITORY), "rev-parse", "--verify", f"{revision}^{{commit}}"])

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as name:
            source = str(Path(name, "source"))
            _call(["git", "clone", "--quiet", "--no-checkout", str(provider_tree.REPOSITORY), source])
            _call(["git", "-C", source, "checkout", "--quiet", commit])
            _install(Path(source), folder, sys.executable)

    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    return debian.made_once(CACHE / f"{commit}-python{minor}", fill) / provider_tree.LIBRARY


def _install(source: Path, folder: Path, python: str) -> None:
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call([*pip, "--target", str(folder), str(source)])


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_S)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout.strip()
