"""Keys that are looked up in a real slapd, and in what is worse than one."""

from __future__ import annotations

import base64
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.certificates import Authority
from support.kerberos import Kdc
from support.new_keys import passkey, record
from support.slapd import ADMIN, DOMAIN, ME, PASSWORD, PEOPLE, READER, SUFFIX, Slapd, person
from support.sshd import free_port

from sk_provider.api import ALGORITHM_ECDSA, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.config import Configuration
from sk_provider.credentials.directory import ldap, look_up
from sk_provider.credentials.directory.record import checked
from sk_provider.credentials.directory.settings import Settings
from sk_provider.errors import ConfigurationError, DirectoryError, SecurityKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sk_provider.credentials.directory.record import Record

DEADLINE_S = 20
"""Long enough for a machine that is busy."""
SHORT_S = 1
numbers = itertools.count()


def values(records: list[Record]) -> list[str]:
    return sorted(ldap.value_of(each).decode() for each in records)


def said(slapd: Slapd, options: Mapping[str, str] | None = None, deadline: float = DEADLINE_S) -> Settings:
    """Return settings of somebody who trusts the server; options: by config.LDAP_KEYWORDS."""
    return Settings(deadline, 0, ca=str(slapd.ca), ldap=options)


def somebody(slapd: Slapd, *object_classes: str, **attributes: list[str]) -> str:
    """Make an entry of somebody new, and return their name."""
    user = f"user{next(numbers)}"
    slapd.add(*person(user, *object_classes, attributes=attributes))
    return user


def keyholder(slapd: Slapd, *records: Record) -> str:
    return somebody(slapd, ldap.OBJECT_CLASS, **{ldap.ATTRIBUTE: values(list(records))})


def found(slapd: Slapd, user: str, url: str | None = None, **options: str) -> list[Record]:
    """Return the user's records, of which none may be left out."""
    told: list[str] = []
    records = ldap.look_up(url or slapd.ldaps, user, said(slapd, options), told.append)
    assert told == []
    assert {each.user for each in records} <= {user}
    return records


def left_out(slapd: Slapd, user: str, url: str | None = None, **options: str) -> list[str]:
    """Return what is said of the user's records, of which none may be taken."""
    told: list[str] = []
    assert ldap.look_up(url or slapd.ldaps, user, said(slapd, options), told.append) == []
    return told


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text(PASSWORD + "\n")
    return path


@contextmanager
def serving(serve: Callable[[socket.socket], object], owner: int = -1) -> Iterator[int]:
    """Have each connection to a port served so, and yield the port. owner: the user whose it is, -1 for ours."""
    stopped = threading.Event()
    connections: list[socket.socket] = []

    def run() -> None:
        while not stopped.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        os.fchown(listener.fileno(), owner, -1)
        listener.listen()
        listener.settimeout(0.05)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopped.set()
            thread.join()
            for connection in connections:
                connection.close()


def stay_silent(connection: socket.socket) -> None:
    """Neither read nor write, and do not hang up."""


# Which server, and who asks


def test_keys_are_found_by_each_way_to_the_server(slapd: Slapd) -> None:
    records = [
        record("x"),
        record("x", ALGORITHM_ECDSA, "ssh:work", flags=FLAG_USER_VERIFICATION, comment="the blue one"),
    ]
    user = keyholder(slapd, *records)
    for url in (slapd.ldap, slapd.ldaps, slapd.ldapi, f"{slapd.ldaps}/{PEOPLE}", f"{slapd.ldapi}/{SUFFIX}"):
        assert values(found(slapd, user, url)) == values(records)


def test_somebody_whom_the_directory_does_not_know_has_no_keys(slapd: Slapd) -> None:
    assert found(slapd, "nobody-of-that-name") == []
    assert found(slapd, somebody(slapd)) == []


def test_external_is_whoever_is_at_the_other_end_of_the_socket(slapd: Slapd) -> None:
    user = keyholder(slapd, mine := record("x"))
    slapd.restrict(f"by dn.exact=uid={ME},{PEOPLE} read by * none")
    try:
        assert values(found(slapd, user, slapd.ldapi)) == values([mine])
        assert values(found(slapd, user, slapd.ldapi, bind="anonymous")) == []
        assert values(found(slapd, user, slapd.ldaps)) == []
    finally:
        slapd.restrict(None)
    with pytest.raises(ConfigurationError, match="with ldapi: only"):
        found(slapd, user, bind="external")


