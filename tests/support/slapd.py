"""OpenLDAP's slapd on 127.0.0.1, unpacked and run from a folder, with a certificate of a throw-away authority.

It has sk-provider's schema and its example of who may read and write, as they are installed, and of other schemas what
directories have beside it.
"""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sk_provider.credentials import directory
from support import debian
from support.certificates import Authority
from support.sshd import free_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    Entry = Mapping[str, Sequence[str | bytes]]

# Beside itself, what its programs are linked with and not every system has.
PACKAGES = ("slapd", "libltdl7", "libodbc2", "libwrap0")
START_S = 20
STOP_S = 10
ATTEMPTS = 5

SUFFIX = "dc=example,dc=org"
DOMAIN = "example.org"
PEOPLE = f"ou=people,{SUFFIX}"
ADMIN = f"cn=admin,{SUFFIX}"
# Who may read what there is of passwords' owners, as an account for machines would.
READER = f"cn=reader,{SUFFIX}"
PASSWORD = "correct horse"
ME = pwd.getpwuid(os.geteuid()).pw_name

CONFIG = """\
dn: cn=config
objectClass: olcGlobal
cn: config
olcLogLevel: none
olcToolThreads: 1
olcTLSCACertificateFile: {ca}
olcTLSCertificateFile: {certificate}
olcTLSCertificateKeyFile: {certificate}
olcAuthzRegexp: {{0}}"gidNumber=[0-9]+\\+uidNumber={uid},cn=peercred,cn=external,cn=auth" "uid={me},{people}"
olcAuthzRegexp: {{1}}"uid=([^,]*),(cn=[^,]*,)?cn=gssapi,cn=auth" "uid=$1,{people}"
olcSaslHost: 127.0.0.1

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: {root}/usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file://{root}/etc/ldap/schema/core.ldif

include: file://{root}/etc/ldap/schema/cosine.ldif

include: file://{root}/etc/ldap/schema/nis.ldif

include: file://{root}/etc/ldap/schema/inetorgperson.ldif

{schema}

dn: cn=others,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: others
olcAttributeTypes: ( 1.3.6.1.4.1.24552.500.1.1.1.13 NAME 'sshPublicKey' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
olcAttributeTypes: ( 2.16.840.1.113730.3.8.23.27 NAME 'ipapasskey' EQUALITY caseExactMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
olcAttributeTypes: ( 2.16.840.1.113730.3.8.23.28 NAME 'ipaRequireUserVerification' EQUALITY booleanMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
olcAttributeTypes: ( 1.2.840.113556.1.4.867 NAME 'altSecurityIdentities' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
olcAttributeTypes: ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
olcObjectClasses: ( 1.3.6.1.4.1.24552.500.1.1.2.0 NAME 'ldapPublicKey' SUP top AUXILIARY MAY ( sshPublicKey $ uid ) )
olcObjectClasses: ( 2.16.840.1.113730.3.8.24.9 NAME 'ipaPasskeyUser' SUP top AUXILIARY MAY ipapasskey )
olcObjectClasses: ( 2.16.840.1.113730.3.8.24.10 NAME 'ipaPasskeyConfigObject' SUP top AUXILIARY
  MUST ipaRequireUserVerification )
olcObjectClasses: ( 1.2.840.113556.1.5.6 NAME 'securityPrincipal' SUP top AUXILIARY
  MAY ( sAMAccountName $ altSecurityIdentities ) )

dn: olcDatabase={{-1}}frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: {{-1}}frontend
olcAccess: {{0}}to * by * read

dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcRootDN: {admin}
olcAccess: {{0}}to * by * none

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcDbDirectory: {folder}/database
olcDbMaxSize: 1073741824
olcSuffix: {suffix}
olcRootDN: {admin}
olcRootPW: {password}
olcDbIndex: objectClass eq
olcAccess: {{0}}to attrs=userPassword by anonymous auth by * none
olcAccess: {{1}}to dn.subtree="ou=hidden,{suffix}" by dn.exact="{reader}" tls_ssf=128 read by * none
olcAccess: {{2}}to * by * read
"""

BASE: dict[str, Entry] = {
    SUFFIX: {"objectClass": ["organization", "dcObject"], "dc": ["example"], "o": ["Example"]},
    PEOPLE: {"objectClass": ["organizationalUnit"], "ou": ["people"]},
    f"ou=hidden,{SUFFIX}": {"objectClass": ["organizationalUnit"], "ou": ["hidden"]},
    READER: {
        "objectClass": ["applicationProcess", "simpleSecurityObject"],
        "cn": ["reader"],
        "userPassword": [PASSWORD],
    },
    f"ou=etc,{SUFFIX}": {"objectClass": ["organizationalUnit"], "ou": ["etc"]},
    f"cn=etc,{SUFFIX}": {"objectClass": ["applicationProcess"], "cn": ["etc"]},
}


# sk-provider's own, as they are installed
LDIF = Path(directory.__path__[0]) / "openldap"


class SlapdError(Exception):
    """The throw-away slapd did not start; the message holds what it said."""


def person(user: str, *object_classes: str, attributes: Entry | None = None, under: str = PEOPLE) -> tuple[str, Entry]:
    """Return the name and the entry of somebody, with what is said of their keys."""
    entry: Entry = {
        "objectClass": ["account", "simpleSecurityObject", *object_classes],
        "uid": [user],
        "userPassword": [PASSWORD],
        **(attributes or {}),
    }
    return f"uid={user},{under}", entry


