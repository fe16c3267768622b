"""A Kerberos realm on 127.0.0.1, unpacked and run from a folder."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from support import debian
from support.sshd import free_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

PACKAGES = (
    "krb5-kdc", "krb5-admin-server", "krb5-user", "libev4", "libgssrpc4", "libkadm5clnt-mit12", "libkadm5srv-mit12",
    "libkdb5-10", "libverto-libev1", "libverto1",
)  # fmt: skip
REALM = "EXAMPLE.ORG"
START_S = 20
STOP_S = 10
ATTEMPTS = 5

KRB5_CONF = """\
[libdefaults]
default_realm = {realm}
dns_canonicalize_hostname = false
rdns = false
dns_lookup_kdc = false
[realms]
{realm} = {{
  kdc = 127.0.0.1:{port}
}}
[dbmodules]
db_module_dir = {plugins}
"""

KDC_CONF = """\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
}}
[logging]
kdc = FILE:{folder}/kdc.log
"""


class KdcError(Exception):
    """A program of Kerberos failed; the message holds what it said."""


class Kdc:
    """A key distribution centre, while the context lasts. ``folder`` takes its files.

    ``variables`` are those of the environment by which other programs find it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = debian.unpack(*PACKAGES)
        (library,) = self._root.rglob("libkdb5.so.10")
        self._libraries = library.parent
        self._process: subprocess.Popen[bytes] | None = None
        self.variables = {"KRB5_CONFIG": str(folder / "krb5.conf")}
        self._configure()
        self._run("kdb5_util", "create", "-s", "-P", "a master's password")

    def __enter__(self) -> Self:
        for _ in range(ATTEMPTS):
            self._configure()
            log = self._folder / "kdc.log"
            log.unlink(missing_ok=True)
            # A test that is killed takes its server with it.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", self._root / "usr/sbin/krb5kdc", "-n"],
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            deadline = time.monotonic() + START_S
            while time.monotonic() < deadline and self._process.poll() is None:
                if log.exists() and "commencing operation" in log.read_text(errors="replace"):
                    return self
                time.sleep(0.01)
            self.__exit__()
        raise KdcError(f"krb5kdc did not start: {log.read_text(errors='replace') if log.exists() else ''}")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def keytab(self, service: str) -> Path:
        """Return the file of the keys of a new service."""
        path = self._folder / f"{service.replace('/', '-')}.keytab"
        self._run("kadmin.local", "addprinc", "-randkey", service)
        self._run("kadmin.local", "ktadd", "-k", str(path), service)
        return path

    def ticket(self, user: str) -> str:
        """Return the name of the cache with a ticket of a new user, as KRB5CCNAME has it."""
        cache = f"FILE:{self._folder}/tickets-of-{user}"
        self._run("kadmin.local", "addprinc", "-pw", "a password", user)
        self._run("kinit", "-c", cache, user, content="a password\n")
        return cache

    def _configure(self) -> None:
        names = {"realm": REALM, "folder": self._folder, "port": free_port()}
        plugins = self._libraries / "krb5/plugins/kdb"
        (self._folder / "krb5.conf").write_text(KRB5_CONF.format(**names, plugins=plugins))
        (self._folder / "kdc.conf").write_text(KDC_CONF.format(**names))

    def _environment(self) -> dict[str, str]:
        return {
            **self.variables,
            "KRB5_KDC_PROFILE": str(self._folder / "kdc.conf"),
            "LD_LIBRARY_PATH": str(self._libraries),
            "PATH": os.defpath,
        }

    def _run(self, program: str, *arguments: str, content: str = "") -> None:
        (path,) = (path for below in ("bin", "sbin") for path in (self._root / "usr" / below).glob(program))
        done = subprocess.run(
            [path, *arguments],
            input=content, env=self._environment(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        # kadmin.local reports failures by words alone.
        if done.returncode != 0 or " while " in done.stderr:
            raise KdcError(f"{program} failed: {done.stderr}")
