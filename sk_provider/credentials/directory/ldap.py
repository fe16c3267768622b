"""A directory that is an LDAP server, by python-ldap: ldaps://ldap.example.org, or ldapi: and ldap: with StartTLS.

After the host may stand the base of the search (RFC 4516): ldaps://ldap.example.org/ou=people,dc=example,dc=org. What
is known of a user's keys stands in their entry, in one of two forms:

- our own, in pyskSecurityKey: a record as the files of file: have it, without the user (see openldap/schema.ldif);
- FreeIPA's and SSSD's, in ipapasskey, and in altSecurityIdentities beside others: `passkey:CREDENTIALID,PUBLICKEY`. Its
  application is the domain, and whether it wants verification is the domain's policy.

Only pysk_config says how a server is asked: what ldap.conf and the environment say counts for nothing.
"""

from __future__ import annotations

import posix
import re
import time
from contextlib import contextmanager

from sk_provider import peers
from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.errors import ConfigurationError, DirectoryError

from . import file, split
from .record import RecordRefused, checked, checked_user, from_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from typing_extensions import Self

    from .record import Record
    from .settings import Settings

    Attributes = dict[str, list[bytes]]
    """By their names in lower case, the values of attributes."""

ATTRIBUTE = "pyskSecurityKey"
OBJECT_CLASS = "pyskSecurityKeyUser"
_PASSKEY_ATTRIBUTES = ("ipapasskey", "altSecurityIdentities")
_FOREIGN = "altsecurityidentities"
"""Where values that are no passkeys belong to others."""
_PASSKEY = b"passkey:"
_POLICY = "ipaRequireUserVerification"
_POLICY_ENTRY = "cn=passkeyconfig,cn=etc"

_FILTER = f"(&(|(objectClass={OBJECT_CLASS})(objectClass=ipaPasskeyUser))(uid=%u))"
_FILTER_TO_WRITE = "(uid=%u)"
_USER = "%u"
_ASSERTION = re.compile(r"\(([A-Za-z][A-Za-z0-9-]*)=([^()*]*%u[^()*]*)\)")
"""What a filter wants of the attribute that has the user's name."""

