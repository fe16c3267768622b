from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from struct import pack
from threading import Event, Thread

import pytest
from fido2.ctap import STATUS, CtapError
from fido2.ctap1 import ApduError, Ctap1
from fido2.ctap2 import ClientPin, Ctap2
from fido2.hid import CtapHidDevice
from support.serve import (
    PATIENCE,
    REBOOT,
    REPORT_SIZE,
    Served,
    connect_udp,
    connect_unix,
    open_device,
    serve,
    wait_until,
)

from sk_provider.ctap import apdu
from sk_provider.device_side.errors import ServeError
from sk_provider.virtual_key.serving import parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.impatient import Impatient

HASH = bytes(32)
RP = {"id": "ssh:", "name": "ssh"}
USER = {"id": b"u" * 32, "name": "openssh"}
ALGORITHMS = [{"type": "public-key", "alg": -7}]


def make_credential(device: CtapHidDevice, event: Event | None = None, **more: object) -> bytes:
    """Return the ID of a new credential."""
    response = Ctap2(device).make_credential(HASH, RP, USER, ALGORITHMS, event=event, **more)  # type: ignore[arg-type]
    assert response.auth_data.credential_data is not None
    return bytes(response.auth_data.credential_data.credential_id)


@contextmanager
def closing_descriptor(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def serve_device(*options: str, presence: str = "auto") -> Iterator[CtapHidDevice]:
    """Serve a token to one client, over UDP."""
    with (
        serve(*options, "udp:127.0.0.1:0", presence=presence) as served,
        closing(open_device(connect_udp(served.address))) as device,
    ):
        yield device


@pytest.fixture(scope="module")
def token() -> Iterator[Served]:
    """A token that needs no touch, on UDP; tests leave it as they found it."""
    with serve("udp:127.0.0.1:0") as served:
        yield served


@pytest.fixture
def device(token: Served) -> Iterator[CtapHidDevice]:
    with closing(open_device(connect_udp(token.address))) as device:
        yield device


def test_credential_made_over_udp_signs(device: CtapHidDevice) -> None:
    credential_id = make_credential(device)
    assertion = Ctap2(device).get_assertion("ssh:", HASH, [{"type": "public-key", "id": credential_id}])
    assert assertion.credential["id"] == credential_id


def test_u2f_credential_made_over_udp_signs(device: CtapHidDevice) -> None:
    registration = Ctap1(device).register(HASH, HASH)
    registration.verify(HASH, HASH)
    signature = Ctap1(device).authenticate(HASH, HASH, registration.key_handle)
    signature.verify(HASH, HASH, registration.public_key)


def test_udp_answers_the_sender_of_each_channel(token: Served) -> None:
    with (
        closing(open_device(connect_udp(token.address))) as first,
        closing(open_device(connect_udp(token.address))) as second,
    ):
        for number in range(3):
            assert first.ping(b"first%d" % number) == b"first%d" % number
            assert second.ping(b"second%d" % number) == b"second%d" % number


@pytest.mark.parametrize("length", [0, 1, 63, 65, 1400])
def test_datagram_that_is_no_report_is_ignored(token: Served, device: CtapHidDevice, length: int) -> None:
    with closing(connect_udp(token.address)) as sender:
        sender.send(b"\xff" * length)
        sender.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sender.recv(REPORT_SIZE)
    assert device.ping(b"x") == b"x"


def test_reboot_datagram_cycles_the_power_and_leaves_the_channel(tmp_path: Path) -> None:
    with serve("--store", str(tmp_path / "store"), "udp:127.0.0.1:0") as served:
        connected = connect_udp(served.address)
        with closing(open_device(connected)) as device:
            pin = ClientPin(Ctap2(device))
            pin.set_pin("123456")
            for code in (CtapError.ERR.PIN_INVALID, CtapError.ERR.PIN_INVALID, CtapError.ERR.PIN_AUTH_BLOCKED):
                with pytest.raises(CtapError) as caught:
                    pin.get_pin_token("wrong!")
                assert caught.value.code == code
            with pytest.raises(CtapError) as caught:
                pin.get_pin_token("123456")
            assert caught.value.code == CtapError.ERR.PIN_AUTH_BLOCKED
            connected.send(REBOOT)
            assert ClientPin(Ctap2(device)).get_pin_token("123456")


def test_reset_is_allowed_after_a_reboot(device: CtapHidDevice, token: Served) -> None:
    with closing(connect_udp(token.address)) as sender:
        sender.send(REBOOT)
    Ctap2(device).reset()


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("uhid:", ("uhid", "", 0)),
        ("udp:", ("udp", "127.0.0.1", 8111)),
        ("udp:localhost:1", ("udp", "127.0.0.1", 1)),
        ("udp:127.0.0.2:65535", ("udp", "127.0.0.2", 65535)),
        ("vpcd:", ("vpcd", "127.0.0.1", 35963)),
        ("unix:/a b:c", ("unix", "/a b:c", 0)),
    ],
)
def test_address_names_what_to_open(address: str, target: tuple[str, str, int]) -> None:
    assert parse_address(address) == target


