"""swtpm, a TPM 2.0 in software, unpacked and run from a folder, and what stands before it as a resource manager.

Each is reached at two ports of 127.0.0.1 that follow each other, for commands and for the control channel.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from support import debian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

PACKAGES = ("swtpm", "swtpm-libs", "libtpms0")
START_S = 20
STOP_S = 10
ATTEMPTS = 20
TICK_S = 0.005

# TPM 2.0 Part 2, §6.3, §6.5.2, §6.12 and §7.2
TPM_ST_NO_SESSIONS = 0x8001
TPM_CC_FLUSH_CONTEXT, TPM_CC_GET_CAPABILITY = 0x165, 0x17A
TPM_CAP_HANDLES = 1
FIRST_HANDLES = (0x80000000, 0x02000000, 0x03000000)  # of objects, of sessions, and of those whose context is saved
MAX_HANDLES = 254
MANY = 1000
LONG_S = 1000
# What a simulator that keeps connections open is told, as Microsoft's is.
NUMBER = struct.Struct(">I")
SEND_COMMAND = 8
SESSION_END = 20

HEADER = struct.Struct(">HII")  # of commands and of responses: the tag, the size of all, and the code


class SwtpmError(Exception):
    """The TPM did not start; the message holds what it said."""


class Swtpm:
    """A TPM of its own, which is on while the context lasts.

    ``folder`` takes what it remembers and its log. tpm2-tss connects to it anew for each command; so it cannot tell
    programs apart, and nothing cleans up behind them, as /dev/tpmrm0 does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._memory = folder / "memory"
        self._log = folder / "swtpm.log"
        self._root = debian.unpack(*PACKAGES)
        self._process: subprocess.Popen[bytes] | None = None
        self._memory.mkdir(parents=True, exist_ok=True)

    @property
    def tcti(self) -> str:
        """How tpm2-tss reaches it."""
        return f"swtpm:host=127.0.0.1,port={self.port}"

    @property
    def address(self) -> str:
        """How sk-provider reaches it."""
        return f"tpm:{self.tcti}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self.power_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vanish()

    def power_up(self) -> None:
        """Start it, at the port that it had before if that is free.

        Raises SwtpmError if it does not.
        """
        for _ in range(ATTEMPTS):
            self.port = self.port or _free_port()
            if self._start():
                return
            self.vanish()
            self.port = 0
        raise SwtpmError(f"swtpm did not start:\n{self._log.read_text(errors='replace')}")

    def power_cycle(self) -> None:
        """Restart it, in order: it is shut down as by an operating system that ends."""
        with self.esapi() as esapi:
            from tpm2_pytss.constants import TPM2_SU

            esapi.shutdown(TPM2_SU.CLEAR)
        self.vanish()
        self.power_up()

    def vanish(self) -> None:
        """End it at once, if it runs, as by a loss of power."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def clear(self) -> None:
        """Clear it as a firmware's setup does: all keys below its owner are gone."""
        with self.esapi() as esapi:
            from tpm2_pytss.constants import ESYS_TR

            esapi.clear(ESYS_TR.LOCKOUT)

    def lock(self) -> None:
        """Have it in lockout, as after too many wrong passwords of somebody else's."""
        with self.esapi() as esapi:
            esapi.dictionary_attack_parameters(0, LONG_S, LONG_S)

    def unlock(self) -> None:
        """End that, as its owner does."""
        with self.esapi() as esapi:
            esapi.dictionary_attack_parameters(MANY, LONG_S, LONG_S)
            esapi.dictionary_attack_lock_reset()

    def begin_anew(self) -> None:
        """Clear it, and allow as many wrong authorizations as a test may want."""
        with self.esapi() as esapi:
            from tpm2_pytss.constants import ESYS_TR

            esapi.clear(ESYS_TR.LOCKOUT)
            esapi.dictionary_attack_parameters(MANY, LONG_S, LONG_S)

    def loaded(self) -> list[int]:
        """Return the handles of what programs have left in it."""
        handles: list[int] = []
        for first in FIRST_HANDLES:
            response = self.send(_command(TPM_CC_GET_CAPABILITY, TPM_CAP_HANDLES, first, MAX_HANDLES))
            body = response[HEADER.size + 1 :]
            _, number = struct.unpack_from(">II", body)
            handles += struct.unpack_from(f">{number}I", body, 8)
        return handles

    def flush(self) -> None:
        """Forget what programs have left in it, as /dev/tpmrm0 does when they end."""
        for handle in self.loaded():
            self.send(_command(TPM_CC_FLUSH_CONTEXT, handle))

    def send(self, command: bytes) -> bytes:
        """Send it a command, and return its response."""
        with socket.create_connection(("127.0.0.1", self.port)) as connected:
            connected.sendall(command)
            start = _exactly(connected, HEADER.size)
            return start + _exactly(connected, HEADER.unpack(start)[1] - HEADER.size)

    @contextmanager
    def esapi(self) -> Iterator[Any]:
        """Return a connection of the test's own to it, while the context lasts."""
        from tpm2_pytss import ESAPI, TCTILdr

        with TCTILdr("swtpm", f"host=127.0.0.1,port={self.port}") as tcti, ESAPI(tcti) as esapi:
            yield esapi

    def _start(self) -> bool:
        with self._log.open("ab") as log:
            # A test that is killed takes its TPM with it.
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", self._root / "usr/bin/swtpm", "socket", "--tpm2",
                 "--tpmstate", f"dir={self._memory}", "--flags", "not-need-init,startup-clear",
                 "--server", f"type=tcp,port={self.port},bindaddr=127.0.0.1",
                 "--ctrl", f"type=tcp,port={self.port + 1},bindaddr=127.0.0.1"],
                env=_libraries(self._root), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(TICK_S)
        return False

    def _answers(self) -> bool:
        with socket.socket() as probe:
            try:
                probe.connect(("127.0.0.1", self.port + 1))
            except OSError:
                return False
            return True


