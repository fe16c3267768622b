"""The FIDO applet of a smart card or NFC token (CTAP 2.1 §11.3): APDUs in, APDUs out, without I/O, the time given."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack

from sk_provider.ctap.apdu import (
    AID,
    CHAINING,
    CLA_CTAP2,
    CLA_ISO,
    INS_AUTHENTICATE,
    INS_GET_RESPONSE,
    INS_NFCCTAP_CONTROL,
    INS_NFCCTAP_GETRESPONSE,
    INS_NFCCTAP_MSG,
    INS_REGISTER,
    INS_SELECT,
    INS_VERSION,
    MAX_SHORT_RESPONSE,
    P1_CANCEL,
    P1_END,
    P1_GETRESPONSE_SUPPORTED,
    SW_CHAINING_NOT_SUPPORTED,
    SW_CHANNEL_NOT_SUPPORTED,
    SW_CLA_NOT_SUPPORTED,
    SW_CONDITIONS_NOT_SATISFIED,
    SW_INS_NOT_SUPPORTED,
    SW_KEEPALIVE,
    SW_MORE,
    SW_NOT_FOUND,
    SW_SECURE_MESSAGING_NOT_SUPPORTED,
    SW_SUCCESS,
    SW_WRONG_LENGTH,
    SW_WRONG_P1P2,
    Apdu,
    extended,
)
from sk_provider.ctap.framing import CAPABILITY_CBOR, CAPABILITY_NMSG, CBOR, MAX_MESSAGE_SIZE, MSG

from .job import Job

VERSION_U2F = b"U2F_V2"  # §11.3.3
VERSION_FIDO2 = b"FIDO_2_0"

INS_U2F = (INS_REGISTER, INS_AUTHENTICATE, INS_VERSION)

KEEPALIVE_INTERVAL = 0.1  # seconds after which the reader hears that we are still busy


class Applet:
    """What a card remembers between APDUs: selection, a chain, a running command, the rest of a response."""

    __slots__ = (
        "_announced",
        "_answer_by",
        "_caller",
        "_capabilities",
        "_chain",
        "_command",
        "_job",
        "_rest",
        "_selected",
        "_start",
    )

    def __init__(
        self, capabilities: int, announced: Callable[[], int], start: Callable[[object, int, bytes], Job]
    ) -> None:
        """Make an applet in front of an engine.

        capabilities: what the engine answers; announced: returns those that SELECT announces at the moment; start:
        hands the engine a command (0x03 or 0x10) with data, and whose it is: after a SELECT or a reset another caller's
        than before.
        """
        self._capabilities = capabilities
        self._announced = announced
        self._start = start
        self._selected = False
        self._caller = object()
        self._chain: tuple[bytes, bytes] = (b"", b"")  # header without the chaining bit, data so far
        self._rest = b""  # of a response that the reader fetches by GET RESPONSE
        self._job: Job | None = None
        self._command: Apdu | None = None  # what the reader waits for, while the job runs
        self._answer_by: float | None = None  # when a keep-alive is to be given instead of the response

    def reset(self) -> None:
        """Begin anew, as after power-up or a reset of the card."""
        self._abandon()
        self._selected = False
        self._caller = object()
        self._chain = (b"", b"")
        self._rest = b""

    def receive(self, raw: bytes, now: float) -> bytes | None:
        """Take a command APDU and return its response, or None when poll will give it later.

        `now` is in seconds of any clock that never goes back.
        """
        self._command = None  # a reader that speaks again has given up waiting
        try:
            apdu = Apdu(raw)
        except ValueError:
            return pack(">H", SW_WRONG_LENGTH)
        if apdu.cla not in (CLA_ISO, CLA_ISO | CHAINING, CLA_CTAP2, CLA_CTAP2 | CHAINING):
            return pack(">H", self._class_refused(apdu.cla))
        getting_rest = apdu.ins == INS_GET_RESPONSE and not apdu.cla & CHAINING
        rest, self._rest = self._rest, b""
        if getting_rest:
            return self._respond(apdu, rest) if rest else pack(">H", SW_CONDITIONS_NOT_SATISFIED)
        header = bytes([apdu.cla & ~CHAINING, apdu.ins, apdu.p1, apdu.p2])
        chained = self._chain[1] if self._chain[0] == header else b""  # another command ends a chain unheard
        self._chain = (b"", b"")
        apdu.data = chained + apdu.data
        if len(apdu.data) > MAX_MESSAGE_SIZE:
            return pack(">H", SW_WRONG_LENGTH)
        if apdu.cla & CHAINING:
            if apdu.ins == INS_SELECT:  # so that a reader can begin anew by a SELECT, whatever was sent before
                return pack(">H", SW_CHAINING_NOT_SUPPORTED)
            self._chain = (header, apdu.data)
            return pack(">H", SW_SUCCESS)
        apdu.cla &= ~CHAINING
        return self._run(apdu, now)

    def poll(self, now: float) -> bytes | None:
        """Return the response that receive owed, or a keep-alive, or None when it is too early for either."""
        job, command = self._job, self._command
        if job is None or command is None:
            return None
        if job.response is not None:
            self._job = self._command = None
            if job.command == MSG:  # the engine's own status word stands at the end
                return self._respond(command, job.response[:-2], int.from_bytes(job.response[-2:], "big"))
            return self._respond(command, job.response)
        if self._answer_by is not None and now >= self._answer_by:
            self._command = None
            return bytes([job.status]) + pack(">H", SW_KEEPALIVE)
        return None

    def deadline(self) -> float | None:
        """Return when poll is to be called at the latest, if the job does not end before."""
        return self._answer_by if self._command is not None else None

    def _run(self, apdu: Apdu, now: float) -> bytes | None:
        if (apdu.cla, apdu.ins) == (CLA_ISO, INS_SELECT):
            return self._select(apdu)
        if not self._selected:
            return pack(">H", SW_INS_NOT_SUPPORTED)
        if apdu.cla == CLA_CTAP2:
            if not self._capabilities & CAPABILITY_CBOR:
                return pack(">H", SW_CLA_NOT_SUPPORTED)
            if apdu.ins == INS_NFCCTAP_MSG:
                return self._message(apdu, now)
            if apdu.ins == INS_NFCCTAP_GETRESPONSE:
                return self._go_on(apdu, now)
            if apdu.ins == INS_NFCCTAP_CONTROL:
                return self._control(apdu)
        elif apdu.ins in INS_U2F and not self._capabilities & CAPABILITY_NMSG:
            self._abandon()
            # The engine takes U2F messages in the extended form that MSG has.
            message = extended(apdu.cla, apdu.ins, apdu.p1, apdu.p2, apdu.data)
            return self._wait(self._start(self._caller, MSG, message), apdu, now, None)
        return pack(">H", SW_INS_NOT_SUPPORTED)

    def _select(self, apdu: Apdu) -> bytes:
        if apdu.p1 != 0x04 or apdu.p2 not in (0x00, 0x0C):  # by name; first occurrence, with or without an answer
            return pack(">H", SW_WRONG_P1P2)
        self._abandon()
        self._selected = apdu.data == AID
        self._caller = object()
        if not self._selected:
            return pack(">H", SW_NOT_FOUND)
        version = VERSION_FIDO2 if self._announced() & CAPABILITY_NMSG else VERSION_U2F
        return self._respond(apdu, b"" if apdu.p2 else version)

    def _message(self, apdu: Apdu, now: float) -> bytes | None:
        if apdu.p1 & ~P1_GETRESPONSE_SUPPORTED or apdu.p2:
            return pack(">H", SW_WRONG_P1P2)
        if not apdu.data:
            return pack(">H", SW_WRONG_LENGTH)
        self._abandon()
        answer_by = now + KEEPALIVE_INTERVAL if apdu.p1 else None
        return self._wait(self._start(self._caller, CBOR, apdu.data), apdu, now, answer_by)

    def _go_on(self, apdu: Apdu, now: float) -> bytes | None:
        if apdu.p1 not in (0, P1_CANCEL) or apdu.p2:
            return pack(">H", SW_WRONG_P1P2)
        if self._job is None or self._job.command != CBOR:
            return pack(">H", SW_CONDITIONS_NOT_SATISFIED)
        if apdu.p1 == P1_CANCEL:
            self._job.cancel()
        return self._wait(self._job, apdu, now, now + KEEPALIVE_INTERVAL)

    def _control(self, apdu: Apdu) -> bytes:
        if apdu.p1 != P1_END or apdu.p2:
            return pack(">H", SW_WRONG_P1P2)
        self._abandon()
        self._selected = False
        return pack(">H", SW_SUCCESS)

    def _wait(self, job: Job, apdu: Apdu, now: float, answer_by: float | None) -> bytes | None:
        self._job = job
        self._command = apdu
        self._answer_by = answer_by
        return self.poll(now)

    def _abandon(self) -> None:
        if self._job is not None:
            self._job.cancel()
        self._job = self._command = None

    def _respond(self, apdu: Apdu, data: bytes, status: int = SW_SUCCESS) -> bytes:
        """Return as much of data as was asked for; GET RESPONSE fetches the rest, §11.3.6.

        Whoever does not say how much gets what the form of the command lets a response hold.
        """
        size = apdu.le or (len(data) if apdu.is_extended else MAX_SHORT_RESPONSE)
        self._rest = data[size:]
        if self._rest:
            status = SW_MORE | (len(self._rest) if len(self._rest) < MAX_SHORT_RESPONSE else 0)
        return data[:size] + pack(">H", status)

    @staticmethod
    def _class_refused(cla: int) -> int:
        if cla & 0xE0 == 0 and cla & 0x0C:
            return SW_SECURE_MESSAGING_NOT_SUPPORTED
        if cla & 0xE0 == 0 and cla & 0x03:
            return SW_CHANNEL_NOT_SUPPORTED
        return SW_CLA_NOT_SUPPORTED
