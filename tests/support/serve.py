"""A token served by `pysk serve`, and python-fido2's connections to it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from fido2.hid import CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REPORT_SIZE = 64
# The datagram by which the simulators of tokens are told to start anew
REBOOT = bytes.fromhex(
    "ac1052ca95e569de69e02ebff333485f13f9b2da34c5a8a340526697a9ab2e0b"
    "394d8d04973c134005be1a0140bff6045bb26eb77a73eaa47813f6b49a7250dc"
)
PATIENCE = 60.0  # seconds for anything that a served token does by itself, also where the processor is emulated


class Served:
    """A running `pysk serve`: its process, the addresses that it printed, and the folder of its temporary files."""

    def __init__(self, process: subprocess.Popen[str], names: list[str], temporary: Path) -> None:
        self.process = process
        self.names = names
        self.temporary = temporary

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first udp: address."""
        host, port = next(name for name in self.names if name.startswith("udp:"))[4:].rsplit(":", 1)
        return host, int(port)

    def end(self) -> tuple[int, str]:
        """End it as a person would, and return its exit status and what it said on stderr."""
        if self.process.poll() is None:
            self.process.terminate()
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def serve(*arguments: str, presence: str = "auto", fault: str = "", pysk: Path | None = None) -> Iterator[Served]:
    """Run `pysk serve` with these options and addresses, from when it is ready until the end of the with statement.

    fault: see faulty.py; a key that has one is served by that program; pysk: the command, if it is another copy's.
    """
    command = [str(pysk or Path(sys.executable).with_name("pysk")), "serve"]
    if fault:
        # Isolated, so that no module of this folder passes for another of its name.
        command = [sys.executable, "-I", str(Path(__file__).with_name("faulty.py")), "--fault", fault]
    command += ["--presence", presence]
    # A token that is killed leaves its temporary store behind.
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [*command, *arguments],
            env={**os.environ, "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Served(process, _names(process), Path(folder))
        finally:
            process.kill()
            process.communicate()


def _names(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    ready = select.select([process.stdout], [], [], PATIENCE)[0]
    line = process.stdout.readline() if ready else ""
    if not line.startswith("serving "):
        process.kill()
        _, said = process.communicate()
        raise RuntimeError(f"pysk serve did not begin: {line}{said}")
    return line.split()[1:]


class SocketConnection(CtapHidConnection):
    """64-byte reports over a connected socket, a datagram each or one after the other on a stream."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.settimeout(PATIENCE)

    def read_packet(self) -> bytes:
        packet = b""
        while len(packet) < REPORT_SIZE:
            part = self.socket.recv(REPORT_SIZE - len(packet))
            if not part:
                raise ConnectionError("the token is gone")
            packet += part
        return packet

    def write_packet(self, data: bytes) -> None:
        self.socket.sendall(data)

    def close(self) -> None:
        self.socket.close()


def connect_udp(address: tuple[str, int]) -> socket.socket:
    connected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connected.connect(address)
    return connected


def connect_unix(path: str) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(path)
    return connected


def open_device(connected: socket.socket) -> CtapHidDevice:
    """Return python-fido2's device on a socket, with a channel allocated."""
    descriptor = HidDescriptor("served", 0, 0, REPORT_SIZE, REPORT_SIZE, None, None)
    return CtapHidDevice(descriptor, SocketConnection(connected))


def wait_until(condition: object, what: str) -> None:
    """Wait until condition() is true; fail, saying what was awaited, when it takes too long."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE} s"
        time.sleep(0.01)
