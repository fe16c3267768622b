"""NFC and contact cards in PC/SC readers (CTAP 2.1 §11.3), through pyscard.

Locations: "" any reader; else the readers whose name contains the text.
"""

from __future__ import annotations

import time
from functools import partial

from sk_provider.ctap import apdu, commands, framing
from sk_provider.errors import (
    AuthenticatorError,
    InvalidRequest,
    SecurityKeyError,
    TimedOut,
    Unsupported,
)

from .pcsc import PRESENT_AGAIN, Context, NotLetIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sk_provider.config import Configuration
    from sk_provider.operation import Operation
    from sk_provider.transport_api import Event

    _Header = tuple[int, int, int, int]

_NFCCTAP_MSG = (apdu.CLA_CTAP2, apdu.INS_NFCCTAP_MSG, apdu.P1_GETRESPONSE_SUPPORTED, 0)
_NFCCTAP_GETRESPONSE = (apdu.CLA_CTAP2, apdu.INS_NFCCTAP_GETRESPONSE, 0, 0)
_NFCCTAP_GETRESPONSE_CANCEL = (apdu.CLA_CTAP2, apdu.INS_NFCCTAP_GETRESPONSE, apdu.P1_CANCEL, 0)
_SELECT = (apdu.CLA_ISO, apdu.INS_SELECT, 0x04, 0)
_GET_RESPONSE = bytes((apdu.CLA_ISO, apdu.INS_GET_RESPONSE, 0, 0))

_NOT_SELECTED = (
    apdu.SW_INS_NOT_SUPPORTED,
    apdu.SW_CLA_NOT_SUPPORTED,
    apdu.SW_NOT_FOUND,
    apdu.SW_CONDITIONS_NOT_SATISFIED,
)

_MAX_SHORT_APDU = 4 + 1 + apdu.MAX_SHORT_DATA + 1
_MAX_RESPONSE = 1 << 16
_TICK = 0.1
_SETTLING_PATIENCE = 3.0
"""Seconds in which a card must lie still, or after which one is shared that no other program has for itself alone."""

_LEAVING_PATIENCE = 3.0
"""Seconds in which PC/SC must notice that a card has gone, of which nothing was asked yet."""


waits_for_a_person = True
"""See transport_api.WaitsForAPerson."""


def could_be_there() -> bool:
    """Return whether pyscard is installed. See transport_api.MayBeAbsent."""
    # Of importlib, whose import would cost more, this is what every Python begins with.
    from _frozen_importlib_external import PathFinder

    return PathFinder.find_spec("smartcard") is not None


def discover(location: str) -> list[str]:
    """Return the matching readers that hold a card now.

    Raises DeviceNotFound if there is no such reader, or no PC/SC service, ConfigurationError if there is no pyscard,
    and AuthenticatorError if the service does not answer.
    """
    context = Context()
    try:
        return [reader for reader in context.readers(location) if context.has_card(reader)]
    finally:
        context.release()


def open(  # noqa: A001 - see Transport
    location: str,
    configuration: Configuration,  # noqa: ARG001
    operation: Operation,
    *,
    may_create: bool,  # noqa: ARG001
) -> NfcChannel:
    """Wait for a card in a matching reader, and select its FIDO applet.

    Raises DeviceNotFound if there is no such reader, Unsupported if the card is not a FIDO one, AuthenticatorError if
    it fails, and operation.reason() if nobody presents one in time.
    """
    context = Context()
    try:
        reader = _wait_for_card(context, location, operation)
        deadline = time.monotonic() + _LEAVING_PATIENCE
        while True:
            try:
                return NfcChannel(context, reader, operation)
            except _CardTakenAway:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_TICK)
            reader = _wait_for_card(context, location, operation)
    except BaseException:
        context.release()
        raise


def _wait_for_card(context: Context, location: str, operation: Operation) -> str:
    has_told = False
    try:
        while True:
            readers = context.readers(location)
            for reader in readers:
                if context.has_card(reader):
                    return reader
            if not has_told:
                has_told = True
                operation.tell(_call_for_a_card(readers))
                operation.await_person(f"nfc:{location}", partial(_call_for_a_card, readers))
            if operation.is_set():
                reason = operation.reason()
                if isinstance(reason, TimedOut):
                    raise TimedOut(
                        f"no security key was presented to the reader {' or '.join(readers)} "
                        f"within {operation.timeout} s",
                        "try again and present it",
                    )
                raise reason
            time.sleep(_TICK)
    finally:
        operation.person_came(f"nfc:{location}")


