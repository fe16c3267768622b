"""Print what key directories cost sshd: `pysk directory authorized-keys` beside cat, and a login beside one by a file.

Each round runs all of them, one after the other; a ratio is the median of the rounds' ratios.

    .venv/bin/python tests/directory/ratios.py [ROUNDS]
"""
# ruff: noqa: T201  (it prints what it finds)

from __future__ import annotations

import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.certificates import Authority
from support.for_all import installed_for_all
from support.openssh import Person
from support.provider_tree import installed_library
from support.slapd import PEOPLE, Slapd, person
from support.sshd import Sshd, keygen
from support.web import WebServer

from sk_provider.credentials import key_file
from sk_provider.credentials.directory import ldap
from sk_provider.credentials.directory.file import line_of

ROUNDS = 21


class Row:
    """Something that is run again and again: ``run`` does it, ``times`` are seconds."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self.times: list[float] = []

    def run(self) -> None:
        began = time.perf_counter()
        subprocess.run(
            self._command, env=self._environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
        self.times.append(time.perf_counter() - began)


def table(title: str, first: Row, *others: Row, rounds: int) -> None:
    """Run all of them so often, and print what each takes, and how many times that of the first."""
    for _ in range(rounds):
        for row in (first, *others):
            row.run()
    print(title)
    for row in (first, *others):
        ratio = statistics.median(one / other for one, other in zip(row.times, first.times, strict=True))
        print(f"    {row.name:<30} {statistics.median(row.times) * 1000:8.1f} ms {ratio:8.2f}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pysk-")))
        installation = stack.enter_context(installed_for_all())
        for name in ("person", "ca", "slapd"):
            (folder / name).mkdir()
        user = Person(folder / "person", installed_library())
        done, key = user.enroll("id", "ed25519-sk")
        assert done.status == 0, done

        # The same key in each place; no login has another.
        plain = folder / "sshd"
        servers = {"authorized_keys": stack.enter_context(sshd(plain, []))}
        record = key_file.parse(key.read_bytes(), str(key), servers["authorized_keys"].user)
        servers["authorized_keys"].authorized_keys.write_text(f"{record.authorized_keys_line()}\n")
        lines = installation.write("authorized_keys", f"{record.authorized_keys_line()}\n")
        authority = Authority(folder / "ca")
        web = stack.enter_context(WebServer(authority.issue()))
        handle = base64.b64encode(record.key_handle).decode()
        web.publish(record.user, {"public_key": record.public_line(), "key_handle": handle})
        entry = person(
            record.user, ldap.OBJECT_CLASS, attributes={ldap.ATTRIBUTE: [ldap.value_of(record).decode()]}, under=PEOPLE
        )
        slapd = stack.enter_context(Slapd(folder / "slapd", [entry]))
        ca = installation.write("ca.pem", authority.certificate.read_text() + slapd.ca.read_text())
        urls = {
            "file:": f"file:{installation.write('records', line_of(record))}",
            "https:": web.url(),
            "ldaps:": slapd.ldaps,
        }

        answers = [Row("cat", ["cat", str(lines)], dict(os.environ))]
        logins = []
        for name, url in urls.items():
            config = installation.write(f"config-{name[:-1]}", f"KeyDirectory {url}\nKeyDirectoryCA {ca}\n")
            variables = {"PYSK_CONFIG": str(config), "PATH": os.defpath}
            answers.append(Row(name, [str(installation.pysk), "directory", "authorized-keys", record.user], variables))
            options = [line.replace(str(installation.config), str(config)) for line in installation.sshd_options]
            servers[name] = stack.enter_context(sshd(folder / f"sshd-{name[:-1]}", options))
        for name, server in servers.items():
            command = server.client("-i", str(key), "-o", f"SecurityKeyProvider={user.provider}")
            logins.append(Row(name, [*command, "true"], user.environment))
        table("authorized-keys against cat of the same lines", *answers, rounds=rounds)
        table("login by a directory against login by a file authorized_keys", *logins, rounds=rounds)


def sshd(folder: Path, options: list[str]) -> Sshd:
    folder.mkdir()
    keygen("-t", "ed25519", "-f", str(folder / "host_key"))
    return Sshd(folder, [folder / "host_key"], options)


if __name__ == "__main__":
    main()
