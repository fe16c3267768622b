"""Enrollment, the listing of resident keys and U2F signatures with a token whose answers were made up beforehand."""

from __future__ import annotations

from contextlib import closing
from unittest.mock import patch

from fuzz.client import Clock
from fuzz.events import split

from sk_provider import enroll, resident, sign
from sk_provider.api import (
    ALGORITHM_ECDSA,
    ALGORITHM_ED25519,
    FLAG_RESIDENT_KEY,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    ResidentRequest,
    SignRequest,
)
from sk_provider.client import selection, u2f
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import framing
from sk_provider.errors import AuthenticatorError, SecurityKeyError
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.transport_api import Event

# Bits of the first of the two bytes before an input's events, each of which is an answer.
ED25519 = 0x01
RESIDENT = 0x02
VERIFY = 0x04
WITH_PIN = 0x08
U2F = 0x10
LIST = 0x20
SIGN = 0x40

HASH = bytes(32)


class Scripted:
    """A channel to a token that gives its answers in turn, whatever it is asked, and is gone after the last."""

    def __init__(self, capabilities: int, answers: list[bytes]) -> None:
        self.capabilities = capabilities
        self.answers = answers
        self.closed = False

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        assert not self.closed
        if not self.answers:
            raise AuthenticatorError("the authenticator is gone", "plug it in")
        return self.answers.pop(0)

    def close(self) -> None:
        self.closed = True


def run(data: bytes) -> None:
    """Whatever the answers are, what comes out can be handed to a host, or it is one of our errors."""
    choice = (data[:1] or b"\0")[0]
    channel = Scripted(0 if choice & U2F else framing.CAPABILITY_CBOR, [content for _, content in split(data[2:])])

    def open_token(*_arguments: object) -> Token:
        return Token(channel, "unix:/scripted")

    with (
        patch.object(u2f, "time", Clock()),
        patch.object(selection, "open_for_enrollment", open_token),
        patch.object(selection, "open_for_management", open_token),
        patch.object(selection, "open_for_signature", open_token),
    ):
        try:
            operate(choice, channel)
        except SecurityKeyError:
            pass
    assert channel.closed


def operate(choice: int, channel: Scripted) -> None:
    algorithm = ALGORITHM_ED25519 if choice & ED25519 else ALGORITHM_ECDSA
    pin = "1234" if choice & WITH_PIN else None
    flags = FLAG_USER_PRESENCE
    flags |= (choice & RESIDENT and FLAG_RESIDENT_KEY) | (choice & VERIFY and FLAG_USER_VERIFICATION)
    operation, configuration = Operation(60), Configuration()
    if choice & LIST:
        for key in resident.load_resident_keys(ResidentRequest(pin, None), configuration, operation):
            assert {type(key.key_handle), type(key.public_key), type(key.user_id)} == {bytes}
            assert key.application.startswith("ssh:")
            assert len(key.public_key) in (32, 65)
    elif choice & SIGN and choice & U2F and choice & RESIDENT:
        with closing(channel):
            u2f.holds_key(Token(channel, "unix:/scripted"), "ssh:", b"key", operation)
    elif choice & SIGN:
        signed = sign.sign(SignRequest(algorithm, HASH, "ssh:", b"key", flags, pin, None), configuration, operation)
        assert 0 <= signed.flags < 256
        assert 0 <= signed.counter < 1 << 32
    else:
        made = enroll.enroll(EnrollRequest(algorithm, HASH, "ssh:", flags, pin, None, "user"), configuration, operation)
        assert len(made.public_key) == (32 if choice & ED25519 else 65)
        members = (made.public_key, made.key_handle, made.signature, made.attestation_certificate)
        assert {type(member) for member in (*members, made.authenticator_data)} == {bytes}
