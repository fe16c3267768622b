"""What another package's transport may do wrong: it is told by its name, its package and the place."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.serve import wait_until

from sk_provider import transport_api
from sk_provider.config import Configuration
from sk_provider.ctap import framing
from sk_provider.errors import DeviceNotFound, Interrupted, SecurityKeyError, TransportDefect
from sk_provider.operation import Operation
from sk_provider.transports.guarded import GuardedTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

pytestmark = pytest.mark.slow

HERE = Path(__file__).name
WHOSE = "the transport pigeon: of the package pigeon-post"


class Channel:
    """One that does whatever a test wants instead of answering."""

    def __init__(self, call: Callable[[], Any] = lambda: b"\0", close: Callable[[], Any] = lambda: None) -> None:
        self.capabilities = framing.CAPABILITY_CBOR
        self._call = call
        self._close = close
        self.closed = 0

    def call(self, cmd: int, data: bytes = b"", event: object = None, on_keepalive: object = None) -> Any:
        return self._call()

    def close(self) -> None:
        self.closed += 1
        self._close()


class Transport:
    def __init__(self, discover: Callable[[], Any] = lambda: ["x"], opened: Callable[[], Any] = Channel) -> None:
        self._discover = discover
        self._opened = opened

    def discover(self, location: str) -> Any:
        return self._discover()

    def open(self, location: str, configuration: object, operation: object, *, may_create: bool) -> Any:
        return self._opened()


def fails(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def hang() -> Any:
    threading.Event().wait(600)


class Brief(Operation):
    """One whose time is over soon."""

    def restart(self) -> None:
        self._deadline = time.monotonic() + 0.2


def guarded(transport: Any) -> GuardedTransport:
    return GuardedTransport("pigeon", "pigeon-post", transport)


def opened(channel: Any, operation: Operation | None = None) -> Any:
    transport = guarded(Transport(opened=lambda: channel))
    return transport.open("x", Configuration(), operation or Operation(60), may_create=False)


ERRORS = [
    AttributeError("a secret"),
    TypeError("a secret"),
    ValueError("a secret"),
    RuntimeError("a secret"),
    OSError(5, "a secret"),
    SystemExit(0),
    KeyboardInterrupt(),
    RecursionError(),
    AssertionError("a secret"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_is_told_by_its_kind_and_place_and_no_value(error: BaseException) -> None:
    told = rf"^{WHOSE} failed \({type(error).__name__} in {HERE} line \d+\); report this to its authors$"
    with pytest.raises(TransportDefect, match=told):
        guarded(Transport(discover=fails(error))).discover("x")
    with pytest.raises(TransportDefect, match=told):
        guarded(Transport(opened=fails(error))).open("x", Configuration(), Operation(60), may_create=False)
    with pytest.raises(TransportDefect, match=told):
        opened(Channel(call=fails(error))).call(framing.CBOR, b"\4")


def test_errors_of_ours_are_let_through() -> None:
    with pytest.raises(DeviceNotFound, match="it is asleep; wake it"):
        guarded(Transport(discover=fails(DeviceNotFound("it is asleep", "wake it")))).discover("x")
    with pytest.raises(DeviceNotFound, match="it is asleep; wake it"):
        opened(Channel(call=fails(DeviceNotFound("it is asleep", "wake it")))).call(framing.CBOR, b"\4")


class Hollow(SecurityKeyError):
    """One of another package's own, which has no words."""

    def __init__(self) -> None:
        Exception.__init__(self)


class Numbered(SecurityKeyError):
    """One whose code no host knows."""

    code = "E42"  # type: ignore[assignment]


class Secretive(Hollow):
    """One whose words cannot be had."""

    @property
    def happened(self) -> Any:  # type: ignore[override]
        raise KeyError("a secret")


@pytest.mark.parametrize("error", [Hollow(), Numbered("x", "y"), Secretive()], ids=lambda e: type(e).__name__)
def test_an_error_of_ours_that_cannot_be_told_is_none(error: SecurityKeyError) -> None:
    with pytest.raises(TransportDefect, match=rf"^{WHOSE} failed \({type(error).__name__} in {HERE} line "):
        opened(Channel(call=fails(error))).call(framing.CBOR, b"\4")


