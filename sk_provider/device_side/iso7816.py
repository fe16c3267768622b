"""The FIDO applet of a smart card or NFC token (CTAP 2.1 §11.3): APDUs in, APDUs out, without I/O, the time given."""

from __future__ import annotations

from collections.abc import Callable
from struct import pack, unpack_from

from sk_provider.ctap.framing import CAPABILITY_CBOR, CAPABILITY_NMSG, CBOR, MAX_MESSAGE_SIZE, MSG

from .job import Job

AID = bytes.fromhex("a0000006472f0001")  # §11.3.3
VERSION_U2F = b"U2F_V2"
VERSION_FIDO2 = b"FIDO_2_0"

# Classes and instructions; what is not named here is in ISO 7816-4 or §11.3.5.
CHAINING = 0x10  # in the class: more of the command follows
CLA_ISO = 0x00
CLA_FIDO = 0x80
INS_SELECT = 0xA4
INS_GET_RESPONSE = 0xC0
INS_U2F = (0x01, 0x02, 0x03)  # register, authenticate, version
NFCCTAP_MSG = 0x10
NFCCTAP_GETRESPONSE = 0x11
NFCCTAP_CONTROL = 0x12
P1_GETRESPONSE_SUPPORTED = 0x80  # of NFCCTAP_MSG
P1_CANCEL = 0x11  # of NFCCTAP_GETRESPONSE
P1_END = 0x01  # of NFCCTAP_CONTROL

# Status words
SW_SUCCESS = 0x9000
SW_KEEPALIVE = 0x9100
SW_MORE = 0x6100
SW_WRONG_LENGTH = 0x6700
SW_CONDITIONS = 0x6985
SW_CHANNEL = 0x6881
SW_SECURE_MESSAGING = 0x6882
SW_NO_CHAINING = 0x6884
SW_NOT_FOUND = 0x6A82
SW_WRONG_P1P2 = 0x6A86
SW_INSTRUCTION = 0x6D00
SW_CLASS = 0x6E00

KEEPALIVE_INTERVAL = 0.1  # seconds after which the reader hears that we are still busy
MAX_SHORT = 256
MAX_EXTENDED = 65536


class Apdu:
    """A command APDU: header, data, the length that is expected back, and whether lengths were extended."""

    __slots__ = ("cla", "data", "extended", "ins", "le", "p1", "p2")

    def __init__(self, raw: bytes) -> None:
        """Take a command as it came; raises ValueError if it is in none of the forms of ISO 7816-4 §5.1."""
        if len(raw) < 4:
            raise ValueError("a command APDU has at least 4 bytes")
        self.cla, self.ins, self.p1, self.p2 = raw[:4]
        body = raw[4:]
        self.extended = len(body) >= 3 and body[0] == 0
        self.data = b""
        self.le = 0  # nothing asked for
        if len(body) == 1:
            self.le = body[0] or MAX_SHORT
        elif self.extended:
            length = unpack_from(">H", body, 1)[0]
            if len(body) == 3:
                self.le = length or MAX_EXTENDED
            elif len(body) == 3 + length:
                self.data = body[3:]
            elif len(body) == 5 + length:
                self.data = body[3:-2]
                self.le = unpack_from(">H", body, 3 + length)[0] or MAX_EXTENDED
            else:
                raise ValueError("the extended lengths do not fit the APDU")
        elif body:
            length = body[0]
            if length == 0 or len(body) not in (1 + length, 2 + length):
                raise ValueError("the lengths do not fit the APDU")
            self.data = body[1 : 1 + length]
            if len(body) == 2 + length:
                self.le = body[-1] or MAX_SHORT


