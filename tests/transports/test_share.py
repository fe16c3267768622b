"""`pysk share`: a token of this machine used from another one, and what else the other machine cannot do with it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pytest
from fido2.ctap import CtapError
from fido2.ctap1 import ApduError, Ctap1
from fido2.ctap2 import Config, CredentialManagement, Ctap2
from fido2.ctap2.pin import ClientPin
from support.openssh import PIN, PIN_PROMPT, Person, provider_lines
from support.serve import connect_unix, open_device, serve
from support.sshd import Sshd, keygen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from fido2.hid import CtapHidDevice

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


@contextmanager
def share(person: Person, address: str, path: Path) -> Iterator[Sharing]:
    log = path.with_suffix(".log")
    command = [sys.executable, "-c", "from sk_provider.cli import main; main()", "share", address, f"unix:{path}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=person.environment)
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
        with share(person, f"unix:{token}", sockets / "shared") as sharing:
            yield sharing


def refusal(function: Callable[..., object], *arguments: object, **keywords: object) -> int:
    with pytest.raises(CtapError) as caught:
        function(*arguments, **keywords)
    return int(caught.value.code)


def test_the_far_side_of_ssh_enrolls_signs_and_lists(
    person: Person, provider: Path, tmp_path: Path, sockets: Path
) -> None:
    far_folder = tmp_path / "far"
    far_folder.mkdir()
    far = Person(far_folder, provider)
    server_folder = tmp_path / "sshd"
    server_folder.mkdir()
    keygen("-t", "ed25519", "-f", str(server_folder / "host_key"))
    login = tmp_path / "login"
    keygen("-t", "ed25519", "-f", str(login))
    token, near_end, far_end = sockets / "token", sockets / "near", sockets / "far"
    with (
        serve(f"unix:{token}"),
        Sshd(server_folder, [server_folder / "host_key"], ["StreamLocalBindUnlink yes"]) as server,
        share(person, f"unix:{token}", near_end) as sharing,
    ):
        server.authorized_keys.write_text(login.with_suffix(".pub").read_text())
        server.authorized_keys.chmod(0o600)
        forward = subprocess.Popen(
            [*server.client("-i", str(login), "-o", "IdentitiesOnly=yes", "-o", "ExitOnForwardFailure=yes",
                            "-N", "-R", f"{far_end}:{near_end}")],
            env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while not far_end.exists():
                assert forward.poll() is None, server.log()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            far.configure(device=f"unix:{far_end}")
            done, key = far.enroll("id", "ed25519-sk")
            assert done.status == 0, (done, sharing.told())
            done, signature = far.sign(key)
            assert done.status == 0, (done, sharing.told())
            assert far.verify(key, signature).returncode == 0
        finally:
            forward.terminate()
            forward.wait(30)
        told = sharing.told()
        assert f"process {forward.pid} (ssh " in told
        assert "wants a new key for ssh:" in told
        assert "wants a signature for ssh:" in told


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
    assert refusal(ctap2.get_assertion, RP["id"], HASH, options={"up": False}) == ERR.UP_REQUIRED
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
    for call in (lambda: ctap1.register(HASH, web), lambda: ctap1.authenticate(HASH, web, registration.key_handle)):
        with pytest.raises(ApduError):
            call()
    without_touch = HASH + ssh + bytes([len(registration.key_handle)]) + registration.key_handle
    with pytest.raises(ApduError):
        ctap1.send_apdu(ins=0x02, p1=0x08, data=without_touch)


@pytest.mark.parametrize("request_bytes", [b"\x02", b"\x02\xff", b"\x02\x01", b"\x01\xa0", b"\x0a\xa1\x01\x02"])
def test_a_malformed_request_is_refused_and_the_next_one_served(sharing: Sharing, request_bytes: bytes) -> None:
    device = sharing.device()
    assert device.call(0x10, request_bytes)[0] != 0
    assert device.call(0x10, b"\x04")[0] == 0


def test_one_client_is_served_at_a_time(sharing: Sharing) -> None:
    assert sharing.open().info.versions
    with pytest.raises(ConnectionError):
        sharing.open()
    sharing.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert sharing.open().info.versions
        except ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            break
