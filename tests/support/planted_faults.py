"""A transport, cord:, that does all that it should, and others with a fault each: for the kit to find.

A token's datagrams are its peer, as there nobody hears of what ends without a word.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from sk_provider.ctap import framing, hid
from sk_provider.ctap.hid import HidChannel
from sk_provider.errors import AuthenticatorError, ConfigurationError, SecurityKeyError
from sk_provider.testing import ReportConformance, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.config import Configuration
    from sk_provider.operation import Operation


class Reports:
    """Reports in datagrams."""

    def __init__(self, location: str) -> None:
        host, _, port = location.partition(":")
        if not port.isdecimal():
            raise ConfigurationError("cord: has no such place", "write another")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((host, int(port)))

    def send(self, report: bytes) -> None:
        try:
            self.socket.send(report)
        except OSError:
            raise self.gone() from None

    def receive(self, seconds: float) -> bytes | None:
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(framing.REPORT_SIZE)
        except TimeoutError:
            return None
        except OSError:
            raise self.gone() from None

    def gone(self) -> AuthenticatorError:
        return AuthenticatorError("nobody is at the other end of the cord", "tie it to something")

    def close(self) -> None:
        self.socket.close()


class Cord:
    """The transport."""

    reports: type[Reports] = Reports
    channel: type[HidChannel] = HidChannel

    def discover(self, location: str) -> list[str]:
        return [location]

    def open(
        self, location: str, configuration: Configuration, operation: Operation, *, may_create: bool
    ) -> HidChannel:
        return self.channel(self.reports(location), operation)


class Conformance(ReportConformance):
    scheme = "cord"
    silence = 0.3
    grace = 0.5
    patience = 1
    transport = Cord()

    @pytest.fixture
    def surroundings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hid, "SILENCE", self.silence)

    def connect(self, token: Token) -> str:
        return "{}:{}".format(*token.udp_address())


class TestSound(Conformance):
    grace = 2.0


class ForEachCall:
    """A channel that is nothing by itself: each call has one of CTAPHID's, and asks for that first."""

    def __init__(self, location: str, operation: Operation) -> None:
        self._location, self._operation = location, operation
        with self._opened(operation) as channel:
            self.capabilities = channel.capabilities

    @contextmanager
    def _opened(self, event: Operation) -> Iterator[HidChannel]:
        channel = HidChannel(Reports(self._location), event)
        try:
            yield channel
        finally:
            channel.close()

    def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
        with self._opened(event or self._operation) as channel:
            return channel.call(cmd, data, event, on_keepalive)

    def close(self) -> None:
        pass


class TestSoundForEachCall(Conformance):
    class Transport(Cord):
        def open(self, location: str, _: Configuration, operation: Operation, *, may_create: bool) -> Any:
            return ForEachCall(location, operation)

    grace = 2.0
    transport = Transport()


def with_channel(channel: type[HidChannel]) -> Cord:
    transport = Cord()
    transport.channel = channel
    return transport


def with_reports(reports: type[Reports]) -> Cord:
    transport = Cord()
    transport.reports = reports
    return transport


class TestDeafToTheEvent(Conformance):
    class Channel(HidChannel):
        def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
            return super().call(cmd, data, None, on_keepalive)

    transport = with_channel(Channel)
    fails = "test_the_event_ends_the_wait_for_a_person"


class TestLooksAtTheEventWithPacketsAlone(Conformance):
    class Reports(Reports):
        def receive(self, seconds: float) -> bytes | None:
            return super().receive(30)

    transport = with_reports(Reports)
    fails = "test_the_event_ends_the_wait_in_silence"


class TestRaisesWhatItMeets(Conformance):
    class Reports(Reports):
        def gone(self) -> Any:
            return ConnectionError("the cord is torn")

    transport = with_reports(Reports)
    fails = "test_death_between_calls_is_told"


class TestLeaksWhatItCouldNotUse(Conformance):
    class Reports(Reports):
        kept: list[Any] = []  # noqa: RUF012

        def __init__(self, location: str) -> None:
            super().__init__(location)
            self.kept.append(self.socket)

        def close(self) -> None:
            pass

    transport = with_reports(Reports)
    fails = "test_silence_ends_open_or_the_first_call"


class TestClosesOnce(Conformance):
    class Channel(HidChannel):
        def close(self) -> None:
            super().close()
            del self._reports

    transport = with_channel(Channel)
    fails = "test_close_comes_twice"


class TestPrints(Conformance):
    class Channel(HidChannel):
        def call(self, *arguments: Any, **named: Any) -> bytes:
            print("calling")  # noqa: T201
            return super().call(*arguments, **named)

    transport = with_channel(Channel)
    fails = "test_get_info_is_answered"


