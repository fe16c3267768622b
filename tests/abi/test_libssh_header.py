"""pysk_libssh.h by itself, in C and C++: what it loads and what it says, with the little of libssh that it wants."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

# What the header takes of libssh 0.12; tests/libssh tries it with the whole of it.
CALLBACKS = """
#include <stddef.h>
#include <stdint.h>
#define LIBSSH_SK_API_VERSION_MAJOR 0x000a0000
#define ssh_callbacks_init(callbacks) ((callbacks)->size = sizeof(*(callbacks)))
struct ssh_sk_callbacks_struct {
    size_t size;
    uint32_t (*api_version)(void);
    int (*enroll)(void), (*sign)(void), (*load_resident_keys)(void);
};
"""

# Tells the error and that nothing is left to call, or the version that the provider answers to.
PROGRAM = r"""
#include "pysk_libssh.h"
int main(int count, char **words)
{
    struct ssh_sk_callbacks_struct callbacks, cleared;
    char error[PYSK_LIBSSH_ERROR_SIZE];

    memset(&cleared, 0, sizeof(cleared));
    memset(&callbacks, 0xff, sizeof(callbacks));
    memset(error, 'x', sizeof(error));
    if (pysk_libssh_load(count > 1 ? words[1] : NULL, &callbacks, error) != 0)
        return printf("%s", error) < 0 || memcmp(&callbacks, &cleared, sizeof(cleared)) != 0 ? 3 : 1;
    if (error[0] != '\0' || callbacks.size != sizeof(callbacks) || callbacks.enroll == NULL ||
        callbacks.sign == NULL || callbacks.load_resident_keys == NULL)
        return 3;
    printf("0x%08x", (unsigned int)callbacks.api_version());
    return 0;
}
"""

STRICT = ("-Wall", "-Wextra", "-Werror", "-Wpedantic")
COMPILERS: list[tuple[str, ...]] = [
    ("gcc", "-std=c11", "-D_GNU_SOURCE", "-x", "c"),
    ("g++", "-std=c++17", "-x", "c++"),
]


def compile_program(command: tuple[str, ...], source: str, output: Path, *last: str) -> Path:
    done = subprocess.run(
        [*command, "-", "-o", str(output), *last], input=source, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module", params=COMPILERS, ids=[compiler[0] for compiler in COMPILERS])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, library: Path) -> Path:
    folder = tmp_path_factory.mktemp("header")
    (folder / "libssh").mkdir()
    (folder / "libssh/callbacks.h").write_text(CALLBACKS)
    command = (*request.param, "-O2", *STRICT, f"-I{folder}", f"-I{library.parent / 'include'}")
    return compile_program(command, PROGRAM, folder / "program", "-ldl")


def load(program: Path, *library: Path | str) -> str:
    """Return the sentence with which loading fails."""
    done = subprocess.run([program, *library], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    return done.stdout


def test_a_provider_is_loaded_and_says_nothing(program: Path, library: Path) -> None:
    done = subprocess.run(
        [program, library], env={"PYSK_CONFIG": "/nonexistent"}, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("0x000a0000", "")


def test_a_path_that_is_none_or_depends_on_the_folder_is_refused(program: Path) -> None:
    sentence = "the path of the security key provider is not absolute"
    assert [load(program), load(program, ""), load(program, "libpysk.so")] == [sentence] * 3


def test_what_is_not_there_or_no_library_is_told_with_the_reason(program: Path, tmp_path: Path) -> None:
    assert load(program, tmp_path / "none.so") == (
        f"cannot load {tmp_path}/none.so: cannot open shared object file: No such file or directory"
    )
    (tmp_path / "text.so").write_text("This is no library, but long enough to be read as one. " * 20)
    assert load(program, tmp_path / "text.so") == f"cannot load {tmp_path}/text.so: invalid ELF header"


@pytest.mark.parametrize("depth", [2, 10])
def test_a_long_path_leaves_room_for_the_reason(program: Path, tmp_path: Path, depth: int) -> None:
    path = str(tmp_path.joinpath(*["d" * 200] * depth, "none.so"))
    assert load(program, path) == (
        f"cannot load {path[:256]}: cannot open shared object file: No such file or directory"
    )


@pytest.mark.parametrize("functions", ["", "unsigned sk_api_version(void) { return 0x000a0000; }"])
def test_a_library_that_lacks_a_function_is_no_provider(program: Path, tmp_path: Path, functions: str) -> None:
    other = compile_program(("gcc", "-shared", "-fPIC", "-x", "c"), functions, tmp_path / "other.so")
    assert load(program, other) == f"{other} is no security key provider"


@pytest.mark.parametrize("major", [4, 5, 7, 9])
def test_a_provider_of_another_major_is_refused_with_both_versions(program: Path, library: Path, major: int) -> None:
    other = library.with_name(f"libpysk-skapi{major}.so")
    assert load(program, other) == (
        f"{other} implements version 0x000{major}0000 of the API, and libssh wants 0x000a0000"
    )
