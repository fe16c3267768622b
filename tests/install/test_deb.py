"""`make deb` on a minimal system, and the package on another one, on which nothing else has been installed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support import manual_page
from support.minimal import USER, Done, Minimal, minimal, where_it_can_be_made
from support.provider_tree import REPOSITORY

LIBRARY = "/usr/lib/pysk/libpysk.so"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
DATE = "SOURCE_DATE_EPOCH=1700000000"
MAINTAINER = ("DEBFULLNAME=Some Builder", "DEBEMAIL=builder@example.org")
LINTIAN = ("lintian", "--display-info", "--fail-on", "error,warning,info")
INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")
COMPLETIONS = (
    "bash-completion/completions/pysk",
    "fish/vendor_completions.d/pysk.fish",
    "zsh/vendor-completions/_pysk",
)
CONFIG = "Device soft:\nPresence auto\nLogFile ~/log\n"
# To a default agent, as which an unprivileged user starts it, and without the key file.
SIGN_BY_AGENT = f"""
ssh-add -q -S {LIBRARY} key
mv key moved
echo text >letter
ssh-keygen -q -Y sign -n file -f key.pub letter
mv moved key
echo "me $(cat key.pub)" >signers
ssh-keygen -Y verify -n file -f signers -I me -s letter.sig <letter
rm letter.sig
"""

# As pysk_transport(7) has one do it.
INSTALL_TRANSPORT = f"pip install --target /usr/lib/pysk/lib/python3.*/site-packages /home/{USER}/pysk-door"
USE_TRANSPORT = f"""
pysk serve --presence auto unix:$HOME/door.sock &
until [ -S door.sock ]; do sleep 0.1; done
pysk try door:$HOME/door.sock
ssh-keygen -q -t ed25519-sk -w {LIBRARY} -O device=door:$HOME/door.sock -N '' -f by_door
"""


def succeed(system: Minimal, *command: str, user: str = "root") -> str:
    """Return what a command printed that must not fail."""
    done = system.run(*command, user=user)
    assert done.status == 0, done.output
    return done.output


def build(system: Minimal, *variables: str, user: str = USER) -> Done:
    """Run make deb in the user's clone, with these variables in the environment."""
    return system.run("env", *variables, "make", "--no-print-directory", "-C", f"/home/{USER}/clone", "deb", user=user)


def make_package(system: Minimal, release: str) -> Path:
    """Return where this machine sees the package that a user without sudo has built there."""
    clone = system.clone()
    told = build(system)
    assert told.status != 0, told.output
    (packages,) = re.findall(r"^    sudo (apt-get install --no-install-recommends .*)$", told.output, re.MULTILINE)
    succeed(system, "sh", "-c", f"apt-get update && {packages} -y")

    told = build(system)
    assert told.status != 0, told.output
    assert "or git is missing, so the date of the package is not known; give it as SOURCE_DATE_EPOCH" in told.output

    done = build(system, DATE, *MAINTAINER, "REVISION=2")
    assert done.status == 0, done.output
    (package,) = (clone / ".build/deb").iterdir()
    assert done.output == f"/home/{USER}/clone/.build/deb/{package.name}\n"
    assert re.fullmatch(rf"pysk_[\d.]+-2~deb{'12' if release == 'bookworm' else '13'}_\w+\.deb", package.name)
    return package


def files_of(system: Minimal, *test: str) -> list[str]:
    """Return which of the files and folders of the package find finds."""
    names = [name for name in (system.root / "var/lib/dpkg/info/pysk.list").read_text().split() if "pysk" in name]
    return succeed(system, "find", *names, "-maxdepth", "0", *test).splitlines()


