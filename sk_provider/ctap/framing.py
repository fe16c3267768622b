"""CTAPHID messages as reports of 64 bytes (CTAP 2.1 §11.2.4), and the numbers that both ends share."""

from __future__ import annotations

REPORT_SIZE = 64
INIT_DATA_SIZE = REPORT_SIZE - 7
CONTINUATION_DATA_SIZE = REPORT_SIZE - 5
MAX_MESSAGE_SIZE = INIT_DATA_SIZE + 128 * CONTINUATION_DATA_SIZE

BROADCAST_CHANNEL = 0xFFFFFFFF
INIT_PACKET = 0x80
"""Set in the command of the packet that begins a message."""

# Commands, §11.2.9
PING = 0x01
MSG = 0x03
LOCK = 0x04
INIT = 0x06
WINK = 0x08
CBOR = 0x10
CANCEL = 0x11
KEEPALIVE = 0x3B
ERROR = 0x3F

# Error codes, §11.2.9.1.6
ERR_INVALID_CMD = 0x01
ERR_INVALID_PAR = 0x02
ERR_INVALID_LEN = 0x03
ERR_INVALID_SEQ = 0x04
ERR_MSG_TIMEOUT = 0x05
ERR_CHANNEL_BUSY = 0x06
ERR_INVALID_CHANNEL = 0x0B

# Capabilities, §11.2.9.1.3
CAPABILITY_WINK = 0x01
CAPABILITY_CBOR = 0x04
CAPABILITY_NMSG = 0x08

# Keep-alive status, §11.2.9.1.7
STATUS_PROCESSING = 1
STATUS_UPNEEDED = 2


def split_message(channel: int, command: int, data: bytes) -> list[bytes]:
    """Return the reports that carry a message, of REPORT_SIZE bytes each.

    Raises ValueError if data is longer than MAX_MESSAGE_SIZE.
    """
    if len(data) > MAX_MESSAGE_SIZE:
        raise ValueError("message too long for CTAPHID")
    address = channel.to_bytes(4, "big")
    first = address + bytes([command | INIT_PACKET]) + len(data).to_bytes(2, "big") + data[:INIT_DATA_SIZE]
    reports = [first.ljust(REPORT_SIZE, b"\0")]
    for sequence, start in enumerate(range(INIT_DATA_SIZE, len(data), CONTINUATION_DATA_SIZE)):
        packet = address + bytes([sequence]) + data[start : start + CONTINUATION_DATA_SIZE]
        reports.append(packet.ljust(REPORT_SIZE, b"\0"))
    return reports
