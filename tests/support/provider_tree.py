"""Copies of the installed package that a test may damage, and libraries built anew from the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePath
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]

LIBRARY: Final = PurePath("sk_provider", "libpysk.so")
"""Where the library is in a folder of Python packages, whose other packages it uses."""

OLDEST_MINOR: Final = 10

# Runs in the Python that the library is to be built for; the package's own build command, without an installer's.
_BUILD: Final = """
import sys
from setuptools import Distribution, Extension
from cbuild.build_libpysk import BuildLibpysk
distribution = Distribution({
    "name": "sk-provider",
    "packages": ["sk_provider"],
    "ext_modules": [Extension("sk_provider.libpysk", [])],
    "cmdclass": {"build_ext": BuildLibpysk},
})
command = distribution.get_command_obj("build_ext")
command.build_lib, command.build_temp = sys.argv[1:]
command.ensure_finalized()
command.run()
"""


def installed_library() -> Path:
    """Return the path of the library that is installed beside the Python that runs the tests."""
    pysk = os.path.join(os.path.dirname(sys.executable), "pysk")
    found = subprocess.run((pysk, "path"), capture_output=True, text=True, check=True, timeout=60)
    return Path(found.stdout.rstrip("\n"))


_CARRY: Final = """
import sys
from cbuild.build_libpysk import write_carried_modules
package, build, *only = sys.argv[1:]
write_carried_modules(package, package, build, *((only, (), ()) if only else ()))
"""

CARRIED: Final = "carried.bin"
CARRIED_SOFT: Final = "carried-soft.bin"


class Tree:
    """A folder of packages: our own are copies, the others' are links to the installed ones."""

    def __init__(self, folder: Path) -> None:
        installed = installed_library().parents[1]
        ours = LIBRARY.parts[0]
        folder.mkdir()
        for path in installed.iterdir():
            if path.name == ours or path.name.startswith(f"{ours}-"):
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
            elif path.name != "__pycache__":
                os.symlink(path, folder / path.name)
        self.folder = folder
        self.package = folder / ours
        self.library = folder / LIBRARY

    def remove(self, *patterns: str) -> None:
        """Take away what matches, such as a package that the library needs. Raises ValueError if there is nothing."""
        for pattern in patterns:
            matches = list(self.folder.glob(pattern))
            if not matches:
                raise ValueError(f"{pattern} is not in {self.folder}")
            for path in matches:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def append(self, module: str, source: str) -> None:
        """Let a module of our package end in source, so that what this defines replaces what was defined before."""
        path = self.package / module
        path.write_text(f"{path.read_text()}\n\n{source}\n")

    def rebuild(self, python: str = sys.executable, **compiler_flags: str) -> None:
        """Put a newly built library in the place of the copied one.

        python is the Python that it is built for, of the minor version of the one that runs the tests.
        compiler_flags are environment variables of the build, such as CFLAGS.
        Raises CalledProcessError if the build fails.
        """
        output, scratch = self.folder.with_suffix(".built"), self.folder.with_suffix(".scratch")
        scratch.mkdir()
        _run_build(python, _BUILD, output, scratch, cwd=scratch, **compiler_flags)
        for built in (LIBRARY.name, CARRIED, CARRIED_SOFT):
            os.replace(output / LIBRARY.with_name(built), self.package / built)

    def carry(self, *only: str) -> None:
        """Let the library carry its modules as they are now, and be as an installer leaves it.

        only: the names of the modules that it shall carry with what they import, within our package, if that shall not
        be all.
        """
        build = (self.package / CARRIED).read_bytes().split(None, 3)[2].decode()
        _run_build(sys.executable, _CARRY, self.package, build, *only, cwd=self.folder)
        (record,) = self.folder.glob(f"{LIBRARY.parts[0]}-*/RECORD")
        os.utime(record)


def _run_build(python: str, program: str, *arguments: str | Path, cwd: Path, **variables: str) -> None:
    packages = os.pathsep.join((str(REPOSITORY), str(installed_library().parents[1])))
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = (python, "-c", program, *map(str, arguments))
    subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, timeout=120)


def copy_source(folder: Path) -> None:
    """Make a folder that holds what a clone does, with what is not committed yet."""
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__"))


def interpreters(oldest_minor: int = OLDEST_MINOR) -> list[str]:
    """Return the Pythons of this machine that we could be built for, each as one path, the running one's base first.

    oldest_minor: of the older ones, which we cannot be built for, those to return as well.
    """
    found = [os.path.realpath(sys.executable)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for folder in (*sorted(pyenv.glob("versions/*/bin")), Path("/usr/local/bin"), Path("/usr/bin")):
        for path in sorted(folder.glob("python3.*")):
            real = os.path.realpath(path)
            minor = path.name.removeprefix("python3.")
            if minor.isdigit() and int(minor) >= oldest_minor and real not in found:
                found.append(real)
    return found


def is_of_our_version(python: str) -> bool:
    """Return whether a library that is built for the Python that runs the tests fits into that one."""
    return os.path.basename(python) == f"python{sys.version_info[0]}.{sys.version_info[1]}"


def can_be_embedded(python: str) -> bool:
    """Return whether that Python has a shared libpython."""
    ask = "import sysconfig; print(sysconfig.get_config_var('Py_ENABLE_SHARED'))"
    return subprocess.run((python, "-Ic", ask), capture_output=True, timeout=60, check=True).stdout.strip() == b"1"