@pytest.mark.parametrize(
    "address",
    [
        "udp:0.0.0.0:8111",
        "udp:192.0.2.1:8111",
        "udp:example.org:8111",
        "udp:[::1]:8111",
        "udp:127.0.0.1:65536",
        "udp:127.0.0.1:-1",
        "vpcd:10.0.0.1:35963",
        "unix:relative",
        "unix:",
        "tcp:127.0.0.1:1",
        "uhid",
        "uhid:0",
        "udp",
        "",
    ],
)
def test_address_that_is_none_or_of_another_machine_is_refused(address: str) -> None:
    with pytest.raises(ServeError, match=r"is no address|is not on this machine|has no port number"):
        parse_address(address)


def test_refused_address_is_told_in_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"begin: pysk: udp:0\.0\.0\.0:8111 is not on this machine; .*\n$"):
        serve("udp:0.0.0.0:8111").__enter__()


@pytest.mark.parametrize(
    "address",
    [
        "udp:0.0.0.0:8111",
        "udp:",
        "udp:127.0.0.1:x",
        "tcp:127.0.0.1:1",
        "vpcd:127.0.0.1:1",
        "unix:/nowhere/socket",
        "unix:/dev/null",
    ],
)
def test_what_cannot_be_served_is_told_with_what_to_do(address: str) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        if address == "udp:":
            address += f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RuntimeError, match=r"begin: pysk: [^;]+; [^;]+\n$"):
            serve(address).__enter__()


def test_udp_port_in_use_is_told(token: Served) -> None:
    with pytest.raises(
        RuntimeError, match=r"pysk: udp:127.0.0.1:\d+ cannot be served \(Address already in use\); choose"
    ):
        serve("udp:{}:{}".format(*token.address)).__enter__()


def test_vpcd_without_a_reader_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(RuntimeError, match="pysk: there is no reader at"):
            serve(f"vpcd:127.0.0.1:{port}").__enter__()


def test_one_token_is_served_under_several_addresses_at_once(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve("udp:127.0.0.1:0", f"unix:{path}") as served:
        assert served.names[1] == f"unix:{path}"
        with closing(open_device(connect_udp(served.address))) as device:
            credential_id = make_credential(device)
        with closing(open_device(connect_unix(str(path)))) as device:
            Ctap2(device).get_assertion("ssh:", HASH, [{"type": "public-key", "id": credential_id}])


def test_unix_socket_is_for_its_owner_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(f"unix:{path}") as served:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert served.end() == (0, "")
        assert not path.exists()


def test_signal_that_comes_before_all_is_served_leaves_no_keys_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [os.path.join(os.path.dirname(sys.executable), "pysk"), "serve", f"unix:{tmp_path}/socket"],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: any(temporary.iterdir()), "the making of the temporary store")
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not any(temporary.iterdir())
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_server_while_it_waits_for_a_touch(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "socket"
    with serve(f"unix:{path}", presence="after:20000") as served:
        connected = connect_unix(str(path))
        device = open_device(connected)
        channel = connected.getpeername() and device._channel_id
        connected.send((pack(">IBH", channel, 0x90, 1) + b"\x0b").ljust(REPORT_SIZE, b"\0"))  # authenticatorSelection
        assert connected.recv(REPORT_SIZE)[4] == 0xBB
        served.process.send_signal(number)
        assert served.process.wait(5) == 0
        assert not path.exists()
        device.close()


def test_nothing_of_a_server_gets_the_number_of_a_closed_standard_stream(tmp_path: Path) -> None:
    pysk = os.path.join(os.path.dirname(sys.executable), "pysk")
    command = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", pysk, "serve", f"unix:{tmp_path}/socket"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "socket").exists, "the making of the socket")
        streams = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        process.terminate()
    assert streams == [os.devnull] * 3


def test_temporary_store_goes_with_the_server() -> None:
    with serve("udp:127.0.0.1:0") as served:
        assert len(list(served.temporary.iterdir())) == 1
        served.end()
        assert list(served.temporary.iterdir()) == []


def test_store_that_was_named_outlives_the_server(tmp_path: Path) -> None:
    arguments = ("--store", str(tmp_path / "store"), "udp:127.0.0.1:0")
    with serve(*arguments) as served, closing(open_device(connect_udp(served.address))) as device:
        credential_id = make_credential(device)
    with serve(*arguments) as served, closing(open_device(connect_udp(served.address))) as device:
        Ctap2(device).get_assertion("ssh:", HASH, [{"type": "public-key", "id": credential_id}])


def test_socket_of_a_killed_server_is_replaced_but_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve(f"unix:{path}") as served:
        with pytest.raises(RuntimeError, match="is being served by another process"):
            serve(f"unix:{path}").__enter__()
        served.process.kill()
        served.process.wait()
    assert path.exists()
    with serve(f"unix:{path}"), closing(open_device(connect_unix(str(path)))) as device:
        assert device.ping(b"x") == b"x"
    path.unlink()
    path.write_text("mine")
    with pytest.raises(RuntimeError, match="is no socket of yours"):
        serve(f"unix:{path}").__enter__()
    assert path.read_text() == "mine"


def test_a_folder_that_another_program_keeps_locked_delays_neither_the_beginning_nor_the_end_for_ever(
    tmp_path: Path, impatience: Impatient
) -> None:
    path = tmp_path / "socket"
    with (
        serve(f"unix:{path}", pysk=impatience.pysk) as served,
        closing_descriptor(os.open(tmp_path, os.O_RDONLY)) as folder,
    ):
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match=f"begin: pysk: another program keeps {tmp_path} locked; choose "):
            serve(f"unix:{tmp_path}/other", pysk=impatience.pysk).__enter__()
        assert served.end() == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_unix_clients_are_served_beside_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve(f"unix:{path}"):
        devices = [open_device(connect_unix(path)) for _ in range(5)]
        assert len({device._channel_id for device in devices}) == 5
        for number, device in enumerate(devices):
            assert device.ping(b"%d" % number) == b"%d" % number
        for device in devices[1:]:
            device.close()
        assert devices[0].ping(b"still here") == b"still here"
        devices[0].close()


