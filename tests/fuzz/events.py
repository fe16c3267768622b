"""How a fuzzer's input is cut into events: each a kind (1 byte), a length (2, big-endian) and so many bytes."""

from __future__ import annotations


def split(data: bytes) -> list[tuple[int, bytes]]:
    """Cut data into its events; the last has what is there, however long it says that it is."""
    events = []
    while data:
        end = 3 + int.from_bytes(data[1:3], "big")
        events.append((data[0], data[3:end]))
        data = data[end:]
    return events


def join(events: list[tuple[int, bytes]]) -> bytes:
    """Write events (of at most 65535 bytes each) as split reads them."""
    return b"".join([bytes((kind,)) + len(content).to_bytes(2, "big") + content for kind, content in events])