class Applet:
    """What a card remembers between APDUs: selection, a chain, a running command, the rest of a response."""

    __slots__ = (
        "_announced",
        "_answer_by",
        "_capabilities",
        "_chain",
        "_command",
        "_job",
        "_rest",
        "_selected",
        "_start",
    )

    def __init__(self, capabilities: int, announced: Callable[[], int], start: Callable[[int, bytes], Job]) -> None:
        """Make an applet in front of an engine.

        :param capabilities: what the engine answers.
        :param announced: tells the capabilities that SELECT announces at the moment.
        :param start: hands the engine a command (0x03 or 0x10) with data.
        """
        self._capabilities = capabilities
        self._announced = announced
        self._start = start
        self._selected = False
        self._chain: tuple[bytes, bytes] = (b"", b"")  # header without the chaining bit, data so far
        self._rest = b""  # of a response that the reader fetches by GET RESPONSE
        self._job: Job | None = None
        self._command: Apdu | None = None  # what the reader waits for, while the job runs
        self._answer_by: float | None = None  # when a keep-alive is to be given instead of the response

    def reset(self) -> None:
        """Begin anew, as after power-up or a reset of the card."""
        self._abandon()
        self._selected = False
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
        if apdu.cla not in (CLA_ISO, CLA_ISO | CHAINING, CLA_FIDO, CLA_FIDO | CHAINING):
            return pack(">H", self._class_refused(apdu.cla))
        getting_rest = apdu.ins == INS_GET_RESPONSE and not apdu.cla & CHAINING
        rest, self._rest = self._rest, b""
        if getting_rest:
            return self._respond(apdu, rest) if rest else pack(">H", SW_CONDITIONS)
        header = bytes([apdu.cla & ~CHAINING, apdu.ins, apdu.p1, apdu.p2])
        chained = self._chain[1] if self._chain[0] == header else b""  # another command ends a chain unheard
        self._chain = (b"", b"")
        apdu.data = chained + apdu.data
        if len(apdu.data) > MAX_MESSAGE_SIZE:
            return pack(">H", SW_WRONG_LENGTH)
        if apdu.cla & CHAINING:
            if apdu.ins == INS_SELECT:  # so that a reader can begin anew by a SELECT, whatever was sent before
                return pack(">H", SW_NO_CHAINING)
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
            return pack(">H", SW_INSTRUCTION)
        if apdu.cla == CLA_FIDO:
            if not self._capabilities & CAPABILITY_CBOR:
                return pack(">H", SW_CLASS)
            if apdu.ins == NFCCTAP_MSG:
                return self._message(apdu, now)
            if apdu.ins == NFCCTAP_GETRESPONSE:
                return self._go_on(apdu, now)
            if apdu.ins == NFCCTAP_CONTROL:
                return self._control(apdu)
        elif apdu.ins in INS_U2F and not self._capabilities & CAPABILITY_NMSG:
            self._abandon()
            # The engine takes U2F messages in the extended form that MSG has, U2F raw messages §3.1.
            message = pack(">4BBH", apdu.cla, apdu.ins, apdu.p1, apdu.p2, 0, len(apdu.data)) + apdu.data + b"\0\0"
            return self._wait(self._start(MSG, message), apdu, now, None)
        return pack(">H", SW_INSTRUCTION)

    def _select(self, apdu: Apdu) -> bytes:
        if apdu.p1 != 0x04 or apdu.p2 not in (0x00, 0x0C):  # by name; first occurrence, with or without an answer
            return pack(">H", SW_WRONG_P1P2)
        self._abandon()
        self._selected = apdu.data == AID
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
        return self._wait(self._start(CBOR, apdu.data), apdu, now, answer_by)

    def _go_on(self, apdu: Apdu, now: float) -> bytes | None:
        if apdu.p1 not in (0, P1_CANCEL) or apdu.p2:
            return pack(">H", SW_WRONG_P1P2)
        if self._job is None or self._job.command != CBOR:
            return pack(">H", SW_CONDITIONS)
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
        size = apdu.le or (len(data) if apdu.extended else MAX_SHORT)
        self._rest = data[size:]
        if self._rest:
            status = SW_MORE | (len(self._rest) if len(self._rest) < MAX_SHORT else 0)
        return data[:size] + pack(">H", status)

    @staticmethod
    def _class_refused(cla: int) -> int:
        if cla & 0xE0 == 0 and cla & 0x0C:
            return SW_SECURE_MESSAGING
        if cla & 0xE0 == 0 and cla & 0x03:
            return SW_CHANNEL
        return SW_CLASS
