"""The software authenticator under any messages, whatever a person, the clock and the power do meanwhile."""

from __future__ import annotations

import atexit
import functools
import hmac
import shutil
import tempfile
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from fuzz.events import split
from support.soft_token import RP_ID, Device, Person, credential_id, descriptor

from sk_provider.authenticator.key_handle import LENGTH
from sk_provider.authenticator.resident import find
from sk_provider.authenticator.state import State
from sk_provider.authenticator.store import Store
from sk_provider.ctap import sha256, status
from sk_provider.ctap.cbor import CborError, decode, encode
from sk_provider.ctap.status import StatusError

# Kinds of events; the first byte of an input chooses the profile, the second whether a PIN is set.
U2F = 0x03
CTAP2 = 0x10
ANSWER = 0x20  # from now on the person answers so (1 byte)
TIME = 0x21  # so many seconds pass (1 byte)
POWER_CYCLE = 0x22
TOKEN = 0x23  # a pinUvAuthToken with these permissions is given out, bound to RP_ID if the second byte is odd

PROFILES = ("fido2.1", "uv", "always-uv", "fido2.0", "fido2.1-pre", "small")
STATUSES = {value for name, value in vars(status).items() if name.isupper() and name != "OTHER"}
STATUS_WORDS = {b"\x90\x00", b"\x67\x00", b"\x69\x85", b"\x69\x86", b"\x6a\x80", b"\x6d\x00", b"\x6e\x00"}

# What stands in an input for bytes that the harness knows and no fuzzer could guess; each as long as what replaces it.
MARK_RESIDENT = b"a resident credential".ljust(LENGTH, b".")
MARK_HANDLE = b"a credential of the allowList".ljust(LENGTH, b".")
MARK_AUTH = b"authenticated by the harness"[:32].ljust(32, b".")
# By command: the members that hold pinUvAuthParam and pinUvAuthProtocol.
AUTH_MEMBERS = {1: (8, 9), 2: (6, 7), 6: (4, 1), 0x0A: (4, 3), 0x0C: (5, 6), 0x0D: (4, 3), 0x41: (4, 3)}

# Known to the seeds, which have PINs encrypted between the two.
TOKEN_KEY = ec.derive_private_key(7, ec.SECP256R1())
PLATFORM_KEY = ec.derive_private_key(11, ec.SECP256R1())


