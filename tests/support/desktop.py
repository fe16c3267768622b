"""A session bus with a server that shows notifications, as a desktop has them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_call, new_method_return
from jeepney.io.blocking import open_dbus_connection

from support import debian
from support.serve import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from typing_extensions import Self

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""
_BUS = DBusAddress("/org/freedesktop/DBus", bus_name="org.freedesktop.DBus", interface="org.freedesktop.DBus")


class Desktop:
    """shown: summary and body of each notification; withdrawn: the numbers, from 1, of those that were withdrawn.

    ``refuses``: answers with an error instead; ``has_markup``: takes the bodies for markup.
    """

    def __init__(
        self,
        folder: Path,
        *,
        refuses: bool = False,
        has_markup: bool = False,
        wrapper: Sequence[str] = (),
        inside: Path | None = None,
    ) -> None:
        """wrapper: what starts the bus elsewhere or for another user, where the folder is ``inside``."""
        self._folder = folder
        self._wrapper = wrapper
        self._inside = inside or folder
        self._refuses = refuses
        self._capabilities = ["body", *(["body-markup"] if has_markup else [])]
        self._socket = folder / "bus"
        self.shown: list[tuple[str, str]] = []
        self.withdrawn: list[int] = []
        self.variables = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self._socket}"}

    def __enter__(self) -> Self:
        # Where it is unpacked nobody else may be let in.
        shutil.copytree(debian.unpack("dbus-daemon", "libapparmor1", "libdbus-1-3"), self._folder / "dbus")
        root = self._inside / "dbus"
        configuration = self._folder / "bus.conf"
        configuration.write_text(_CONFIGURATION.format(socket=self._inside / "bus"))
        libraries = ":".join(
            str(root / path.relative_to(self._folder / "dbus"))
            for pattern in ("usr/lib/*-linux-gnu", "lib/*-linux-gnu")
            for path in (self._folder / "dbus").glob(pattern)
        )
        self._daemon = subprocess.Popen(
            [*self._wrapper, root / "usr/bin/dbus-daemon", "--nofork", "--nopidfile",
             f"--config-file={self._inside / configuration.name}"],
            env={**os.environ, "LD_LIBRARY_PATH": libraries}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        with ExitStack() as undone:
            undone.callback(self._end)
            wait_until(lambda: self._listens() or self._daemon.poll() is not None, "the bus")
            self._bus = open_dbus_connection(self.variables["DBUS_SESSION_BUS_ADDRESS"])
            undone.pop_all()
        self._bus.send_and_get_reply(
            new_method_call(_BUS, "RequestName", "su", ("org.freedesktop.Notifications", 0)), timeout=60
        )
        self._server = threading.Thread(target=self._serve, daemon=True)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._server.join(60)
        self._bus.close()

    def _listens(self) -> bool:
        # Which it does a moment after there is a socket.
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def _end(self) -> None:
        self._daemon.terminate()
        self._daemon.wait(60)

    def wait_for_withdrawal(self, number: int = 1) -> None:
        """Wait until so many notifications were withdrawn."""
        wait_until(lambda: len(self.withdrawn) >= number, "the withdrawal")

    def _serve(self) -> None:
        while True:
            try:
                message = self._bus.receive()
                if message.header.message_type is MessageType.method_call:
                    self._bus.send(self._answer(message, message.header.fields[HeaderFields.member]))
            except OSError:
                return

    def _answer(self, message: Any, member: str) -> Any:
        if self._refuses:
            return new_error(message, "org.freedesktop.Notifications.Error", "s", ("no",))
        if member == "GetCapabilities":
            return new_method_return(message, "as", (self._capabilities,))
        if member == "Notify":
            self.shown.append((message.body[3], message.body[4]))
            return new_method_return(message, "u", (len(self.shown),))
        self.withdrawn.append(message.body[0])
        return new_method_return(message)
