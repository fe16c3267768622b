"""What the library carries of the package's modules serves while it is whole, of its build, and the installed one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.openssh import Person, provider_lines
from support.provider_tree import CARRIED, CARRIED_SOFT, LIBRARY, Tree, installed_library
from support.sk_host import SENTENCE
from support.system_log import SystemLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# One that every signature wants, two transports, one of the software authenticator, which has a file of its own.
MODULES = ("sign.py", "transports/udp.py", "transports/soft.py", "authenticator/store.py")

EDIT = """
from sk_provider.errors import InvalidRequest
raise InvalidRequest("this module was edited", "be content")
"""
EDITED = ["libpysk: this module was edited; be content"]


def edit(module: Path, *, keep_size: bool) -> None:
    """Let a module fail, as somebody does who opens it in an editor."""
    source = module.read_text()
    module.write_text(EDIT.ljust(len(source.encode()) - 1, "#") + "\n" if keep_size else source + EDIT)
    # Python itself takes old bytecode for an edit's if that keeps the size and comes within the same second.
    os.utime(module, (0, module.stat().st_mtime + 1))


class Provider:
    """A library, used by somebody whose system's log can be read."""

    def __init__(self, library: Path, person: Person) -> None:
        self._log = SystemLog(person.folder)
        self._variables = {"SSH_SK_PROVIDER": str(library), **self._log.variables}
        self._person = person

    def sign(self, key: Path) -> list[str]:
        """Return the sentences of a signature that fails, or none after one that verifies."""
        done, signature = self._person.sign(key, environment=self._variables)
        sentences = provider_lines(done.errors)
        if not sentences:
            assert done.status == 0, done
            assert self._person.verify(key, signature).returncode == 0
        return sentences

    def notes(self) -> list[str]:
        """Return what has been logged, but for what is said of bytecode."""
        return [line for line in self._log.lines() if "bytecode" not in line]


@pytest.fixture
def provider(tree: Tree, person: Person) -> Provider:
    return Provider(tree.library, person)


@pytest.mark.parametrize("keep_size", [False, True], ids=["other size", "same size"])
@pytest.mark.parametrize("module", MODULES)
def test_an_edited_module_is_the_one_that_runs(
    module: str, keep_size: bool, tree: Tree, provider: Provider, person: Person, key: Path
) -> None:
    assert provider.sign(key) == []
    assert provider.notes() == []
    edit(tree.package / module, keep_size=keep_size)
    if "udp" in module:
        person.configure(device="udp:127.0.0.1:1")
    assert provider.sign(key) == EDITED


def test_the_log_tells_which_module_makes_every_use_slower(tree: Tree, provider: Provider, key: Path) -> None:
    module = tree.package / "errors.py"
    module.write_text(module.read_text() + "#\n")
    assert provider.sign(key) == []
    (note,) = provider.notes()
    assert note.startswith(f"libpysk: {module}, or its date, mode or owner, is not as it was installed")
    assert SENTENCE.fullmatch(note + "\n")


# How the package may come to its place, from a folder in which pip has installed it.


def by_pip(installed: Path, _folder: Path) -> Path:
    return installed


def by_copying(installed: Path, folder: Path) -> Path:
    return run("cp", "-a", str(installed), result=folder / "copy")


def by_hard_links(installed: Path, folder: Path) -> Path:
    return run("cp", "-al", str(installed), result=folder / "links")


def by_dpkg(installed: Path, folder: Path) -> Path:
    control = installed / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: pysk\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a test\n"
    )
    package = run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(installed), result=folder / "pysk.deb")
    return run("dpkg-deb", "--extract", str(package), result=folder / "unpacked")


def by_a_distribution(installed: Path, folder: Path) -> Path:
    for record in installed.rglob("RECORD"):
        record.unlink()
    return by_dpkg(installed, folder)


def run(*command: str, result: Path) -> Path:
    subprocess.run((*command, str(result)), check=True, capture_output=True, timeout=60)
    return result


def wheel(folder: Path) -> Path:
    """Pack what is installed into a wheel again, which takes a moment, where a build takes long."""
    site_packages = installed_library().parents[1]
    (information,) = site_packages.glob("sk_provider-*.dist-info")
    with (information / "RECORD").open(newline="") as record:
        names = [name for name, digest, _ in csv.reader(record) if digest and not name.startswith("..")]
    path = folder / f"{information.stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(site_packages / name, name)
        archive.writestr(f"{information.name}/RECORD", "".join(f"{name},,\n" for name in names))
    return path


@pytest.fixture(params=[by_pip, by_copying, by_hard_links, by_dpkg, by_a_distribution], ids=lambda way: way.__name__)
def placed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The library, in a folder of packages that have just been installed."""
    installed = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    command = (*pip, "--ignore-installed", "--prefix", str(installed), str(wheel(tmp_path)))
    subprocess.run(command, check=True, timeout=120)
    way: Callable[[Path, Path], Path] = request.param
    (library,) = way(installed, tmp_path).rglob(LIBRARY.name)
    for path in installed_library().parents[1].iterdir():
        if not path.name.startswith(("sk_provider", "__pycache__")):
            os.symlink(path, library.parents[1] / path.name)
    return library


def test_however_the_package_was_installed_it_is_known_for_that_until_it_is_edited(
    placed: Path, person: Person, key: Path
) -> None:
    provider = Provider(placed, person)
    assert provider.sign(key) == []
    assert provider.notes() == []
    is_dated = list(placed.parents[1].glob("sk_provider-*/RECORD")) != []
    edit(placed.with_name("sign.py"), keep_size=is_dated)
    assert provider.sign(key) == EDITED


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _content: b"",
    "first line alone": lambda content: content[: content.index(b"\n") + 1],
    "half": lambda content: content[: len(content) // 2],
    "last byte gone": lambda content: content[:-1],
    "a byte more": lambda content: content + b"\0",
    "nonsense": lambda content: b"?" * len(content),
    "nonsense of the right length": lambda content: content[: content.index(b"\n") + 1].ljust(len(content), b"?"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [CARRIED, CARRIED_SOFT])
def test_a_damaged_file_of_modules_is_told_in_the_log_and_the_package_serves(
    name: str, damage: str, tree: Tree, provider: Provider, key: Path
) -> None:
    carried = tree.package / name
    carried.write_bytes(DAMAGES[damage](carried.read_bytes()))
    assert provider.sign(key) == []
    (note,) = provider.notes()
    assert note.startswith(f"libpysk: {carried} is missing or damaged")
    assert SENTENCE.fullmatch(note + "\n")


@pytest.mark.parametrize("name", [CARRIED, CARRIED_SOFT])
def test_a_missing_file_of_modules_is_told_in_the_log_and_the_package_serves(
    name: str, tree: Tree, provider: Provider, key: Path
) -> None:
    tree.remove(f"sk_provider/{name}")
    assert provider.sign(key) == []
    (note,) = provider.notes()
    assert f"{name} is missing or damaged" in note


@pytest.mark.parametrize("word", [0, 1, 2], ids=["magic number", "GIL", "sources"])
def test_a_library_does_not_work_with_the_package_of_another_build(
    word: int, tree: Tree, provider: Provider, key: Path
) -> None:
    carried = tree.package / CARRIED
    line, _, content = carried.read_bytes().partition(b"\n")
    words = line.split()
    words[word] = words[word][::-1]
    carried.write_bytes(b" ".join(words) + b"\n" + content)
    (sentence,) = provider.sign(key)
    assert SENTENCE.fullmatch(sentence + "\n")
    assert f"{carried} is of another build than the library" in sentence
