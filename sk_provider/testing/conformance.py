"""The cases: what transport_api promises to whoever uses a transport, tried one promise at a time."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import pytest
from fido2.ctap2 import ClientPin, Ctap2

from sk_provider import third_party, transport_api, transports
from sk_provider.config import Configuration
from sk_provider.ctap import cbor, commands, framing, status
from sk_provider.errors import TimedOut
from sk_provider.operation import Operation

from .leftovers import Leftovers, inheritable
from .messages import CLIENT_DATA_HASH, RP_ID, assertion, check_signature, creation, made
from .token import Token
from .waiting import (
    ANSWER_PATIENCE,
    Begun,
    check_called_off,
    check_sentence,
    in_a_fork,
    in_words,
    outcome_of,
    run,
    wait_until,
    within,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from sk_provider.transport_api import Channel, Transport

    Result = TypeVar("Result")

PIN = "correct horse"
_U2F_VERSION = bytes.fromhex("00030000000000")
_UNKNOWN_CTAP2_COMMAND = 0x3E
_TRY_OF_A_PIN = bytes([commands.CLIENT_PIN]) + cbor.encode({1: 2, 2: 5, 6: bytes(32)})
"""getPinToken (CTAP 2.1 §6.5.5.7.1), as far as a transport can tell."""
_LATE = 0.2
"""Seconds in which an answer comes that nobody awaits any more."""
_ASKED_PATIENCE = 5.0
"""Seconds until a request has come."""

_SIZES = (1, 2, 57, 58, 63, 64, 65, 116, 117, 255, 256, 257, 1024, 4096, 7608, framing.MAX_MESSAGE_SIZE)
"""Of messages: around the ends of packets, of bytes and of APDUs."""

NOWHERE = ("/no such place", "no such place", "%41\u00e9\u20ac", "/" + "x" * 300, "x" * 70000)
"""Locations of nothing. A command of that name is not there either."""


class SafeConformance:
    """The cases that are safe with anybody's authenticator. See the package."""

    scheme = ""
    transport: Any = None
    silence = 3.0
    grace = 2.0
    leaves_out: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Other processes know nothing of a transport that is named here.
        in_hosts = ("test_ssh_keygen_and_pysk_use_it",) if cls.transport is not None else ()
        for name in (*cls.leaves_out, *in_hosts):
            if not hasattr(cls, name):
                raise TypeError(f"{cls.__name__}.leaves_out names {name}, which is no case")
            setattr(cls, name, None)

    def configuration(self) -> Configuration:
        """Return the pysk_config that open() is given."""
        return Configuration()

    @pytest.fixture
    def surroundings(self) -> None:
        """Make what connect() needs; a subclass may have another, which takes fixtures."""

    @pytest.fixture
    def location(self, request: pytest.FixtureRequest, surroundings: None) -> str:  # noqa: ARG002 - it comes before
        """Return the location of an authenticator: what `--token` names, or else what connect() has made."""
        address = request.config.getoption("--token", default=None)
        if address is not None:
            scheme, location = transports.split(address)
            assert scheme == self.scheme, f"--token {address} is none of {self.scheme}:"
            found = self.reached().discover(location)
            return found[0] if found else location
        return self.make_location(request)

    def make_location(self, request: pytest.FixtureRequest) -> str:
        """Return the location where there is no `--token`."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def leaves_nothing(self, location: str, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:  # noqa: ARG002 - it comes before
        """Fail a case that leaves something behind, or writes to the standard streams, which are the host's."""
        self.reached()  # so that what its modules keep for good is there before
        before = Leftovers()
        yield
        left = before.found(self.grace)
        assert not left, f"left behind: {'; '.join(left)}"
        printed = "".join(capfd.readouterr())
        assert not printed, f"standard output and standard error are the host's, and this was written: {printed!r}"

    @pytest.fixture
    def call_a_person(self, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Callable[[], None]:
        """Return what tells the person who holds a real token to touch it."""

        def call() -> None:
            if request.config.getoption("--token", default=None) is not None:
                with capfd.disabled():
                    print("\ntouch the authenticator", file=sys.stderr)  # noqa: T201

        return call

    def reached(self) -> Transport:
        """Return the transport itself, with nobody between who would make up for what it does wrong."""
        if self.transport is None:
            if self.scheme in transports.SCHEMES:
                type(self).transport = transports.load(self.scheme, own_only=True)
            else:
                _, type(self).transport = third_party.load(
                    transports.ENTRY_POINTS,
                    self.scheme,
                    "transport",
                    transports.SCHEMES,
                    named_where="",
                    own_only=False,
                )
        transport: Transport = self.transport
        return transport

    def operation(self, seconds: int = 60) -> Operation:
        """Return one in which a person has so much time; call_off() interrupts it."""
        return Operation(seconds, tell=lambda _: None)

    def open(self, location: str, operation: Operation | None = None) -> Channel:
        """Open a channel, within the time that silence and the operation have."""
        operation = operation or self.operation()
        return within(
            self.silence + operation.timeout + self.grace,
            "open()",
            lambda: self.reached().open(location, self.configuration(), operation, may_create=False),
        )

    def close(self, channel: Channel) -> None:
        """Close a channel, within the time that the host gives it."""
        within(5.0, "close()", channel.close)

    @contextmanager
    def opened(self, location: str, operation: Operation | None = None) -> Iterator[Channel]:
        """Open a channel, and close it."""
        channel = self.open(location, operation)
        try:
            yield channel
        finally:
            self.close(channel)

    def ask(
        self,
        channel: Channel,
        request: bytes,
        event: Operation | None = None,
        on_keepalive: Callable[[int], None] | None = None,
        cmd: int = framing.CBOR,
        seconds: float = ANSWER_PATIENCE,
    ) -> bytes:
        """Call, within so many seconds, and return the response, which is bytes."""
        response = within(seconds, "call()", lambda: channel.call(cmd, request, event, on_keepalive))
        assert isinstance(response, bytes), f"call() returned {type(response).__name__}, and not bytes"
        return response

    def check_info(self, channel: Channel) -> None:
        """Have the authenticator answer getInfo."""
        response = self.ask(channel, bytes([commands.GET_INFO]))
        assert response[:1] == b"\0", "getInfo has failed"
        assert isinstance(cbor.decode(response[1:]), dict)

    def check_ends_by_event(self, waits: Callable[[Operation], Any], when: Callable[[], bool]) -> None:
        """Set the event, once something waits with it, and see that it ends by that and no sooner."""
        operation = self.operation()
        begun = Begun(lambda: outcome_of(lambda: waits(operation)))
        wait_until(lambda: when() or begun.has_ended(), _ASKED_PATIENCE, "the authenticator was asked nothing")
        if begun.has_ended():
            pytest.fail(f"the wait has ended before the event was set: {in_words(begun.result('the wait', 0))}")
        operation.call_off()
        check_called_off(begun.result("the wait", self.grace))

    # What is there

    def test_discover_returns_locations(self, location: str) -> None:
        found = within(5.0, "discover()", lambda: self.reached().discover(location))
        assert isinstance(found, list), f"discover() returned {type(found).__name__}, and not a list"
        assert all(isinstance(each, str) for each in found), "locations are str"
        assert found, "discover() does not return what can be opened"

    def test_what_discover_returns_can_be_opened(self, location: str) -> None:
        with self.opened(self.reached().discover(location)[0]) as channel:
            self.check_info(channel)

    def test_what_discover_returns_can_be_discovered_again(self, location: str) -> None:
        first = self.reached().discover(location)[0]
        assert first in self.reached().discover(first)

    def test_discover_without_a_location_returns_a_list(self) -> None:
        found = outcome_of(lambda: self.reached().discover(""), 5.0)
        if isinstance(found, BaseException):
            check_sentence(found)
        else:
            assert isinstance(found, list)

    @pytest.mark.parametrize("nowhere", NOWHERE, ids=range(len(NOWHERE)))
    def test_a_location_of_nothing_is_refused_in_a_sentence(self, nowhere: str) -> None:
        found = outcome_of(lambda: self.reached().discover(nowhere), 5.0)
        if isinstance(found, BaseException):
            check_sentence(found)
        else:
            assert isinstance(found, list)
        outcome = outcome_of(lambda: self.open(nowhere, self.operation(1)))
        assert isinstance(outcome, BaseException), "a channel to nothing was opened"
        check_sentence(outcome)

    # What transports may have besides.

    def test_its_version_of_the_interface_is_known_here(self) -> None:
        version = getattr(self.reached(), "transport_api_version", 1)
        assert isinstance(version, int)
        assert version <= getattr(transport_api, "VERSION", 1)

    def test_a_name_is_text(self, location: str) -> None:
        name: Any = getattr(self.reached(), "name", lambda _: "")
        for each in (location, NOWHERE[0]):
            assert isinstance(within(1.0 + self.grace, "name()", partial(name, each)), str)

    # Calls

    def test_capabilities_are_a_byte(self, location: str) -> None:
        with self.opened(location) as channel:
            assert isinstance(channel.capabilities, int)
            assert 0 <= channel.capabilities <= 0xFF

    def test_get_info_is_answered(self, location: str) -> None:
        with self.opened(location) as channel:
            self.check_info(channel)

    def test_calls_take_what_python_fido2_gives_them(self, location: str) -> None:
        with self.opened(location) as channel:
            device: Any = channel
            assert Ctap2(device).get_info().aaguid is not None

    def test_calls_take_their_arguments_by_name_and_by_place(self, location: str) -> None:
        with self.opened(location) as channel:
            request = bytes([commands.GET_INFO])
            by_name = within(
                ANSWER_PATIENCE,
                "call()",
                lambda: channel.call(cmd=framing.CBOR, data=request, event=self.operation(), on_keepalive=None),
            )
            by_place = within(
                ANSWER_PATIENCE, "call()", lambda: channel.call(framing.CBOR, request, None, lambda _: None)
            )
            assert by_name[:1] == by_place[:1] == b"\0"

    def test_a_status_of_an_error_is_returned(self, location: str) -> None:
        with self.opened(location) as channel:
            assert self.ask(channel, bytes([_UNKNOWN_CTAP2_COMMAND]))[0] != status.SUCCESS

    def test_u2f_is_answered_or_refused(self, location: str) -> None:
        with self.opened(location) as channel:
            outcome = outcome_of(lambda: self.ask(channel, _U2F_VERSION, cmd=framing.MSG))
            if isinstance(outcome, BaseException):
                check_sentence(outcome)
            else:
                assert len(outcome) >= 2, "a U2F response ends with a status word"
            self.check_info(channel)

    @pytest.mark.parametrize("cmd", [framing.PING, framing.WINK, 0x20])
    def test_other_ctaphid_commands_are_answered_or_refused(self, location: str, cmd: int) -> None:
        data = bytes(range(200)) if cmd == framing.PING else b""
        with self.opened(location) as channel:
            outcome = outcome_of(lambda: self.ask(channel, data, cmd=cmd))
            if isinstance(outcome, BaseException):
                check_sentence(outcome)
            else:
                assert outcome == data, "PING and WINK return what they were sent"
            self.check_info(channel)

    def test_an_unknown_key_handle_is_not_signed_with(self, location: str) -> None:
        with self.opened(location) as channel:
            response = self.ask(channel, assertion(bytes(64), up=False), self.operation())
            assert response[0] != status.SUCCESS

    def test_a_key_is_made_and_signs(self, location: str, call_a_person: Callable[[], None]) -> None:
        with self.opened(location) as channel:
            call_a_person()
            credential_id, public_key = made(self.ask(channel, creation(), self.operation()))
            call_a_person()
            response = self.ask(channel, assertion(credential_id), self.operation())
            check_signature(response, public_key)

    # The life of a channel

    def test_close_comes_twice(self, location: str) -> None:
        channel = self.open(location)
        self.close(channel)
        self.close(channel)

    def test_it_is_opened_again_and_again(self, location: str) -> None:
        for _ in range(5):
            with self.opened(location) as channel:
                self.check_info(channel)

    def test_open_call_and_close_come_from_different_threads(self, location: str) -> None:
        # Each of them here runs in a thread of its own, which has ended by the time of the next.
        channel = self.open(location)
        for _ in range(3):
            self.check_info(channel)
        self.close(channel)

    def test_a_second_channel_is_opened_or_refused_in_time(self, location: str) -> None:
        with self.opened(location) as channel:
            outcome = outcome_of(lambda: self.open(location, self.operation(1)))
            if isinstance(outcome, BaseException):
                check_sentence(outcome)
            else:
                self.check_info(outcome)
                self.close(outcome)
            self.check_info(channel)

    def test_programs_do_not_inherit_it(self, location: str) -> None:
        before = inheritable()
        with self.opened(location) as channel:
            self.check_info(channel)
            assert not inheritable() - before, "file descriptors must be close-on-exec"

    def test_a_fork_leaves_a_channel_as_it_is(self, location: str) -> None:
        with self.opened(location) as channel:
            assert in_a_fork(lambda: None)
            self.check_info(channel)

    def test_a_forked_process_opens_it_anew(self, location: str) -> None:
        with self.opened(location) as channel:
            self.check_info(channel)
        assert in_a_fork(lambda: self._ask_for_info(location)), "it does not work in a forked process"

    def _ask_for_info(self, location: str) -> None:
        with self.opened(location) as channel:
            self.check_info(channel)

    # The event

    def test_open_ends_if_the_event_is_set_before(self, location: str) -> None:
        operation = self.operation()
        operation.call_off()
        outcome = outcome_of(lambda: self.open(location, operation), self.grace)
        if isinstance(outcome, BaseException):
            check_called_off(outcome)
        else:
            self.close(outcome)

    def test_a_call_ends_if_the_event_is_set_before(self, location: str) -> None:
        with self.opened(location) as channel:
            operation = self.operation()
            operation.call_off()
            outcome = outcome_of(lambda: self.ask(channel, creation(), operation, seconds=self.grace))
            if isinstance(outcome, BaseException):  # an authenticator that asks nobody may be as quick
                check_called_off(outcome)
        with self.opened(location) as channel:
            self.check_info(channel)

    def test_an_answer_stays_good_if_the_event_is_set_after(self, location: str) -> None:
        operation = self.operation()
        with self.opened(location, operation) as channel:
            response = self.ask(channel, bytes([commands.GET_INFO]), operation)
            operation.call_off()
            assert response[:1] == b"\0"

    # In a real host

    def test_ssh_keygen_and_pysk_use_it(self, location: str, tmp_path: Any, call_a_person: Callable[[], None]) -> None:
        address = transports.join(self.scheme, location)
        pysk = os.path.join(os.path.dirname(sys.executable), "pysk")
        settings = tmp_path / "pysk_config"
        settings.write_text("Timeout 30\n")
        settings.chmod(0o600)
        environment = {**os.environ, "PYSK_CONFIG": str(settings), "LC_ALL": "C.UTF-8"}
        library = run([pysk, "path"], environment).strip()
        call_a_person()
        key = tmp_path / "key"
        run(
            ["ssh-keygen", "-q", "-t", "ecdsa-sk", "-N", "", "-f", str(key), "-w", library, "-O", f"device={address}"],
            environment,
        )
        assert key.exists()
        call_a_person()
        run([pysk, "try", address], environment)


class TransportConformance(SafeConformance):
    """All cases, of which many have the software authenticator misbehave. See the package."""

    patience = 3
    sizes: tuple[int, ...] = _SIZES

    def connect(self, token: Token) -> str:
        """Put a token behind a location, and return that."""
        raise NotImplementedError

    @pytest.fixture
    def token(self) -> Iterator[Token]:
        """Make the authenticator behind location."""
        with Token() as token:
            yield token

    @pytest.fixture
    def other_token(self) -> Iterator[Token]:
        """Make another one."""
        with Token() as token:
            yield token

    def make_location(self, request: pytest.FixtureRequest) -> str:
        """See SafeConformance."""
        return self.connect(request.getfixturevalue("token"))

    @pytest.fixture
    def other_location(self, other_token: Token) -> str:
        """Return the location of the other one."""
        return self.connect(other_token)

    def check_ends_in_silence(self, wait: Callable[[], Any]) -> None:
        """See that a wait for what never comes ends by itself, in a sentence."""
        check_sentence(outcome_of(wait, self.silence + self.patience + 2 * self.grace))

    # Unopened

    def test_discover_says_nothing_to_the_authenticator(self, location: str, token: Token) -> None:
        self.reached().discover(location)
        assert token.commands == []

    # Messages

    def test_requests_come_whole(self, location: str, token: Token) -> None:
        token.answer = b"\0"
        with self.opened(location) as channel:
            token.commands.clear()
            for size in self.sizes:
                request = (b"\x04" + os.urandom(size - 1))[:size]
                assert self.ask(channel, request) == b"\0"
                assert token.commands.pop() == (framing.CBOR, request), f"a request of {size} bytes came changed"

    def test_responses_come_whole(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            for size in self.sizes:
                token.answer = b"\0" + os.urandom(size - 1)
                response = self.ask(channel, bytes([commands.GET_INFO]))
                assert response == token.answer, f"a response of {size} bytes came changed"

    def test_what_holds_a_pin_is_sent_once(self, location: str, token: Token) -> None:
        token.answer = b"\0"
        with self.opened(location) as channel:
            token.commands.clear()
            assert self.ask(channel, _TRY_OF_A_PIN) == b"\0"
            assert token.commands == [(framing.CBOR, _TRY_OF_A_PIN)], "each time that it comes may cost a try"
            # What is asked before each call, such as by CTAPHID_INIT, is answered.
            token.seconds, token.is_sparing = 60.0, True
            outcome_of(lambda: self.ask(channel, _TRY_OF_A_PIN, self.operation(self.patience)))
            assert len(token.commands) == 2, "it must be sent once, also where no answer comes"

    @pytest.mark.parametrize("size", [framing.MAX_MESSAGE_SIZE + 1, 70000])
    def test_a_request_that_is_too_long_is_refused_or_answered(self, location: str, size: int) -> None:
        with self.opened(location) as channel:
            outcome = outcome_of(lambda: self.ask(channel, b"\x04" + bytes(size - 1)))
            if isinstance(outcome, BaseException):
                check_sentence(outcome)
        with self.opened(location) as channel:
            self.check_info(channel)

    def test_status_bytes_are_for_the_caller(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            for code in (status.OPERATION_DENIED, status.PIN_BLOCKED, 0x7F, 0xF0):
                token.answer = bytes([code])
                assert self.ask(channel, bytes([commands.GET_INFO])) == token.answer

    def test_u2f_responses_come_with_their_status_word(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            token.answer = bytes.fromhex("6985")
            assert self.ask(channel, _U2F_VERSION, cmd=framing.MSG) == token.answer
            token.answer = b"U2F_V2" + bytes.fromhex("9000")
            assert self.ask(channel, _U2F_VERSION, cmd=framing.MSG) == token.answer

    def test_a_pin_is_set_and_verified(self, location: str) -> None:
        with self.opened(location) as channel:
            device: Any = channel
            pin = ClientPin(Ctap2(device))
            pin.set_pin(PIN)
            token = pin.get_pin_token(PIN, ClientPin.PERMISSION.MAKE_CREDENTIAL, RP_ID)
            response = self.ask(
                channel,
                creation({8: pin.protocol.authenticate(token, CLIENT_DATA_HASH), 9: pin.protocol.VERSION}),
                self.operation(),
            )
            made(response)

    # Waiting

    def test_a_slow_authenticator_is_waited_for(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            token.seconds = self.silence + 0.5
            self.check_info(channel)

    def test_keepalives_are_told_as_they_change(self, location: str, token: Token) -> None:
        token.seconds = token.comes_after = 0.3
        heard: list[int] = []
        with self.opened(location) as channel:
            made(self.ask(channel, creation(), self.operation(), heard.append))
        assert heard[-1:] == [framing.STATUS_UPNEEDED], f"the statuses that were told are {heard}"
        assert all(one != following for one, following in pairwise(heard)), "a status was told again"

    def test_keepalives_are_told_in_the_thread_of_the_call(self, location: str, token: Token) -> None:
        token.comes_after = 0.3
        heard_in: set[int] = set()

        def call() -> int:
            channel.call(framing.CBOR, creation(), self.operation(), lambda _: heard_in.add(threading.get_ident()))
            return threading.get_ident()

        with self.opened(location) as channel:
            assert {within(ANSWER_PATIENCE, "call()", call)} == heard_in

    def test_a_person_who_is_late_is_waited_for(self, location: str, token: Token) -> None:
        token.comes_after = self.silence + 0.5
        with self.opened(location) as channel:
            made(self.ask(channel, creation(), self.operation()))

    def test_firmware_without_keepalives_is_waited_for_where_a_person_may_be(self, location: str, token: Token) -> None:
        token.is_sparing = True
        token.comes_after = self.silence + 0.5
        with self.opened(location) as channel:
            made(self.ask(channel, creation(), self.operation()))

    def test_a_person_who_never_comes_is_given_up(self, location: str, token: Token) -> None:
        token.comes_after = None
        with self.opened(location) as channel:
            operation = self.operation(1)
            outcome = outcome_of(lambda: self.ask(channel, creation(), operation), 1 + self.grace)
            check_called_off(outcome, TimedOut)

    @pytest.mark.parametrize("request_of", ["creation", "assertion"])
    def test_the_event_ends_the_wait_for_a_person(self, location: str, token: Token, request_of: str) -> None:
        with self.opened(location) as channel:
            key = made(self.ask(channel, creation(), self.operation()))[0]
            token.comes_after = None
            request = creation() if request_of == "creation" else assertion(key)
            self.check_ends_by_event(lambda operation: self.ask(channel, request, operation), lambda: token.is_blinking)

    def test_an_event_that_is_set_before_ends_the_wait_for_a_person(self, location: str, token: Token) -> None:
        token.comes_after = None
        with self.opened(location) as channel:
            operation = self.operation()
            operation.call_off()
            check_called_off(outcome_of(lambda: self.ask(channel, creation(), operation, seconds=self.grace)))

    def test_the_event_ends_the_wait_for_a_slow_authenticator(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            token.commands.clear()
            token.seconds = 60.0
            self.check_ends_by_event(
                lambda operation: self.ask(channel, bytes([commands.GET_INFO]), operation), lambda: bool(token.commands)
            )

    def test_the_event_ends_the_wait_in_silence(self, location: str, token: Token) -> None:
        def goes_silent() -> bool:
            token.is_silent = bool(token.commands)
            return token.is_silent

        with self.opened(location) as channel:
            token.commands.clear()
            # What is asked before each call, such as by CTAPHID_INIT, is answered.
            token.seconds, token.is_sparing = 60.0, True
            self.check_ends_by_event(lambda operation: self.ask(channel, creation(), operation), goes_silent)

    def test_the_event_ends_the_wait_of_open(self, location: str, token: Token) -> None:
        token.is_silent = True
        operation = self.operation()
        begun = Begun(lambda: outcome_of(lambda: self.open(location, operation)))
        time.sleep(self.silence / 2)
        operation.call_off()
        outcome = begun.result("open()", self.grace)
        if isinstance(outcome, BaseException):
            check_called_off(outcome)
        else:  # nothing was asked of the authenticator
            self.close(outcome)

    def test_the_authenticator_hears_of_it(self, location: str, token: Token) -> None:
        token.comes_after = None
        with self.opened(location) as channel:
            self.check_ends_by_event(
                lambda operation: self.ask(channel, creation(), operation), lambda: token.is_blinking
            )
        wait_until(lambda: not token.is_blinking, self.grace, "the authenticator goes on waiting for somebody")
        token.comes_after = 0.0
        with self.opened(location) as channel:
            made(self.ask(channel, creation(), self.operation()))

    # Failing

    def test_no_answer_is_taken_for_that_to_another_question(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            token.is_sparing, token.seconds = True, 60.0
            self.check_ends_in_silence(
                lambda: self.ask(channel, bytes([_UNKNOWN_CTAP2_COMMAND]), self.operation(self.patience))
            )
            token.is_sparing, token.seconds = False, 0.0
            time.sleep(_LATE)
            outcome = outcome_of(lambda: self.check_info(channel))
            if outcome is not None:  # a channel that has failed once may fail for good
                check_sentence(outcome)
        with self.opened(location) as channel:
            self.check_info(channel)

    def test_silence_ends_a_call(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            token.is_silent = True
            self.check_ends_in_silence(
                lambda: self.ask(channel, bytes([commands.GET_INFO]), self.operation(self.patience))
            )

    def test_silence_ends_open_or_the_first_call(self, location: str, token: Token) -> None:
        token.is_silent = True
        self.check_ends_in_silence(lambda: self._open_and_ask(location))

    def _open_and_ask(self, location: str) -> None:
        operation = self.operation(self.patience)
        with self.opened(location, operation) as channel:
            self.ask(channel, bytes([commands.GET_INFO]), operation)

    @pytest.mark.parametrize("number", range(3), ids=["getInfo", "makeCredential", "getAssertion"])
    def test_death_at_any_message_is_told(self, location: str, token: Token, number: int) -> None:
        with self.opened(location) as channel:
            operation = self.operation(self.patience)
            key = made(self.ask(channel, creation(), operation))[0]
            token.dies_at = number
            requests = [bytes([commands.GET_INFO]), creation(), assertion(key)]
            for request in requests[:number]:
                self.ask(channel, request, operation)
            self.check_ends_in_silence(lambda: self.ask(channel, requests[number], operation))
            # What is dead stays dead.
            self.check_ends_in_silence(lambda: self.ask(channel, requests[0], operation))

    def test_death_while_a_person_is_awaited_is_told(self, location: str, token: Token) -> None:
        token.comes_after = None
        with self.opened(location) as channel:

            def unplug() -> None:
                wait_until(lambda: token.is_blinking, ANSWER_PATIENCE, "it does not wait for anybody")
                token.unplug()

            beside = Begun(unplug)
            self.check_ends_in_silence(lambda: self.ask(channel, creation(), self.operation(self.patience)))
            beside.result("unplug()", ANSWER_PATIENCE)

    def test_death_between_calls_is_told(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            self.check_info(channel)
            token.unplug()
            self.check_ends_in_silence(
                lambda: self.ask(channel, bytes([commands.GET_INFO]), self.operation(self.patience))
            )

    def test_nobody_is_at_a_location_that_was_left(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            self.check_info(channel)
        token.unplug()
        outcome_of(lambda: self.reached().discover(location), 5.0)
        self.check_ends_in_silence(lambda: self._open_and_ask(location))

    # Several

    def test_two_are_used_beside_each_other(self, location: str, other_location: str) -> None:
        def use(where: str) -> None:
            for _ in range(3):
                with self.opened(where) as channel:
                    credential_id, public_key = made(self.ask(channel, creation(), self.operation()))
                    check_signature(self.ask(channel, assertion(credential_id), self.operation()), public_key)

        beside = Begun(lambda: use(other_location))
        use(location)
        beside.result("what was done beside another", ANSWER_PATIENCE)

    def test_of_two_that_wait_one_is_called_off_and_the_other_signs(
        self, location: str, other_location: str, token: Token, other_token: Token
    ) -> None:
        token.comes_after = other_token.comes_after = None
        with self.opened(location) as channel, self.opened(other_location) as other:
            beside = Begun(lambda: self.ask(other, creation(), self.operation()))
            self.check_ends_by_event(
                lambda operation: self.ask(channel, creation(), operation),
                lambda: token.is_blinking and other_token.is_blinking,
            )
            other_token.comes_after = 0.0
            made(beside.result("call()", ANSWER_PATIENCE))


class ReportConformance(TransportConformance):
    """All cases, and some for what carries CTAPHID reports, of which any may be wrong. See the package."""

    def check_refused(self, location: str, token: Token, spoil: Callable[[bytes], list[bytes]]) -> None:
        """See that a call to an authenticator whose reports are spoilt is refused, and leaves nothing in the way."""
        operation = self.operation(self.patience)
        with self.opened(location, operation) as channel:
            token.spoil = spoil
            self.check_ends_in_silence(lambda: self.ask(channel, bytes([commands.GET_INFO]), operation))
        token.spoil = lambda report: [report]
        with self.opened(location) as channel:
            self.check_info(channel)

    def test_an_answer_that_stops_in_the_middle_is_told(self, location: str, token: Token) -> None:
        self.check_refused(location, token, lambda report: [report] if report[4] & framing.INIT_PACKET else [])

    def test_half_a_report_is_told(self, location: str, token: Token) -> None:
        self.check_refused(location, token, lambda report: [report[:30]])

    def test_packets_out_of_order_are_told(self, location: str, token: Token) -> None:
        self.check_refused(
            location,
            token,
            lambda report: [report if report[4] & framing.INIT_PACKET else report[:4] + b"\x05" + report[5:]],
        )

    def test_an_impossible_length_is_told(self, location: str, token: Token) -> None:
        self.check_refused(location, token, lambda report: [report[:5] + b"\xff\xff" + report[7:]])

    @pytest.mark.parametrize("noise", [b"\xaa" * 60, b"\x2a" * 60, os.urandom(60)], ids=range(3))
    def test_noise_is_told(self, location: str, token: Token, noise: bytes) -> None:
        self.check_refused(location, token, lambda report: [report[:4] + noise])

    def test_an_error_is_told(self, location: str, token: Token) -> None:
        self.check_refused(
            location,
            token,
            lambda report: [(report[:4] + bytes([framing.ERROR | framing.INIT_PACKET, 0, 1, 0x7F])).ljust(64, b"\0")],
        )

    def test_reports_for_others_are_passed_over(self, location: str, token: Token) -> None:
        with self.opened(location) as channel:
            token.spoil = lambda report: [b"\x12\x34\x56\x78" + report[4:], report, b"\x87\x65\x43\x21" + report[4:]]
            for _ in range(3):
                self.check_info(channel)

    def test_a_keepalive_that_comes_after_the_answer_is_passed_over(self, location: str, token: Token) -> None:
        def spoil(report: bytes) -> list[bytes]:
            late = report[:4] + bytes([framing.KEEPALIVE | framing.INIT_PACKET, 0, 1, framing.STATUS_PROCESSING])
            return [report, late.ljust(framing.REPORT_SIZE, b"\0")]

        with self.opened(location) as channel:
            token.spoil = spoil
            for number in range(3):
                token.answer = bytes([0, number])
                assert self.ask(channel, bytes([commands.GET_INFO])) == token.answer

    def test_death_in_the_middle_of_an_answer_is_told(self, location: str, token: Token) -> None:
        def spoil(report: bytes) -> list[bytes]:
            if report[4] & framing.INIT_PACKET:
                return [report]
            threading.Thread(target=token.unplug).start()
            return []

        with self.opened(location) as channel:
            token.spoil = spoil
            self.check_ends_in_silence(
                lambda: self.ask(channel, bytes([commands.GET_INFO]), self.operation(self.patience))
            )