def test_a_password_shows_what_is_hidden_and_is_sent_by_tls_alone(slapd: Slapd, password_file: Path) -> None:
    # The server shows it to whoever has the password, and is protected by TLS.
    slapd.add(
        *person(
            "hidden", ldap.OBJECT_CLASS, under=f"ou=hidden,{SUFFIX}", attributes={ldap.ATTRIBUTE: values([record("x")])}
        )
    )
    assert found(slapd, "hidden") == []
    for url in (slapd.ldaps, slapd.ldap):
        assert len(found(slapd, "hidden", url, bind=READER, passwordfile=str(password_file))) == 1


def test_a_server_without_tls_gets_no_password_and_none_but_this_machines_gets_a_question(
    slapd: Slapd, password_file: Path
) -> None:
    received: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        received.append(connection.recv(4096))
        # An extended response (RFC 4511 §4.12): protocolError.
        connection.sendall(bytes.fromhex("300c02010178070a010204000400"))
        received.append(connection.recv(4096))

    # The second leads to 127.0.0.1, as a name might.
    with_password = {"bind": READER, "passwordfile": str(password_file)}
    for host, options in (("127.0.0.1", with_password), ("127.1", {})):
        with serving(refuse) as port, pytest.raises(DirectoryError, match="PROTOCOL_ERROR"):
            found(slapd, "whoever", f"ldap://{host}:{port}", **options)
    assert sum(b"1.3.6.1.4.1.1466.20037" in each for each in received) == 2
    assert PASSWORD.encode() not in b"".join(received)
    assert b"whoever" not in b"".join(received)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another user listen")
def test_another_users_server_on_this_machine_gets_no_question_before_it_has_proved_itself(slapd: Slapd) -> None:
    received: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        received.append(connection.recv(4096))
        connection.sendall(bytes.fromhex("300c02010178070a010204000400"))
        received.append(connection.recv(4096))

    with serving(refuse, owner=65534) as port, pytest.raises(DirectoryError, match="PROTOCOL_ERROR"):
        found(slapd, "whoever", f"ldap://127.0.0.1:{port}")
    assert sum(b"1.3.6.1.4.1.1466.20037" in each for each in received) == 1
    assert b"whoever" not in b"".join(received)


def test_a_server_on_another_machine_is_asked_by_tls(slapd: Slapd) -> None:
    user = keyholder(slapd, record("x"))
    slapd.restrict("by tls_ssf=128 read by * none")
    try:
        assert len(found(slapd, user, f"ldap://127.1:{slapd.port}")) == 1
        assert found(slapd, user, slapd.ldap) == []
    finally:
        slapd.restrict(None)


