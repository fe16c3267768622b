"""Neither environment, nor folders, nor other packages reach the Python that ssh-sk-helper gets through the library."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support import sk_host
from support.openssh import Person, provider_lines
from support.provider_tree import Tree, can_be_embedded, interpreters, is_of_our_version

NAIVE: Final = Path(__file__).with_name("naive.c")

PYTHON: Final = f"python{sys.version_info[0]}.{sys.version_info[1]}"

# Modules that an interpreter, CFFI or our own package would import by these names if it looked where it must not.
SHADOWS: Final = (
    "sitecustomize", "usercustomize", "os", "struct", "hashlib", "typing",
    "_cffi_backend", "fido2", "cryptography", "sk_provider",
)  # fmt: skip

Hostility = Callable[[Path, str], dict[str, str]]
"""Lays a trap, which runs some code if it is sprung, in a folder that is the working directory; returns variables."""


def lay_modules(folder: Path, trap: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(trap)
    return folder


def python_path(folder: Path, trap: str) -> dict[str, str]:
    return {"PYTHONPATH": str(lay_modules(folder / "evil", trap))}


def relative_python_path(folder: Path, trap: str) -> dict[str, str]:
    lay_modules(folder, trap)
    return {"PYTHONPATH": "."}


def user_site(folder: Path, trap: str) -> dict[str, str]:
    lay_modules(folder / ".local" / "lib" / PYTHON / "site-packages", trap)
    return {"HOME": str(folder)}


def user_base(folder: Path, trap: str) -> dict[str, str]:
    lay_modules(folder / "base" / "lib" / PYTHON / "site-packages", trap)
    return {"PYTHONUSERBASE": str(folder / "base")}


def lay_start_file(packages: Path, trap: str) -> None:
    lay_modules(packages, trap)
    (packages / "evil.pth").write_text(f"import sys; exec({trap!r})\n")


def false_environment(folder: Path, trap: str) -> dict[str, str]:
    false = folder / "false"
    lay_start_file(false / "lib" / PYTHON / "site-packages", trap)
    (false / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (false / "bin").mkdir()
    program = false / "bin" / "python3"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {"PATH": f"{false / 'bin'}:{os.defpath}"}


def activated_environment(folder: Path, trap: str) -> dict[str, str]:
    active = folder / "active"
    subprocess.run((sys.executable, "-Im", "venv", "--without-pip", str(active)), check=True, timeout=60)
    lay_start_file(active / "lib" / PYTHON / "site-packages", trap)
    return {"VIRTUAL_ENV": str(active), "PATH": f"{active / 'bin'}:{os.defpath}"}


def wrong_home(folder: Path, trap: str) -> dict[str, str]:
    return {"PYTHONHOME": str(folder / "nowhere")}


def home_with_traps(folder: Path, trap: str) -> dict[str, str]:
    lay_modules(folder / "home" / "lib" / PYTHON / "encodings", trap)
    (folder / "home" / "lib" / PYTHON / "encodings" / "__init__.py").write_text(trap)
    return {"PYTHONHOME": str(folder / "home")}


def wrong_library_folder(folder: Path, trap: str) -> dict[str, str]:
    return {"PYTHONPLATLIBDIR": "nowhere"}


def verbose(folder: Path, trap: str) -> dict[str, str]:
    return {"PYTHONVERBOSE": "1", "PYTHONPROFILEIMPORTTIME": "1", "PYTHONMALLOCSTATS": "1"}


def wrong_allocator(folder: Path, trap: str) -> dict[str, str]:
    return {"PYTHONMALLOC": "nonsense"}


HOSTILITIES: Final = (
    python_path, relative_python_path, user_site, user_base, false_environment, activated_environment, wrong_home,
    home_with_traps, wrong_library_folder, verbose, wrong_allocator,
)  # fmt: skip


@pytest.fixture(scope="session")
def naive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("naive") / "naive"
    command = ("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(NAIVE), "-ldl")
    subprocess.run(command, check=True, timeout=60)
    return program


def libpython() -> str:
    name = str(sysconfig.get_config_var("INSTSONAME"))
    folders = [os.path.join(str(sysconfig.get_config_var("LIBDIR")), part) for part in (
        str(sysconfig.get_config_var("MULTIARCH") or ""), ""
    )]  # fmt: skip
    return next(path for path in (os.path.join(folder, name) for folder in folders) if os.path.exists(path))


@pytest.mark.parametrize("hostility", HOSTILITIES, ids=lambda hostility: hostility.__name__)
def test_a_hostile_environment_catches_a_naive_embedder_but_not_the_library(
    hostility: Hostility, person: Person, key: Path, naive: Path
) -> None:
    sprung = person.folder / "sprung"
    variables = hostility(person.folder, f"open({str(sprung)!r}, 'a').close()\n")
    undisturbed, _ = person.sign(key)

    careless = subprocess.run(
        (str(naive), libpython()),
        env={**person.environment, **variables},
        cwd=person.folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert careless.returncode != 70
    assert sprung.exists() or careless.returncode != 0 or careless.stderr
    sprung.unlink(missing_ok=True)

    signed, signature = person.sign(key, environment=variables)
    assert (signed.status, signed.errors) == (0, undisturbed.errors)
    assert person.verify(key, signature).returncode == 0
    second = str(person.folder / "second")
    enrolled = person.run("ssh-keygen", "-q", "-t", "ecdsa-sk", "-N", "", "-f", second, environment=variables)
    assert (enrolled.status, enrolled.errors) == (0, "")
    assert not sprung.exists()


@pytest.mark.parametrize("hostility", [python_path, false_environment], ids=lambda hostility: hostility.__name__)
def test_an_agent_that_was_started_in_a_hostile_environment_signs_undisturbed(
    hostility: Hostility, person: Person, key: Path
) -> None:
    sprung = person.folder / "sprung"
    variables = hostility(person.folder, f"open({str(sprung)!r}, 'a').close()\n")
    document = person.folder / "document"
    document.write_text("a message")
    script = 'ssh-add -q "$1"; rm "$1"; ssh-keygen -Y sign -q -n file -f "$1.pub" "$2"'
    agent = ("ssh-agent", "-P", "*", "sh", "-ec", script, "sh", str(key), str(document))
    done = person.run(*agent, environment=variables)
    assert (done.status, provider_lines(done.errors)) == (0, []), done
    assert person.verify(key, document.with_suffix(".sig"), b"a message").returncode == 0
    assert not sprung.exists()


def test_a_package_beside_ours_cannot_take_the_place_of_a_standard_module(
    tree: Tree, person: Person, key: Path
) -> None:
    sprung = person.folder / "sprung"
    for name in sys.stdlib_module_names | {"sitecustomize", "usercustomize"}:
        (tree.folder / f"{name}.py").write_text(f"open({str(sprung)!r}, 'a').close()\n")
    (tree.folder / "evil.pth").write_text(f"import sys; open({str(sprung)!r}, 'a').close()\n")
    variables = {"SSH_SK_PROVIDER": str(tree.library)}
    signed, signature = person.sign(key, environment=variables)
    assert (signed.status, provider_lines(signed.errors)) == (0, [])
    assert person.verify(key, signature).returncode == 0
    second = str(person.folder / "second")
    enrolled = person.run("ssh-keygen", "-q", "-t", "ecdsa-sk", "-N", "", "-f", second, environment=variables)
    assert (enrolled.status, enrolled.errors) == (0, "")
    assert not sprung.exists()


@pytest.mark.parametrize(
    "python",
    [path for path in interpreters() if is_of_our_version(path) and can_be_embedded(path)],
)
def test_the_interpreter_has_the_standard_library_of_the_python_that_it_was_built_for(
    python: str, tree: Tree, person: Person, host: Path
) -> None:
    tree.rebuild(python)
    played = sk_host.play(host, "keys", tree.library, env=person.environment)
    sk_host.assert_untouched(played)
    assert sk_host.verify_every_signature(played) == 2

    tree.append(
        "sign.py",
        """
def sign(*_):
    import struct
    import sys
    from .errors import InvalidRequest
    raise InvalidRequest(f"{sys.base_prefix} {struct.__file__}", ":".join(sys.path))
""",
    )
    ask = "import struct, sys; print(sys.base_prefix, struct.__file__, end='')"
    expected = subprocess.run((python, "-Ic", ask), capture_output=True, text=True, check=True, timeout=60).stdout
    played = sk_host.play(host, "once", tree.library, "sign", env=person.environment)
    sk_host.assert_refused(played, "once", mentions=f"libpysk: {expected}; ")
    first, *others = played.said("once").partition("; ")[2].strip().split(":")
    assert first == os.path.dirname(expected.split(" ")[1])
    assert others[-1] == str(tree.folder)
    assert str(person.folder) not in ":".join(others[:-1])
