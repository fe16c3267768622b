"""What decides between several authenticators, without any: how they answer is played."""

from __future__ import annotations

import _thread
import sys
import time

import pytest
from support import answering

import sk_provider
from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION, SignRequest
from sk_provider.client import candidates
from sk_provider.client import token as client_token
from sk_provider.client.discovery import Found
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import cbor, framing, status
from sk_provider.errors import CredentialNotFound, PinBlocked, PinRequired, SecurityKeyError, StoreUnusable
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sk_provider.transport_api import Event

    OnKeepalive = Callable[[int], None]
    Ask = Callable[[bytes, Event | None, OnKeepalive | None], bytes]

pytestmark = pytest.mark.slow

GET_INFO = b"\x04"
HAS_PIN = b"\0" + cbor.encode({4: {"clientPin": True}})


class Played:
    """An authenticator whose answers a function gives."""

    def __init__(self, ask: Ask) -> None:
        self.capabilities = framing.CAPABILITY_CBOR
        self._ask = ask

    def call(
        self,
        _cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: OnKeepalive | None = None,
    ) -> bytes:
        return self._ask(data, event, on_keepalive)

    def close(self) -> None:
        pass


def with_tries(number: int) -> Ask:
    return lambda data, *_: HAS_PIN if data == GET_INFO else b"\0" + cbor.encode({3: number})


def take_for_ever(_data: bytes, event: Event | None, _on_keepalive: OnKeepalive | None) -> bytes:
    assert event is not None
    while not event.is_set():
        time.sleep(0.01)
    raise event.reason()


def fail(*_: object) -> bytes:
    raise StoreUnusable("the store is gone", "find it")


def error_without_pin(*authenticators: Ask, failures: tuple[BaseException, ...] = ()) -> SecurityKeyError:
    """Return what is raised where all of them may hold a key that wants a PIN, and which none was given for."""
    flags = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
    request = SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:", bytes(64), flags, None, None)
    operation = Operation(30)
    those = candidates._Candidates(Configuration(), operation)
    those.tokens = those.maybe = [Token(Played(ask), "unix:/played") for ask in authenticators]
    those.failures = list(failures)
    with pytest.raises(SecurityKeyError) as caught:
        candidates._choose(those, request, operation)
    return caught.value


@pytest.mark.parametrize("other", [take_for_ever, fail, with_tries(0)], ids=["slow", "failing", "blocked"])
def test_none_hides_one_that_takes_the_pin(other: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_token, "PROBE_PATIENCE", 1)
    begun = time.monotonic()
    assert isinstance(error_without_pin(other, with_tries(8)), PinRequired)
    assert time.monotonic() - begun < 10


def test_one_that_takes_its_time_is_told_of_where_no_other_takes_a_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_token, "PROBE_PATIENCE", 1)
    assert isinstance(error_without_pin(take_for_ever, take_for_ever), CredentialNotFound)


def test_a_blocked_one_is_not_told_to_be_reset_while_another_may_hold_the_key() -> None:
    dead = CredentialNotFound("the authenticator does not answer", "unplug it")
    assert error_without_pin(with_tries(0), failures=(dead,)) is dead
    assert isinstance(error_without_pin(with_tries(0), with_tries(0)), PinBlocked)


def test_loading_what_speaks_u2f_does_not_count_as_a_tokens_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sk_provider.client.u2f":
                time.sleep(1.5)

    def answer(_data: bytes, event: Event | None, _on_keepalive: OnKeepalive | None) -> bytes:
        assert event is not None
        assert not event.is_set()
        return b"\x69\x85"

    monkeypatch.setattr(client_token, "PROBE_PATIENCE", 1)
    monkeypatch.delitem(sys.modules, "sk_provider.client.u2f", raising=False)
    monkeypatch.delattr(sk_provider.client, "u2f", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Slow(), *sys.meta_path])
    token = Played(answer)
    token.capabilities = 0
    request = SignRequest(ALGORITHM_ECDSA, bytes(32), "ssh:", bytes(64), FLAG_USER_PRESENCE, None, None)
    assert candidates.ask_silently(Token(token, "unix:/played"), request, None, Operation(30)) == candidates.HOLDS


class Drawer:
    """A transport with one authenticator in it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def discover(self, location: str) -> list[str]:
        return [location]

    def open(self, *_: object, may_create: bool) -> Played:
        return Played(self._ask)


def test_those_that_may_hold_the_key_keep_the_order_in_which_they_were_found() -> None:
    second_ends = _thread.allocate_lock()
    second_ends.acquire()

    def refuse(*_: object) -> bytes:
        return bytes([status.PUAT_REQUIRED])

    def refuse_later(*_: object) -> bytes:
        with second_ends:
            time.sleep(0.2)
        return refuse()

    def refuse_first(*_: object) -> bytes:
        second_ends.release()
        return refuse()

    found = [Found("unix", Drawer(ask), f"/{number}") for number, ask in enumerate((refuse_later, refuse_first))]
    request = SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:", bytes(64), FLAG_USER_PRESENCE, None, None)
    those = candidates._Candidates(Configuration(), Operation(30))
    assert those.find_holder(found, request) is None
    assert [token.address for token in those.maybe] == ["unix:/0", "unix:/1"]


def touched(*touches: tuple[int | None, float]) -> Ask:
    """Tell a keep-alive's status, if there is one, and answer after a time, for each touch in turn."""
    left = list(touches)

    def answer(_data: bytes, _event: Event | None, on_keepalive: OnKeepalive | None) -> bytes:
        keepalive_status, seconds = left.pop(0)
        if keepalive_status is not None:
            assert on_keepalive is not None
            on_keepalive(keepalive_status)
        time.sleep(seconds)
        return bytes([status.PIN_NOT_SET])

    return answer


LATER, AT_ONCE = 0.3, 0.0


@pytest.mark.parametrize(
    ("touches", "is_chosen"),
    [
        ([(framing.STATUS_UPNEEDED, LATER)], True),
        ([(framing.STATUS_UPNEEDED, AT_ONCE), (framing.STATUS_UPNEEDED, LATER)], True),
        ([(framing.STATUS_UPNEEDED, AT_ONCE)] * 2, False),
        ([(framing.STATUS_PROCESSING, LATER)] * 2, False),
        ([(None, LATER)] * 2, False),
    ],
)
def test_a_touch_is_what_was_asked_for_and_took_its_time(
    touches: list[tuple[int | None, float]],
    is_chosen: bool,
) -> None:
    assert Token(Played(touched(*touches)), "unix:/played").wait_for_touch(Operation(30)) == is_chosen


def test_a_u2f_token_that_answers_at_once_was_not_touched() -> None:
    token = answering.Token(b"\5" + bytes(65) + b"\0\x30\0\x90\x00", 0)
    assert not Token(token, "unix:/played").wait_for_touch(Operation(30))