class Asleep(DeviceNotFound):
    """One that is well, and another's, or hangs, as soon as it is looked at a second time."""

    def __init__(self, later: Callable[[], Any]) -> None:
        Exception.__init__(self)
        self._looked_at: list[Callable[[], Any]] = [later, later, lambda: "wake it", lambda: "it is asleep"]

    @property
    def happened(self) -> Any:  # type: ignore[override]
        return self._looked_at.pop()()

    remedy = happened

    def __str__(self) -> str:
        return str(self.happened)


@pytest.mark.parametrize("later", [fails(KeyError("a secret")), lambda: "a secret", hang], ids=range(3))
def test_an_error_of_another_packages_own_is_looked_at_once(later: Callable[[], Any]) -> None:
    channel = opened(Channel(call=fails(Asleep(later))))
    with pytest.raises(DeviceNotFound) as caught:
        channel.call(framing.CBOR, b"\4")
    assert (type(caught.value), str(caught.value), caught.value.code) == (DeviceNotFound, "it is asleep; wake it", -4)


def test_what_an_error_of_another_package_says_is_of_no_class_of_their_own() -> None:
    error = DeviceNotFound(Text("it is asleep"), Text("wake it"))
    error.code = Number(-1)
    with pytest.raises(DeviceNotFound) as caught:
        opened(Channel(call=fails(error))).call(framing.CBOR, b"\4")
    told = caught.value
    assert (told.happened, told.remedy, told.code) == ("it is asleep", "wake it", -1)
    assert [type(each) for each in (told.happened, told.remedy, told.code)] == [str, str, int]


class Untraceable(Exception):
    """One of another package's own, which does not like to be looked at."""

    def __init__(self, looked_at: Callable[[], Any]) -> None:
        self.looked_at = looked_at

    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        return self.looked_at()


def test_an_error_that_cannot_be_looked_at_is_told_without_its_place() -> None:
    channel = opened(Channel(call=fails(Untraceable(fails(KeyError("a secret"))))))
    with pytest.raises(TransportDefect, match=rf"^{WHOSE} failed; report this to its authors$"):
        channel.call(framing.CBOR, b"\4")


def test_an_error_that_hangs_as_it_is_looked_at_is_given_up_as_the_call_is() -> None:
    operation = Brief(60)
    channel = opened(Channel(call=fails(Untraceable(hang))), operation)
    operation.restart()
    with pytest.raises(TransportDefect, match=rf"^{WHOSE} does not answer \(call\(\)\)"):
        channel.call(framing.CBOR, b"\4", operation)


@pytest.mark.parametrize(
    "locations", [None, 5, "x", [b"x"], [None], {"x": 1}.items(), ["x"] * 1001, iter(lambda: "x", 1)]
)
def test_what_is_no_list_of_locations_is_told(locations: Any) -> None:
    with pytest.raises(TransportDefect, match=WHOSE):
        guarded(Transport(discover=lambda: locations)).discover("x")


@pytest.mark.parametrize("channel", [None, object(), b"", Channel])
def test_what_is_no_channel_is_told(channel: Any) -> None:
    with pytest.raises(TransportDefect, match=rf"{WHOSE} failed \(open\(\) did not return a channel"):
        opened(channel)


@pytest.mark.parametrize("response", [None, "text", 5, [0]])
def test_what_is_no_response_is_told(response: Any) -> None:
    with pytest.raises(TransportDefect, match=r"call\(\) did not return bytes"):
        opened(Channel(call=lambda: response)).call(framing.CBOR, b"\4")


def test_other_kinds_of_bytes_are_bytes() -> None:
    assert opened(Channel(call=lambda: bytearray(b"\0ab"))).call(framing.CBOR, b"\4") == b"\0ab"


class Text(str):
    """One of another package's own."""

    __slots__ = ()

    def __str__(self) -> str:
        raise KeyError("a secret")


class Bytes(bytes):
    """Likewise."""

    def __bytes__(self) -> bytes:
        raise KeyError("a secret")

    def __getitem__(self, index: Any) -> Any:
        raise KeyError("a secret")


class Number(int):
    """Likewise."""

    def __and__(self, other: Any) -> Any:
        raise KeyError("a secret")

    __lt__ = __gt__ = __eq__ = __and__
    __hash__ = None  # type: ignore[assignment]


