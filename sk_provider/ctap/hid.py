"""The client's side of CTAPHID (CTAP 2.1 §11.2): messages over anything that carries reports."""

from __future__ import annotations

import posix
import time

from sk_provider.errors import AuthenticatorError, InvalidRequest, UnknownCommand
from sk_provider.operation import busy

from . import commands, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.transport_api import Event, Reports

TICK = 0.1
"""Seconds between two looks at the event, in silence too."""
SILENCE = 3.0
"""Seconds after which an authenticator that sends nothing is dead, unless it may wait for a person."""
_NONCE_PATIENCE = 0.5
"""Seconds for the answer to INIT, where an error has come that may have been another program's."""
_CANCEL_PATIENCE = 0.5
"""Seconds that an authenticator gets to confirm that it gave up."""
_NONCE_SIZE = 8
_INIT_RESPONSE_SIZE = 17

_BUSY = bytes([framing.ERR_CHANNEL_BUSY])
_INVALID_CMD = bytes([framing.ERR_INVALID_CMD])
_REPLUG = "unplug it, plug it in and try again"


class HidChannel:
    """A CTAPHID channel of its own on one authenticator. See transport_api.Channel."""

    def __init__(self, reports: Reports, event: Event, remedy: str = _REPLUG) -> None:
        """Take the reports, which close() lets go, and have the authenticator allocate a channel.

        remedy: what a person can do about an authenticator that is silent or breaks the protocol.

        Raises AuthenticatorError if it does not, and what event gives as its reason once that is set.
        """
        trace = getattr(event, "trace", None)
        if trace is not None:
            from .traced import TracedReports

            reports = TracedReports(reports, trace)
        self._reports = reports
        self._remedy = remedy
        self._channel = framing.BROADCAST_CHANNEL
        self.capabilities = 0
        try:
            self._allocate(event)
        except BaseException:
            reports.close()
            raise

    def _allocate(self, event: Event | None) -> None:
        nonce = posix.urandom(_NONCE_SIZE)
        refused_since = time.monotonic()
        while refusal := self._ask_for_a_channel(nonce, event):
            if refusal == _BUSY and event is not None:
                event.wait_for_others(refused_since)
                refused_since = time.monotonic()
            elif time.monotonic() >= refused_since + SILENCE:
                raise _refused(refusal, self._remedy)

    def _ask_for_a_channel(self, nonce: bytes, event: Event | None) -> bytes:
        """Return b"" once there is a channel, or the code of an error that came in its stead."""
        self._send(framing.INIT, nonce)
        asked_at = time.monotonic()
        refusal = b""
        while True:
            try:
                command, response = self._receive_message(event, asked_at + (_NONCE_PATIENCE if refusal else SILENCE))
            except AuthenticatorError:
                if refusal:
                    return refusal
                raise
            # What other programs get comes on the broadcast channel too, and on some buses to all: the nonce tells
            # which channel is ours, nothing whose an error is.
            if command == framing.INIT and response[:_NONCE_SIZE] == nonce and len(response) >= _INIT_RESPONSE_SIZE:
                self._channel = int.from_bytes(response[8:12], "big")
                self.capabilities = response[16]
                return b""
            if command == framing.ERROR:
                refusal = response[:1] or b"\0"

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[int], None] | None = None,
    ) -> bytes:
        """See transport_api.Channel.

        Raises AuthenticatorError if the authenticator is silent, gone or breaks the protocol, UnknownCommand if it does
        not know cmd, InvalidRequest if the data does not fit, and what event gives as its reason once that is set.
        """
        if len(data) > framing.MAX_MESSAGE_SIZE:
            raise InvalidRequest("the key handle or application is too long", "check the key file")
        if self._channel == framing.BROADCAST_CHANNEL:
            self._allocate(event)
        busy_since = 0.0
        while True:
            command, response = self._transact(cmd, data, event, on_keepalive)
            if command == cmd:
                return response
            if response[:1] != _BUSY or event is None:
                raise _refused(response[:1], self._remedy)
            busy_since = busy_since or time.monotonic()
            event.wait_for_others(busy_since)
            time.sleep(TICK)

    def close(self) -> None:
        """See transport_api.Channel."""
        self._reports.close()

    def _transact(
        self, cmd: int, data: bytes, event: Event | None, on_keepalive: Callable[[int], None] | None
    ) -> tuple[int, bytes]:
        try:
            self._send(cmd, data)
            keepalive_status = 0
            # Until the first keep-alive only the event, the person's patience, ends the silence of some.
            may_be_silent = event is not None and cmd == framing.CBOR and commands.waits_for_a_person(data)
            while True:
                command, response = self._receive_message(event, None if may_be_silent else time.monotonic() + SILENCE)
                if command in (cmd, framing.ERROR):
                    return command, response
                if command != framing.KEEPALIVE:
                    raise AuthenticatorError("the authenticator answered another question", self._remedy)
                may_be_silent = False
                if on_keepalive is not None and response and response[0] != keepalive_status:
                    keepalive_status = response[0]
                    on_keepalive(keepalive_status)
        except BaseException:
            self._cancel()
            # What may still come for this command is no answer to the next one, which gets a channel of its own.
            self._channel = framing.BROADCAST_CHANNEL
            raise

    def _cancel(self) -> None:
        """Have the authenticator give up, and take its confirmation out of the way of the next program."""
        try:
            self._send(framing.CANCEL, b"")
            deadline = time.monotonic() + _CANCEL_PATIENCE
            while time.monotonic() < deadline:
                report = self._reports.receive(TICK)
                if (
                    report is not None
                    and self._is_ours(report)
                    and report[4] != framing.KEEPALIVE | framing.INIT_PACKET
                ):
                    return
        except AuthenticatorError:
            # What cannot be reached does not blink either.
            return

    def _send(self, command: int, data: bytes) -> None:
        for report in framing.split_message(self._channel, command, data):
            self._reports.send(report)

    def _is_ours(self, report: bytes) -> bool:
        return len(report) == framing.REPORT_SIZE and int.from_bytes(report[:4], "big") == self._channel

    def _receive_message(self, event: Event | None, deadline: float | None) -> tuple[int, bytes]:
        """Return a message's command and data; deadline: until when it must begin, if that is not the event's matter.

        Raises AuthenticatorError if it does not, or does not go on.
        """
        first = self._receive_packet(event, deadline)
        if not first[4] & framing.INIT_PACKET:
            raise AuthenticatorError("the authenticator began in the middle of a message", self._remedy)
        length = int.from_bytes(first[5:7], "big")
        if length > framing.MAX_MESSAGE_SIZE:
            raise AuthenticatorError("the authenticator announced an impossible message", self._remedy)
        data = first[7:]
        sequence = 0
        while len(data) < length:
            packet = self._receive_packet(event, time.monotonic() + SILENCE)
            if packet[4] != sequence:
                raise AuthenticatorError("the authenticator mixed up its packets", self._remedy)
            sequence += 1
            data += packet[5:]
        return first[4] & ~framing.INIT_PACKET, data[:length]

    def _receive_packet(self, event: Event | None, deadline: float | None) -> bytes:
        """Return the next report on our channel: devices show every program what they send to any."""
        while True:
            _give_up_if_set(event)
            left = TICK if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise AuthenticatorError("the authenticator does not answer", self._remedy)
            report = self._reports.receive(min(TICK, left))
            if report is not None and self._is_ours(report):
                return report


def _give_up_if_set(event: Event | None) -> None:
    if event is not None and event.is_set():
        raise event.reason()


def _refused(code: bytes, remedy: str) -> AuthenticatorError:
    """Return what to raise for an error, a code of one byte (CTAP 2.1 §11.2.9.1.6)."""
    if code == _BUSY:
        return busy()
    kind = UnknownCommand if code == _INVALID_CMD else AuthenticatorError
    return kind(f"the authenticator reports CTAPHID error 0x{code.hex() or '00'}", remedy)
