"""`pysk share`: a token of this machine used from another one, and what else the other machine cannot do with it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from fido2.ctap import CtapError
from fido2.ctap1 import ApduError, Ctap1
from fido2.ctap2 import Config, CredentialManagement, Ctap2
from fido2.ctap2.pin import ClientPin
from support.impatient import LATE_TOUCH
from support.openssh import (
    PIN,
    PIN_PROMPT,
    USER_PRESENT,
    USER_VERIFIED,
    WRONG_PIN,
    Person,
    Signature,
    assert_signs,
    enrolled,
    provider_lines,
)
from support.relay import announce_ctap2
from support.serve import connect_unix, open_device, serve, wait_until
from support.sshd import Sshd, keygen

from sk_provider.ctap import apdu, cbor, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from fido2.hid import CtapHidDevice
    from support.relay import Connect

ERR = CtapError.ERR
PERMISSION = ClientPin.PERMISSION
RP, WEB_RP = {"id": "ssh:work"}, {"id": "example.org"}
USER = {"id": b"user", "name": "user"}
ES256: list[Any] = [{"type": "public-key", "alg": -7}]
HASH = bytes(31) + b"\1"


class Sharing:
    """A running `pysk share`: its socket, and what it has told its person so far."""

    def __init__(self, path: Path, log: Path) -> None:
        self.path = path
        self._log = log
        self._open = ExitStack()

    def told(self) -> str:
        return self._log.read_text()

    def device(self) -> CtapHidDevice:
        connected = self._open.enter_context(connect_unix(str(self.path)))
        return open_device(connected)

    def open(self) -> Ctap2:
        return Ctap2(self.device())

    def close(self) -> None:
        """Let all that were opened go."""
        self._open.close()


def start_share(person: Person, path: Path, *address: str) -> subprocess.Popen[bytes]:
    command = [str(person.pysk), "share", *address, f"unix:{path}"]
    with path.with_suffix(".log").open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=person.environment)


@contextmanager
def share(person: Person, path: Path, *address: str) -> Iterator[Sharing]:
    """Run `pysk share`, of the authenticator of their pysk_config if no address is given."""
    log = path.with_suffix(".log")
    process = start_share(person, path, *address)
    try:
        deadline = time.monotonic() + 60
        while "sharing " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sharing = Sharing(path, log)
        yield sharing
        sharing.close()
    finally:
        process.terminate()
        process.wait(30)
    assert not path.exists()


@pytest.fixture
def sharing(person: Person, sockets: Path) -> Iterator[Sharing]:
    """A shared token with a PIN, and a resident key for ssh and one for a web site."""
    token = sockets / "token"
    with serve(f"unix:{token}"):
        ctap2 = Ctap2(open_device(connect_unix(str(token))))
        ClientPin(ctap2).set_pin(PIN)
        for rp in (RP, WEB_RP):
            client_pin = ClientPin(ctap2)
            pin_token = client_pin.get_pin_token(PIN, PERMISSION.MAKE_CREDENTIAL, rp["id"])
            ctap2.make_credential(
                HASH, rp, USER, ES256, options={"rk": True},
                pin_uv_param=client_pin.protocol.authenticate(pin_token, HASH),
                pin_uv_protocol=client_pin.protocol.VERSION,
            )  # fmt: skip
        ctap2.device.close()
        with share(person, sockets / "shared", f"unix:{token}") as sharing:
            yield sharing


def refusal(function: Callable[..., object], *arguments: object, **keywords: object) -> int:
    with pytest.raises(CtapError) as caught:
        function(*arguments, **keywords)
    return int(caught.value.code)


class Login:
    """Somebody on another machine, to which ssh forwards the socket of a `pysk share`."""

    def __init__(self, far: Person, process: subprocess.Popen[bytes]) -> None:
        self.far = far
        self.process = process


@contextmanager
def forwarded(person: Person, folder: Path, sharing: Sharing, option: str = "-R") -> Iterator[Login]:
    """Log in to a real sshd with the socket forwarded, until the end of the with statement.

    option: who logs in, the machine that has the authenticator (-R) or the other one (-L).
    """
    far_folder, server_folder, login = folder / "far", folder / "sshd", folder / "login"
    far_folder.mkdir()
    far = Person(far_folder, person.provider)
    server_folder.mkdir()
    keygen("-t", "ed25519", "-f", str(server_folder / "host_key"))
    keygen("-t", "ed25519", "-f", str(login))
    far_end = sharing.path.with_name("far")
    with Sshd(server_folder, [server_folder / "host_key"], ["StreamLocalBindUnlink yes"]) as server:
        server.authorized_keys.write_text(login.with_suffix(".pub").read_text())
        server.authorized_keys.chmod(0o600)
        process = subprocess.Popen(
            [*server.client("-i", str(login), "-o", "IdentitiesOnly=yes", "-o", "ExitOnForwardFailure=yes",
                            "-N", option, f"{far_end}:{sharing.path}")],
            env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until(lambda: far_end.exists() or process.poll() is not None, "the forwarding")
            assert process.poll() is None, server.log()
            far.configure(device=f"unix:{far_end}")
            yield Login(far, process)
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("option", ["-R", "-L"])
def test_the_far_side_of_ssh_enrolls_and_signs(person: Person, tmp_path: Path, sockets: Path, option: str) -> None:
    token = sockets / "token"
    with (
        serve(f"unix:{token}"),
        share(person, sockets / "near", f"unix:{token}") as sharing,
        forwarded(person, tmp_path, sharing, option) as login,
    ):
        done, key = login.far.enroll("id", "ed25519-sk")
        assert done.status == 0, (done, sharing.told())
        done, signature = login.far.sign(key)
        assert done.status == 0, (done, sharing.told())
        assert login.far.verify(key, signature).returncode == 0
        told = sharing.told()
        # What connects here is the client that has logged in, or the server to which it has.
        assert (f"process {login.process.pid} (ssh " if option == "-R" else "(sshd") in told
        assert "wants a new key for ssh:" in told
        assert "wants a signature for ssh:" in told


def test_the_far_side_of_ssh_signs_with_the_pin(person: Person, tmp_path: Path, sockets: Path) -> None:
    token = sockets / "token"
    with (
        serve(f"unix:{token}"),
        share(person, sockets / "near", f"unix:{token}") as sharing,
        forwarded(person, tmp_path, sharing) as login,
    ):
        person.set_pin(PIN, f"unix:{token}")
        login.far.pin = PIN
        done, key = login.far.enroll("id", "ed25519-sk", "verify-required")
        assert done.status == 0, (done, sharing.told())
        assert provider_lines(done.errors) == []
        done, signature = login.far.sign(key, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, (done, sharing.told())
        assert provider_lines(done.errors) == []
        assert login.far.verify(key, signature).returncode == 0
        assert Signature(signature.read_text()).flags == USER_PRESENT | USER_VERIFIED
        done, _ = login.far.sign(key, answers=[(PIN_PROMPT, WRONG_PIN)])
        assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]
        assert "enters a PIN for ssh:" in sharing.told()


@pytest.mark.parametrize("leaving", ["ctrl-c", "logout"])
def test_whoever_leaves_the_far_side_ends_the_blinking_here(
    person: Person, connect: Connect, tmp_path: Path, sockets: Path, leaving: str
) -> None:
    store = str(person.store)
    with connect(None, "--store", store) as touched:
        person.configure(device=touched.address)
        key = enrolled(person)
    with (
        connect(None, "--store", store, presence="after:60000") as untouched,
        share(person, sockets / "near", untouched.address) as sharing,
        forwarded(person, tmp_path, sharing) as login,
    ):
        untouched.reports.clear()
        (login.far.folder / "document").touch()
        process = subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), "document"],
            env=login.far.environment, cwd=login.far.folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(untouched.touches, "the token's blinking")
        if leaving == "ctrl-c":
            subprocess.run(["kill", "-INT", "--", f"-{process.pid}"], check=True, timeout=10)
        else:
            login.process.terminate()
        assert process.wait(30) != 0
        wait_until(lambda: untouched.transactions() == [framing.INIT, framing.CBOR, framing.CANCEL], "the cancelling")


@pytest.mark.usefixtures("impatient")
def test_a_folder_that_another_program_keeps_locked_is_told(person: Person, sockets: Path, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with serve(f"unix:{sockets}/token"):
            process = start_share(person, tmp_path / "shared", f"unix:{sockets}/token")
            assert process.wait(60) == 1
    finally:
        os.close(descriptor)
    (line,) = (tmp_path / "shared.log").read_text().splitlines()
    assert line.startswith(f"pysk: another program keeps {tmp_path} locked; choose ")


def test_nothing_is_shared_where_nobody_is_told(person: Person, sockets: Path) -> None:
    person.enroll("id", "ed25519-sk")
    command = ["sh", "-c", 'exec "$@" >&-', "sh", str(person.pysk), "share", f"unix:{sockets}/shared"]
    done = subprocess.run(command, env=person.environment, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "pysk: standard output cannot be written (Bad file descriptor); redirect it elsewhere\n"
    assert not (sockets / "shared").exists()


@pytest.mark.usefixtures("impatient")
def test_logins_at_the_same_time_take_turns(person: Person, tmp_path: Path, sockets: Path) -> None:
    people = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        people.append(Person(tmp_path / name, person.provider))
    token = sockets / "token"
    # Each touch takes longer than a silent authenticator is waited for.
    with serve(f"unix:{token}", presence=LATE_TOUCH), share(person, sockets / "near", f"unix:{token}") as sharing:
        processes = []
        for each in people:
            each.configure(device=f"unix:{sharing.path}")
            processes.append(subprocess.Popen(
                ["ssh-keygen", "-t", "ed25519-sk", "-N", "", "-f", str(each.folder / "id")],
                env=each.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            ))  # fmt: skip
        for process in processes:
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0, (said, sharing.told())
            assert provider_lines(said.decode()) == []
        assert sharing.told().count("wants a new key for ssh:") == 2
        assert " waits until process " in sharing.told()


def test_the_touch_that_chooses_a_token_ends_with_the_client(person: Person, connect: Connect, sockets: Path) -> None:
    with connect(None, presence="after:4000") as first, connect(None, presence="after:60000") as second:
        person.configure(device=f"{first.address} {second.address}")
        with share(person, sockets / "near") as sharing:
            for relay in (first, second):
                relay.reports.clear()
            ask(sharing.device(), b"\x04")
            wait_until(lambda: first.touches() and second.touches(), "the tokens' blinking")
            sharing.close()
            expected = [framing.INIT, framing.CBOR, framing.CANCEL]
            for relay in (first, second):
                wait_until(lambda relay=relay: relay.transactions()[:3] == expected, "the cancelling")


def test_the_touch_that_chooses_a_token_ends_with_the_server(person: Person, connect: Connect, sockets: Path) -> None:
    with connect(None, presence="after:60000") as first, connect(None, presence="after:60000") as second:
        person.configure(device=f"{first.address} {second.address}")
        process = start_share(person, sockets / "near")
        wait_until(lambda: first.touches() and second.touches(), "the tokens' blinking")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
        for relay in (first, second):
            wait_until(lambda relay=relay: relay.transactions()[-1] == framing.CANCEL, "the cancelling")


def test_silent_connections_keep_nobody_out(sharing: Sharing) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(connect_unix(str(sharing.path)))
        for _ in range(100):
            stack.enter_context(connect_unix(str(sharing.path)))
        assert sharing.open().info.versions
        # Those that came first have given way.
        assert first.recv(1) == b""


def test_a_client_whose_turn_it_is_gives_way_to_nobody(sharing: Sharing) -> None:
    device = sharing.device()
    assert device.call(0x10, b"\x04")[0] == 0
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect_unix(str(sharing.path)))
        assert device.call(0x10, b"\x04")[0] == 0


@contextmanager
def stopped(reader: int, writer: int) -> Iterator[None]:
    """Let a pipe take no more, as one that nobody reads."""
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    yield
    while select.select([reader], [], [], 0)[0]:
        os.read(reader, 65536)


def test_what_cannot_be_shown_is_refused_and_keeps_nobody_waiting(person: Person, sockets: Path) -> None:
    reader, writer = os.pipe()
    token = sockets / "token"
    with serve(f"unix:{token}"):
        command = [str(person.pysk), "share", f"unix:{token}", f"unix:{sockets}/shared"]
        process = subprocess.Popen(command, stdout=writer, env=person.environment)
        try:
            assert os.read(reader, 4096).startswith(b"sharing ")
            with stopped(reader, writer), connect_unix(f"{sockets}/shared") as connected:
                device = open_device(connected)
                make = b"\x01" + cbor.encode({1: HASH, 2: RP, 3: USER, 4: ES256})
                assert device.call(0x10, make) == bytes([ERR.OTHER])
                assert device.call(0x10, b"\x04")[0] == 0  # of which nobody is told
            with connect_unix(f"{sockets}/shared") as connected:
                assert open_device(connected).call(0x10, make)[0] == 0
        finally:
            process.terminate()
            process.wait(30)
            os.close(reader)
            os.close(writer)


def test_a_u2f_token_that_announces_ctap2_is_shared_as_what_it_speaks(
    person: Person, connect: Connect, sockets: Path
) -> None:
    with (
        connect(announce_ctap2, "--profile", "u2f") as token,
        share(person, sockets / "near", token.address) as sharing,
    ):
        assert not sharing.device().capabilities & framing.CAPABILITY_CBOR
        sharing.close()
        person.configure(device=f"unix:{sharing.path}")
        assert_signs(person, enrolled(person, "ecdsa-sk"))


ODD_TRANSPORT = """
from sk_provider.transports import unix

