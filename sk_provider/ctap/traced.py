"""What a trace tells of CTAPHID and of APDUs: channels, repetitions, cancelling, errors, and how long messages are."""

from __future__ import annotations

from . import apdu, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MAX_OTHERS = 8
"""Other programs' channels that are told of."""
_MAX_RECEIVED = 16
"""Lines about what comes between two messages to the device, which could otherwise send without end."""


def names_of(numbers: dict[str, object], prefix: str = "") -> dict[int, str]:
    """Return the constants of a module whose names begin with a prefix, which is left out, by their numbers."""
    return {
        number: name.removeprefix(prefix)
        for name, number in numbers.items()
        if isinstance(number, int) and name.isupper() and name.startswith(prefix)
    }


COMMANDS = {
    getattr(framing, name): name
    for name in ("PING", "MSG", "LOCK", "INIT", "WINK", "CBOR", "CANCEL", "KEEPALIVE", "ERROR")
}
KEEPALIVES = names_of(vars(framing), "STATUS_")
_ERRORS = names_of(vars(framing), "ERR_")
_CAPABILITIES = names_of(vars(framing), "CAPABILITY_")
_STATUS_WORDS = names_of(vars(apdu), "SW_")
_INSTRUCTIONS = names_of(vars(apdu), "INS_")


def named_bits(bits: int, names: dict[int, str]) -> str:
    """Return the names of the bits that are set, and the number."""
    known = " ".join(name for bit, name in sorted(names.items()) if bits & bit)
    return f"{known} (0x{bits:02x})" if known else f"0x{bits:02x}"


def status_word(number: int) -> str:
    """Return the name of a status word, and the number."""
    # The second byte of this one tells how much more there is.
    name = _STATUS_WORDS.get(number & 0xFF00 if number & 0xFF00 == apdu.SW_MORE else number, "unknown status")
    return f"{name} (0x{number:04x})"


def exchange(command: bytes, answer: bytes) -> str:
    """Return what is told of an APDU and its answer, which has a status word if it came."""
    chained = ", more of it follows" if command[0] & apdu.CHAINING else ""
    name = _INSTRUCTIONS.get(command[1], f"0x{command[1]:02x}")
    outcome = "no answer"
    if len(answer) >= 2:
        outcome = f"{status_word(int.from_bytes(answer[-2:], 'big'))}, {len(answer) - 2} bytes"
    return f"APDU {name} ({command[:4].hex()}), {len(command)} bytes{chained}: {outcome}"


class TracedReports:
    """Reports that tell a trace which message begins with them. See transport_api.Reports."""

    def __init__(self, reports: Any, trace: Callable[[str], object]) -> None:
        self._reports = reports
        self._trace = trace
        self._channel = b""
        self._others: list[bytes] = []
        self._received = 0

    def send(self, report: bytes) -> None:
        """See Reports."""
        self._channel = report[:4]
        if report[4] & framing.INIT_PACKET:
            self._trace(f"> {_message(report)}")
            self._received = 0
        self._reports.send(report)

    def receive(self, seconds: float) -> bytes | None:
        """See Reports."""
        report: bytes | None = self._reports.receive(seconds)
        if report is None:
            return None
        if len(report) != framing.REPORT_SIZE:
            self._tell(f"a report of {len(report)} bytes, which is none of CTAPHID's")
        elif report[:4] != self._channel:
            if report[:4] not in self._others and len(self._others) < _MAX_OTHERS:
                self._others.append(report[:4])
                self._tell(f"reports on channel 0x{report[:4].hex()}, which is another program's")
        # Keep-alives come ten times a second: the message tells of those that differ.
        elif report[4] & framing.INIT_PACKET and report[4] != framing.KEEPALIVE | framing.INIT_PACKET:
            self._tell(_message(report))
        return report

    def close(self) -> None:
        """See Reports."""
        self._reports.close()

    def _tell(self, received: str) -> None:
        self._received += 1
        if self._received <= _MAX_RECEIVED:
            self._trace(f"< {received}")
        elif self._received == _MAX_RECEIVED + 1:
            self._trace("< more, of which nothing is told")


def _message(report: bytes) -> str:
    """Return what the first report of a message tells that holds no secret."""
    command = report[4] & ~framing.INIT_PACKET
    length = int.from_bytes(report[5:7], "big")
    name = f"CTAPHID {COMMANDS.get(command, f'0x{command:02x}')} on channel 0x{report[:4].hex()}"
    if command == framing.INIT and length == 8:
        return f"{name}, nonce {report[7:15].hex()}"
    if command == framing.INIT:
        version = ".".join(str(number) for number in report[20:23])
        return (
            f"{name}, nonce {report[7:15].hex()}, new channel 0x{report[15:19].hex()}, protocol {report[19]}, "
            f"device version {version}, capabilities {named_bits(report[23], _CAPABILITIES)}"
        )
    if command == framing.ERROR:
        return f"{name}, {_ERRORS.get(report[7], 'unknown')} (0x{report[7]:02x})"
    return name if command == framing.CANCEL else f"{name}, {length} bytes"