def test_what_is_returned_is_of_no_class_of_their_own() -> None:
    response = opened(Channel(call=lambda: Bytes(b"\0ab"))).call(framing.CBOR, b"\4")
    assert (response, type(response)) == (b"\0ab", bytes)
    assert [type(each) for each in guarded(Transport(discover=lambda: [Text("x")])).discover("x")] == [str]
    inner = Channel()
    inner.capabilities = Number((1 << 70) + framing.CAPABILITY_CBOR)
    capabilities = opened(inner).capabilities
    assert (capabilities, type(capabilities)) == (framing.CAPABILITY_CBOR, int)
    transport: Any = guarded(Knowing(lambda: (Text("x"), inner), lambda: Text("a bird")))
    assert type(transport.name("x")) is str
    assert type(transport.open_holder(b"key", [], Configuration(), Operation(60))[0]) is str


@pytest.mark.parametrize("missing", ["discover", "open"])
def test_what_has_not_the_functions_is_no_transport(missing: str) -> None:
    transport = type("Lame", (), {"discover": print, "open": print, missing: None})
    with pytest.raises(TransportDefect, match=rf"{WHOSE} has no function {missing}\(\)"):
        guarded(transport)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_channel_that_cannot_be_closed_is_told_and_spoils_nothing(error: BaseException) -> None:
    told: list[str] = []
    channel = opened(Channel(close=fails(error)), Operation(60, tell=told.append))
    assert channel.call(framing.CBOR, b"\4") == b"\0"
    channel.close()
    assert len(told) == 1
    assert told[0].startswith(f"{WHOSE} failed ({type(error).__name__}")


def test_a_channel_whose_close_is_gone_is_told_and_spoils_nothing() -> None:
    class Forgetful(Channel):
        def __getattribute__(self, name: str) -> Any:
            if name == "close" and self.called:
                raise RuntimeError("a secret")
            return super().__getattribute__(name)

        called = False

        def call(self, *_: Any) -> Any:
            self.called = True
            return b"\0"

    told: list[str] = []
    channel = opened(Forgetful(), Operation(60, tell=told.append))
    assert channel.call(framing.CBOR, b"\4") == b"\0"
    channel.close()
    assert len(told) == 1
    assert told[0].startswith(f"{WHOSE} failed (RuntimeError")


def test_a_call_that_does_not_end_ends_with_the_operation() -> None:
    told: list[str] = []
    inner = Channel(call=hang)
    operation = Operation(60, tell=told.append)
    channel = opened(inner, operation)
    operation.call_off()
    with pytest.raises(Interrupted):
        channel.call(framing.CBOR, b"\4", operation)
    # What hangs is not asked to close as well.
    channel.close()
    assert inner.closed == 0


def test_a_channel_whose_call_has_not_ended_is_not_called_again() -> None:
    calls: list[None] = []

    def answer() -> bytes:
        calls.append(None)
        return bytes(hang())

    operation = Operation(60)
    channel = opened(Channel(call=answer), operation)
    operation.call_off()
    with pytest.raises(Interrupted):
        channel.call(framing.CBOR, b"\4", operation)
    with pytest.raises(TransportDefect, match=rf"{WHOSE} does not answer \(call\(\)\)"):
        channel.call(framing.CBOR, b"\4", Operation(60))
    assert len(calls) == 1


def test_an_opening_that_does_not_end_ends_with_the_operation() -> None:
    operation = Operation(60)
    operation.call_off()
    with pytest.raises(Interrupted):
        guarded(Transport(opened=hang)).open("x", Configuration(), operation, may_create=False)


@pytest.mark.parametrize("function", ["open", "open_holder"])
def test_what_is_opened_after_nobody_waits_for_it_is_closed(function: str) -> None:
    inner, goes_on = Channel(), threading.Event()

    def open_late() -> Any:
        goes_on.wait(600)
        return inner if function == "open" else ("x", inner)

    operation = Operation(60)
    operation.call_off()
    transport: Any = guarded(Knowing(open_late) if function == "open_holder" else Transport(opened=open_late))
    arguments: Any = ("x",) if function == "open" else (b"key", [])
    options = {"may_create": False} if function == "open" else {}
    with pytest.raises(Interrupted):
        getattr(transport, function)(*arguments, Configuration(), operation, **options)
    assert inner.closed == 0
    goes_on.set()
    wait_until(lambda: inner.closed == 1, "the closing")


def test_a_channel_that_is_refused_is_closed() -> None:
    inner = Channel()
    inner.capabilities = None  # type: ignore[assignment]
    with pytest.raises(TransportDefect, match="a channel with capabilities"):
        opened(inner)
    assert inner.closed == 1