_MAX_SIZE = 1 << 20
"""Bytes of all that is said of one user."""
_MAX_PASSWORD = 1024
_PORT = 389
_UNPRIVILEGED = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
"""Where Linux says which port is the first that any user may listen on."""
# What a SubjectPublicKeyInfo in DER is before the key itself: of an uncompressed point of P-256 (RFC 5480 §2), of
# Ed25519 (RFC 8410 §4), and, among what is there of RSA, the OID rsaEncryption (RFC 8017 §A.1).
_KEY_TYPES = (
    (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"), 65, ALGORITHM_ECDSA),
    (bytes.fromhex("302a300506032b6570032100"), 32, ALGORITHM_ED25519),
)
_RSA = bytes.fromhex("06092a864886f70d010101")


def look_up(url: str, user: str, settings: Settings, tell: Callable[[str], object]) -> list[Record]:
    """See Kind. A server that is silent may be waited for beyond the deadline: the process is to be ended then."""
    names = settings.ldap.get("attributes", " ".join((ATTRIBUTE, *_PASSKEY_ATTRIBUTES))).split()
    with _Server(url, settings) as server:
        _, attributes = server.find(user, settings.ldap.get("filter", _FILTER), names, tell)
        values = [(name, value) for name in names for value in attributes.get(name.lower(), [])]
        if any(value.startswith(_PASSKEY) for _, value in values):
            domain, flags = server.domain(), server.passkey_flags()
        else:
            domain, flags = None, 0
    records = []
    for name, value in values:
        try:
            if value.startswith(_PASSKEY):
                records.append(passkey(value, user, domain, flags))
            elif name.lower() != _FOREIGN:
                records.append(parse(value, user))
        except RecordRefused as error:
            tell(f"{url}, {name} of {user}: {error.happened}, and is left out; {error.remedy}")
    return records


def add(url: str, record: Record, settings: Settings) -> None:
    """See Writable. The user must have an entry."""
    with _Server(url, settings) as server:
        name, attributes = server.find_to_write(record.user)
        old, new = _held(attributes, record.user), value_of(record)
        replaced = [value for value, each in old if _is_of_the_same_key(each, record) and value != new]
        changes = []
        if OBJECT_CLASS.lower().encode() not in [each.lower() for each in attributes.get("objectclass", [])]:
            changes.append((server.ldap.MOD_ADD, "objectClass", [OBJECT_CLASS.encode()]))
        if replaced:
            changes.append((server.ldap.MOD_DELETE, ATTRIBUTE, replaced))
        if new not in [value for value, _ in old]:
            changes.append((server.ldap.MOD_ADD, ATTRIBUTE, [new]))
        if changes:
            server.modify(name, changes)


def check(url: str, user: str, handle_digest: str, settings: Settings) -> None:
    """See Writable. Nothing tells but a change: the record takes its own place."""
    with _Server(url, settings) as server:
        name, attributes = server.find_to_write(user)
        values = [value for value, each in _held(attributes, user) if each.handle_digest() == handle_digest]
        if values:
            server.modify(name, [(server.ldap.MOD_DELETE, ATTRIBUTE, values), (server.ldap.MOD_ADD, ATTRIBUTE, values)])


def remove(url: str, user: str, handle_digest: str, settings: Settings) -> bool:
    """See Writable."""
    with _Server(url, settings) as server:
        name, attributes = server.find_to_write(user)
        removed = [value for value, each in _held(attributes, user) if each.handle_digest() == handle_digest]
        if removed:
            server.modify(name, [(server.ldap.MOD_DELETE, ATTRIBUTE, removed)])
        return bool(removed)


def replace(url: str, handle_digest: str, record: Record, settings: Settings) -> bool:
    """See Writable."""
    with _Server(url, settings) as server:
        name, attributes = server.find_to_write(record.user)
        replaced = [
            value
            for value, each in _held(attributes, record.user)
            if each.handle_digest() == handle_digest and each.blob() == record.blob()
        ]
        if replaced:
            server.modify(
                name,
                [
                    (server.ldap.MOD_DELETE, ATTRIBUTE, replaced),
                    (server.ldap.MOD_ADD, ATTRIBUTE, [value_of(record)]),
                ],
            )
        return bool(replaced)


def parse(untrusted_value: bytes, user: str) -> Record:
    """Return the record that is a value of our own attribute. Raises RecordRefused if it is none."""
    record = file.parse(f"- {untrusted_value.decode('utf-8', 'surrogateescape')}")
    record.user = user
    return record


def value_of(record: Record) -> bytes:
    """Return the value of our own attribute that is a record. Raises DirectoryError if there is none."""
    return file.line_of(record).partition(" ")[2].encode()


def passkey(untrusted_value: bytes, user: str, domain: str | None, flags: int) -> Record:
    """Return the record of a value that begins with `passkey:`; domain: its application; flags: those it shall have.

    The public key is a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) as SSSD prints it, or x and y of P-256 alone. What
    follows after another comma, in a discoverable credential, is the user's ID.

    Raises RecordRefused if it is none.
    """
    if domain is None:
        raise RecordRefused("the domain of a passkey is not known", "set KeyDirectoryLdapDomain")
    fields = untrusted_value[len(_PASSKEY) :].split(b",")
    if not 2 <= len(fields) <= 3:
        raise RecordRefused("a passkey does not have two or three values", "register it again")
    try:
        key_handle, key = (from_base64(field.decode()) for field in fields[:2])
    except ValueError:
        raise RecordRefused("a passkey is not base64", "register it again") from None
    algorithm, public_key = _public_key(key)
    return checked(user, domain, algorithm, public_key, key_handle, flags, f"{user}@{domain}")


def _public_key(untrusted_key: bytes) -> tuple[int, bytes]:
    """Return sk-api's algorithm and public key, of which the length was checked."""
    if len(untrusted_key) == 64:
        return ALGORITHM_ECDSA, b"\x04" + untrusted_key
    for prefix, size, algorithm in _KEY_TYPES:
        if untrusted_key.startswith(prefix) and len(untrusted_key) == len(prefix) + size:
            return algorithm, untrusted_key[len(prefix) :]
    if _RSA in untrusted_key[:24]:
        raise RecordRefused(
            "a passkey is an RSA key (rs256), which ssh does not support", "register one of another type"
        )
    raise RecordRefused("a passkey is of a type that ssh does not support", "register another")


def _held(attributes: Attributes, user: str) -> list[tuple[bytes, Record]]:
    """Return those values of our own attribute that are records, with them."""
    held = []
    for value in attributes.get(ATTRIBUTE.lower(), []):
        try:
            held.append((value, parse(value, user)))
        except RecordRefused:
            pass
    return held


def _is_of_the_same_key(one: Record, other: Record) -> bool:
    return (one.application, one.key_handle) == (other.application, other.key_handle)


class _Server:
    """A connection to the server of a URL, while the context lasts; it is bound, and protected where it has to be.

    Raises ConfigurationError if the settings cannot be used, and DirectoryError if the server cannot be.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._deadline = time.monotonic() + settings.deadline
        self.ldap: Any = _library()
        self._scheme, self._host, base = _parts(self.ldap, url)
        self._base: str | None = base or settings.ldap.get("base")
        self._bases: list[str] = []
        self._connection: Any = None

    def __enter__(self) -> Self:
        self._connection = self.ldap.initialize(f"{self._scheme}://{self._host}")
        try:
            with self._errors_translated():
                self._set_up()
                self._bind()
                self._bases = [self._base] if self._base else self._naming_contexts()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._connection.unbind_s()
        except self.ldap.LDAPError:
            pass  # the server is gone, or has never been there

    def find(
        self, user: str, filter_template: str, names: list[str], tell: Callable[[str], object]
    ) -> tuple[str, Attributes]:
        """Return the name and these attributes of the user's entry, "" and {} if there is none."""
        wanted = dict(_ASSERTION.findall(filter_template))
        if not wanted:
            raise ConfigurationError(
                "the filter of KeyDirectoryLdapFilter does not select the user by name",
                "write a filter such as (uid=%u)",
            )
        condition = filter_template.replace(_USER, self.ldap.filter.escape_filter_chars(checked_user(user)))
        entries = []
        with self._errors_translated():
            for base in self._bases:
                entries += self._search(base, self.ldap.SCOPE_SUBTREE, condition, [*names, *wanted])
        if len(entries) > 1:
            raise DirectoryError(
                f"{self._url} has several entries for {user}", "set KeyDirectoryLdapBase or KeyDirectoryLdapFilter"
            )
        for name, attributes in entries:
            if not any(
                self._is_one_of(attributes.get(each.lower(), []), template.replace(_USER, user))
                for each, template in wanted.items()
            ):
                tell(f"{self._url} answered with an entry that is not of {user}, which is left out; correct the entry")
                continue
            if sum(len(value) for values in attributes.values() for value in values) > _MAX_SIZE:
                raise DirectoryError(
                    f"{self._url} has more than {_MAX_SIZE >> 20} MB about {user}", "remove what is not a key"
                )
            return name, attributes
        return "", {}

    def find_to_write(self, user: str) -> tuple[str, Attributes]:
        """Return the name of the user's entry and what it says of keys of our own form."""
        told: list[str] = []
        filter_template = self._settings.ldap.get("filter", _FILTER_TO_WRITE)
        name, attributes = self.find(user, filter_template, ["objectClass", ATTRIBUTE], told.append)
        if not name:
            raise DirectoryError(f"{self._url} has no entry for {user}", "create the account first")
        return name, attributes

    def modify(self, name: str, changes: list[tuple[int, str, list[bytes]]]) -> None:
        """Change an entry, in all or in nothing."""
        with self._errors_translated():
            self._limit()
            self._connection.modify_s(name, changes)

    def domain(self) -> str | None:
        """Return the domain that passkeys are registered for, None if it is not known."""
        return self._settings.ldap.get("domain") or ".".join(self._domain_components()) or None

    def passkey_flags(self) -> int:
        """Return what the domain's policy wants of passkeys: verification, unless the policy can be read and does not.

        It is what FreeIPA begins with.
        """
        suffix = ",".join(f"dc={self.ldap.dn.escape_dn_chars(each)}" for each in self._domain_components())
        values: list[bytes] = []
        with self._errors_translated():
            if suffix:
                for _, attributes in self._search(
                    f"{_POLICY_ENTRY},{suffix}", self.ldap.SCOPE_BASE, "(objectClass=*)", [_POLICY]
                ):
                    values += attributes.get(_POLICY.lower(), [])
        if [value.upper() for value in values] in ([b"FALSE"], [b"OFF"]):
            return FLAG_USER_PRESENCE
        return FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION

    def _domain_components(self) -> list[str]:
        """Return the values of dc at the end of the first base, [] if there are none."""
        components: list[str] = []
        with self._errors_translated():
            relative_names = self.ldap.dn.str2dn(self._bases[0])
        for relative_name in reversed(relative_names):
            if len(relative_name) != 1 or relative_name[0][0].lower() != "dc":
                break
            components.insert(0, relative_name[0][1])
        return components

    def _is_one_of(self, values: list[bytes], name: str) -> bool:
        """Return whether an entry is of this name; by a filter of one's own, its directory may write it otherwise.

        A server finds without regard to case, which is no reason to take ALICE's keys for alice's. But there are those
        that keep names in another case than everybody uses, and what finds users there was set by somebody.
        """
        if "filter" in self._settings.ldap:
            return name.casefold() in [value.decode("utf-8", "replace").casefold() for value in values]
        return name.encode() in values

    def _set_up(self) -> None:
        ldap = self.ldap
        self._connection.protocol_version = ldap.VERSION3
        self._connection.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
        self._connection.set_option(ldap.OPT_X_SASL_NOCANON, ldap.OPT_ON)
        self._limit()
        if self._scheme == "ldapi":
            return
        authorities = self._settings.ca or _system_authorities()
        if not posix.access(authorities, posix.R_OK):
            raise ConfigurationError(
                f"{authorities} cannot be read", "name a file of certificate authorities with KeyDirectoryCA"
            )
        self._connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
        self._connection.set_option(ldap.OPT_X_TLS_CACERTFILE, authorities)
        self._connection.set_option(ldap.OPT_X_TLS_PROTOCOL_MIN, ldap.OPT_X_TLS_PROTOCOL_TLS1_2)
        self._connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)

    def _limit(self) -> None:
        """Have no step last longer than there is time left."""
        left = max(0.1, self._deadline - time.monotonic())
        self._connection.set_option(self.ldap.OPT_NETWORK_TIMEOUT, left)
        self._connection.set_option(self.ldap.OPT_TIMEOUT, left)

    def _bind(self) -> None:
        """Say who asks, once the connection is protected as that demands."""
        who = self._settings.ldap.get("bind", "external" if self._scheme == "ldapi" else "anonymous")
        has_password = who.lower() not in ("anonymous", "external", "gssapi")
        is_protected = self._scheme == "ldaps"
        # Before a password, a server on this machine has to prove itself, too: anybody may have taken its port.
        if self._scheme == "ldap" and (has_password or not _is_ours(self._host)):
            self._connection.start_tls_s()
            is_protected = True
        self._limit()
        if has_password:
            self._connection.simple_bind_s(who, _password(self._settings))
        elif who.lower() == "gssapi":
            if is_protected:
                # There are servers that take no second protection inside of the first.
                self._connection.set_option(self.ldap.OPT_X_SASL_SSF_MAX, 0)
            self._connection.sasl_gssapi_bind_s()
        elif who.lower() == "external":
            if self._scheme != "ldapi":
                raise ConfigurationError("KeyDirectoryLdapBind external works with ldapi: only", "use another value")
            self._connection.sasl_external_bind_s()

    def _naming_contexts(self) -> list[str]:
        """Return where the server says that its entries begin (RFC 4512 §5.1)."""
        names = ["defaultNamingContext", "namingContexts"]
        for _, attributes in self._search("", self.ldap.SCOPE_BASE, "(objectClass=*)", names):
            for name in names:
                contexts = [value.decode("utf-8", "replace") for value in attributes.get(name.lower(), []) if value]
                if contexts:
                    return contexts
        raise DirectoryError(f"{self._url} does not tell its base DN", "set KeyDirectoryLdapBase")

    def _search(self, base: str, scope: int, condition: str, names: list[str]) -> list[tuple[str, Attributes]]:
        """Return the entries, of which there shall be one, and none of other servers."""
        self._limit()
        left = max(1, int(self._deadline - time.monotonic()))
        try:
            found = self._connection.search_ext_s(base, scope, condition, names, timeout=left, sizelimit=2)
        except self.ldap.NO_SUCH_OBJECT:
            found = []
        return [
            (name, {each.lower(): values for each, values in attributes.items()})
            for name, attributes in found
            if name is not None
        ]

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        """Turn the library's exceptions into ours. What the server says of itself in them is left out."""
        try:
            yield
        except self.ldap.LDAPError as error:
            name = type(error).__name__
            if name == "SERVER_DOWN" and _is_of_tls(error):
                name = "CONNECT_ERROR"
            unknown = (f"answers with an error ({name})", "ask its administrator")
            happened, remedy = _SENTENCES.get(name, unknown)
            raise DirectoryError(f"{self._url} {happened}", remedy) from None
        except ValueError:
            # Also of a name that has a zero byte in it
            raise DirectoryError(
                f"{self._url} answers with names that are not UTF-8 text", "ask its administrator"
            ) from None