class TestCutsLongAnswers(Conformance):
    class Channel(HidChannel):
        def call(self, *arguments: Any, **named: Any) -> bytes:
            return super().call(*arguments, **named)[:1024]

    transport = with_channel(Channel)
    fails = "test_responses_come_whole"


class TestHasOneConnectionForAll(Conformance):
    class Reports(Reports):
        def __init__(self, location: str) -> None:
            super().__init__(location)
            type(self).last = self.socket

        def send(self, report: bytes) -> None:
            self.socket = self.last
            super().send(report)

        last: socket.socket

    transport = with_reports(Reports)
    fails = "test_of_two_that_wait_one_is_called_off_and_the_other_signs"


class TestLetsATokenBlink(Conformance):
    class Channel(HidChannel):
        def _cancel(self) -> None:
            pass

    transport = with_channel(Channel)
    fails = "test_the_authenticator_hears_of_it"


class TestIsTooImpatientForPeople(Conformance):
    class Channel(HidChannel):
        def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
            over = threading.Event()
            timer = threading.Timer(0.5, over.set)
            timer.start()
            try:
                own = SimpleNamespace(is_set=over.is_set, reason=lambda: AuthenticatorError("it is slow", "try again"))
                return super().call(cmd, data, own, on_keepalive)
            finally:
                timer.cancel()

    transport = with_channel(Channel)
    fails = "test_a_person_who_is_late_is_waited_for"


class TestIsInherited(Conformance):
    class Reports(Reports):
        def __init__(self, location: str) -> None:
            super().__init__(location)
            self.socket.set_inheritable(True)

    transport = with_reports(Reports)
    fails = "test_programs_do_not_inherit_it"


class TestLeavesAThread(Conformance):
    class Reports(Reports):
        def __init__(self, location: str) -> None:
            super().__init__(location)
            threading.Thread(target=threading.Event().wait, daemon=True).start()

    transport = with_reports(Reports)
    fails = "test_capabilities_are_a_byte"


class TestLeavesAChild(Conformance):
    class Reports(Reports):
        kept: list[Any] = []  # noqa: RUF012

        def __init__(self, location: str) -> None:
            super().__init__(location)
            self.child = subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)

        def close(self) -> None:
            super().close()
            self.child.kill()
            self.kept.append(self.child)  # so that not even Python waits for it

    transport = with_reports(Reports)
    fails = "test_a_status_of_an_error_is_returned"


class TestTellsKeepalivesTwice(Conformance):
    class Channel(HidChannel):
        def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
            def twice(status: int) -> None:
                on_keepalive(status)
                on_keepalive(status)

            return super().call(cmd, data, event, on_keepalive and twice)

    transport = with_channel(Channel)
    fails = "test_keepalives_are_told_as_they_change"


class TestRaisesStatuses(Conformance):
    class Channel(HidChannel):
        def call(self, *arguments: Any, **named: Any) -> bytes:
            response = super().call(*arguments, **named)
            if response[:1] != b"\0":
                raise AuthenticatorError(f"status {response.hex()}", "try again")
            return response

    transport = with_channel(Channel)
    fails = "test_status_bytes_are_for_the_caller"


class TestAsksWhileItDiscovers(Conformance):
    class Transport(Cord):
        def discover(self, location: str) -> list[str]:
            from sk_provider.config import Configuration
            from sk_provider.operation import Operation

            channel = self.open(location, Configuration(), Operation(1), may_create=False)
            channel.call(framing.CBOR, b"\4")
            channel.close()
            return [location]

    transport = Transport()
    fails = "test_discover_says_nothing_to_the_authenticator"


class TestFindsAnotherPlace(Conformance):
    class Transport(Cord):
        def discover(self, location: str) -> list[str]:
            return [f"{location}?"]

        def open(self, location: str, *arguments: Any, **named: Any) -> HidChannel:
            channel = super().open(location.rstrip("?"), *arguments, **named)
            if location.endswith("?"):
                channel.call = self.refuse  # type: ignore[assignment,method-assign]
            return channel

        def refuse(self, *_: object) -> bytes:
            raise AuthenticatorError("nobody is at the other end of the cord", "tie it to something")

    transport = Transport()
    fails = "test_what_discover_returns_can_be_opened"


class TestRefusesASecondChannelWithoutASentence(Conformance):
    class Channel(HidChannel):
        opened = 0

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            type(self).opened += 1
            if self.opened > 1:
                self.close()
                raise ValueError("one is open")

        def close(self) -> None:
            super().close()
            type(self).opened -= 1

    transport = with_channel(Channel)
    fails = "test_a_second_channel_is_opened_or_refused_in_time"


