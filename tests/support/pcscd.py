"""pcscd with vsmartcard's virtual reader, for one command: unpacked, run by path, and reachable by nobody else.

The reader's driver listens on all addresses, and pcscd on a fixed path. So both run in namespaces of their own, where
/run is empty and the only network is the loopback's; or, where namespaces are not allowed, in a virtual machine.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from support import debian, vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET = Path("/run/pcscd/pcscd.comm")
PORT = 35963  # where the reader awaits its card
POLLING_INTERVAL = 0.5  # seconds, and a little more, in which pcscd notices that a card came or went
READER = """\
FRIENDLYNAME "Virtual PCD"
DEVICENAME   /dev/null:{port}
LIBPATH      {library}
CHANNELID    {port}
"""
SCRIPT = """\
set -e
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
busybox ifconfig lo 127.0.0.1 netmask 255.0.0.0 up
{pcscd} --foreground --critical --config {configuration} &
tries=0
until test -S /run/pcscd/pcscd.comm; do
  tries=$((tries + 1))
  test $tries -lt 200 || {{ echo "pcscd did not begin"; exit 125; }}
  sleep 0.05
done
set +e
{command}
"""


def run(command: list[str], shared: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command beside a pcscd, and return its output and status.

    :param shared: a directory for pcscd's configuration.
    :param timeout: in seconds.
    """
    root = debian.unpack("pcscd", "vsmartcard-vpcd")
    (library,) = root.glob("usr/lib/pcsc/drivers/serial/libifdvpcd.so.*.*")
    configuration = shared / "reader.conf"
    configuration.write_text(READER.format(port=PORT, library=library))
    script = SCRIPT.format(
        pcscd=shlex.quote(str(root / "usr/sbin/pcscd")),
        configuration=shlex.quote(str(configuration)),
        command=shlex.join(command),
    )
    # With its process namespace everything ends that the command left behind, pcscd too.
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        namespaces += ["--user", "--map-root-user"]
    if subprocess.run([*namespaces, "true"], capture_output=True, check=False, timeout=20).returncode != 0:
        return vm.run(["sh", "-c", script], shared, timeout)
    return subprocess.run(
        [*namespaces, "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@contextmanager
def stopped() -> Iterator[None]:
    """Have the pcscd beside which this runs do nothing."""
    (process,) = (int(comm.parent.name) for comm in Path("/proc").glob("[0-9]*/comm") if comm.read_text() == "pcscd\n")
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@contextmanager
def hidden() -> Iterator[None]:
    """Have no program find the pcscd beside which this runs."""
    elsewhere = SOCKET.rename(SOCKET.with_suffix(".hidden"))
    try:
        yield
    finally:
        elsewhere.rename(SOCKET)


@contextmanager
def refusing() -> Iterator[None]:
    """Have programs find, in its place, one that lets nobody in: it hangs up, as does one that polkit answers so."""

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                service.accept()[0].close()

    with hidden(), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as service:
        service.bind(str(SOCKET))
        service.listen()
        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield
        finally:
            service.shutdown(socket.SHUT_RDWR)
            thread.join()
            SOCKET.unlink()