def test_a_wrong_password_lets_nobody_in(slapd: Slapd, password_file: Path) -> None:
    password_file.write_text("wrong")
    with pytest.raises(DirectoryError, match="does not accept this user or password") as raised:
        found(slapd, "x", bind=READER, passwordfile=str(password_file))
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o640),
        lambda path: path.chmod(0o604),
        lambda path: path.write_text(""),
        lambda path: path.write_text("\n" + PASSWORD),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_text("x" * 2000),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), subprocess.run(["mkfifo", "-m", "600", path], check=True)),
    ],
    ids=["group", "others", "empty", "empty line", "no text", "long", "missing", "fifo"],
)
def test_a_password_file_that_is_not_safe_is_not_used(
    slapd: Slapd, password_file: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(password_file)
    with pytest.raises(ConfigurationError, match=str(password_file)):
        found(slapd, "x", bind=READER, passwordfile=str(password_file))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_password_file_of_somebody_else_is_not_used(slapd: Slapd, password_file: Path) -> None:
    os.chown(password_file, 12345, -1)
    with pytest.raises(ConfigurationError, match="not safe"):
        found(slapd, "x", bind=READER, passwordfile=str(password_file))


def test_a_name_without_a_password_file_is_refused(slapd: Slapd) -> None:
    with pytest.raises(ConfigurationError, match="KeyDirectoryLdapPasswordFile"):
        found(slapd, "x", bind=READER)


PROGRAM = """
import sys
from sk_provider.credentials.directory import ldap
from sk_provider.credentials.directory.settings import Settings
url, user, ca, *options = sys.argv[1:]
settings = Settings(20, 0, ca=ca, ldap=dict(option.split("=", 1) for option in options))
try:
    print(len(ldap.look_up(url, user, settings, print)))
except Exception as error:
    print(error)
"""


def told(slapd: Slapd, url: str, user: str, environment: Mapping[str, str], folder: Path, *options: str) -> str:
    """Return the number of keys that a process of another environment and folder finds, or why it finds none."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, user, slapd.ca, *options],
        env=dict(environment), cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.strip()


def test_that_python_ldap_is_missing_is_told(slapd: Slapd, tmp_path: Path) -> None:
    (tmp_path / "ldap.py").write_text("raise ImportError")
    answer = told(slapd, slapd.ldaps, "x", {"PYTHONPATH": str(tmp_path)}, tmp_path)
    assert "need the Python package python-ldap; install it" in answer


def test_with_kerberos_the_server_knows_who_asks(tmp_path: Path) -> None:
    entry = person("alice", ldap.OBJECT_CLASS, attributes={ldap.ATTRIBUTE: values([record("alice")])})
    folder = tmp_path / "kdc"
    folder.mkdir()
    with Kdc(folder) as kdc, tempfile.TemporaryDirectory(prefix="pysk-") as short:
        variables = {**kdc.variables, "KRB5_KTNAME": str(kdc.keytab("ldap/127.0.0.1"))}
        with Slapd(Path(short), [entry], environment=variables) as slapd:
            slapd.restrict("by self read by * none")
            nobody = f"FILE:{tmp_path}/nobody"
            for tickets, what in (
                (kdc.ticket("alice"), "1"),
                (kdc.ticket("bob"), "0"),
                (nobody, "get a ticket with kinit"),
            ):
                for url in (slapd.ldaps, slapd.ldap):
                    variables = kdc.variables | {"KRB5CCNAME": tickets}
                    answer = told(slapd, url, "alice", variables, tmp_path, "bind=gssapi")
                    assert answer.split("; ")[-1].startswith(what), answer


def test_a_server_of_another_authority_is_not_asked(slapd: Slapd, tmp_path: Path) -> None:
    # The second is the system's.
    for authority in (str(Authority(tmp_path).certificate), None):
        settings = said(slapd)
        settings.ca = authority
        for url in (slapd.ldaps, f"ldap://127.1:{slapd.port}"):
            with pytest.raises(DirectoryError, match="has no valid certificate"):
                ldap.look_up(url, "x", settings, print)


@pytest.mark.parametrize(("host", "expired_days_ago"), [("elsewhere.test", 0), ("localhost", 1)])
def test_a_server_of_another_name_or_time_is_not_asked(tmp_path: Path, host: str, expired_days_ago: int) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(host, expired_days_ago=expired_days_ago))
    received: list[bytes] = []

    def shake_hands(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as wrapped:
            received.append(wrapped.recv(1))

    settings = Settings(DEADLINE_S, 0, ca=str(authority.certificate))
    with serving(shake_hands) as port, pytest.raises(DirectoryError, match="has no valid certificate"):
        ldap.look_up(f"ldaps://127.0.0.1:{port}", "x", settings, print)
    assert b"".join(received) == b""


def test_authorities_that_cannot_be_read_are_told(slapd: Slapd) -> None:
    settings = said(slapd)
    settings.ca = "/nowhere/ca.pem"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ldap.look_up(slapd.ldaps, "x", settings, print)


def test_neither_the_environment_nor_a_file_of_libldap_changes_how_a_server_is_asked(
    slapd: Slapd, tmp_path: Path
) -> None:
    user = keyholder(slapd, record("x"))
    # An entry in whose place another is searched by who wants that.
    alias = {"objectClass": ["alias", "extensibleObject"], "ou": ["alias"], "aliasedObjectName": [PEOPLE]}
    base = f"base=ou=alias,{SUFFIX}"
    slapd.add(base.removeprefix("base="), alias)
    for name in (".ldaprc", "ldaprc"):
        (tmp_path / name).write_text("DEREF always\n")
    for environment in ({}, {"HOME": str(tmp_path)}, {"LDAPDEREF": "always"}, {"LDAPRC": "ldaprc"}):
        assert told(slapd, slapd.ldaps, user, environment, tmp_path, base) == "0"
        assert told(slapd, slapd.ldaps, user, environment, tmp_path) == "1"


# Servers that do not answer as they should


def test_a_server_that_is_stopped_is_told(slapd: Slapd) -> None:
    port = free_port()
    absent = ("ldaps://no-such-host.invalid", "ldapi://%2Fnowhere%2Fldapi")
    for url in (f"ldap://127.0.0.1:{port}", f"ldaps://127.0.0.1:{port}", *absent):
        with pytest.raises(DirectoryError, match="cannot be reached") as raised:
            found(slapd, "x", url)
        assert url in str(raised.value)


def asked(slapd: Slapd, url: str, user: str = "x", deadline: int = SHORT_S, **options: str) -> look_up.Found:
    """Look a user up as a host does."""
    configuration = Configuration()
    configuration.key_directories = [url]
    configuration.directory_timeout = deadline
    configuration.directory_ca = str(slapd.ca)
    configuration.ldap = options
    return look_up.look_up(user, configuration, print)


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_server_that_accepts_and_is_silent_costs_the_deadline(slapd: Slapd, scheme: str) -> None:
    with serving(stay_silent) as port:
        url = f"{scheme}://127.0.0.1:{port}"
        assert "not answer" in str(asked(slapd, url).failures[url])


def test_a_server_that_hangs_costs_the_deadline(slapd: Slapd) -> None:
    user = keyholder(slapd, record("x"))
    os.kill(slapd.pid, signal.SIGSTOP)
    try:
        for url in (slapd.ldap, slapd.ldaps, slapd.ldapi):
            assert "not answer" in str(asked(slapd, url).failures[url])
    finally:
        os.kill(slapd.pid, signal.SIGCONT)
    assert len(asked(slapd, slapd.ldaps, user, DEADLINE_S).records) == 1


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_server_that_says_a_byte_at_a_time_costs_the_deadline(slapd: Slapd, scheme: str) -> None:
    def be_slow(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(1)
            # The beginning of a long message, of LDAP and of TLS.
            for byte in bytes.fromhex("3084000fffff0201" if scheme == "ldap" else "16030308000200") + bytes(1000):
                connection.sendall(bytes([byte]))
                time.sleep(0.1)

    with serving(be_slow) as port:
        url = f"{scheme}://127.0.0.1:{port}"
        assert "not answer" in str(asked(slapd, url).failures[url])


FLOODED = """
import resource, sys
from sk_provider.config import Configuration
from sk_provider.credentials.directory import look_up
configuration = Configuration()
configuration.key_directories = sys.argv[1:]
configuration.directory_timeout = 20
print(*look_up.look_up("x", configuration, print).failures.values())
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_a_server_that_sends_without_end_does_not_take_all_memory() -> None:
    size = 600 << 20

    def flood(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(4096)
            # One message of so many bytes, which libldap reads whole.
            connection.sendall(b"\x30\x84" + size.to_bytes(4, "big"))
            for _ in range(600):
                connection.sendall(bytes(1 << 20))

    with serving(flood) as port:
        done = subprocess.run(
            [sys.executable, "-I", "-c", FLOODED, f"ldap://127.0.0.1:{port}"],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    failure, kilobytes = done.stdout.splitlines()
    assert "cannot be reached" in failure
    assert int(kilobytes) < 512 << 10


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_a_server_that_speaks_another_language_costs_a_sentence(slapd: Slapd, scheme: str, content: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(1)
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)

    with serving(speak) as port, pytest.raises(DirectoryError):
        ldap.look_up(f"{scheme}://127.0.0.1:{port}", "x", said(slapd, deadline=SHORT_S), print)


def test_no_other_server_is_asked_that_this_one_refers_to(slapd: Slapd) -> None:
    user = keyholder(slapd, record("x"))
    connected: list[socket.socket] = []
    with serving(connected.append) as port:
        name = f"ou=elsewhere,{SUFFIX}"
        slapd.add(
            name,
            {
                "objectClass": ["referral", "extensibleObject"],
                "ou": ["elsewhere"],
                "ref": [f"ldap://127.0.0.1:{port}/{name}"],
            },
        )
        try:
            assert len(asked(slapd, slapd.ldaps, user, DEADLINE_S).records) == 1
            nobody = asked(slapd, slapd.ldaps, "nobody-of-that-name", DEADLINE_S)
            assert (nobody.records, nobody.failures) == ([], {})
            failure = asked(slapd, slapd.ldaps, user, DEADLINE_S, base=name).failures[slapd.ldaps]
            assert "refers to another server" in str(failure)
        finally:
            slapd.delete(name)
    assert connected == []


# What the entries are


def test_an_entry_of_another_user_is_left_out(slapd: Slapd) -> None:
    user = keyholder(slapd, record("x"))
    # To a server that is the same.
    for other in (user.upper(), f" {user}", f"{user} "):
        assert "an entry that is not of" in left_out(slapd, other)[0]


def test_by_a_filter_of_ones_own_case_does_not_matter(slapd: Slapd) -> None:
    user = f"Jane{next(numbers)}"
    slapd.add(
        *person(
            f"{user}-of-another-name",
            "securityPrincipal",
            attributes={
                "sAMAccountName": [user],
                "altSecurityIdentities": [passkey(), "X509:<I>DC=org", passkey("eddsa")],
            },
        )
    )
    records = found(slapd, user.lower(), filter="(&(objectClass=securityPrincipal)(sAMAccountName=%u))")
    assert [each.application for each in records] == [DOMAIN] * 2


@pytest.mark.parametrize("user", ["*", "user*", "x)(uid=*", "x)(|(uid=*)", "\\2a", "%u", "x\\", "é", "a b"])
def test_nobodys_name_is_a_pattern(slapd: Slapd, user: str) -> None:
    keyholder(slapd, record("x"))
    assert found(slapd, user) == []


@pytest.mark.parametrize("user", ["", "a\0b", "a\nb", "\udcff", "x" * 1000])
def test_what_is_no_name_is_not_asked_for(slapd: Slapd, user: str) -> None:
    with pytest.raises(DirectoryError, match="not a user name"):
        found(slapd, user)


@pytest.mark.parametrize("text", ["(uid=*)", "(objectClass=*)", "uid=%u"])
def test_a_filter_that_finds_anybody_is_refused(slapd: Slapd, text: str) -> None:
    with pytest.raises(ConfigurationError, match="does not select the user by name"):
        found(slapd, "x", filter=text)


def test_a_filter_that_is_none_is_told(slapd: Slapd) -> None:
    with pytest.raises(DirectoryError, match="KeyDirectoryLdapFilter"):
        found(slapd, "x", filter="(&(uid=%u)")


def test_two_entries_of_a_name_are_told(slapd: Slapd) -> None:
    user = keyholder(slapd, record("x"))
    slapd.add(*person(user, ldap.OBJECT_CLASS, under=SUFFIX, attributes={ldap.ATTRIBUTE: values([record("x")])}))
    with pytest.raises(DirectoryError, match="several entries"):
        found(slapd, user)
    assert len(found(slapd, user, base=PEOPLE)) == 1
    slapd.add(
        *person(user, ldap.OBJECT_CLASS, under=f"ou=etc,{SUFFIX}", attributes={ldap.ATTRIBUTE: values([record("x")])})
    )
    with pytest.raises(DirectoryError, match="several entries"):
        found(slapd, user)


def test_attributes_may_be_chosen(slapd: Slapd) -> None:
    user = somebody(
        slapd, ldap.OBJECT_CLASS, "ipaPasskeyUser", "ldapPublicKey",
        **{ldap.ATTRIBUTE: values([record("x")]), "ipapasskey": [passkey()], "sshPublicKey": ["ssh-ed25519 AAAA"]},
    )  # fmt: skip
    assert len(found(slapd, user)) == 2
    assert [each.application for each in found(slapd, user, attributes=ldap.ATTRIBUTE)] == ["ssh:"]
    assert [each.application for each in found(slapd, user, attributes="IPAPASSKEY")] == [DOMAIN]


@pytest.mark.parametrize(
    "url",
    [
        "ldaps:",
        "ldaps://",
        "ldap:///dc=org",
        "ldaps:host",
        "ldaps://a b/",
        "ldaps://u@h/",
        "ldaps://h/x",
        "ldaps://h/?uid",
        "ldaps://h/dc=%00",
    ],
)
def test_a_url_that_names_no_server_is_refused(slapd: Slapd, url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        found(slapd, "x", url)


def test_a_base_that_is_not_there_has_nobody(slapd: Slapd) -> None:
    assert found(slapd, "x", base=f"ou=nowhere,{SUFFIX}") == []
    with pytest.raises(DirectoryError, match="KeyDirectoryLdapBase"):
        found(slapd, "x", base="nonsense")


# Passkeys


def test_passkeys_are_keys_for_the_domain(slapd: Slapd) -> None:
    written = [passkey(), passkey("es256", b"user id"), passkey(is_bare=True), passkey("eddsa")]
    user = somebody(slapd, "ipaPasskeyUser", ipapasskey=written)
    records = found(slapd, user)
    assert {base64.b64encode(each.key_handle).decode() for each in records} == {
        each.removeprefix("passkey:").split(",")[0] for each in written
    }
    assert {(each.application, each.comment) for each in records} == {(DOMAIN, f"{user}@{DOMAIN}")}
    assert {each.application for each in found(slapd, user, domain="ipa.test")} == {"ipa.test"}
    assert {each.application for each in found(slapd, user, f"{slapd.ldaps}/{PEOPLE}")} == {DOMAIN}


def test_the_domains_policy_decides_on_verification(slapd: Slapd) -> None:
    user = somebody(slapd, "ipaPasskeyUser", ipapasskey=[passkey()])
    required = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
    # Without one, it is what FreeIPA begins with.
    for value, flags in (("FALSE", FLAG_USER_PRESENCE), ("TRUE", required), (None, required)):
        slapd.set_policy(value)
        assert [each.flags for each in found(slapd, user)] == [flags]
        assert [each.flags for each in found(slapd, user, base=PEOPLE)] == [flags]


def test_keys_of_types_that_ssh_has_not_are_left_out_with_a_sentence(slapd: Slapd) -> None:
    user = somebody(slapd, "ipaPasskeyUser", ipapasskey=[passkey("rs256")])
    (sentence,) = left_out(slapd, user)
    assert "rs256" in sentence
    assert "ipapasskey" in sentence
    user = somebody(slapd, "ipaPasskeyUser", ipapasskey=[passkey("es384")])
    (sentence,) = left_out(slapd, user)
    assert "that ssh does not support" in sentence


# Values that nobody should have written


@pytest.mark.parametrize("size", [700_000, 11_000_000])
def test_what_is_larger_than_anybodys_keys_is_refused(size: int) -> None:
    long = "x" * size
    entry = person("big", ldap.OBJECT_CLASS, attributes={ldap.ATTRIBUTE: [long + "a", long + "b"]})
    with tempfile.TemporaryDirectory(prefix="pysk-") as folder, Slapd(Path(folder), [entry]) as slapd:
        with pytest.raises(DirectoryError, match="has more than 1 MB"):
            found(slapd, "big")
        assert "has more than 1 MB" in str(asked(slapd, slapd.ldaps, "big", DEADLINE_S).failures[slapd.ldaps])


def is_one_line(each: Record) -> bool:
    line = each.authorized_keys_line()
    words = line.split(" ")
    options = {"verify-required", "no-touch-required", "no-touch-required,verify-required"}
    types = {"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}
    return line.isprintable() and (words[0] in types or (words[0] in options and words[1] in types))


GOOD = values([record("x"), record("x", ALGORITHM_ECDSA, "example.org", flags=0, comment="a token")])
WORDS = ["-", 'command="x"', "a,b", "\n", "\0", "passkey:", *itertools.chain(*(each.split(" ") for each in GOOD))]
FIELDS = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
OWN = st.one_of(
    st.binary(min_size=1, max_size=100),
    st.lists(FIELDS, min_size=1, max_size=7).map(lambda fields: " ".join(fields).encode("utf-8", "replace")),
    st.tuples(st.sampled_from(GOOD), st.text(max_size=300)).map(lambda both: f"{both[0]} {both[1]}".encode()),
    st.tuples(st.sampled_from(GOOD), st.integers(0, 300), st.binary(max_size=3)).map(
        lambda each: each[0].encode()[: each[1]] + each[2] + each[0].encode()[each[1] :]
    ),
)
SOME_PASSKEYS = [passkey(), passkey("eddsa"), passkey("rs256"), passkey(is_bare=True)]
PASSKEYS = st.one_of(
    st.text(min_size=1, max_size=100).map(lambda text: f"passkey:{text}"),
    st.lists(st.binary(max_size=100), min_size=1, max_size=4).map(
        lambda fields: "passkey:" + ",".join(base64.b64encode(field).decode() for field in fields)
    ),
    st.tuples(st.sampled_from(SOME_PASSKEYS), st.integers(8, 300), st.text(max_size=3)).map(
        lambda each: each[0][: each[1]] + each[2] + each[0][each[1] :]
    ),
)


def assert_each_is_taken_or_told(written: list[bytes], records: list[Record], told: list[str]) -> None:
    assert len(records) + len(told) == len(written)
    for each in records:
        again = checked(
            each.user, each.application, each.algorithm, each.public_key, each.key_handle, each.flags, each.comment
        )
        assert again.identity() == each.identity()
        assert is_one_line(each)


@given(written=st.lists(OWN, max_size=5, unique=True))
def test_a_value_of_our_own_is_a_record_or_a_sentence(written: list[bytes]) -> None:
    records, told = [], []
    for value in written:
        try:
            records.append(ldap.parse(value, "somebody"))
        except DirectoryError as error:
            told.append(str(error))
    assert_each_is_taken_or_told(written, records, told)


@given(written=st.lists(PASSKEYS, max_size=5, unique=True), domain=st.one_of(st.just(DOMAIN), st.text(max_size=300)))
def test_a_passkey_is_a_record_or_a_sentence(written: list[str], domain: str) -> None:
    records, told = [], []
    for value in written:
        try:
            records.append(ldap.passkey(value.encode("utf-8", "replace"), "somebody", domain, FLAG_USER_PRESENCE))
        except DirectoryError as error:
            told.append(str(error))
    assert_each_is_taken_or_told([value.encode("utf-8", "replace") for value in written], records, told)


# What a directory string of these may be: to the server two spaces are one.
STRINGS = PASSKEYS.map(lambda text: text.encode("utf-8", "replace")).filter(
    lambda value: b"  " not in value and b"\0" not in value
)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20")))
@given(
    own=st.lists(OWN, min_size=1, max_size=4, unique=True),
    passkeys=st.lists(STRINGS, min_size=1, max_size=4, unique=True),
)
def test_whatever_stands_in_an_entry_costs_only_its_own(slapd: Slapd, own: list[bytes], passkeys: list[bytes]) -> None:
    user = f"user{next(numbers)}"
    good = record(user)
    attributes = {
        ldap.ATTRIBUTE: [*own, ldap.value_of(good)],
        "ipapasskey": passkeys,
        "altSecurityIdentities": passkeys[:1],
    }
    try:
        slapd.add(*person(user, ldap.OBJECT_CLASS, "ipaPasskeyUser", "securityPrincipal", attributes=attributes))
    except ValueError:
        return  # the server takes two of them for the same, or one for none
    told: list[str] = []
    records = ldap.look_up(slapd.ldaps, user, said(slapd), told.append)
    assert good.identity() in [each.identity() for each in records]
    assert_each_is_taken_or_told([*own, b"", *passkeys, passkeys[0]], records, told)


def ber(tag: int, *parts: bytes) -> bytes:
    """Return an element of BER (ITU-T X.690 §8.1)."""
    content = b"".join(parts)
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def entry_of(name: bytes, attributes: Mapping[bytes, list[bytes]]) -> bytes:
    """Return a SearchResultEntry (RFC 4511 §4.5.2)."""
    members = (
        ber(0x30, ber(4, key), ber(0x31, *(ber(4, value) for value in values))) for key, values in attributes.items()
    )
    return ber(0x64, ber(4, name), ber(0x30, *members))


def liar(*answers: list[bytes]) -> Callable[[socket.socket], None]:
    """Return what serves a connection: to each search so many entries, with success; the last answer stays."""

    def serve(connection: socket.socket) -> None:
        left = list(answers)
        with suppress(OSError):
            while request := connection.recv(65536):
                start = 2 + (request[1] & 0x7F if request[1] & 0x80 else 0)
                number, operation = request[start : start + 3], request[start + 3]
                if operation != 0x63:
                    return
                entries = left.pop(0) if len(left) > 1 else left[0]
                done = ber(0x65, b"\x0a\x01\x00\x04\x00\x04\x00")
                connection.sendall(b"".join(ber(0x30, number, each) for each in (*entries, done)))

    return serve


NAMES = st.sampled_from(
    [SUFFIX.encode(), PEOPLE.encode(), b"dc=\\00,dc=\\0a", b"", b"x", b"dc=\0", b"\xff", b"dc=" + b"a" * 300]
)


@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "20")), suppress_health_check=[HealthCheck.too_slow])
@given(
    contexts=st.lists(st.one_of(NAMES, st.binary(max_size=20)), max_size=3),
    name=st.one_of(NAMES, st.binary(max_size=20)),
    users=st.lists(st.one_of(st.just(b"somebody"), st.binary(max_size=20)), max_size=2),
    own=st.lists(OWN, max_size=3),
    passkeys=st.lists(STRINGS, max_size=3),
    policies=st.lists(st.one_of(st.sampled_from([b"TRUE", b"FALSE"]), st.binary(max_size=9)), max_size=2),
)
def test_whatever_a_server_says_is_a_record_or_a_sentence(
    contexts: list[bytes],
    name: bytes,
    users: list[bytes],
    own: list[bytes],
    passkeys: list[bytes],
    policies: list[bytes],
) -> None:
    root = entry_of(b"", {b"namingContexts": contexts})
    attributes = {b"uid": users, ldap.ATTRIBUTE.encode(): own, b"IPApasskey": passkeys}
    policy = entry_of(name, {b"ipaRequireUserVerification": policies})
    told: list[str] = []
    records: list[Record] = []
    with serving(liar([root], [entry_of(name, attributes)], [policy])) as port:
        try:
            records = ldap.look_up(f"ldap://127.0.0.1:{port}", "somebody", Settings(DEADLINE_S, 0), told.append)
        except DirectoryError as error:
            told.append(str(error))
    assert all(is_one_line(each) and each.user == "somebody" for each in records)
    if records:
        assert b"somebody" in users
        assert_each_is_taken_or_told([*own, *passkeys], records, told)


# Writing


@pytest.fixture
def me(slapd: Slapd) -> Iterator[str]:
    """The user whom the server takes for whoever runs this, by ldapi:, and who has no key yet."""
    slapd.add(*person(ME))
    yield ME
    slapd.delete(f"uid={ME},{PEOPLE}")


def test_one_adds_and_removes_ones_own_keys(slapd: Slapd, me: str) -> None:
    one, other = record(me, comment="one"), record(me, ALGORITHM_ECDSA)
    for each in (one, other, one):
        ldap.add(slapd.ldapi, each, said(slapd))
    assert values(found(slapd, me)) == values([one, other])
    assert ldap.remove(slapd.ldapi, me, one.handle_digest(), said(slapd))
    assert not ldap.remove(slapd.ldapi, me, one.handle_digest(), said(slapd))
    assert values(found(slapd, me)) == values([other])
    assert ldap.remove(slapd.ldapi, me, other.handle_digest(), said(slapd))
    assert found(slapd, me) == []


def test_a_key_that_is_added_again_is_replaced(slapd: Slapd, me: str) -> None:
    one = record(me, comment="one")
    again = checked(me, one.application, one.algorithm, one.public_key, one.key_handle, FLAG_USER_VERIFICATION, "again")
    for each in (one, again):
        ldap.add(slapd.ldapi, each, said(slapd))
    assert values(found(slapd, me)) == values([again])


def test_a_key_handle_is_replaced_in_one_change(slapd: Slapd, me: str) -> None:
    one, other = record(me, comment="one"), record(me, ALGORITHM_ECDSA)
    for each in (one, other):
        ldap.add(slapd.ldapi, each, said(slapd))
    ldap.check(slapd.ldapi, me, one.handle_digest(), said(slapd))
    ldap.check(slapd.ldapi, me, "", said(slapd))
    assert values(found(slapd, me)) == values([one, other])
    sealed = checked(me, one.application, one.algorithm, one.public_key, b"sealed", one.flags, one.comment)
    configuration = Configuration()
    configuration.directory_ca = str(slapd.ca)
    configuration.directory_timeout = DEADLINE_S
    look_up.replace(slapd.ldapi, one.handle_digest(), sealed, configuration)
    assert values(found(slapd, me)) == values([sealed, other])
    # What is gone is not replaced, and another key's record neither.
    for digest in (one.handle_digest(), other.handle_digest()):
        with pytest.raises(DirectoryError, match=f"does not have the key {digest} of {me} as a record that can be"):
            look_up.replace(slapd.ldapi, digest, sealed, configuration)
    assert values(found(slapd, me)) == values([sealed, other])


def test_nobody_adds_or_removes_anothers_keys(slapd: Slapd, me: str, password_file: Path) -> None:
    theirs = record("x")
    theirs.user = user = keyholder(slapd, theirs)
    with_password = {"bind": f"uid={me},{PEOPLE}", "passwordfile": str(password_file)}
    for url, options in ((slapd.ldapi, None), (slapd.ldaps, with_password)):
        with pytest.raises(DirectoryError, match="does not allow"):
            ldap.add(url, record(user), said(slapd, options))
        with pytest.raises(DirectoryError, match="does not allow"):
            ldap.remove(url, user, theirs.handle_digest(), said(slapd, options))
        with pytest.raises(DirectoryError, match="does not allow"):
            ldap.replace(url, theirs.handle_digest(), theirs, said(slapd, options))
        with pytest.raises(DirectoryError, match="does not allow"):
            ldap.check(url, user, theirs.handle_digest(), said(slapd, options))
    with pytest.raises(DirectoryError):
        ldap.add(slapd.ldaps, record(me), said(slapd))
    assert values(found(slapd, user)) == values([theirs])
    assert found(slapd, me) == []


def test_what_else_an_entry_has_is_kept(slapd: Slapd, password_file: Path) -> None:
    foreign = ["no key at all", *GOOD]
    user = somebody(slapd, ldap.OBJECT_CLASS, "ipaPasskeyUser", **{ldap.ATTRIBUTE: foreign, "ipapasskey": [passkey()]})
    mine = record(user)
    options = {"bind": ADMIN, "passwordfile": str(password_file)}
    ldap.add(slapd.ldaps, mine, said(slapd, options))
    told: list[str] = []
    assert len(ldap.look_up(slapd.ldaps, user, said(slapd), told.append)) == 4
    assert len(told) == 1
    assert ldap.remove(slapd.ldaps, user, mine.handle_digest(), said(slapd, options))
    assert len(ldap.look_up(slapd.ldaps, user, said(slapd), print)) == 3


def test_a_key_of_nobody_is_not_added(slapd: Slapd) -> None:
    with pytest.raises(DirectoryError, match="no entry for"):
        ldap.add(slapd.ldapi, record("nobody-of-that-name"), said(slapd))


def test_a_server_without_the_schema_is_told(password_file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="pysk-") as folder, Slapd(Path(folder), has_schema=False) as slapd:
        user = somebody(slapd)
        assert found(slapd, user) == []
        with pytest.raises(SecurityKeyError, match="does not have the schema for security keys; load the schema"):
            ldap.add(slapd.ldaps, record(user), said(slapd, {"bind": ADMIN, "passwordfile": str(password_file)}))
