"""The device's side of CTAPHID (CTAP 2.1 §11.2): reports in, reports out, without any I/O and with the time given."""

from __future__ import annotations

import os
from collections.abc import Callable
from struct import pack, unpack_from

from sk_provider.ctap.framing import (
    BROADCAST_CHANNEL,
    CANCEL,
    CAPABILITY_CBOR,
    CAPABILITY_NMSG,
    CAPABILITY_WINK,
    CBOR,
    ERR_CHANNEL_BUSY,
    ERR_INVALID_CHANNEL,
    ERR_INVALID_CMD,
    ERR_INVALID_LEN,
    ERR_INVALID_PAR,
    ERR_INVALID_SEQ,
    ERR_MSG_TIMEOUT,
    ERROR,
    INIT,
    INIT_PACKET,
    KEEPALIVE,
    LOCK,
    MAX_MESSAGE_SIZE,
    MSG,
    PING,
    REPORT_SIZE,
    STATUS_UPNEEDED,
    WINK,
    split_message,
)

from .job import Job

COMMANDS = (PING, MSG, LOCK, WINK, CBOR)  # those that take part in transactions

PROTOCOL_VERSION = 2
DEVICE_VERSION = (1, 0, 0)
MESSAGE_TIMEOUT = 0.5  # seconds in which the next packet of a message must come
KEEPALIVE_INTERVAL = 0.1  # seconds, §11.2.9.1.4
MAX_LOCK = 10  # seconds, §11.2.9.2.2
MAX_CHANNELS = 1024  # the channel unused for the longest time gives way to a new one


class _Message:
    """A message of which not all packets have come."""

    __slots__ = ("channel", "command", "data", "deadline", "length", "sequence")

    def __init__(self, channel: int, command: int, length: int, deadline: float) -> None:
        self.channel = channel
        self.command = command
        self.length = length
        self.deadline = deadline
        self.data = bytearray()
        self.sequence = 0


class _Transaction:
    """A command that the engine works on, and for which keep-alives are due."""

    __slots__ = ("channel", "job", "keepalive_at", "told_upneeded")

    def __init__(self, channel: int, job: Job, now: float) -> None:
        self.channel = channel
        self.job = job
        self.keepalive_at = now + KEEPALIVE_INTERVAL
        self.told_upneeded = False


