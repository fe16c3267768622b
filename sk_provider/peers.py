"""Whose the sockets on a port of this machine are: it belongs to whoever was the first to take it."""

from __future__ import annotations

import _socket
import posix
import sys

_TABLES = ("/proc/net/udp", "/proc/net/udp6")
_LOCAL_ADDRESS, _STATE, _USER = 1, 3, 7  # columns of all
_LISTENS = b"0A"
_READ_SIZE = 1 << 16


def udp_owners(port: int, host: str | None = None) -> set[int]:
    """Return the users who have a socket on a port; with host, an IPv4 address, one that gets what is sent there.

    Who sends from a port can give any address of this machine's for its own (IP_PKTINFO), so that of a sender the port
    alone tells. On others than Linux, where nothing tells, they are taken for the user who runs this.

    Raises OSError if it cannot be told.
    """
    if sys.platform != "linux":
        return {posix.geteuid()}
    suffix = b":%04X" % port
    addresses = None if host is None else [address + suffix for address in _reached_by(host)]
    owners = set()
    for path in _TABLES:
        try:
            table = _read(path)
        except FileNotFoundError:
            if path == _TABLES[0]:
                raise
            continue  # a system without IPv6
        for line in table.splitlines():
            if suffix in line:
                columns = line.split()
                local = columns[_LOCAL_ADDRESS]
                if local.endswith(suffix) if addresses is None else local in addresses:
                    owners.add(int(columns[_USER]))
    return owners


def tcp_listeners(port: int) -> set[int]:
    """Return the users who listen on a TCP port of this machine, at whichever address; elsewhere as udp_owners() does.

    Raises OSError if it cannot be told.
    """
    if sys.platform != "linux":
        return {posix.geteuid()}
    suffix = b":%04X" % port
    owners = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            table = _read(path)
        except FileNotFoundError:
            if path.endswith("6"):
                continue  # a system without IPv6
            raise
        for line in table.splitlines():
            columns = line.split()
            if columns[_LOCAL_ADDRESS].endswith(suffix) and columns[_STATE] == _LISTENS:
                owners.add(int(columns[_USER]))
    return owners


def strangers(owners: set[int]) -> list[int]:
    """Return those who are neither root nor the user who runs this."""
    return sorted(owners - {0, posix.geteuid()})


def _reached_by(host: str) -> list[bytes]:
    """Return the addresses of sockets that get what is sent to an IPv4 address: its own, and any, as IPv4 and as IPv6.

    The tables show each 32 bits of an address as the number that they are in the machine's memory.
    """
    exact, mapped = (
        b"%08X" % int.from_bytes(part, sys.byteorder) for part in (_socket.inet_aton(host), b"\0\0\xff\xff")
    )
    return [exact, b"0" * 8, b"0" * 16 + mapped + exact, b"0" * 16 + mapped + b"0" * 8, b"0" * 32]


def _read(path: str) -> bytes:
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        table = b""
        while piece := posix.read(descriptor, _READ_SIZE):
            table += piece
        return table
    finally:
        posix.close(descriptor)
