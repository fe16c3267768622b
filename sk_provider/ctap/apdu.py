"""APDUs (ISO 7816-4 §5), with the numbers of those that carry U2F and CTAP2."""

from __future__ import annotations

AID = bytes.fromhex("a0000006472f0001")
"""The FIDO applet's, CTAP 2.1 §11.3.3."""

# Classes: ISO's own, which U2F has too, and that of CTAP2; a bit says that more of the command follows.
CLA_ISO = 0x00
CLA_CTAP2 = 0x80
CHAINING = 0x10

INS_SELECT = 0xA4
INS_GET_RESPONSE = 0xC0

# CTAP2 over ISO 7816, CTAP 2.1 §11.3.5
INS_NFCCTAP_MSG = 0x10
INS_NFCCTAP_GETRESPONSE = 0x11
INS_NFCCTAP_CONTROL = 0x12
P1_GETRESPONSE_SUPPORTED = 0x80  # of NFCCTAP_MSG
P1_CANCEL = 0x11  # of NFCCTAP_GETRESPONSE
P1_END = 0x01  # of NFCCTAP_CONTROL

# U2F Raw Message Formats v1.2 §4 to §6
INS_REGISTER = 0x01
INS_AUTHENTICATE = 0x02
INS_VERSION = 0x03

# P1 of AUTHENTICATE, U2F Raw Message Formats v1.2 §5.1
P1_CHECK_ONLY = 0x07
P1_ENFORCE_PRESENCE = 0x03
P1_NO_PRESENCE = 0x08

# Status words: ISO 7816-4 §5.6, U2F Raw Message Formats v1.2 §3.3, and CTAP 2.1 §11.3.7.2 for the keep-alive
SW_SUCCESS = 0x9000
SW_KEEPALIVE = 0x9100
SW_MORE = 0x6100
SW_WRONG_LENGTH = 0x6700
SW_CHANNEL_NOT_SUPPORTED = 0x6881
SW_SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
SW_CHAINING_NOT_SUPPORTED = 0x6884
SW_CONDITIONS_NOT_SATISFIED = 0x6985
SW_COMMAND_NOT_ALLOWED = 0x6986
SW_WRONG_DATA = 0x6A80
SW_NOT_FOUND = 0x6A82
SW_WRONG_P1P2 = 0x6A86
SW_INS_NOT_SUPPORTED = 0x6D00
SW_CLA_NOT_SUPPORTED = 0x6E00
SW_UNKNOWN = 0x6F00

SW_CTAP_STATUS = 0x6400
"""With a CTAP status in its second byte, instead of in the answer: so does pico-fido put it."""

MAX_SHORT_DATA = 255
MAX_SHORT_RESPONSE = 256
MAX_EXTENDED_RESPONSE = 65536


class Apdu:
    """A command APDU that came from elsewhere: its header, its data, and the length that is expected back.

    le: bytes, 0 where nothing is asked for; is_extended: whether its lengths were written in the extended form.
    """

    __slots__ = ("cla", "data", "ins", "is_extended", "le", "p1", "p2")

    def __init__(self, untrusted_apdu: bytes) -> None:
        """Read a command; raises ValueError if it is in none of the forms of ISO 7816-4 §5.1."""
        if len(untrusted_apdu) < 4:
            raise ValueError("a command APDU has at least 4 bytes")
        self.cla, self.ins, self.p1, self.p2 = untrusted_apdu[:4]
        body = untrusted_apdu[4:]
        self.is_extended = len(body) >= 3 and body[0] == 0
        self.data = b""
        self.le = 0
        if len(body) == 1:
            self.le = body[0] or MAX_SHORT_RESPONSE
        elif self.is_extended:
            length = int.from_bytes(body[1:3], "big")
            if len(body) == 3:
                self.le = length or MAX_EXTENDED_RESPONSE
            elif len(body) == 3 + length:
                self.data = body[3:]
            elif len(body) == 5 + length:
                self.data = body[3:-2]
                self.le = int.from_bytes(body[-2:], "big") or MAX_EXTENDED_RESPONSE
            else:
                raise ValueError("the extended lengths do not fit the APDU")
        elif body:
            length = body[0]
            if length == 0 or len(body) not in (1 + length, 2 + length):
                raise ValueError("the lengths do not fit the APDU")
            self.data = body[1 : 1 + length]
            if len(body) == 2 + length:
                self.le = body[-1] or MAX_SHORT_RESPONSE


def short(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
    """Write a command with at most MAX_SHORT_DATA bytes of data, which takes a response of any short length."""
    return bytes((cla, ins, p1, p2)) + (bytes((len(data),)) + data if data else b"") + b"\0"


def extended(cla: int, ins: int, p1: int, p2: int, data: bytes) -> bytes:
    """Write a command with up to 65535 bytes of data, which takes a response of any length.

    So U2F wants it over HID (FIDO U2F Raw Message Formats v1.2 §3.1).
    """
    return bytes((cla, ins, p1, p2, 0)) + len(data).to_bytes(2, "big") + data + b"\0\0"