class TestFindsNothing(Conformance):
    class Transport(Cord):
        def discover(self, location: str) -> Any:
            return None

    transport = Transport()
    fails = "test_discover_returns_locations"


class TestParsesNoise(Conformance):
    class Channel(HidChannel):
        def _receive_packet(self, event: Any, deadline: float | None) -> bytes:
            packet = super()._receive_packet(event, deadline)
            if packet[4] & framing.INIT_PACKET:
                {framing.ERROR, framing.CBOR, framing.INIT}.remove(packet[4] & ~framing.INIT_PACKET)
            return packet

    transport = with_channel(Channel)
    fails = "test_noise_is_told"


class TestCutsTheLastByte(Conformance):
    class Channel(HidChannel):
        def call(self, *arguments: Any, **named: Any) -> bytes:
            return super().call(*arguments, **named)[:-1]

    transport = with_channel(Channel)
    fails = "test_responses_come_whole"


class TestGivesTheFormerAnswerWhenItIsCalledOff(Conformance):
    class Channel(HidChannel):
        former = b""

        def call(self, *arguments: Any, **named: Any) -> bytes:
            try:
                self.former = super().call(*arguments, **named)
            except SecurityKeyError:
                if not self.former:
                    raise
            return self.former

    transport = with_channel(Channel)
    fails = "test_the_event_ends_the_wait_for_a_person"


class KeptChannel(HidChannel):
    """One that has the same channel of its authenticator for all commands, also after one was cancelled."""

    kept = 0

    def _allocate(self, event: Any) -> None:
        if self.kept:
            self._channel = self.kept
        else:
            super()._allocate(event)
            self.kept = self._channel


class TestDoesNotAwaitThatItIsCalledOff(Conformance):
    class Channel(KeptChannel):
        def _cancel(self) -> None:
            self._send(framing.CANCEL, b"")

    transport = with_channel(Channel)
    fails = "test_no_answer_is_taken_for_that_to_another_question"


class TestKeepsHalfAReport(Conformance):
    class Reports(Reports):
        kept = b""

        def receive(self, seconds: float) -> bytes | None:
            came = type(self).kept + (super().receive(seconds) or b"")
            report, type(self).kept = came[: framing.REPORT_SIZE], came[framing.REPORT_SIZE :]
            if len(report) == framing.REPORT_SIZE:
                return report
            type(self).kept = report
            return None

    transport = with_reports(Reports)
    fails = "test_half_a_report_is_told"


class TestAsksAgainAfterSilence(Conformance):
    class Channel(KeptChannel):
        def call(self, *arguments: Any, **named: Any) -> bytes:
            try:
                return super().call(*arguments, **named)
            except AuthenticatorError:
                return super().call(*arguments, **named)

    transport = with_channel(Channel)
    fails = "test_what_holds_a_pin_is_sent_once"


class TestTellsKeepalivesElsewhere(Conformance):
    class Channel(HidChannel):
        def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
            def tell(status: int) -> None:
                thread = threading.Thread(target=on_keepalive, args=[status])
                thread.start()
                thread.join()

            return super().call(cmd, data, event, on_keepalive and tell)

    transport = with_channel(Channel)
    fails = "test_keepalives_are_told_in_the_thread_of_the_call"


class TestTakesALateKeepaliveForAFault(Conformance):
    class Channel(HidChannel):
        def _receive_message(self, event: Any, deadline: float | None) -> tuple[int, bytes]:
            asked_at = time.monotonic()
            command, response = super()._receive_message(event, deadline)
            if command == framing.KEEPALIVE and time.monotonic() < asked_at + 0.02:
                raise AuthenticatorError("there is noise on the cord", "try again")
            return command, response

    transport = with_channel(Channel)
    fails = "test_a_keepalive_that_comes_after_the_answer_is_passed_over"


class TestHasAllSocketsTimeOut(Conformance):
    class Reports(Reports):
        def __init__(self, location: str) -> None:
            super().__init__(location)
            socket.setdefaulttimeout(3)

    @pytest.fixture
    def surroundings(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(hid, "SILENCE", self.silence)
        yield
        socket.setdefaulttimeout(None)

    transport = with_reports(Reports)
    fails = "test_get_info_is_answered"


class TestForgetsItsCapabilities(Conformance):
    class Channel(HidChannel):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.capabilities = 0

    transport = with_channel(Channel)
    fails = "test_calls_take_what_python_fido2_gives_them"