class Interrupting(Channel):
    """One during whose call the person presses Ctrl-C."""

    def __init__(self, *, heeds: bool) -> None:
        super().__init__()
        self._heeds = heeds
        self.ended = threading.Event()
        self.goes_on = threading.Event()

    def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: object = None) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        while not (event.is_set() if self._heeds else self.goes_on.is_set()):
            time.sleep(0.01)
        self.ended.set()
        return b"\0"


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_has_a_call_give_up_before_its_channel_is_closed() -> None:
    inner = Interrupting(heeds=True)
    operation = Operation(60)
    channel = opened(inner, operation)
    with pytest.raises(KeyboardInterrupt):
        channel.call(framing.CBOR, b"\4", operation)
    assert inner.ended.is_set()
    channel.close()
    assert inner.closed == 1


@pytest.mark.usefixtures("ctrl_c")
def test_nothing_is_closed_beside_a_call_that_goes_on_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sk_provider.third_party.GRACE", 0.1)
    inner = Interrupting(heeds=False)
    channel = opened(inner)
    with pytest.raises(KeyboardInterrupt):
        channel.call(framing.CBOR, b"\4", Operation(60))
    channel.close()
    assert inner.closed == 0
    inner.goes_on.set()
    assert inner.ended.wait(60)


@pytest.mark.usefixtures("ctrl_c")
def test_what_is_opened_when_ctrl_c_is_pressed_is_closed() -> None:
    inner = Channel()
    operation = Operation(6000)  # much longer than this waits

    def open_late() -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        while not operation.is_set():
            time.sleep(0.01)
        return inner

    with pytest.raises(KeyboardInterrupt):
        guarded(Transport(opened=open_late)).open("x", Configuration(), operation, may_create=False)
    wait_until(lambda: inner.closed == 1, "the closing")


def dawdle() -> Iterator[str]:
    for number in range(1000):
        time.sleep(0.01)
        yield str(number)