_SENTENCES = {
    "AUTH_UNKNOWN": (
        "cannot be asked in the way of KeyDirectoryLdapBind",
        "install the SASL module for it, see pysk_config(5)",
    ),
    "CONFIDENTIALITY_REQUIRED": ("requires a protected connection", "use ldaps: in KeyDirectory"),
    "CONNECT_ERROR": (
        "has no valid certificate for that host",
        "name its certificate authority with KeyDirectoryCA, and the host as in the certificate",
    ),
    "DECODING_ERROR": ("has no such names", "set KeyDirectoryLdapBase"),
    "FILTER_ERROR": ("cannot be asked by that filter", "correct KeyDirectoryLdapFilter"),
    "INAPPROPRIATE_AUTH": ("does not accept this way to bind", "correct KeyDirectoryLdapBind"),
    "INSUFFICIENT_ACCESS": ("does not allow that", "ask its administrator, or set KeyDirectoryLdapBind"),
    "INVALID_CREDENTIALS": (
        "does not accept this user or password",
        "correct KeyDirectoryLdapBind and KeyDirectoryLdapPasswordFile",
    ),
    "INVALID_DN_SYNTAX": ("has no such names", "correct KeyDirectoryLdapBase and KeyDirectoryLdapBind"),
    "INVALID_SYNTAX": ("does not have the schema for security keys", "load the schema, see pysk_config(5)"),
    "LOCAL_ERROR": ("cannot be asked with Kerberos", "get a ticket with kinit, and install the SASL module for GSSAPI"),
    "NO_SUCH_ATTRIBUTE": ("has changed meanwhile", "try again"),
    "OBJECT_CLASS_VIOLATION": ("does not have the schema for security keys", "load the schema, see pysk_config(5)"),
    "REFERRAL": ("refers to another server, which is not asked", "name that one in KeyDirectory"),
    "SERVER_DOWN": ("cannot be reached", "start it, or correct the URL"),
    "SIZELIMIT_EXCEEDED": ("has several entries for the user", "set KeyDirectoryLdapBase or KeyDirectoryLdapFilter"),
    "STRONG_AUTH_REQUIRED": ("requires a bind", "set KeyDirectoryLdapBind"),
    "TIMELIMIT_EXCEEDED": ("took too long", "have it index uid, or set KeyDirectoryTimeout"),
    "TIMEOUT": ("does not answer", "try again, or correct the URL"),
    "UNDEFINED_TYPE": ("does not have the schema for security keys", "load the schema, see pysk_config(5)"),
    "UNWILLING_TO_PERFORM": ("does not do that", "ask its administrator, or set KeyDirectoryLdapBind"),
}
"""By the names of python-ldap's exceptions, what has happened and what to do."""


