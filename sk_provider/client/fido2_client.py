"""python-fido2's CTAP2 client on our channels: every wait ends with the operation, every failure is one of ours."""

from __future__ import annotations

import struct
from contextlib import contextmanager

from cryptography.exceptions import UnsupportedAlgorithm
from fido2.ctap import CtapError
from fido2.ctap2 import Ctap2

from sk_provider.ctap import cbor, commands, framing, status
from sk_provider.errors import AuthenticatorError

from . import refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sk_provider.transport_api import Channel, Event

    from .refusal import AddressedChannel


# By command, the members of an answer that are byte strings (CTAP 2.1 §6.1.2, §6.2.2 and §6.4, CTAP 2.2 §6.4).
# Python makes of a number as many zeros, and so would python-fido2, however many gigabytes a token asks for.
_BYTE_STRINGS = {
    commands.MAKE_CREDENTIAL: (2, 5),
    commands.GET_ASSERTION: (2, 3, 7),
    commands.GET_NEXT_ASSERTION: (2, 3, 7),
    commands.GET_INFO: (0x03, 0x19, 0x1C, 0x1E),
}


class Device:
    """A channel whose calls all end with one event: python-fido2 passes none with most of its commands."""

    def __init__(self, channel: Channel, event: Event) -> None:
        self.capabilities = channel.capabilities
        self._channel = channel
        self._event = event

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See transport_api.Channel. Raises AuthenticatorError for an answer that python-fido2 would not survive."""
        response = self._channel.call(cmd, data, event or self._event, on_keepalive)
        if len(response) < (1 if cmd == framing.CBOR else 2):
            raise AuthenticatorError("the authenticator's answer is empty", "try again")
        if cmd == framing.CBOR and response[0] == status.SUCCESS and len(response) > 1:
            _check_answer(data[0], response[1:])
        return response


def _check_answer(command: int, untrusted_answer: bytes) -> None:
    """Raise AuthenticatorError if an answer is not CBOR, is nested too deeply or has numbers for byte strings."""
    try:
        answer = cbor.decode(untrusted_answer)
    except cbor.CborError:
        answer = None
    if not isinstance(answer, dict) or any(
        not isinstance(answer.get(member), (bytes, type(None))) for member in _BYTE_STRINGS.get(command, ())
    ):
        raise AuthenticatorError(
            "the authenticator's answer cannot be understood", "try again, or use another authenticator"
        )


# What python-fido2, and cryptography below it, raise for answers that are not what they take for granted.
_STUMBLES = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    struct.error,
    UnsupportedAlgorithm,
)


@contextmanager
def errors_translated(token: AddressedChannel, *, pass_status: bool = False) -> Iterator[None]:
    """Raise our errors for python-fido2's, and AuthenticatorError for a token's answers that it stumbles over.

    pass_status: let CtapError through, for callers who have better words for some of its statuses.
    """
    try:
        yield
    except CtapError as error:
        if pass_status:
            raise
        raise refusal.error_of(int(error.code), token) from None
    except _STUMBLES as error:
        raise AuthenticatorError(
            f"the authenticator's answer cannot be understood ({type(error).__name__})",
            "try again, or use another authenticator",
        ) from None


def open_ctap2(token: AddressedChannel, event: Event) -> Ctap2:
    """Return a CTAP2 client, which has asked for getInfo and tolerates CBOR that is not canonical.

    Raises SecurityKeyError if the authenticator does not answer properly.
    """
    with errors_translated(token):
        return Ctap2(Device(token, event), strict_cbor=False)  # type: ignore[arg-type]  # it needs no more than a channel has
