"""The names by which tests count the messages that a client sends to a token on CTAPHID."""

from __future__ import annotations

from sk_provider.ctap import framing

_CTAPHID_NAMES = {framing.INIT: "init", framing.CANCEL: "cancel", framing.MSG: "u2f"}
_CTAP2_NAMES = {
    1: "make",
    2: "get",
    4: "info",
    6: "pin",
    7: "reset",
    8: "next",
    10: "manage",
    11: "select",
    65: "manage",
}


def name_of(report: bytes) -> str:
    """Return the name of the message that a report begins, "" if it begins none: it goes on with one."""
    if not report[4] & framing.INIT_PACKET:
        return ""
    command = report[4] & ~framing.INIT_PACKET
    if command == framing.CBOR:
        return _CTAP2_NAMES.get(report[7], f"0x{report[7]:02x}")
    return _CTAPHID_NAMES.get(command, f"hid 0x{command:02x}")