def _call_for_a_card(readers: list[str]) -> str:
    return f"present the security key to the reader {' or '.join(readers)}"


class _CardTakenAway(AuthenticatorError):
    """The card left its reader."""


class _CardDisturbed(AuthenticatorError):
    """Another program reset the card, or selected something else, so that it has forgotten what it was told."""

    def __init__(self) -> None:
        super().__init__("another program reset the card, or used it in between", "try again")


class NfcChannel:
    """A card whose FIDO applet is selected. See transport_api.Channel."""

    def __init__(self, context: Context, reader: str, operation: Operation) -> None:
        """Connect to the card, alone if possible, and select the applet. See open()."""
        self._context = context
        self._scard = context.scard
        self._reader = reader
        self._uses_extended = True
        self._may_be_silent = False
        self._event: Event | None = operation
        self._trace = operation.trace
        self.capabilities = 0
        self._card, self._protocol = self._connect(operation)
        try:
            self._select(operation)
        except BaseException:
            self._disconnect()
            raise

    def _connect(self, operation: Operation) -> tuple[Any, int]:
        scard = self._scard
        began = time.monotonic()
        deadline = began + _SETTLING_PATIENCE
        while True:
            # Some programs hold a card for as long as they run, and share it.
            has_settled = time.monotonic() >= deadline
            mode = scard.SCARD_SHARE_SHARED if has_settled else scard.SCARD_SHARE_EXCLUSIVE
            result, card, protocol = self._context.connect(self._reader, mode, operation)
            if result == scard.SCARD_S_SUCCESS:
                return card, protocol
            # A card that is just being laid down comes and goes for a moment.
            is_settling = result in (
                scard.SCARD_E_NO_SMARTCARD,
                scard.SCARD_W_REMOVED_CARD,
                scard.SCARD_W_UNRESPONSIVE_CARD,
                scard.SCARD_W_UNPOWERED_CARD,
            )
            if result == scard.SCARD_E_SHARING_VIOLATION:
                if self._context.is_held_alone(self._reader):
                    deadline = time.monotonic() + _SETTLING_PATIENCE
                operation.wait_for_others(began)
            elif has_settled or not is_settling:
                raise self._failure(result)
            elif operation.is_set():
                raise operation.reason()
            time.sleep(_TICK)

    def _select(self, event: Event) -> None:
        answer, status_word = self._transmit_all(_SELECT, apdu.AID)
        if status_word != apdu.SW_SUCCESS:
            raise Unsupported(f"the card in {self._reader} is not a security key", "present another")
        if answer.startswith(b"FIDO_2"):
            self.capabilities = framing.CAPABILITY_CBOR | framing.CAPABILITY_NMSG
            return
        # A token that speaks both says U2F_V2: only getInfo tells.
        response, status_word = self._transmit_all(_NFCCTAP_MSG, bytes((commands.GET_INFO,)))
        if status_word == apdu.SW_SUCCESS and response[:1] == b"\0":
            self.capabilities = framing.CAPABILITY_CBOR
        elif status_word == apdu.SW_KEEPALIVE:
            self._finish(response, status_word, event, None)
            self.capabilities = framing.CAPABILITY_CBOR

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See transport_api.Channel.

        Raises AuthenticatorError if the card is gone, silent or breaks the protocol, and InvalidRequest if the data
        does not fit.
        """
        if len(data) > framing.MAX_MESSAGE_SIZE:
            raise InvalidRequest("the key handle or application is too long", "check the key file")
        self._event = event
        if cmd == framing.MSG:
            return self._call_u2f(data)
        if cmd != framing.CBOR:
            raise InvalidRequest(f"cards have no CTAPHID command 0x{cmd:02x}", "report this as a bug of libpysk")
        self._may_be_silent = event is not None and commands.waits_for_a_person(data)
        try:
            response, status_word = self._transmit_all(_NFCCTAP_MSG, data)
            if status_word in _NOT_SELECTED:
                # Another program selected something else, or had the card reset.
                self._transmit_all(_SELECT, apdu.AID)
                if not _is_repeatable(_NFCCTAP_MSG, data):
                    raise _CardDisturbed
                response, status_word = self._transmit_all(_NFCCTAP_MSG, data)
        finally:
            self._may_be_silent = False
        return self._finish(response, status_word, event, on_keepalive)

    def _finish(
        self, response: bytes, status_word: int, event: Event | None, on_keepalive: Callable[[int], None] | None
    ) -> bytes:
        """Ask until the card has done what it was told (§11.3.7.2)."""
        keepalive_status = 0
        while status_word == apdu.SW_KEEPALIVE:
            if event is not None and event.is_set():
                self._event = None
                self._transmit_all(_NFCCTAP_GETRESPONSE_CANCEL, b"")
                raise event.reason()
            if on_keepalive is not None and response and response[0] != keepalive_status:
                keepalive_status = response[0]
                on_keepalive(keepalive_status)
            time.sleep(_TICK)
            response, status_word = self._transmit_all(_NFCCTAP_GETRESPONSE, b"")
        if status_word & 0xFF00 == apdu.SW_CTAP_STATUS and status_word != apdu.SW_CTAP_STATUS:
            return bytes([status_word & 0xFF])
        if status_word != apdu.SW_SUCCESS:
            raise AuthenticatorError(f"the card answered with status {status_word:04x}", PRESENT_AGAIN)
        return response

    def _call_u2f(self, message: bytes) -> bytes:
        """Send an APDU in the form that the card takes, and return the answer with its status word."""
        command = apdu.Apdu(message)
        header = (command.cla, command.ins, command.p1, command.p2)
        response, status_word = self._transmit_all(header, command.data)
        return response + status_word.to_bytes(2, "big")

    def close(self) -> None:
        """See transport_api.Channel."""
        self._disconnect()
        self._context.release()

    def _disconnect(self) -> None:
        if self._card is not None:
            self._context.end("SCardDisconnect", self._card, self._scard.SCARD_LEAVE_CARD)
            self._card = None

    def _transmit_all(self, header: _Header, data: bytes) -> tuple[bytes, int]:
        """Send a command of any length, again if a reset came before it, and collect the whole response."""
        try:
            response, status_word = self._transmit_command(header, data)
        except _CardDisturbed:
            if not _is_repeatable(header, data):
                raise
            response, status_word = self._transmit_command(header, data)
        while status_word & 0xFF00 == apdu.SW_MORE:
            piece, status_word = self._transmit(_GET_RESPONSE + bytes([status_word & 0xFF]))
            response += piece
            if len(response) > _MAX_RESPONSE or not (piece or status_word == apdu.SW_SUCCESS):
                raise AuthenticatorError("the card's answer does not end", PRESENT_AGAIN)
        return response, status_word

    def _transmit_command(self, header: _Header, data: bytes) -> tuple[bytes, int]:
        """Send a command in the form that the card takes, and return the first piece of the response."""
        if len(data) <= apdu.MAX_SHORT_DATA:
            return self._transmit_short(header, data)
        # One that is not to be repeated is sent in the form that all cards and readers take.
        if self._uses_extended and _is_repeatable(header, data):
            response, status_word = self._transmit_extended(header, data)
            if status_word not in (apdu.SW_WRONG_LENGTH, *_NOT_SELECTED):
                return response, status_word
            self._uses_extended = False
        return self._transmit_chained(header, data)

    def _transmit_short(self, header: _Header, data: bytes) -> tuple[bytes, int]:
        return self._transmit(apdu.short(*header, data))

    def _transmit_extended(self, header: _Header, data: bytes) -> tuple[bytes, int]:
        return self._transmit(apdu.extended(*header, data))

    def _transmit_chained(self, header: _Header, data: bytes) -> tuple[bytes, int]:
        cla, ins, p1, p2 = header
        while len(data) > apdu.MAX_SHORT_DATA:
            block, data = data[: apdu.MAX_SHORT_DATA], data[apdu.MAX_SHORT_DATA :]
            # Of a command that goes on, no response is expected: so its length is not asked for.
            chained = bytes((cla | apdu.CHAINING, ins, p1, p2, len(block))) + block
            response, status_word = self._transmit(chained)
            if status_word != apdu.SW_SUCCESS:
                return response, status_word
        return self._transmit_short(header, data)

    def _transmit(self, command: bytes) -> tuple[bytes, int]:
        """Send one APDU. Raises _CardDisturbed, with the applet selected again, if a reset came before it."""
        scard = self._scard
        if not self._context.is_usable:
            raise AuthenticatorError("the card does not answer", PRESENT_AGAIN)
        result, answer = self._transmit_once(command)
        if result == scard.SCARD_W_RESET_CARD:
            result, self._protocol = self._context.call(
                "SCardReconnect",
                self._card,
                scard.SCARD_SHARE_SHARED,
                scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1,
                scard.SCARD_LEAVE_CARD,
                event=self._event,
            )
            if result == scard.SCARD_S_SUCCESS:
                result, answer = self._transmit_once(apdu.short(*_SELECT, apdu.AID))
            if result == scard.SCARD_S_SUCCESS:
                raise _CardDisturbed
        if (
            result in (scard.SCARD_E_NOT_TRANSACTED, scard.SCARD_E_INSUFFICIENT_BUFFER)
            and len(command) > _MAX_SHORT_APDU
        ):
            # So do drivers put it whose readers take short APDUs alone, and those whose card was too slow or has gone:
            # it may have carried the command out. If it has gone, the next APDU fails too.
            return b"", apdu.SW_WRONG_LENGTH
        if result != scard.SCARD_S_SUCCESS:
            raise self._failure(result)
        if not answer:
            # So do some readers put it.
            raise _CardTakenAway("the card was removed", PRESENT_AGAIN)
        if len(answer) < 2:
            raise AuthenticatorError("the card's answer is cut short", PRESENT_AGAIN)
        return bytes(answer[:-2]), int.from_bytes(bytes(answer[-2:]), "big")

    def _transmit_once(self, command: bytes) -> tuple[int, list[int]]:
        result, answer = self._context.call(
            "SCardTransmit",
            self._card,
            self._protocol,
            list(command),
            event=self._event,
            may_be_silent=self._may_be_silent,
        )
        if self._trace is not None:
            from sk_provider.ctap import traced

            failure = "" if result == self._scard.SCARD_S_SUCCESS else f"; PC/SC result 0x{result & 0xFFFFFFFF:08x}"
            self._trace(f"{traced.exchange(command, bytes(answer))}{failure}")
        return result, answer

    def _failure(self, result: int) -> SecurityKeyError:
        scard = self._scard
        if result == scard.SCARD_W_SECURITY_VIOLATION:
            return NotLetIn()
        if result in (
            scard.SCARD_W_REMOVED_CARD,
            scard.SCARD_E_NO_SMARTCARD,
            scard.SCARD_W_UNPOWERED_CARD,
            scard.SCARD_E_NOT_TRANSACTED,
        ):
            return _CardTakenAway("the card was removed", PRESENT_AGAIN)
        if result in (scard.SCARD_E_READER_UNAVAILABLE, scard.SCARD_E_UNKNOWN_READER):
            return AuthenticatorError(f"the reader {self._reader} was unplugged", "connect it and try again")
        if result in (scard.SCARD_E_NO_SERVICE, scard.SCARD_E_SERVICE_STOPPED):
            return AuthenticatorError("the PC/SC service ended", "start pcscd and try again")
        return AuthenticatorError(f"the card cannot be reached ({scard.SCardGetErrorMessage(result)})", PRESENT_AGAIN)


def _is_repeatable(header: _Header, data: bytes) -> bool:
    """Return whether a command may be sent again to a card that has not begun it, or that may have lost the answer.

    A PIN may not: it would cost another try, and a disturbed card has another key, by which the right one is wrong.
    """
    return header != _NFCCTAP_GETRESPONSE and not (header == _NFCCTAP_MSG and data[:1] == bytes((commands.CLIENT_PIN,)))