def discover(location):
    return unix.discover(location)

def open(location, configuration, operation, *, may_create):
    return Odd(unix.open(location, configuration, operation, may_create=may_create))

class Odd:
    def __init__(self, channel):
        self.capabilities = channel.capabilities
        self.close = channel.close
        self.channel = channel

    def call(self, cmd, data=b"", event=None, on_keepalive=None):
        if data == b"\\x0b":
            raise ZeroDivisionError("a secret")
        return self.channel.call(cmd, data, event, on_keepalive)
"""


def test_an_error_nobody_thought_of_is_answered_and_the_next_client_served(
    person: Person, tmp_path: Path, sockets: Path
) -> None:
    packages = tmp_path / "packages"
    (packages / "odd-1.dist-info").mkdir(parents=True)
    (packages / "odd.py").write_text(ODD_TRANSPORT)
    (packages / "odd-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (packages / "odd-1.dist-info" / "entry_points.txt").write_text("[sk_provider.transports]\nodd = odd\n")
    person.environment["PYTHONPATH"] = str(packages)
    token = sockets / "token"
    with serve(f"unix:{token}"), share(person, sockets / "near", f"odd:{token}") as sharing:
        device = sharing.device()
        assert device.call(0x10, b"\x0b") == bytes([ERR.OTHER])
        assert device.call(0x10, b"\x04")[0] == 0
        sharing.close()
        assert sharing.open().info.versions
        told = sharing.told()
        assert "the transport odd: of the package odd failed (ZeroDivisionError in odd.py line " in told
        assert "secret" not in told


def test_resident_keys_of_ssh_are_listed_and_no_others(person: Person, sharing: Sharing) -> None:
    person.configure(device=f"unix:{sharing.path}")
    done = person.run(
        "ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)]
    )  # fmt: skip
    assert done.status == 0, (done, sharing.told())
    assert provider_lines(done.errors) == []
    assert [path.name for path in person.folder.glob("id_*.pub")] == ["id_ecdsa_sk_rk_work_user.pub"]
    assert "lists the resident keys" in sharing.told()


def test_web_sites_keys_cannot_be_made_or_used(sharing: Sharing) -> None:
    ctap2 = sharing.open()
    assert refusal(ctap2.make_credential, HASH, WEB_RP, USER, ES256) == ERR.NOT_ALLOWED
    assert refusal(ctap2.get_assertion, WEB_RP["id"], HASH) == ERR.NOT_ALLOWED
    client_pin = ClientPin(ctap2)
    assert refusal(client_pin.get_pin_token, PIN, PERMISSION.GET_ASSERTION, WEB_RP["id"]) == ERR.NOT_ALLOWED
    assert "refused: a key for 'example.org', which is not ssh's" in sharing.told()


def test_nothing_is_changed_or_deleted(sharing: Sharing) -> None:
    ctap2 = sharing.open()
    client_pin = ClientPin(ctap2)
    assert refusal(ctap2.reset) == ERR.NOT_ALLOWED
    assert refusal(client_pin.change_pin, PIN, "another PIN") == ERR.NOT_ALLOWED
    assert refusal(client_pin.set_pin, "another PIN") == ERR.NOT_ALLOWED
    assert refusal(client_pin.get_pin_token, PIN, PERMISSION.AUTHENTICATOR_CFG) == ERR.NOT_ALLOWED
    token = client_pin.get_pin_token(PIN, PERMISSION.CREDENTIAL_MGMT)
    management = CredentialManagement(ctap2, client_pin.protocol, token)
    (rp,) = management.enumerate_rps()
    assert rp[management.RESULT.RP]["id"] == RP["id"]
    (credential,) = management.enumerate_creds(rp[management.RESULT.RP_ID_HASH])
    assert refusal(management.delete_cred, credential[management.RESULT.CREDENTIAL_ID]) == ERR.NOT_ALLOWED
    assert refusal(management.update_user_info, credential[management.RESULT.CREDENTIAL_ID], USER) == ERR.NOT_ALLOWED
    web_hash = hashlib.sha256(WEB_RP["id"].encode()).digest()
    assert refusal(management.enumerate_creds, web_hash) == ERR.NOT_ALLOWED
    assert refusal(Config(ctap2, client_pin.protocol, token).toggle_always_uv) == ERR.NOT_ALLOWED
    assert refusal(ctap2.large_blobs, 0, get=16) == ERR.NOT_ALLOWED
    assert refusal(ctap2.send_cbor, 0x55) == ERR.NOT_ALLOWED


def test_no_signature_is_made_without_a_touch(sharing: Sharing) -> None:
    ctap2 = sharing.open()
    digest = bytes(range(1, 33))  # which a message could have
    assert refusal(ctap2.get_assertion, RP["id"], digest, options={"up": False}) == ERR.UP_REQUIRED
    useless = ctap2.get_assertion(RP["id"], bytes(32), options={"up": False})
    assert not useless.auth_data.flags & 1


def test_a_touch_that_chooses_among_authenticators_is_told_with_what_else_it_may_do(sharing: Sharing) -> None:
    touch = {"pin_uv_param": b"", "pin_uv_protocol": 1}
    assert refusal(sharing.open().make_credential, HASH, RP, USER, ES256, **touch) == ERR.PIN_INVALID
    assert sharing.told().endswith(f"wants a touch, or a new key for {RP['id']}\n")


def test_extensions_do_not_pass(sharing: Sharing) -> None:
    ctap2 = sharing.open()
    assert refusal(ctap2.get_assertion, RP["id"], HASH, extensions={"hmac-secret": {}}) == ERR.NOT_ALLOWED
    assert refusal(ctap2.make_credential, HASH, RP, USER, ES256, extensions={"hmac-secret": True}) == ERR.NOT_ALLOWED


def test_u2f_keys_pass_for_the_usual_application_alone(sharing: Sharing) -> None:
    ctap1 = Ctap1(sharing.device())
    ssh, web = (hashlib.sha256(name).digest() for name in (b"ssh:", b"example.org"))
    registration = ctap1.register(HASH, ssh)
    assert ctap1.authenticate(HASH, ssh, registration.key_handle).user_presence == 1
    without_touch = HASH + ssh + bytes([len(registration.key_handle)]) + registration.key_handle
    calls: list[tuple[str, Callable[[], object]]] = [
        ("a U2F key that is not ssh's", lambda: ctap1.register(HASH, web)),
        ("a U2F key that is not ssh's", lambda: ctap1.authenticate(HASH, web, registration.key_handle)),
        ("a signature without a touch", lambda: ctap1.send_apdu(ins=0x02, p1=0x08, data=without_touch)),
        ("the U2F command 0x04", lambda: ctap1.send_apdu(ins=0x04)),
    ]
    for why, call in calls:
        with pytest.raises(ApduError) as caught:
            call()
        assert caught.value.code == apdu.SW_COMMAND_NOT_ALLOWED
        assert sharing.told().endswith(f" refused: {why}\n")


@pytest.mark.parametrize("request_bytes", [
    b"\x02", b"\x02\xff", b"\x02\x01", b"\x01\xa0", b"\x0a\xa1\x01\x02",
    b"\x02\xa2\x01\x64ssh:\x02\xf9\x3e\x00",  # a float, which has no encoding
    b"\x0a\xa2\x01\x04\x02\xa1\x01\x80",  # an array, which is no hash
    b"\x41\xa2\x01\x04\x02\xa1\x01\x80",
])  # fmt: skip
def test_a_malformed_request_is_refused_and_the_next_one_served(sharing: Sharing, request_bytes: bytes) -> None:
    device = sharing.device()
    assert device.call(0x10, request_bytes)[0] != 0
    assert device.call(0x10, b"\x04")[0] == 0


def test_the_next_client_is_served_once_the_first_has_gone(sharing: Sharing) -> None:
    first, second = sharing.device(), sharing.device()
    assert first.call(0x10, b"\x04")[0] == 0
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.call, 0x10, b"\x04")
        wait_until(lambda: " waits until process " in sharing.told(), "the waiting")
        assert first.call(0x10, b"\x04")[0] == 0
        assert not waiting.done()
        first.close()
        assert waiting.result(30)[0] == 0


@pytest.mark.usefixtures("impatient")
def test_the_next_client_is_served_once_the_first_is_idle(sharing: Sharing) -> None:
    first, second = sharing.device(), sharing.device()
    assert first.call(0x10, b"\x04")[0] == 0
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.call, 0x10, b"\x04")
        try:
            assert waiting.result(30)[0] == 0
        finally:
            second.close()
    assert first.call(0x10, b"\x04")[0] == 0


def test_what_a_touch_is_for_stays_in_sight_whatever_other_clients_do(person: Person, sockets: Path) -> None:
    token = sockets / "token"
    with serve(f"unix:{token}", presence="after:60000"), share(person, sockets / "near", f"unix:{token}") as sharing:
        ask(sharing.device(), b"\x0b")
        wait_until(lambda: "asks for a touch" in sharing.told(), "the request")
        for _ in range(5):
            other = sharing.device()
            for _ in range(5):
                other.wink()
                ask(other, b"\x04")
                other.call(framing.INIT, bytes(8))
            other.close()
        _, _, after = sharing.told().partition("asks for a touch that chooses this authenticator\n")
        assert after.count("\n") == 1
        assert " waits until process " in after


def ask(device: CtapHidDevice, request: bytes) -> None:
    """Send a short CTAP2 command, and leave its answer alone."""
    (packet,) = framing.split_message(device._channel_id, framing.CBOR, request)
    device._connection.write_packet(packet)