def _library() -> Any:
    """Return python-ldap, whose libldap has read neither a file nor a variable of the environment."""
    import os

    # It looks for both when it is first called, which importing python-ldap does.
    os.environ["LDAPNOINIT"] = "1"
    try:
        import ldap
        import ldap.dn
        import ldap.filter
    except ImportError:
        from sk_provider.third_party import by_apt

        raise ConfigurationError(
            "ldap:, ldaps: and ldapi: need the Python package python-ldap",
            by_apt("ldap", "python3-ldap") or "install it, see pysk_config(5)",
        ) from None
    return ldap


def _is_of_tls(error: Exception) -> bool:
    """Return whether no connection was made because of what the other side is, and not because nothing is there."""
    import os

    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    # Of a failure of the system's it is the system's word.
    return details.get("info", "") not in ("", os.strerror(details.get("errno", 0)))


def _parts(ldap: Any, url: str) -> tuple[str, str, str]:
    """Return the scheme, the host and port (or escaped path), and the base of a URL, which may be ""."""
    from urllib.parse import unquote

    scheme, rest = split(url)
    host, _, base = rest.removeprefix("//").partition("/")
    is_sound = rest.startswith("//") and (host or scheme == "ldapi") and not set("?#@ ,\\") & set(host)
    base = unquote(base)
    if not is_sound or "?" in base or not ldap.dn.is_dn(base):
        raise ConfigurationError(
            f"{url} is not an LDAP server's URL", "write one such as ldaps://ldap.example.org/dc=example,dc=org"
        )
    return scheme, host, base