class CtapHid:
    """The channels of one HID interface, and the one transaction that it serves at a time."""

    __slots__ = ("_announced", "_capabilities", "_channels", "_lock", "_message", "_start", "_transaction", "_wink")

    def __init__(
        self,
        capabilities: int,
        announced: Callable[[], int],
        start: Callable[[object, int, bytes], Job],
        wink: Callable[[], None],
    ) -> None:
        """Make an interface in front of an engine.

        capabilities: what the engine answers; announced: returns those that INIT announces at the moment; start: hands
        the engine a command (0x03 or 0x10) with data, and whose it is: each channel is another caller's, and after an
        INIT on it another's than before; wink: what WINK does.
        """
        self._capabilities = capabilities
        self._announced = announced
        self._start = start
        self._wink = wink
        self._channels: dict[int, object] = {}  # those allocated, and whose they are; the one used last at the end
        self._message: _Message | None = None
        self._transaction: _Transaction | None = None
        self._lock = (0, 0.0)  # channel, until when

    def receive(self, report: bytes, now: float) -> list[bytes]:
        """Take one report from the host and return those to send at once.

        A report that is not of 64 bytes is ignored. `now` is in seconds of any clock that never goes back.
        """
        if len(report) != REPORT_SIZE:
            return self.tick(now)
        channel, first = unpack_from(">IB", report)
        message = self._message
        if message is not None and message.channel == channel and not first & INIT_PACKET:
            message.deadline = now + MESSAGE_TIMEOUT  # whoever looks late must not take the packet for late
        answers = self.tick(now)
        if channel in self._channels:
            self._channels[channel] = self._channels.pop(channel)
        if first & INIT_PACKET:
            length = unpack_from(">H", report, 5)[0]
            answers += self._begin(channel, first & ~INIT_PACKET, length, report[7:], now)
        else:
            answers += self._go_on(channel, first, report[5:], now)
        return answers

    def tick(self, now: float) -> list[bytes]:
        """Return what is due at this time: a response, a keep-alive, the error of a message that was not finished."""
        answers: list[bytes] = []
        message = self._message
        if message is not None and now >= message.deadline:
            self._message = None
            answers += self._error(message.channel, ERR_MSG_TIMEOUT)
        transaction = self._transaction
        if transaction is not None:
            job = transaction.job
            upneeded = job.status == STATUS_UPNEEDED and not transaction.told_upneeded
            if job.response is not None:
                self._transaction = None
                answers += split_message(transaction.channel, job.command, job.response)
            elif upneeded or now >= transaction.keepalive_at:
                transaction.told_upneeded = job.status == STATUS_UPNEEDED
                transaction.keepalive_at = now + KEEPALIVE_INTERVAL
                answers += split_message(transaction.channel, KEEPALIVE, bytes([job.status]))
        return answers

    def deadline(self) -> float | None:
        """Return when tick is to be called at the latest, if nothing else happens before."""
        times = []
        if self._message is not None:
            times.append(self._message.deadline)
        if self._transaction is not None:
            times.append(self._transaction.keepalive_at)
        return min(times, default=None)

    def abandon(self, channels: set[int]) -> None:
        """Forget these channels, whose client is gone, and cancel what they had begun."""
        for channel in channels:
            self._resynchronise(channel)
            self._channels.pop(channel, None)
            if self._lock[0] == channel:
                self._lock = (0, 0.0)

    def clear(self) -> None:
        """Forget what was begun, and the lock; not the channels, which a simulator's clients keep over its reboot."""
        for channel in self._channels:
            self._resynchronise(channel)
        self._lock = (0, 0.0)

    def _begin(self, channel: int, command: int, length: int, data: bytes, now: float) -> list[bytes]:
        if channel == 0:  # reserved, §11.2.4
            return self._error(channel, ERR_INVALID_CHANNEL)
        if command == INIT:
            return self._init(channel, length, data)
        if command == CANCEL:  # never answered; ignored unless this channel waits for a CBOR command, §11.2.9.1.5
            transaction = self._transaction
            if transaction is not None and transaction.channel == channel and transaction.job.command == CBOR:
                transaction.job.cancel()
            return []
        if self._message is not None:
            if self._message.channel != channel:
                return self._error(channel, ERR_CHANNEL_BUSY)
            self._message = None
            return self._error(channel, ERR_INVALID_SEQ)
        if self._transaction is not None or self._locked_out(channel, now):
            return self._error(channel, ERR_CHANNEL_BUSY)
        if channel not in self._channels:
            return self._error(channel, ERR_INVALID_CHANNEL)
        if command not in COMMANDS:
            return self._error(channel, ERR_INVALID_CMD)
        if length > MAX_MESSAGE_SIZE:
            return self._error(channel, ERR_INVALID_LEN)
        message = _Message(channel, command, length, now + MESSAGE_TIMEOUT)
        return self._append(message, data, now)

    def _go_on(self, channel: int, sequence: int, data: bytes, now: float) -> list[bytes]:
        message = self._message
        if message is None or message.channel != channel:  # spurious: ignored
            return []
        if sequence != message.sequence:
            self._message = None
            return self._error(channel, ERR_INVALID_SEQ)
        message.sequence += 1
        return self._append(message, data, now)

    def _append(self, message: _Message, data: bytes, now: float) -> list[bytes]:
        message.data += data[: message.length - len(message.data)]
        if len(message.data) < message.length:
            self._message = message
            return []
        self._message = None
        return self._run(message.channel, message.command, bytes(message.data), now)

    def _run(self, channel: int, command: int, data: bytes, now: float) -> list[bytes]:
        if command == PING:
            return split_message(channel, PING, data)
        if command == WINK:
            if data:
                return self._error(channel, ERR_INVALID_LEN)
            self._wink()
            return split_message(channel, WINK, b"")
        if command == LOCK:
            if len(data) != 1:
                return self._error(channel, ERR_INVALID_LEN)
            if data[0] > MAX_LOCK:
                return self._error(channel, ERR_INVALID_PAR)
            self._lock = (channel, now + data[0])
            return split_message(channel, LOCK, b"")
        present = self._capabilities ^ CAPABILITY_NMSG
        if not present & (CAPABILITY_NMSG if command == MSG else CAPABILITY_CBOR):
            return self._error(channel, ERR_INVALID_CMD)
        if not data:
            return self._error(channel, ERR_INVALID_LEN)
        self._transaction = _Transaction(channel, self._start(self._channels[channel], command, data), now)
        return []

    def _init(self, channel: int, length: int, nonce: bytes) -> list[bytes]:
        """Allocate a channel, or bring one back to its beginning, whatever other channels do or lock, §11.2.9.1.3."""
        if length != 8:
            return self._error(channel, ERR_INVALID_LEN)
        allocated = channel
        if channel == BROADCAST_CHANNEL:
            while allocated in (0, BROADCAST_CHANNEL) or allocated in self._channels:
                allocated = int.from_bytes(os.urandom(4), "big")
        else:
            self._resynchronise(channel)
        # A channel that we do not know may stem from before a power cycle: its client may have it again.
        self._channels[allocated] = object()
        if len(self._channels) > MAX_CHANNELS:
            del self._channels[next(oldest for oldest in self._channels if not self._in_use(oldest))]
        capabilities = self._announced() | CAPABILITY_WINK
        answer = nonce[:8] + pack(">IB3BB", allocated, PROTOCOL_VERSION, *DEVICE_VERSION, capabilities)
        return split_message(channel, INIT, answer)

    def _locked_out(self, channel: int, now: float) -> bool:
        return now < self._lock[1] and channel != self._lock[0]

    def _in_use(self, channel: int) -> bool:
        transaction, message = self._transaction, self._message
        return (
            (transaction is not None and transaction.channel == channel)
            or (message is not None and message.channel == channel)
            or self._lock[0] == channel
        )

    def _resynchronise(self, channel: int) -> None:
        if self._message is not None and self._message.channel == channel:
            self._message = None
        if self._transaction is not None and self._transaction.channel == channel:
            self._transaction.job.cancel()
            self._transaction = None

    @staticmethod
    def _error(channel: int, code: int) -> list[bytes]:
        return split_message(channel, ERROR, bytes([code]))
