"""Several authenticators that may serve: which one does, what the person is told, and that the others are let go."""

from __future__ import annotations

import _thread
import time

import pytest
from support.drawer import APPLICATION, Drawer, Player
from support.traced import sentence_of, trace_into

from sk_provider import transports
from sk_provider.api import (
    ALGORITHM_ECDSA,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    SignRequest,
)
from sk_provider.client import candidates, selection, touch
from sk_provider.client import token as client_token
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.credentials import known_keys
from sk_provider.ctap import commands, status
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    DeviceNotFound,
    Interrupted,
    PinBlocked,
    PinRequired,
    SecurityKeyError,
    TimedOut,
    TransportDefect,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytestmark = pytest.mark.slow

HOLDS, HOLDS_NOT, SAYS_NOTHING = status.SUCCESS, status.NO_CREDENTIALS, status.PUAT_REQUIRED
VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
PIN = "1234"
HAS_PIN = {"clientPin": True}
SOON = 0.05
KEY_HANDLE = b"key handle"


class Desk:
    """Authenticators on it at unix:/0 and so on, cards on readers, and the person before it with what they are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configuration = Configuration()
        self.told: list[str] = []
        self.operation = Operation(30, tell=self.told.append)
        self.drawer: Any = Drawer()
        self.drawer.put_in_place_of("unix", monkeypatch)
        self.readers = Drawer()
        self.readers.put_in_place_of("nfc", monkeypatch)
        self.players: list[Player] = []
        self._monkeypatch = monkeypatch

    def put(self, *tokens: Player | SecurityKeyError, cards: tuple[Player, ...] | None = None) -> None:
        self.drawer.channels = {f"/{number}": token for number, token in enumerate(tokens)}
        self.players = [token for token in (*tokens, *(cards or ())) if isinstance(token, Player)]
        self.configuration = Configuration()
        self.configuration.add_rule("devices", [], [f"unix:{location}" for location in self.drawer.channels])
        if cards is None:
            return
        # Where no address is named.
        self.configuration = Configuration()
        self.readers.channels = {f"reader {number}": card for number, card in enumerate(cards)}
        self._monkeypatch.setattr(transports, "DEFAULT", "unix")
        self._monkeypatch.setattr(transports, "FALLBACK_SOCKET", "/")

    def request(self, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> SignRequest:
        return SignRequest(ALGORITHM_ECDSA, bytes(32), APPLICATION, KEY_HANDLE, flags, pin, None)

    def sign(self, *tokens: Player | SecurityKeyError, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> str:
        """Return the address of the token that serves a signature, after it and the others were looked at."""
        if tokens:
            self.put(*tokens)
        return self.chosen(selection.open_for_signature(self.request(flags, pin), self.configuration, self.operation))

    def enroll(self, *tokens: Player | SecurityKeyError, pin: str | None = None) -> str:
        if tokens:
            self.put(*tokens)
        request = EnrollRequest(ALGORITHM_ECDSA, b"challenge", APPLICATION, FLAG_USER_PRESENCE, pin, None, None)
        return self.chosen(selection.open_for_enrollment(request, self.configuration, self.operation))

    def manage(self, *tokens: Player | SecurityKeyError) -> str:
        if tokens:
            self.put(*tokens)
        return self.chosen(selection.open_for_management(None, self.configuration, self.operation))

    def chosen(self, token: Token) -> str:
        assert sorted(player.times_closed for player in self.players) == [0] + [1] * (len(self.players) - 1)
        token.close()
        assert all(player.times_closed == 1 for player in self.players)
        opened = self.drawer.opened + self.readers.opened
        assert token.is_the_only_one is (len(opened) == 1)
        self.drawer.opened, self.readers.opened = [], []
        return token.address

    def refusal(self, what: Any, *tokens: Player | SecurityKeyError, **arguments: Any) -> SecurityKeyError:
        if tokens:
            self.put(*tokens)
        with pytest.raises(SecurityKeyError) as caught:
            what(**arguments)
        assert all(player.times_closed == 1 for player in self.players)
        self.drawer.opened, self.readers.opened = [], []
        return caught.value


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(touch, "_REACTION", SOON / 2)
    return Desk(monkeypatch)


def gone() -> SecurityKeyError:
    return DeviceNotFound("it is gone", "bring it back")


def broken() -> SecurityKeyError:
    return AuthenticatorError("it is broken", "mend it")


@pytest.mark.parametrize(("flags", "pin"), [(FLAG_USER_PRESENCE, None), (VERIFIED, None), (FLAG_USER_PRESENCE, PIN)])
def test_the_one_that_holds_the_key_signs(desk: Desk, flags: int, pin: str | None) -> None:
    # Where verification is wanted, a key may be hidden, so that no is no answer.
    other = HOLDS_NOT if flags == FLAG_USER_PRESENCE else status.INVALID_PARAMETER
    if pin is None:
        assert desk.sign(Player(other), Player(HOLDS), Player(other), flags=flags) == "unix:/1"
    assert desk.sign(Player(HOLDS_NOT), Player(HOLDS), flags=FLAG_USER_PRESENCE, pin=pin) == "unix:/1"
    assert desk.told == []
    assert all(commands.MAKE_CREDENTIAL not in player.asked for player in desk.players)


def test_a_trace_tells_which_one_signs_and_why_the_others_do_not(desk: Desk) -> None:
    lines: list[str] = []
    desk.operation.trace = trace_into(lines)
    assert desk.sign(Player(HOLDS_NOT), gone(), broken(), Player(HOLDS)) == "unix:/3"
    named = "unix:/0 unix:/1 unix:/2 unix:/3"
    assert sentence_of(lines[0]) == f"authenticators are named by Device in pysk_config: {named}"
    assert sentence_of(lines[1]) == f"found for {named}: {named.replace(' ', ', ')}"
    for sentence in (
        "of several authenticators one holds the key, whose public key is not known", "unix:/0 does not hold the key",
        "unix:/3 says that it holds the key", "unix:/1 cannot be opened: it is gone",
        "unix:/1 is left out: it is gone",
        "unix:/2 is left out: it is broken", "chosen: unix:/3, the first that says that it holds the key",
        "unix:/0 is closed",
    ):  # fmt: skip
        assert sentence in map(sentence_of, lines)
    lines.clear()
    assert desk.sign(Player(HOLDS_NOT), Player(SAYS_NOTHING)) == "unix:/1"
    assert "chosen: unix:/1, the only one that may hold the key" in map(sentence_of, lines)
    lines.clear()
    assert desk.sign(Player(SAYS_NOTHING), Player(SAYS_NOTHING, touched_after=SOON)) == "unix:/1"
    assert "chosen: unix:/1, which was touched" in map(sentence_of, lines)


def test_a_trace_tells_that_there_is_no_choice(desk: Desk) -> None:
    lines: list[str] = []
    desk.operation.trace = trace_into(lines)
    assert desk.enroll(Player()) == "unix:/0"
    assert "chosen: unix:/0, the only one" in map(sentence_of, lines)
    lines.clear()
    assert desk.enroll(gone(), Player()) == "unix:/1"
    assert "chosen: unix:/1, the only one that could be opened" in map(sentence_of, lines)


def test_the_others_give_up_once_one_has_told_that_it_holds_the_key(desk: Desk) -> None:
    class Slow(Player):
        def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
            while not event.is_set():
                time.sleep(0.01)
            self.gave_up = True
            error: SecurityKeyError = event.reason()
            assert str(error) == "another authenticator was used; nothing is to be done"
            raise error

    slow = Slow()
    assert desk.sign(slow, Player(HOLDS)) == "unix:/1"
    assert slow.gave_up


def test_a_key_that_nobody_holds_is_told(desk: Desk) -> None:
    hidden = "or one hides it until it is given the PIN (verify-required)"
    error = desk.refusal(desk.sign, Player(), Player())
    assert error.happened == f"no connected authenticator holds this key, {hidden}"
    assert type(error) is CredentialNotFound
    error = desk.refusal(desk.sign, Player(), Player(), pin=PIN)
    assert str(error) == "no connected authenticator holds this key; connect the one that it was enrolled on"
    u2f = Player(0x6A80, capabilities=0), Player(0x6A80, capabilities=0)
    error = desk.refusal(desk.sign, *u2f)
    assert str(error) == "no connected authenticator holds this key; connect the one that it was enrolled on"


def test_an_invalid_credential_is_one_that_is_not_there(desk: Desk) -> None:
    assert "no connected authenticator" in str(desk.refusal(desk.sign, Player(status.INVALID_CREDENTIAL), Player()))


def test_u2f_tells_whether_it_holds_the_key(desk: Desk) -> None:
    assert desk.sign(Player(0x6A80, capabilities=0), Player(0x6985, capabilities=0)) == "unix:/1"
    assert desk.sign(Player(HOLDS_NOT), Player(0x6985, capabilities=0)) == "unix:/1"


def test_the_only_one_that_may_hold_the_key_signs_without_more(desk: Desk) -> None:
    assert desk.sign(Player(), Player(SAYS_NOTHING)) == "unix:/1"
    assert desk.sign(Player(), Player(SAYS_NOTHING), pin=PIN) == "unix:/1"
    assert desk.sign(gone(), Player(SAYS_NOTHING), pin=PIN) == "unix:/1"
    assert desk.sign(Player(), broken(), Player(SAYS_NOTHING)) == "unix:/2"
    assert desk.told == []


def test_one_of_several_that_may_hold_the_key_is_chosen_by_its_touch(desk: Desk) -> None:
    players = Player(SAYS_NOTHING), Player(), Player(SAYS_NOTHING, SOON)
    assert desk.sign(*players) == "unix:/2"
    assert desk.told == ["2 authenticators may hold the key for ssh: (unix:/0, unix:/2); touch the one to use"]
    assert players[0].gave_up
    assert commands.MAKE_CREDENTIAL not in players[1].asked


@pytest.mark.parametrize(("flags", "pin"), [(FLAG_USER_PRESENCE, PIN), (VERIFIED, None), (VERIFIED, PIN)])
def test_what_costs_a_try_goes_to_none_but_the_touched_one_while_another_cannot_be_asked(
    desk: Desk, flags: int, pin: str | None
) -> None:
    assert desk.sign(broken(), Player(SAYS_NOTHING, SOON), flags=flags, pin=pin) == "unix:/1"
    assert desk.told == ["unix:/0: it is broken; to use another authenticator, touch it"]


def test_a_pin_goes_to_none_of_several_that_say_that_they_hold_the_key_but_the_touched_one(desk: Desk) -> None:
    assert desk.sign(Player(HOLDS), Player(HOLDS, SOON), pin=PIN) == "unix:/1"
    assert desk.told == ["2 authenticators may hold the key for ssh: (unix:/0, unix:/1); touch the one to use"]


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (broken, "unix:/0: it is broken; mend it"),
        (lambda: AuthenticatorError("unix:/0 is broken", "mend it"), "unix:/0 is broken; mend it"),
        (
            lambda: TimedOut("nobody came", "come"),
            (
                "unix:/0 does not answer, and no other authenticator is known to hold this key; "
                "unplug it, plug it in and try again, or connect the one that the key was enrolled on"
            ),
        ),
    ],
)
def test_why_one_that_may_hold_the_key_could_not_be_asked_is_told(desk: Desk, failure: Any, sentence: str) -> None:
    assert str(desk.refusal(desk.sign, failure(), Player())) == sentence
    assert str(desk.refusal(desk.sign, Player(error=failure()), Player())) == sentence
    assert str(desk.refusal(desk.sign, failure(), gone())) == sentence


def test_where_there_is_nothing_that_is_told(desk: Desk) -> None:
    assert (
        str(desk.refusal(desk.sign, gone(), Unsupported("it is no token", "bring one"))) == "it is gone; bring it back"
    )
    for call in (desk.enroll, desk.sign):
        error = desk.refusal(call, gone(), broken())
        assert error.happened == "unix:/1: it is broken"


def test_whoever_calls_it_off_ends_it_all(desk: Desk) -> None:
    class CallsOff(Player):
        def call(self, *_: Any) -> bytes:
            desk.operation.call_off()
            raise gone()

    assert type(desk.refusal(desk.sign, CallsOff(), Player(HOLDS_NOT))) is Interrupted


def test_a_card_is_asked_where_nothing_that_is_plugged_in_holds_the_key(desk: Desk) -> None:
    desk.put(Player(HOLDS_NOT), cards=(Player(HOLDS),))
    assert desk.sign() == "nfc:reader 0"
    desk.put(Player(HOLDS_NOT), Player(HOLDS), cards=(Player(HOLDS),))
    desk.players.pop()
    assert desk.sign() == "unix:/1"
    desk.put(Player(HOLDS_NOT), cards=(Player(HOLDS_NOT),))
    desk.refusal(desk.sign)


def test_no_card_is_asked_where_one_that_is_plugged_in_says_that_it_holds_the_key(desk: Desk) -> None:
    card = Player(HOLDS)
    desk.put(Player(HOLDS), Player(HOLDS_NOT), cards=(card,))
    desk.players.pop()
    assert desk.sign(pin=PIN) == "unix:/0"
    assert card.asked == []


@pytest.mark.parametrize("number", [2, 3])
def test_a_known_key_is_what_the_chosen_one_is_held_to(desk: Desk, number: int, tmp_path: Path) -> None:
    path = str(tmp_path / "known_keys")
    key = b"\x04" + bytes(64)
    known_keys.remember(path, [(APPLICATION, KEY_HANDLE, ALGORITHM_ECDSA, key)])
    desk.put(*(Player(SAYS_NOTHING) for _ in range(number - 1)), Player(SAYS_NOTHING, SOON))
    desk.configuration.known_keys = path
    token = selection.open_for_signature(desk.request(), desk.configuration, desk.operation)
    assert token.public_key == (ALGORITHM_ECDSA, key)
    desk.put(Player(SAYS_NOTHING))
    desk.configuration.known_keys = path
    token = selection.open_for_signature(desk.request(), desk.configuration, desk.operation)
    assert token.public_key is None


def wanting_pin(tries: int = 8, **options: bool) -> Player:
    return Player(SAYS_NOTHING, options={**HAS_PIN, **options}, tries=tries)


def test_the_pin_is_asked_for_before_the_touch_where_each_that_may_hold_the_key_wants_it(desk: Desk) -> None:
    error = desk.refusal(desk.sign, wanting_pin(), wanting_pin(), flags=VERIFIED)
    assert (type(error), str(error)) == (
        PinRequired,
        "this key requires a PIN for every use; enter it when you are asked",
    )
    assert type(desk.refusal(desk.sign, wanting_pin(0), wanting_pin(), flags=VERIFIED)) is PinRequired
    assert type(desk.refusal(desk.sign, wanting_pin(0), wanting_pin(0), flags=VERIFIED)) is PinBlocked
    assert desk.told == []
    assert all(commands.MAKE_CREDENTIAL not in player.asked for player in desk.players)


def test_why_another_could_not_be_asked_comes_before_a_blocked_pin(desk: Desk) -> None:
    error = desk.refusal(desk.sign, wanting_pin(0), wanting_pin(0), broken(), flags=VERIFIED)
    assert error.happened == "unix:/2: it is broken"


@pytest.mark.parametrize("other", [{}, {"clientPin": False}, {"clientPin": True, "uv": True}])
def test_no_pin_is_asked_for_where_one_that_may_hold_the_key_wants_none(desk: Desk, other: dict[str, bool]) -> None:
    touched = Player(SAYS_NOTHING, SOON, options=other)
    assert desk.sign(wanting_pin(), touched, flags=VERIFIED) == "unix:/1"


def test_no_pin_is_asked_for_before_the_touch_for_a_key_that_wants_none(desk: Desk) -> None:
    assert desk.sign(wanting_pin(), Player(SAYS_NOTHING, SOON, options=HAS_PIN)) == "unix:/1"
    assert all(commands.GET_INFO not in player.asked for player in desk.players)


def test_one_that_says_nothing_of_itself_is_taken_for_one_that_wants_no_pin(desk: Desk) -> None:
    class Silent(Player):
        def call(self, cmd: int, data: bytes = b"", *more: Any) -> bytes:
            return bytes([status.NOT_ALLOWED]) if data[0] == commands.GET_INFO else super().call(cmd, data, *more)

    assert desk.sign(wanting_pin(), Silent(SAYS_NOTHING, SOON), flags=VERIFIED) == "unix:/1"


def test_an_operation_that_ends_while_they_are_asked_about_the_pin_has_ended(desk: Desk) -> None:
    class CallsOff(Player):
        def call(self, cmd: int, data: bytes = b"", *more: Any) -> bytes:
            if data[0] == commands.GET_INFO:
                desk.operation.call_off()
            return super().call(cmd, data, *more)

    players = CallsOff(SAYS_NOTHING, options=HAS_PIN), CallsOff(SAYS_NOTHING, options=HAS_PIN)
    assert type(desk.refusal(desk.sign, *players, flags=VERIFIED)) is Interrupted


def test_the_touched_one_is_enrolled_on(desk: Desk) -> None:
    untouched = Player()
    assert desk.enroll(untouched, Player(touched_after=SOON), Player()) == "unix:/1"
    assert desk.told == ["3 authenticators are connected (unix:/0, unix:/1, unix:/2); touch the one to use"]
    assert untouched.gave_up
    desk.told.clear()
    desk.drawer.name = lambda location: "Token" if location == "/0" else ""
    assert desk.manage(Player(), Player(touched_after=SOON)) == "unix:/1"
    assert desk.told == ["2 authenticators are connected (unix:/0, Token, unix:/1); touch the one to use"]


def test_the_only_one_that_is_there_is_enrolled_on_without_a_touch(desk: Desk) -> None:
    assert desk.enroll(gone(), Player()) == "unix:/1"
    assert desk.enroll(Player(), Unsupported("it is no token", "bring one"), pin=PIN) == "unix:/0"
    assert desk.told == []


def test_one_of_several_that_cannot_be_used_is_told_and_another_is_to_be_touched(desk: Desk) -> None:
    for pin in (None, PIN):
        assert desk.enroll(broken(), Player(touched_after=SOON), pin=pin) == "unix:/1"
        assert desk.told == ["unix:/0: it is broken; to use another authenticator, touch it"]
        desk.told.clear()


def test_what_the_call_for_a_touch_tells_is_not_told_again(desk: Desk) -> None:
    defects = [TransportDefect("it is wrong", "report this"), TransportDefect("it is odd", "report this")]
    assert desk.sign(*defects, Player(touched_after=SOON, holds=HOLDS), pin=PIN) == "unix:/2"
    expected = ["unix:/0: it is wrong; to use another authenticator, touch it", "unix:/1: it is odd; report this"]
    assert desk.told == expected
    desk.told.clear()
    defects = [TransportDefect("it is wrong", "report this"), TransportDefect("it is odd", "report this")]
    assert desk.enroll(*defects, Player(touched_after=SOON)) == "unix:/2"
    assert desk.told == expected


def at_once() -> Player:
    """Return one that answers without waiting for a touch, as a card does that lies on its reader."""
    return Player(touched_after=0, asks_for_touch=False)


def test_one_that_wants_no_touch_gets_no_pin_while_another_cannot_be_used(desk: Desk) -> None:
    assert desk.enroll(broken(), at_once()) == "unix:/1"
    error = desk.refusal(desk.enroll, broken(), at_once(), pin=PIN)
    assert (type(error), str(error)) == (
        Unsupported,
        (
            "unix:/1 waits for no touch, and cannot be chosen by touch; name one with Device in "
            "pysk_config, or connect only the one to use"
        ),
    )
    # Whoever manages one sends it a PIN.
    assert type(desk.refusal(desk.manage, broken(), at_once())) is Unsupported


def test_several_that_want_no_touch_cannot_be_chosen_from(desk: Desk) -> None:
    error = desk.refusal(desk.enroll, at_once(), at_once())
    assert (type(error), error.happened) == (
        Unsupported,
        "unix:/0 and unix:/1 wait for no touch, and cannot be chosen by touch",
    )
    assert len(desk.told) == 1


def test_the_error_of_the_first_that_was_found_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    open_at_once = desk.drawer.open

    def open_the_first_late(location: str, *arguments: object, **more: object) -> object:
        if location == "/0":
            time.sleep(SOON)
        return open_at_once(location, *arguments, **more)

    monkeypatch.setattr(desk.drawer, "open", open_the_first_late)
    first, second = (AuthenticatorError(f"the {number} is broken", "mend it") for number in ("first", "second"))
    assert desk.refusal(desk.enroll, Player(error=first), Player(error=second)) is first


def test_one_of_several_that_wants_no_touch_is_told_while_another_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_MOMENT", 0.1)
    assert desk.enroll(at_once(), Player(touched_after=1.0), Player()) == "unix:/1"
    assert desk.told[1:] == [
        (
            "unix:/0 waits for no touch, and cannot be chosen by touch; name one with Device in "
            "pysk_config, or connect only the one to use"
        )
    ]
    desk.told.clear()
    assert desk.enroll(at_once(), at_once(), Player(touched_after=1.0)) == "unix:/2"
    assert [told.partition(" wait ")[0] for told in desk.told[1:]] == ["unix:/0 and unix:/1"]


def test_one_that_wants_no_touch_is_not_told_where_another_is_touched_in_a_moment(desk: Desk) -> None:
    assert desk.enroll(at_once(), Player(touched_after=0.3)) == "unix:/1"
    assert len(desk.told) == 1


class Brief(Operation):
    """One whose time is over soon."""

    def restart(self) -> None:
        self._deadline = time.monotonic() + 0.3


def test_nobody_who_comes_while_several_are_asked_is_told_as_that(desk: Desk) -> None:
    for tokens in ((Player(), Player()), (at_once(), Player()), (Player(error=broken()), Player())):
        desk.operation = Brief(30, tell=lambda _: None)
        error = desk.refusal(desk.enroll, *tokens)
        assert (type(error), error.happened) == (TimedOut, "nobody answered within 30 seconds")


def test_the_first_error_is_told_where_none_can_wait_for_a_touch(desk: Desk) -> None:
    error = desk.refusal(desk.enroll, Player(error=broken()), Player(error=broken()))
    assert str(error) == "it is broken; mend it"
    assert str(desk.refusal(desk.enroll, at_once(), Player(error=broken()))) == "it is broken; mend it"


def test_a_card_is_enrolled_on_where_nothing_that_is_plugged_in_can_be(desk: Desk) -> None:
    desk.put(gone(), gone(), cards=(Player(),))
    assert desk.enroll() == "nfc:reader 0"
    card = Player()
    desk.put(gone(), Player(), cards=(card,))
    desk.players.remove(card)
    assert desk.enroll() == "unix:/1"


def test_a_race_that_is_won_waits_for_no_others(desk: Desk) -> None:
    race = candidates._Race(desk.operation)
    began = time.monotonic()
    race.wait_for_others(began)
    assert not race.is_set()
    race.winner = Token(Player(), "unix:/winner")
    assert race.is_set()
    with pytest.raises(Interrupted, match="another authenticator was used"):
        race.wait_for_others(began)
    race.winner = None
    desk.operation.call_off()
    assert race.is_set()
    assert "interrupted" in str(race.reason())


def test_who_waits_for_others_hears_that_another_one_has_long_been_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "PROBE_PATIENCE", 0)
    opening = candidates._Opening(desk.operation)
    opening.wait_for_others(time.monotonic())
    opening.note_opened()
    with pytest.raises(TimedOut, match="it was not open within"):
        opening.wait_for_others(time.monotonic())
    opening.is_over = True
    opening.wait_for_others(time.monotonic())


def test_what_ends_the_waiting_for_all_ends_them_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    def wait(number: int) -> None:
        while not desk.operation.is_set():
            time.sleep(0.01)
        time.sleep(0.1)
        ended.append(number)

    started: list[int] = []
    start = _thread.start_new_thread

    def start_only_two(function: Any, arguments: Any) -> None:
        if len(started) == 2:
            raise KeyboardInterrupt
        started.append(start(function, arguments))

    monkeypatch.setattr(_thread, "start_new_thread", start_only_two)
    with pytest.raises(KeyboardInterrupt):
        candidates.at_once(wait, [1, 2, 3], desk.operation)
    assert sorted(ended) == [1, 2]


def test_each_is_asked_for_the_time_of_a_probe_at_most(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_token, "PROBE_PATIENCE", 1)

    class Silent(Player):
        def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
            while not event.is_set():
                time.sleep(0.01)
            raise event.reason()

    error = desk.refusal(desk.sign, Silent(), Player())
    assert error.happened.startswith("unix:/0 does not answer")
