"""What a trace tells, and whether a text tells a secret, in whichever way bytes are written."""

from __future__ import annotations

import base64
import hashlib

from sk_provider.trace import Trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENOUGH = 8
"""Bytes of a secret of which the first ones alone are not to be told either."""


def trace_into(lines: list[str]) -> Trace:
    """Return a trace whose lines are appended to a list."""

    def write(line: str) -> bool:
        lines.append(line)
        return True

    return Trace(write)


def sentence_of(line: str) -> str:
    """Return a line without its time."""
    return line.partition(" ms: ")[2]


def of_pin(pin: str) -> list[bytes]:
    """Return what a PIN is proved by: the PIN, as it is and padded, and its hash, whole and as it is sent."""
    digest = hashlib.sha256(pin.encode()).digest()
    return [pin.encode(), pin.encode().ljust(64, b"\0"), digest, digest[:16]]


def told(text: str, secrets: Iterable[bytes]) -> list[bytes]:
    """Return those of the secrets that the text has: as text, or in hexadecimal or base64 digits."""
    return [secret for secret in secrets if any(spelling in text for spelling in _spellings(secret))]


def _spellings(secret: bytes) -> Iterator[str]:
    for part in {secret, secret[:_ENOUGH]}:
        yield part.hex()
        yield part.hex().upper()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # But for the digit that has bits of what follows.
            yield encode(part).decode().rstrip("=")[: len(part) * 8 // 6]
        yield repr(part)[2:-1]
