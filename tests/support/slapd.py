"""OpenLDAP's slapd on 127.0.0.1, unpacked and run from a folder, with a certificate of a throw-away authority.

It has sk-provider's schema and its example of who may read and write, as they are installed, and of other schemas what
directories have beside it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from support import debian
from support.sshd import free_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    Entry = Mapping[str, Sequence[str]]

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

CONFIG = """\
dn: cn=config
objectClass: olcGlobal
cn: config
olcLogLevel: none
olcToolThreads: 1
olcTLSCACertificateFile: {folder}/ca.pem
olcTLSCertificateFile: {folder}/server.pem
olcTLSCertificateKeyFile: {folder}/server.key
olcAuthzRegexp: {{0}}"gidNumber=[0-9]+\\+uidNumber={uid},cn=peercred,cn=external,cn=auth" "uid=me,{people}"

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

include: file://{schema}

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
    f"ou=elsewhere,{SUFFIX}": {
        "objectClass": ["referral", "extensibleObject"],
        "ou": ["elsewhere"],
        # Nothing listens there, and nobody is to find out.
        "ref": [f"ldap://127.0.0.1:9/ou=elsewhere,{SUFFIX}"],
    },
    READER: {
        "objectClass": ["applicationProcess", "simpleSecurityObject"],
        "cn": ["reader"],
        "userPassword": [PASSWORD],
    },
    f"cn=etc,{SUFFIX}": {"objectClass": ["applicationProcess"], "cn": ["etc"]},
}


class SlapdError(Exception):
    """The throw-away slapd did not start; the message holds what it said."""


def person(user: str, *object_classes: str, **attributes: Sequence[str]) -> tuple[str, Entry]:
    """Return the name and the entry of somebody, with what is said of their keys."""
    entry = {
        "objectClass": ["account", "simpleSecurityObject", *object_classes],
        "uid": [user],
        "userPassword": [PASSWORD],
        **attributes,
    }
    return f"uid={user},{PEOPLE}", entry


def ldif(entries: Iterable[tuple[str, Entry]]) -> str:
    """Return entries as slapadd takes them; their values are ASCII."""
    blocks = (
        "\n".join([f"dn: {name}", *(f"{key}: {value}" for key, values in entry.items() for value in values), "", ""])
        for name, entry in entries
    )
    return "".join(blocks)


def make_certificates(folder: Path, host: str = "127.0.0.1") -> None:
    """Write ca.pem, and server.pem and server.key of a server that is called by this address."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throw-away authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "slapd")])
    begin = dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=1)

    def builder(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public_key)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(begin).not_valid_after(begin + dt.timedelta(days=2))

    basic = x509.BasicConstraints(ca=True, path_length=None)
    ca = builder(ca_name, ca_key.public_key()).add_extension(basic, critical=True).sign(ca_key, hashes.SHA256())
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    server = builder(name, key.public_key()).add_extension(alternative, critical=False).sign(ca_key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(Encoding.PEM))
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class Slapd:
    """A slapd that serves SUFFIX, while the context lasts, by ldap:, ldaps: and ldapi:.

    ``folder`` takes its files, and has a short name. ``schema`` is where sk-provider's LDIF files are, as installed.
    ``entries`` are added to BASE. By ldapi: whoever runs it is ``uid=me`` among the people.
    """

    def __init__(self, folder: Path, schema: Path, entries: Iterable[tuple[str, Entry]] = ()) -> None:
        self.folder = folder
        self.ca = folder / "ca.pem"
        self.port = 0
        self.tls_port = 0
        self.ldapi = f"ldapi://{quote(str(folder / 'ldapi'), safe='')}"
        self._root = debian.unpack(*PACKAGES)
        self._log = folder / "slapd.log"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "config").mkdir()
        (folder / "database").mkdir()
        make_certificates(folder)
        config = CONFIG.format(
            folder=folder, root=self._root, schema=schema / "schema.ldif", suffix=SUFFIX, people=PEOPLE, admin=ADMIN,
            reader=READER, password=PASSWORD, uid=os.geteuid(),
        )  # fmt: skip
        self._tool("slapadd", "-n", "0", content=config)
        self._tool("slapmodify", "-n", "0", content=(schema / "access.ldif").read_text())
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
        return {"PATH": os.defpath, "LANG": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(libraries)}

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