@pytest.mark.parametrize("discover", [hang, dawdle])
def test_a_discovery_that_does_not_end_is_given_up(
    discover: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sk_provider.transports.guarded.PATIENCE", 0.1)
    monkeypatch.setattr("sk_provider.third_party.GRACE", 0.1)
    with pytest.raises(TransportDefect, match=rf"{WHOSE} does not answer \(discover\(\)\)"):
        guarded(Transport(discover=discover)).discover("x")


def test_a_write_to_a_closed_pipe_is_an_error_and_no_end_of_the_host() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with pytest.raises(TransportDefect, match="BrokenPipeError"):
            opened(Channel(call=lambda: os.write(writer, b"x"))).call(framing.CBOR, b"\4")
    finally:
        os.close(writer)


@pytest.mark.parametrize("version", [transport_api.VERSION, 1, Number(1)])
def test_a_transport_for_this_version_of_the_interface_or_an_older_one_is_used(version: int) -> None:
    transport = Transport()
    transport.transport_api_version = version  # type: ignore[attr-defined]
    assert guarded(transport).discover("x") == ["x"]


def test_a_transport_for_a_newer_version_of_the_interface_is_refused_with_both_versions() -> None:
    transport = Transport()
    transport.transport_api_version = transport_api.VERSION + 1  # type: ignore[attr-defined]
    told = (
        f"^{WHOSE} is for version {transport_api.VERSION + 1} of the interface, and libpysk has version "
        f"{transport_api.VERSION}; install a newer release of libpysk, or an older one of pigeon-post$"
    )
    with pytest.raises(TransportDefect, match=told):
        guarded(transport)


@pytest.mark.parametrize("version", ["1", 0, -1, None, 1.0])
def test_what_is_no_version_of_the_interface_is_told(version: object) -> None:
    transport = Transport()
    transport.transport_api_version = version  # type: ignore[attr-defined]
    with pytest.raises(TransportDefect, match=rf"{WHOSE} states no version of the interface \(transport_api_version\)"):
        guarded(transport)


def test_a_channel_that_asks_a_person_itself_says_so() -> None:
    inner = Channel()
    assert not opened(inner).asks_a_person
    inner.asks_a_person = True  # type: ignore[attr-defined]
    assert opened(inner).asks_a_person


def test_every_function_is_called_in_a_thread_of_its_own_and_one_after_the_other() -> None:
    threads: list[int] = []

    def note(answer: Any) -> Callable[[], Any]:
        def noted() -> Any:
            threads.append(threading.get_native_id())
            return answer

        return noted

    channel = Channel(call=note(b"\0"), close=note(None))
    transport = guarded(Transport(discover=note(["x"]), opened=note(channel)))
    transport.discover("x")
    guard: Any = transport.open("x", Configuration(), Operation(60), may_create=False)
    guard.call(framing.CBOR, b"\4")
    guard.close()
    guard.close()
    assert len(threads) == 5
    assert threading.get_native_id() not in threads


def test_what_a_transport_may_have_is_there_only_if_it_has_it() -> None:
    plain = guarded(Transport())
    assert not plain.waits_for_a_person
    assert not hasattr(plain, "open_holder")
    assert not hasattr(plain, "name")


class Knowing(Transport):
    waits_for_a_person = 1

    def __init__(self, held: Callable[[], Any], name: Callable[[], Any] = lambda: "a bird") -> None:
        super().__init__()
        self._held = held
        self._named = name

    def name(self, location: str) -> Any:
        return self._named()

    def open_holder(self, *_: object) -> Any:
        return self._held()


def test_what_it_knows_of_names_and_key_handles_is_asked_for() -> None:
    transport = guarded(Knowing(lambda: ("x", Channel())))
    assert transport.waits_for_a_person
    assert transport.name("x") == "a bird"
    held: Any = transport.open_holder(b"key", [], Configuration(), Operation(60))
    assert (held[0], held[1].call(framing.CBOR, b"\4")) == ("x", b"\0")
    nothing: Any = guarded(Knowing(lambda: None))
    assert nothing.open_holder(b"key", [], Configuration(), Operation(60)) is None


@pytest.mark.parametrize("held", [(), ("x",), ("x", None), (None, Channel()), "text", 5])
def test_what_holds_no_key_is_told(held: Any) -> None:
    with pytest.raises(TransportDefect, match=r"open_holder\(\)"):
        guarded(Knowing(lambda: held)).open_holder(b"key", [], Configuration(), Operation(60))


@pytest.mark.parametrize("held", [lambda c: (5, c), lambda c: ["x", c], lambda c: ("x", c, None), lambda c: c])
def test_a_channel_beside_what_is_no_location_is_closed(held: Callable[[Channel], Any]) -> None:
    inner = Channel()
    with pytest.raises(TransportDefect, match=r"open_holder\(\) did not return a location and a channel"):
        guarded(Knowing(lambda: held(inner))).open_holder(b"key", [], Configuration(), Operation(60))
    assert inner.closed == 1


class Shared(Operation):
    """One in which another program has the authenticator for a second, from the first time that it is asked."""

    def is_set(self) -> bool:
        self.others_had_it_for = 1.0
        return super().is_set()


@pytest.mark.parametrize("kind", [Operation, Shared])
def test_a_search_for_a_key_that_does_not_end_is_given_up_long_before_the_operation(
    kind: type[Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = kind(60)
    monkeypatch.setattr("sk_provider.transports.guarded.PATIENCE", 0.1)
    monkeypatch.setattr("sk_provider.third_party.GRACE", 0.1)
    began = time.monotonic()
    with pytest.raises(TransportDefect, match=rf"{WHOSE} does not answer \(open_holder\(\)\)"):
        guarded(Knowing(hang)).open_holder(b"key", [], Configuration(), operation)
    assert not operation.is_set()
    # It waits for others, who are not its defect.
    assert time.monotonic() - began > operation.others_had_it_for


@pytest.mark.parametrize("name", [fails(ValueError()), lambda: None, lambda: b"x"])
def test_a_name_that_is_none_is_not_needed(name: Callable[[], Any]) -> None:
    assert guarded(Knowing(lambda: None, name)).name("x") == ""


def test_a_name_is_not_waited_for_longer_than_it_is_to_take_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sk_provider.transports.guarded.PATIENCE", 600)
    asked: list[None] = []

    def name() -> Any:
        asked.append(None)
        return hang()

    transport = guarded(Knowing(lambda: None, name))
    assert transport.name("x") == ""
    # Each time that it is asked takes as long, and it is asked often.
    assert transport.name("y") == ""
    assert len(asked) == 1


def test_nothing_is_left_of_what_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count(), len(sys._current_frames())
    for _ in range(20):
        opened(Channel()).call(framing.CBOR, b"\4")
    ends = time.monotonic() + 60
    while len(sys._current_frames()) > before[1]:
        assert time.monotonic() < ends
        time.sleep(0.01)