class Bench:
    """A token and what its store holds before each input."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="pysk-fuzz-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.store = Store.create(f"{folder}/store")
        maker = Device(self.store, Person())
        self.handle = credential_id(maker.make())
        self.marks = {
            MARK_HANDLE: self.handle,
            MARK_RESIDENT: credential_id(maker.make(user_id=b"1", options={"rk": True})),
        }
        maker.make(user_id=b"2", options={"rk": True}, extensions={"credBlob": b"blob", "largeBlobKey": True})
        maker.make("ssh:b", options={"rk": True})
        without_pin = self.content()
        maker.set_pin()
        self.contents = (without_pin, self.content())

    def content(self) -> bytes:
        with open(f"{self.store.path}/state", "rb") as file:
            return file.read()

    def restore(self, *, pin: bool) -> None:
        with open(f"{self.store.path}/state", "wb") as file:
            file.write(self.contents[pin])


@functools.cache
def bench() -> Bench:
    return Bench()


def run(data: bytes) -> None:
    """Every message has an answer that the specification knows, and afterwards the token signs as before."""
    prepared = bench()
    choice, pin = data[:2].ljust(2, b"\0")
    prepared.restore(pin=bool(pin & 1))
    person = Person()
    device = Device(prepared.store, person, PROFILES[choice % len(PROFILES)])
    device.reset_allowed = bool(pin & 2)
    power_up(device)
    before = prepared.store.read()
    for kind, content in split(data[2:]):
        if kind == ANSWER:
            person.answer = (content[:1] or b"\0")[0] % 4
        elif kind == TIME:
            device.now += (content[:1] or b"\0")[0]
        elif kind == POWER_CYCLE:
            power_up(device)
        elif kind == TOKEN:
            issue(device, *content[:2].ljust(2, b"\0"))
        else:
            check_answer(device, kind, complete(device, kind, content))
    after = prepared.store.read()
    check_store(before, after)
    check_next(device, prepared.handle, was_reset=after.secret != before.secret)


def power_up(device: Device) -> None:
    device.power_up()
    for protocol in device.authenticator.power_up.pin_uv_auth.protocols.values():
        protocol._key = TOKEN_KEY


def issue(device: Device, permissions: int, choice: int) -> None:
    protocols = device.profile.pin_protocols
    device.authenticator.power_up.pin_uv_auth.issue(
        device.store.read(),
        protocols[(choice >> 1) % len(protocols)],
        permissions,
        RP_ID if choice & 1 else None,
        present=bool(choice & 4),
    )


def complete(device: Device, kind: int, message: bytes) -> bytes:
    """Put what the marks stand for in their place."""
    for mark, value in bench().marks.items():
        message = message.replace(mark, value)
    if kind != CTAP2 or MARK_AUTH not in message:
        return message
    try:
        return message[:1] + encode(authenticated(device, message[0], decode(message[1:], canonical=True)))
    except (CborError, StatusError, AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return message  # no such request as could be authenticated


def authenticated(device: Device, command: int, parameters: dict[Any, Any]) -> dict[Any, Any]:
    """Compute what MARK_AUTH stands for: the pinUvAuthParam, or the saltAuth of hmac-secret."""
    pin_uv_auth = device.authenticator.power_up.pin_uv_auth
    if command == 2 and "hmac-secret" in parameters.get(4, {}):
        salts = parameters[4]["hmac-secret"]
        version = salts.get(4, 1)
        secret = pin_uv_auth.protocol(version).decapsulate(salts[1])
        salts[3] = authenticate(version, secret, salts[2])
    member, version_member = AUTH_MEMBERS[command]
    if parameters.get(member) == MARK_AUTH:
        protocol = pin_uv_auth.protocol(parameters[version_member])
        secret = protocol.decapsulate(parameters[3]) if command == 6 else protocol.pin_uv_auth_token
        parameters[member] = authenticate(protocol.version, secret, what_is_signed(command, parameters))
    return parameters


def authenticate(version: int, secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret[:32], message, "sha256")[: 16 if version == 1 else 32]


def what_is_signed(command: int, parameters: dict[Any, Any]) -> bytes:
    """The bytes that a command's pinUvAuthParam covers (CTAP 2.1 §6.1 to §6.11)."""
    if command in (1, 2):
        return bytes(parameters[command])
    if command == 6:
        return bytes(parameters[5] + parameters.get(6, b""))
    if command == 0x0C:
        offset = int(parameters[3])
        return b"\xff" * 32 + b"\x0c\0" + offset.to_bytes(4, "little") + sha256(parameters[2])
    prefix = b"\xff" * 32 + b"\x0d" if command == 0x0D else b""
    return prefix + bytes([parameters[1]]) + (encode(parameters[2]) if 2 in parameters else b"")


def check_answer(device: Device, kind: int, message: bytes) -> None:
    answer = device.call(kind, message)
    if kind == U2F and device.profile.ctap1:
        assert answer[-2:] in STATUS_WORDS
        assert len(answer) == 2 or answer[-2:] == b"\x90\x00"
        return
    assert answer[0] in STATUSES
    assert len(answer) <= device.profile.max_message_size
    assert len(answer) == 1 or answer[0] == status.SUCCESS
    if len(answer) > 1:
        assert type(decode(answer[1:], canonical=True)) is dict


def check_store(before: State, after: State) -> None:
    """The store holds what it may; the counter is what it was, or more, and a PIN goes with a reset alone."""
    assert 0 <= after.pin_retries <= 8
    assert 0 <= after.uv_retries <= 3
    assert before.min_pin_length <= after.min_pin_length <= 63 or after.secret != before.secret
    assert after.counter >= before.counter
    assert after.store_id == before.store_id
    assert after.pin or not before.pin or after.secret != before.secret
    for resident in after.credentials:
        assert find(after, resident)


def check_next(device: Device, handle: bytes, *, was_reset: bool) -> None:
    """Good requests are answered: the token says what it is, and signs, unless a reset has taken its keys."""
    code, info = device.request(4)
    assert code == status.SUCCESS
    assert "FIDO_2_0" in info[1]
    with device.store.transaction() as state:
        state.always_uv = False  # which the silent question may be refused for, too
    request = {1: RP_ID, 2: bytes(32), 3: [descriptor(handle)], 5: {"up": False}}
    code, assertion = device.request(2, request)
    assert code == (status.NO_CREDENTIALS if was_reset else status.SUCCESS)
    assert was_reset or assertion[2][:32] == sha256(RP_ID.encode())
