"""OpenSSH's programs, of whatever release, and the library that they load."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.doctor import Account
from support.openssh import version
from support.provider_tree import Tree


def test_the_programs_and_their_release_are_told(account: Account) -> None:
    release = ".".join(map(str, version()))
    seen = [each.seen for each in account.findings() if each.subject == "programs"]
    for name in ("ssh", "ssh-keygen", "ssh-add", "ssh-agent"):
        path = shutil.which(name, path=account.environment["PATH"])
        assert f"{name} is {path}, of OpenSSH {release}, which needs a library for API major 10" in seen


def test_a_program_that_is_missing_is_told(account: Account) -> None:
    for name in ("ssh", "ssh-keygen", "ssh-agent"):
        program = account.programs / name
        if not program.exists():
            program.symlink_to(shutil.which(name, path=account.environment["PATH"]) or "")
    assert [each for each in account.to_do(variables={"PATH": str(account.programs)}) if each[0] == "programs"] == [
        (
            "programs",
            "ssh-add is not on PATH",
            "install OpenSSH's client (Debian: sudo apt-get install openssh-client)",
        )
    ]


def test_a_release_without_security_keys_is_told(account: Account) -> None:
    ssh = account.program("ssh", "echo OpenSSH_8.1p1 >&2")
    assert (
        "programs",
        f"ssh is {ssh}, of OpenSSH 8.1, which has no security keys",
        "upgrade OpenSSH to 8.2 or newer",
    ) in account.to_do()


def test_another_program_that_is_called_ssh_is_told(account: Account) -> None:
    ssh = account.program("ssh", "echo Dropbear v2022.83 >&2")
    assert (
        "programs",
        f"{ssh} is not OpenSSH's ssh: it prints no release of OpenSSH for -V",
        "put the folder of OpenSSH's ssh first on PATH",
    ) in account.to_do()


def test_programs_of_two_releases_are_told_with_what_each_loads(account: Account) -> None:
    account.program("ssh", f'[ $1 != -V ] || exec echo OpenSSH_8.4p1 >&2; exec /usr/bin/ssh -F {account.settings} "$@"')
    found = account.findings()
    api7 = account.provider.with_name("libpysk-skapi7.so")
    assert f"the library for this ssh is {api7}" in [each.seen for each in found]
    to_do = [(each.seen, each.remedy) for each in found if each.remedy is not None]
    assert to_do == [
        (
            "ssh-keygen, ssh-add and ssh-agent are of another release of OpenSSH than ssh, and need another library",
            f"put {account.programs} first on PATH",
        ),
        (
            "SecurityKeyProvider's library is for API major 10, but ssh needs 7",
            f"use this one instead: {api7}",
        ),
        ("SSH_SK_PROVIDER's library is for API major 10, but ssh needs 7", f"use this one instead: {api7}"),
    ]


@pytest.mark.parametrize("exists", [True, False])
def test_a_helper_that_is_named_is_told_and_one_that_cannot_run_is_to_be_unset(account: Account, exists: bool) -> None:
    helper = account.program("helper", "") if exists else account.programs / "helper"
    found = account.findings(variables={"SSH_SK_HELPER": str(helper)})
    assert [each.remedy for each in found if str(helper) in each.seen] == [None if exists else "unset SSH_SK_HELPER"]


def test_a_helper_that_is_not_installed_is_told(account: Account) -> None:
    ssh = Path(shutil.which("ssh", path=account.environment["PATH"].partition(":")[2]) or "").read_bytes()
    (path,) = set(re.findall(rb"/[!-~]+/ssh-sk-helper(?=\0)", ssh))
    (account.programs / "ssh").write_bytes(ssh.replace(path + b"\0", (b"/nowhere" + path[8:] + b"\0")))
    (account.programs / "ssh").chmod(0o755)
    helper = "/nowhere" + path.decode()[8:]
    found = [each.seen for each in account.findings(variables={"SSH_SK_HELPER": None}) if each.remedy is not None]
    assert f"{account.programs}/ssh runs {helper} to load the library, and that cannot be executed" in found


def test_a_library_that_is_gone_is_told(account: Account, tree: Tree) -> None:
    tree.library.unlink()
    assert account.to_do()[0] == ("library", f"{tree.library} does not exist", "reinstall libpysk")


@pytest.mark.parametrize(
    ("damage", "reason", "remedy"),
    [
        (
            lambda content: re.sub(rb"(libpython3)\.\d+", rb"\1.99", content),
            r"libpython3\.99\S*: cannot open shared object file: .*",
            r"install Python's shared library \(Debian: apt-get install libpython3\.99\)",
        ),
        (lambda _: b"libpysk sk_api_version", ".*", "reinstall libpysk"),
    ],
    ids=["no libpython", "no library"],
)
def test_a_library_that_cannot_be_loaded_is_told(
    account: Account, tree: Tree, damage: object, reason: str, remedy: str
) -> None:
    assert callable(damage)
    tree.library.write_bytes(damage(tree.library.read_bytes()))
    subject, seen, to_do = account.to_do()[0]
    assert subject == "library"
    assert re.fullmatch(rf"it cannot be loaded \({reason}\)", seen)
    assert re.fullmatch(remedy, to_do)


def test_the_libpython_that_the_library_brings_is_told(account: Account) -> None:
    seen = [each.seen for each in account.findings()]
    loaded = next(each for each in seen if each.startswith("it can be loaded, with /"))
    assert re.fullmatch(r"/\S+/libpython3\.\d+\.so\S*", loaded.partition("with ")[2])
    assert Path(loaded.partition("with ")[2]).exists()


@pytest.mark.parametrize(
    ("where", "mode", "seen", "option"),
    [
        ("library", 0o666, "the file {}", "go-w"),
        ("package", 0o777, "the folder {}", "go-w"),
        ("folder", 0o777, "the folder {}", "go-w"),
    ],
)
def test_a_library_that_others_can_change_is_told(
    account: Account, tree: Tree, where: str, mode: int, seen: str, option: str
) -> None:
    place: Path = getattr(tree, where)
    place.chmod(mode)
    assert account.to_do() == [
        (
            "library",
            f"everybody on this machine can write to {seen.format(place)}, and thus run any program as you",
            f"run: chmod {option} {place}",
        )
    ]


@pytest.mark.parametrize("package", ["rich", "fido2", "cryptography"])
def test_a_package_that_is_missing_is_told(account: Account, tree: Tree, package: str) -> None:
    tree.remove(package, f"{package}-*")
    assert account.to_do() == [("Python", f"the package {package} is missing", "reinstall libpysk")]


def test_a_library_that_ssh_keygen_can_load_and_python_cannot_start_in_is_told(account: Account, tree: Tree) -> None:
    assert "ssh-keygen can use it: Python starts in it, and finds its packages" in [
        each.seen for each in account.findings()
    ]
    tree.remove("_cffi_backend*")
    ((subject, seen, remedy),) = account.to_do()
    assert (subject, remedy) == ("library", "reinstall libpysk")
    assert seen.startswith("ssh-keygen cannot use it: ")


def test_a_library_that_may_enroll_nothing_is_one_that_ssh_keygen_can_use(account: Account) -> None:
    config = Path(account.environment["PYSK_CONFIG"])
    config.write_text(f"{config.read_text()}Match user root\nDeny no\nMatch all\nDeny yes\n")
    assert account.to_do() == []
    assert "ssh-keygen can use it: Python starts in it; pysk_config forbids enrolling (Deny)" in [
        each.seen for each in account.findings()
    ]


def test_nothing_is_made_while_the_library_is_tried(account: Account) -> None:
    before = sorted(account.folder.rglob("*"))
    account.doctor()
    assert sorted(account.folder.rglob("*")) == before


def test_packages_without_bytecode_are_told(account: Account, tree: Tree) -> None:
    for cached in tree.package.rglob("__pycache__"):
        shutil.rmtree(cached)
    assert [(subject, remedy.split(" -m ")[1]) for subject, _, remedy in account.to_do()] == [
        ("Python", f"compileall -q {tree.package}")
    ]