def _is_loopback(host: str) -> bool:
    """Return whether a host, which a port may follow, is this machine by any reading of its name."""
    from ipaddress import ip_address

    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _is_ours(host: str) -> bool:
    """Return whether a host, which a port may follow, is this machine, and nobody but root and us can be the server.

    Of the other users' one may have taken a port that is no privileged one, and so be anybody's directory.
    """
    if not _is_loopback(host):
        return False
    port = host.rpartition("]")[2].rpartition(":")[2]
    number = int(port) if port.isdecimal() and len(port) <= 5 else _PORT
    try:
        owners = peers.tcp_listeners(number)
        if owners and not peers.strangers(owners):
            return True
        with open(_UNPRIVILEGED) as file:
            return number < int(file.read())
    except (OSError, ValueError):
        return False


def _system_authorities() -> str:
    import ssl

    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile


def _password(settings: Settings) -> str:
    """Return the first line of the password file, which nobody else may read; a bind without one would prove nothing.

    Raises ConfigurationError if it cannot be used.
    """
    path = settings.ldap.get("passwordfile")
    if path is None:
        raise ConfigurationError(
            "KeyDirectoryLdapBind names a DN, which needs a password", "name its file with KeyDirectoryLdapPasswordFile"
        )
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})", "correct its permissions") from None
    try:
        status = posix.fstat(descriptor)
        if status.st_mode & 0o170000 != 0o100000 or status.st_uid not in (0, posix.geteuid()) or status.st_mode & 0o077:
            raise ConfigurationError(
                f"{path} is not safe to hold a password",
                "it must be a file of yours or root's that nobody else can read",
            )
        line = posix.read(descriptor, _MAX_PASSWORD + 1).split(b"\n")[0].rstrip(b"\r")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})", "check the file") from None
    finally:
        posix.close(descriptor)
    try:
        if not 0 < len(line) <= _MAX_PASSWORD or b"\0" in line:
            raise ValueError
        return line.decode()
    except ValueError:
        raise ConfigurationError(f"{path} has no password in its first line", "write it there") from None