@pytest.mark.timeout(900)
@where_it_can_be_made
@pytest.mark.parametrize("release", ["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def test_the_package_works_on_the_release_that_it_was_built_on(release: str) -> None:
    with minimal(release) as system:
        with minimal(release) as builder:
            package = make_package(builder, release)
            (system.root / "root/pysk.deb").write_bytes(package.read_bytes())
            succeed(builder, *INSTALL, "lintian")
            assert succeed(builder, *LINTIAN, f"clone/.build/deb/{package.name}", user=USER) == ""

        succeed(system, "apt-get", "update")
        succeed(system, *INSTALL, "/root/pysk.deb", "openssh-client", "man-db")
        assert sorted(path.name for path in (system.root / "var/lib/dpkg/info").glob("pysk.*")) == [
            "pysk.list",
            "pysk.md5sums",
        ]
        assert files_of(system, "!", "-type", "l", "(", "!", "-user", "root", "-o", "-perm", "/022", ")") == []
        compiled = f"cpython-{PYTHONS[release].replace('.', '')}"
        assert files_of(system, "-name", "*.pyc", "!", "-name", f"*.{compiled}.pyc") == []
        copyright_file = (system.root / "usr/share/doc/pysk/copyright").read_text()
        for name in ("cffi", "click", "cryptography", "fido2", "rich"):
            assert re.search(rf"^{name} [\d.]+, below /usr/lib/pysk", copyright_file, re.MULTILINE)

        version = re.sub("-.*", "", succeed(system, "dpkg-query", "--show", "--showformat=${Version}", "pysk"))
        assert succeed(system, "pysk", "--version", user=USER) == f"pysk, version {version}\n"
        assert succeed(system, "pysk", "path", user=USER) == f"{LIBRARY}\n"

        assert succeed(system, "man", "-w", "pysk", user=USER) == "/usr/share/man/man1/pysk.1.gz\n"
        assert {f"/usr/share/{name}" for name in COMPLETIONS} <= set(files_of(system))

        home = system.home(USER)
        config = home / ".ssh/pysk_config"
        succeed(system, "mkdir", "-m", "700", ".ssh", user=USER)
        succeed(system, "sh", "-c", f"umask 077; printf {shlex.quote(CONFIG)} >.ssh/pysk_config", user=USER)
        enroll = ("ssh-keygen", "-q", "-t", "ed25519-sk", "-w", LIBRARY, "-N", "", "-f", "key")
        assert succeed(system, *enroll, "-O", "device=soft:", user=USER) == ""
        by_agent = ("ssh-agent", "sh", "-e", "-c", SIGN_BY_AGENT)
        assert 'Good "file" signature for me' in succeed(system, *by_agent, user=USER)

        succeed(system, "apt-get", "autoremove", "-y")
        assert 'Good "file" signature for me' in succeed(system, *by_agent, user=USER)
        # Nothing that slows every use, such as a module that seems to be edited.
        assert not (home / "log").exists()

        # Debian's own packages are used for what wheels cannot be had for.
        missing = system.run(*enroll, "-O", "device=nfc:", user=USER)
        assert "need the Python package pyscard; install it with: apt install python3-pyscard" in missing.output
        address = "device=tpm:swtpm:host=127.0.0.1,port=1"
        in_tpm = (*enroll[:3], "ecdsa-sk", *enroll[4:], "-O", address)
        missing = system.run(*in_tpm, user=USER)
        assert "tpm2-pytss, with libtss2; install it with: apt install python3-tpm2-pytss" in missing.output
        text = "KeyDirectory ldapi:///\nKeyDirectoryLdapBase dc=example\n"
        succeed(system, "sh", "-c", f"umask 077; printf {shlex.quote(text)} >directory", user=USER)
        directory = ("env", "PYSK_CONFIG=directory", "pysk", "directory", "list")
        missing = system.run(*directory, user=USER)
        assert "need the Python package python-ldap; install it with: apt install python3-ldap" in missing.output
        succeed(system, *INSTALL, "python3-pyscard", "python3-ldap", "python3-tpm2-pytss")
        assert "start pcscd" in system.run(*enroll, "-O", "device=nfc:", user=USER).output
        assert "cannot be reached" in system.run(*directory, user=USER).output
        found = {"bookworm": "tpm2-pytss is too old; install version 2.3", "trixie": "no TPM answers"}
        assert found[release] in system.run(*in_tpm, user=USER).output

        if release == "trixie":
            check_transport(system)

        before = config.read_bytes()
        succeed(system, "apt-get", "purge", "-y", "pysk")
        assert not (system.root / "usr/lib/pysk").exists()
        assert config.read_bytes() == before


def check_transport(system: Minimal) -> None:
    """Install a transport of another package beside the package's own, use it, and remove what has come with it."""
    succeed(system, *INSTALL, "python3-pip")
    manual_page.write_transport(system.home(USER))
    before = succeed(system, "find", "/usr/lib/pysk").splitlines()
    succeed(system, "sh", "-c", INSTALL_TRANSPORT)
    succeed(system, "sh", "-e", "-c", USE_TRANSPORT, user=USER)
    assert (system.home(USER) / "by_door.pub").exists()
    after = succeed(system, "find", "/usr/lib/pysk").splitlines()
    succeed(system, "rm", "-rf", *(set(after) - set(before)))


def test_what_is_no_revision_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for revision in ("", "1-2", "~1", "x"):
        done = subprocess.run(
            (REPOSITORY / "cbuild/deb/package", revision, folder),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.endswith(f"'{revision}' is no revision of a package; give a number, such as REVISION=2\n")
    assert not folder.exists()


@pytest.mark.long
@pytest.mark.timeout(900)
@where_it_can_be_made
def test_the_same_source_gives_the_same_package() -> None:
    with minimal("bookworm") as system:
        package = make_package(system, "bookworm")
        first = package.read_bytes()
        # By another user, whose umask and place are others, elsewhere.
        succeed(system, "mv", f"/home/{USER}/clone", "/opt/clone")
        again = shlex.join(("env", DATE, *MAINTAINER, "REVISION=2", "make", "-C", "/opt/clone", "deb"))
        succeed(system, "sh", "-c", f"umask 077; exec {again}")
        assert (system.root / "opt/clone/.build/deb" / package.name).read_bytes() == first