class Manager:
    """What lets programs have a TPM in turn, and forgets what each has left in it, as /dev/tpmrm0 does.

    answer: what is called with each command, and returns the response that it gets instead of the TPM's, None for that;
    an OSError that it raises ends the connection. commands: how many have been sent.
    """

    def __init__(self, tpm: Swtpm) -> None:
        self.answer: Callable[[bytes], bytes | None] = lambda _: None
        self.commands = 0
        self._tpm = tpm
        self._turn = threading.Lock()
        self.port = _free_port()
        self._listening = [
            socket.create_server(("127.0.0.1", port), backlog=128) for port in (self.port, self.port + 1)
        ]
        self._threads = [
            threading.Thread(target=self._accept, args=arguments, daemon=True)
            for arguments in zip(self._listening, (self._serve, self._control), strict=True)
        ]
        self._served: list[tuple[socket.socket, threading.Thread]] = []

    @property
    def tcti(self) -> str:
        """How tpm2-tss reaches the TPM through it."""
        return f"mssim:host=127.0.0.1,port={self.port}"

    @property
    def address(self) -> str:
        """How sk-provider does."""
        return f"tpm:{self.tcti}"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listening in self._listening:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for thread in self._threads:
            thread.join()
        # What the TPM is had to forget later, somebody else may need by then.
        for client, thread in self._served:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join(STOP_S)

    def _accept(self, listening: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        # Until it is shut down
        with suppress(OSError):
            while True:
                connected = listening.accept()[0]
                thread = threading.Thread(target=serve, args=[connected], daemon=True)
                self._served.append((connected, thread))
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, self._turn, suppress(OSError, struct.error):
            try:
                while _number(client) == SEND_COMMAND:
                    client.recv(1)  # the locality
                    command = _exactly(client, _number(client))
                    self.commands += 1
                    response = self.answer(command) or self._tpm.send(command)
                    client.sendall(NUMBER.pack(len(response)) + response + NUMBER.pack(0))
            finally:
                self._tpm.flush()

    def _control(self, client: socket.socket) -> None:
        """Answer that all was done, such as power-up, which the TPM needs of nobody."""
        with client, suppress(OSError, struct.error):
            while _number(client) != SESSION_END:
                client.sendall(NUMBER.pack(0))


def _command(code: int, *parameters: int) -> bytes:
    body = struct.pack(f">{len(parameters)}I", *parameters)
    return HEADER.pack(TPM_ST_NO_SESSIONS, HEADER.size + len(body), code) + body


@contextmanager
def of_a_machine(folder: Path) -> Iterator[list[str]]:
    """Yield what QEMU is told to have a TPM, which swtpm is while the context lasts; folder has a short name."""
    control = folder / "control"
    root = debian.unpack(*PACKAGES)
    (folder / "memory").mkdir()
    # QEMU starts it up, and ends it.
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", root / "usr/bin/swtpm", "socket", "--tpm2", "--tpmstate",
         f"dir={folder / 'memory'}", "--ctrl", f"type=unixio,path={control}"],
        env=_libraries(root), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S
        while not control.exists():
            if process.poll() is not None or time.monotonic() >= deadline:
                raise SwtpmError("swtpm did not start")
            time.sleep(TICK_S)
        yield [
            "-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
            "-device", "tpm-tis,tpmdev=tpm0",
        ]  # fmt: skip
    finally:
        process.kill()
        process.wait()


def _libraries(root: Path) -> dict[str, str]:
    """Return the environment in which the unpacked swtpm finds its libraries."""
    folders = {str(path.parent) for name in ("libswtpm_libtpms.so.0", "libtpms.so.0") for path in root.rglob(name)}
    return {"LD_LIBRARY_PATH": ":".join(folders)}


def failure(code: int) -> bytes:
    """Return a response that says no more than a code."""
    return HEADER.pack(TPM_ST_NO_SESSIONS, HEADER.size, code)


def _number(connected: socket.socket) -> int:
    number: int = NUMBER.unpack(connected.recv(NUMBER.size, socket.MSG_WAITALL))[0]
    return number


def _exactly(connected: socket.socket, size: int) -> bytes:
    return connected.recv(size, socket.MSG_WAITALL)


def _free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on at the moment, nor on the one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