def test_reports_may_come_in_any_pieces_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve(f"unix:{path}"):
        connected = connect_unix(path)
        with closing(open_device(connected)) as device:
            report = (pack(">IBH", device._channel_id, 0x81, 4) + b"ping").ljust(REPORT_SIZE, b"\0")
            for byte in report:
                connected.send(bytes([byte]))
            assert connected.recv(REPORT_SIZE) == report
            connected.send(report * 3)
            wait_until(lambda: len(connected.recv(4096, socket.MSG_PEEK)) == 3 * REPORT_SIZE, "three answers")


def test_client_that_never_reads_does_not_stop_the_others(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve(f"unix:{path}"):
        deaf = connect_unix(path)
        channel = open_device(deaf)._channel_id
        report = (pack(">IBH", channel, 0x81, 4) + b"ping").ljust(REPORT_SIZE, b"\0")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            deaf.sendall(report * 100_000)
        deaf.close()
        with closing(open_device(connect_unix(path))) as device:
            assert device.ping(b"x") == b"x"


def test_touch_that_takes_long_is_announced_and_can_be_cancelled() -> None:
    with serve_device(presence="after:20000") as device:
        event = Event()
        told: list[STATUS] = []

        def on_keepalive(status: STATUS) -> None:
            told.append(status)
            if status == STATUS.UPNEEDED:
                event.set()

        with pytest.raises(CtapError) as caught:
            make_credential(device, event, on_keepalive=on_keepalive)
        assert caught.value.code == CtapError.ERR.KEEPALIVE_CANCEL
        assert told[-1] == STATUS.UPNEEDED
        assert Ctap2(device).info.versions


def test_u2f_client_is_told_at_once_that_a_touch_is_wanted_and_polls_until_it_came() -> None:
    with serve_device(presence="after:700") as device:
        keepalives: list[int] = []
        begun = time.monotonic()
        polls = 0
        while True:
            polls += 1
            answer = device.call(0x03, b"\0\1\3\0\0\0\x40" + bytes(64) + b"\0\0", None, keepalives.append)
            if answer[-2:] != b"\x69\x85":
                break
            time.sleep(0.1)
        assert answer[-2:] == b"\x90\x00"
        assert time.monotonic() - begun >= 0.7
        assert polls > 2
        assert keepalives == []
        with pytest.raises(ApduError) as caught:
            Ctap1(device).register(HASH, HASH)
        assert caught.value.code == 0x6985


def test_power_cycle_forgets_whom_a_u2f_client_asked_for() -> None:
    with serve_device(presence="after:700") as device:
        for wait in (0.7, 0):
            with pytest.raises(ApduError) as caught:
                Ctap1(device).register(HASH, HASH)
            assert caught.value.code == apdu.SW_CONDITIONS_NOT_SATISFIED
            device._connection.write_packet(REBOOT)
            time.sleep(wait)


def test_client_that_leaves_takes_its_question_along(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with serve(f"unix:{path}", presence="after:20000"):
        gone = connect_unix(path)
        channel = open_device(gone)._channel_id
        gone.send((pack(">IBH", channel, 0x90, 1) + b"\x0b").ljust(REPORT_SIZE, b"\0"))
        assert gone.recv(REPORT_SIZE)[4] == 0xBB
        gone.close()
        with closing(open_device(connect_unix(path))) as device:
            begun = time.monotonic()
            assert Ctap2(device).info.versions
            assert time.monotonic() - begun < 5


def test_second_client_hears_busy_on_the_same_interface_and_waits_on_another(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with (
        serve("udp:127.0.0.1:0", f"unix:{path}", presence="after:700") as served,
        closing(open_device(connect_udp(served.address))) as first,
        closing(open_device(connect_udp(served.address))) as same,
        closing(open_device(connect_unix(path))) as other,
    ):
        made: list[bytes] = []
        waiting = Event()
        thread = Thread(target=lambda: made.append(make_credential(first, on_keepalive=lambda _status: waiting.set())))
        thread.start()
        assert waiting.wait(10)
        with pytest.raises(CtapError) as caught:
            same._do_call(0x10, b"\x04", Event(), None)  # type: ignore[no-untyped-call]  # call() would try again
        assert caught.value.code == CtapError.ERR.CHANNEL_BUSY
        assert Ctap2(other).info.versions
        thread.join()
        assert made


def test_deny_refuses_every_touch() -> None:
    with serve_device(presence="deny") as device:
        with pytest.raises(CtapError) as caught:
            make_credential(device)
        assert caught.value.code == CtapError.ERR.OPERATION_DENIED


@pytest.mark.parametrize(("answer", "status"), [("\n", None), ("no\n", CtapError.ERR.OPERATION_DENIED)])
def test_person_is_asked_on_the_terminal(tmp_path: Path, answer: str, status: CtapError.ERR | None) -> None:
    path = tmp_path / "socket"
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = [sys.executable, "-c", "from sk_provider.cli import main; main()", "serve", f"unix:{path}"]
        os.execv(sys.executable, arguments)
    try:
        shown = b""
        while b"serving" not in shown:
            shown += os.read(terminal, 4096)
        with closing(open_device(connect_unix(str(path)))) as device:
            result: list[CtapError.ERR | None] = []

            def enroll() -> None:
                try:
                    make_credential(device)
                    result.append(None)
                except CtapError as error:
                    result.append(CtapError.ERR(error.code))

            thread = Thread(target=enroll)
            thread.start()
            while b"ssh:" not in shown or b"no:" not in shown:
                shown += os.read(terminal, 4096)
            os.write(terminal, answer.encode())
            thread.join(10)
            assert result == [status]
    finally:
        os.kill(pid, signal.SIGTERM)
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--presence", "sometimes"), "--presence is auto, ask, deny or after:MS"),
        (("--presence", "after:soon"), "--presence is auto, ask, deny or after:MS"),
        (("--profile", "nonsense"), "there is no profile nonsense"),
    ],
)
def test_option_that_is_not_known_is_told(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        serve(*arguments, "udp:127.0.0.1:0").__enter__()


def test_u2f_profile_has_no_cbor() -> None:
    with serve_device("--profile", "u2f") as device:
        assert device.capabilities & 0x0C == 0
        assert Ctap1(device).get_version() == "U2F_V2"
        with pytest.raises(CtapError) as caught:
            device.call(0x10, b"\x04")
        assert caught.value.code == CtapError.ERR.INVALID_COMMAND


def test_damaged_store_is_told_and_left_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with serve("--store", str(store), "udp:127.0.0.1:0"):
        pass
    (store / "state").write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match=r"pysk: .*store"):
        serve("--store", str(store), "udp:127.0.0.1:0").__enter__()
    assert (store / "state").read_bytes() == b"damaged"


def test_store_that_breaks_while_it_is_served_is_told_and_the_token_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with serve("--store", str(store), "udp:127.0.0.1:0") as served:
        with closing(open_device(connect_udp(served.address))) as device:
            good = (store / "state").read_bytes()
            (store / "state").write_bytes(b"damaged")
            assert device.call(0x10, b"\x04") == bytes([CtapError.ERR.OTHER])
            (store / "state").write_bytes(good)
            assert Ctap2(device).info.versions
        assert "store" in served.end()[1]


def test_help_names_the_addresses() -> None:
    command = [sys.executable, "-c", "from sk_provider.cli import main; main()", "serve", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    for scheme in ("uhid:", "udp:127.0.0.1:8111", "unix:/path", "vpcd:127.0.0.1:35963"):
        assert scheme in shown