def ldif(entries: Iterable[tuple[str, Entry]]) -> str:
    """Return entries as slapadd takes them; their values are text in ASCII."""
    blocks = (
        "\n".join([f"dn: {name}", *(f"{key}: {value!s}" for key, values in entry.items() for value in values), "", ""])
        for name, entry in entries
    )
    return "".join(blocks)


class Slapd:
    """A slapd that serves SUFFIX, while the context lasts, by ldap:, ldaps: and ldapi:.

    ``folder`` takes its files, and has a short name. ``entries`` are added to BASE. ``has_schema``: whether it knows
    security keys; ``has_index``: whether it has that of the example; ``environment`` is added to an empty one. By
    ldapi: whoever runs it is ME among the people, and by Kerberos who has the name.
    """

    def __init__(
        self,
        folder: Path,
        entries: Iterable[tuple[str, Entry]] = (),
        *,
        has_schema: bool = True,
        has_index: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        authority = Authority(folder)
        self.ca = authority.certificate
        self.port = 0
        self.tls_port = 0
        self.ldapi = f"ldapi://{quote(str(folder / 'ldapi'), safe='')}"
        self._root = debian.unpack(*PACKAGES)
        self._log = folder / "slapd.log"
        self._added = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "config").mkdir()
        (folder / "database").mkdir()
        schema = f"include: file://{LDIF}/schema.ldif" if has_schema else ""
        config = CONFIG.format(
            folder=folder, ca=self.ca, certificate=authority.issue(), root=self._root, schema=schema,
            suffix=SUFFIX, people=PEOPLE, admin=ADMIN, reader=READER, password=PASSWORD, uid=os.geteuid(), me=ME,
        )  # fmt: skip
        self._tool("slapadd", "-n", "0", content=config)
        if has_schema:
            access = (LDIF / "access.ldif").read_text()
            self._tool("slapmodify", "-n", "0", content=access if has_index else access.partition("\n-\n")[0])
        # Indexes are checked and written as one; nothing is kept of what came before a failure.
        self._tool("slapadd", "-q", "-b", SUFFIX, content=ldif([*BASE.items(), *entries]))

    @property
    def ldap(self) -> str:
        """The URL of its unprotected port."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def ldaps(self) -> str:
        """The URL of its protected port."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        for _ in range(ATTEMPTS):
            self.port, self.tls_port = free_port(), free_port()
            if self._start():
                return self
            self.stop()
        raise SlapdError(f"slapd did not start:\n{self._log.read_text(errors='replace')}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add(self, name: str, entry: Entry) -> None:
        """Add an entry. Raises ValueError if its values are none of their attributes, or no two."""
        import ldap

        changes = [
            (key, [value if isinstance(value, bytes) else value.encode() for value in values])
            for key, values in entry.items()
        ]
        with self._as_admin() as connection:
            try:
                connection.add_s(name, changes)
            except (ldap.INVALID_SYNTAX, ldap.TYPE_OR_VALUE_EXISTS) as error:
                raise ValueError(str(error)) from None

    def delete(self, name: str) -> None:
        """Delete an entry. Raises LookupError if there is none."""
        import ldap

        with self._as_admin() as connection:
            try:
                connection.delete_ext_s(name, serverctrls=[ldap.controls.simple.ManageDSAITControl()])
            except ldap.NO_SUCH_OBJECT:
                raise LookupError(name) from None

    def set_policy(self, value: str | None) -> None:
        """Say by TRUE or FALSE whether the domain wants verification with passkeys, or None: nothing of it."""
        name = f"cn=passkeyconfig,cn=etc,{SUFFIX}"
        with suppress(LookupError):
            self.delete(name)
        if value is not None:
            object_classes = ["applicationProcess", "ipaPasskeyConfigObject"]
            attributes = {"cn": ["passkeyconfig"], "ipaRequireUserVerification": [value]}
            self.add(name, {"objectClass": object_classes, **attributes})

    def restrict(self, clauses: str | None) -> None:
        """Say who may read security keys, in slapd.access(5)'s words; None: as in the example."""
        import ldap

        name = "olcDatabase={1}mdb,cn=config"
        with self._as_admin() as connection:
            connection.modify_s(
                name,
                [(ldap.MOD_DELETE, "olcAccess", [b"{0}"])]
                if clauses is None
                else [(ldap.MOD_ADD, "olcAccess", [f"{{0}}to attrs=pyskSecurityKey {clauses}".encode()])],
            )

    @contextmanager
    def _as_admin(self) -> Iterator[Any]:
        os.environ["LDAPNOINIT"] = "1"
        import ldap

        connection = ldap.initialize(self.ldapi)
        connection.simple_bind_s(ADMIN, PASSWORD)
        try:
            yield connection
        finally:
            connection.unbind_s()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _environment(self) -> dict[str, str]:
        libraries = {str(path.parent) for path in self._root.rglob("libltdl.so.7")}
        return {"PATH": os.defpath, "LANG": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(libraries), **self._added}

    def _tool(self, name: str, *arguments: str, content: str) -> None:
        done = subprocess.run(
            [self._root / "usr/sbin" / name, "-F", self.folder / "config", *arguments],
            input=content, env=self._environment(), capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode != 0:
            raise SlapdError(f"{name} failed: {done.stderr}")

    def _start(self) -> bool:
        with self._log.open("wb") as log:
            # A test that is killed takes its server with it.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", self._root / "usr/sbin/slapd", "-d", "0",
                 "-F", self.folder / "config", "-h", f"{self.ldap}/ {self.ldaps}/ {self.ldapi}"],
                env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.01)
        return False

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.folder / "ldapi"))
            except OSError:
                return False
            return True
