"""What a person is told while a security key waits for a touch, where the host tells nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.desktop import Desktop
from support.openssh import Person
from support.serve import serve, wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def key(person: Person, sockets: Path) -> Path:
    with serve(f"unix:{sockets}/token", "--store", str(person.store), presence="auto"):
        person.configure(device=f"unix:{sockets}/token")
        _, key = person.enroll("id", "ed25519-sk")
    return key


@contextmanager
def token(person: Person, sockets: Path, presence: str) -> Iterator[None]:
    with serve(f"unix:{sockets}/token", "--store", str(person.store), presence=presence):
        yield


def start_signing(person: Person, key: Path, *, namespace: str = "git", **variables: str) -> subprocess.Popen[bytes]:
    """Sign as a program without a terminal does."""
    document = person.folder / "document"
    document.write_bytes(b"a message")
    with document.open("rb") as message:
        return subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", key],
            env={**person.environment, **variables}, cwd=person.folder, start_new_session=True,
            stdin=message, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


def sign(person: Person, key: Path, *, namespace: str = "git", **variables: str) -> str:
    """Return what is said as errors."""
    signing = start_signing(person, key, namespace=namespace, **variables)
    signature, errors = signing.communicate(timeout=60)
    assert signing.returncode == 0, errors
    assert signature.startswith(b"-----BEGIN SSH SIGNATURE-----")
    return errors.decode()


def test_a_touch_that_is_waited_for_is_shown_on_the_desktop_and_withdrawn(
    person: Person, key: Path, sockets: Path
) -> None:
    with token(person, sockets, "after:1500"), Desktop(sockets) as desktop:
        sign(person, key, **desktop.variables)
        desktop.wait_for_withdrawal()
    assert desktop.shown == [
        ("Security key", f"touch unix:{sockets}/token\ngit signature, with a key for ssh:"),
    ]
    assert desktop.withdrawn == [1]


@pytest.mark.parametrize("has_markup", [False, True])
def test_names_that_others_choose_are_no_markup(person: Person, key: Path, sockets: Path, has_markup: bool) -> None:
    with token(person, sockets, "after:1500"), Desktop(sockets, has_markup=has_markup) as desktop:
        sign(person, key, namespace="<b>git</b> &amp;", **desktop.variables)
        desktop.wait_for_withdrawal()
    shown = '"&lt;b&gt;git&lt;/b&gt; &amp;amp;"' if has_markup else '"<b>git</b> &amp;"'
    assert [body.splitlines()[1] for _, body in desktop.shown] == [f"signature for {shown}, with a key for ssh:"]


def test_what_needs_nobody_is_not_shown(person: Person, key: Path, sockets: Path) -> None:
    with token(person, sockets, "auto"), Desktop(sockets) as desktop:
        sign(person, key, **desktop.variables)
    assert desktop.shown == []


def test_nothing_is_shown_where_that_is_not_wanted(person: Person, key: Path, sockets: Path) -> None:
    person.configure("Match namespace git", "Notify no", device=f"unix:{sockets}/token")
    with token(person, sockets, "after:1500"), Desktop(sockets) as desktop:
        sign(person, key, **desktop.variables)
    assert desktop.shown == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_notice_is_withdrawn_however_the_signing_ends(
    person: Person, key: Path, sockets: Path, number: signal.Signals
) -> None:
    with token(person, sockets, "after:60000"), Desktop(sockets) as desktop:
        signing = start_signing(person, key, **desktop.variables)
        wait_until(lambda: bool(desktop.shown), "the notice")
        os.killpg(signing.pid, number)
        signing.communicate(timeout=60)
        desktop.wait_for_withdrawal()


def test_many_at_once_show_one_notice_each_and_leave_none(person: Person, key: Path, sockets: Path) -> None:
    person.configure("Timeout 600", device=f"unix:{sockets}/token")
    number = 32
    with token(person, sockets, "after:700"), Desktop(sockets) as desktop:
        threads = [threading.Thread(target=sign, args=(person, key), kwargs=desktop.variables) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        desktop.wait_for_withdrawal(number)
    assert len(desktop.shown) == number
    assert sorted(desktop.withdrawn) == list(range(1, number + 1))


def test_a_terminal_is_written_to_where_the_host_tells_nobody(person: Person, key: Path, sockets: Path) -> None:
    with token(person, sockets, "after:1500"):
        # Standard error is no terminal here, as under git, so ssh-keygen is silent.
        done, signature = person.sign(key)
    assert done.status == 0, done
    assert signature.exists()
    assert f"libpysk: touch unix:{sockets}/token: file signature, with a key for ssh:" in done.screen


def test_a_server_that_refuses_changes_nothing(person: Person, key: Path, sockets: Path) -> None:
    with token(person, sockets, "after:1500"), Desktop(sockets, refuses=True) as desktop:
        assert "libpysk" not in sign(person, key, **desktop.variables)


def test_a_bus_that_hangs_or_floods_changes_nothing(person: Person, key: Path, sockets: Path) -> None:
    served: list[int] = []
    with socket.socket(socket.AF_UNIX) as listener, token(person, sockets, "after:1500"):
        listener.bind(str(sockets / "stuck"))
        listener.listen()
        listener.settimeout(60)

        def flood() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(60)
                while True:
                    served.append(connection.send(b"OK " + bytes(4096)))

        thread = threading.Thread(target=flood)
        thread.start()
        assert "libpysk" not in sign(person, key, DBUS_SESSION_BUS_ADDRESS=f"unix:path={sockets}/stuck")
        thread.join(120)
    assert served
