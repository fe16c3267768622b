"""What each status of a token is told as, by how the token is reached, and when a PIN is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.answering import Scripted, answer

from sk_provider.client import refusal
from sk_provider.client.token import Token
from sk_provider.ctap import commands, requests, status
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    Interrupted,
    PinBlocked,
    PinInvalid,
    PinNotSet,
    PinRequired,
    PresenceDenied,
    SecurityKeyError,
    TimedOut,
    Unsupported,
)
from sk_provider.operation import Operation

GET_INFO, CLIENT_PIN = commands.GET_INFO, commands.CLIENT_PIN
REPLUG = "unplug it and plug it in again"
ADDRESSES = {
    "/dev/hidraw3": REPLUG,
    "usb:": REPLUG,
    "pigeon:x": REPLUG,
    "nfc:A Reader": "take it off the reader and put it back",
    "soft:/store": "restart the machine",
    "udp:127.0.0.1:8111": "restart the program that serves it",
    "unix:/token": "unplug it and plug it in again on the machine that shares it, or restart pysk serve",
}
QUESTION = PinRequired("it wants its PIN", "enter it")
NO_PIN = PinNotSet("it has no PIN", "set one")


def token(address: str = "unix:/token", answers: dict[int, bytes] | None = None) -> Token:
    return Token(Scripted(dict(answers or {})), address)


def told(code: int, address: str = "unix:/token") -> tuple[type[SecurityKeyError], str]:
    error = refusal.error_of(code, token(address))
    return type(error), str(error)


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        (
            0x26,
            Unsupported,
            "the authenticator does not support this type of key; use the other one: ecdsa-sk or ed25519-sk",
        ),
        (0x27, PresenceDenied, "the request was not confirmed on the authenticator; try again and touch it"),
        (
            0x28,
            AuthenticatorError,
            (
                "the authenticator has no room for another resident key; enroll without -O resident, or delete one; "
                "to list them: pysk keys list --all unix:/token"
            ),
        ),
        (
            0x2B,
            Unsupported,
            "the authenticator does not support an option of the request (error 0x2b); use another authenticator",
        ),
        (
            0x2C,
            Unsupported,
            "the authenticator does not support an option of the request (error 0x2c); use another authenticator",
        ),
        (0x2D, Interrupted, "the operation was cancelled; try again"),
        (0x2E, CredentialNotFound, "the authenticator does not hold this key; connect the one that it was enrolled on"),
        (0x2F, TimedOut, "nobody touched the authenticator in time; try again and touch it"),
        (0x3A, TimedOut, "nobody touched the authenticator in time; try again and touch it"),
        (
            0x30,
            AuthenticatorError,
            (
                "the authenticator does not allow that; if pysk share serves it, see what that prints: "
                "it refuses what ssh does not need"
            ),
        ),
        (0x31, PinInvalid, "wrong PIN; try again"),
        (
            0x32,
            PinBlocked,
            "the PIN is blocked for good; only a reset unblocks it, which deletes all keys: pysk reset unix:/token",
        ),
        (
            0x34,
            PinBlocked,
            (
                "the PIN is blocked after three wrong tries; "
                "unplug it and plug it in again on the machine that shares it, or restart pysk serve, and try again"
            ),
        ),
        (0x35, PinNotSet, "the authenticator has no PIN; set one with: pysk pin set unix:/token"),
        (0x36, PinRequired, "the authenticator requires its PIN; enter it when you are asked"),
        (0x37, AuthenticatorError, "the authenticator does not accept this PIN (PIN policy); choose a longer one"),
        (
            0x39,
            AuthenticatorError,
            "the request is too large for the authenticator; use a shorter application name, or check the key file",
        ),
        (0x3B, PresenceDenied, "the authenticator requires a touch; try again and touch it"),
        (
            0x3C,
            PinBlocked,
            (
                "the authenticator's built-in user verification is blocked; "
                "use its PIN, or set one with: pysk pin set unix:/token"
            ),
        ),
        (0x3F, PresenceDenied, "the authenticator did not recognise you; try again"),
        (
            0x7F,
            AuthenticatorError,
            (
                "the shared authenticator failed (error 0x7f); "
                "on the machine that shares it, check that it is plugged in, and what pysk share prints"
            ),
        ),
        (0x14, AuthenticatorError, "the authenticator answered with error 0x14; try again"),
        (0xF1, AuthenticatorError, "the authenticator answered with error 0xf1; try again"),
    ],
)
def test_a_status_is_told_in_words(code: int, kind: type[SecurityKeyError], sentence: str) -> None:
    assert told(code) == (kind, sentence)


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_helps_is_what_can_be_done_with_the_token_at_its_address(address: str) -> None:
    assert refusal.power_cycle(token(address)) == ADDRESSES[address]
    assert told(status.PIN_AUTH_BLOCKED, address)[1].endswith(f"; {ADDRESSES[address]}, and try again")
    if not address.startswith("unix:"):
        assert told(status.OTHER, address)[1] == (
            f"the authenticator failed (error 0x7f); {ADDRESSES[address]}, and try again"
        )
        assert told(status.NOT_ALLOWED, address)[1] == (
            "the authenticator does not allow that now; try again when no other program uses it"
        )


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (0x27, "the request was not confirmed on the authenticator"),
        (0x2F, "the card has been on the reader for too long"),
        (0x3A, "the card has been on the reader for too long"),
        (0x3B, "the authenticator requires a touch"),
    ],
)
def test_a_card_is_presented_and_not_touched(code: int, sentence: str) -> None:
    assert told(code, "nfc:")[1] == f"{sentence}; try again and present the card again"


def test_a_command_is_one_that_a_shell_takes() -> None:
    line = refusal.command("pin set", token("nfc:A 'Reader'"))
    program = "pysk() { printf '%s\\n' \"$@\"; }; " + line
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["pin", "set", "nfc:A 'Reader'"]


def test_nothing_is_imported_for_a_command_before_there_is_one() -> None:
    program = "import sys; import sk_provider.client.refusal; sys.exit('shlex' in sys.modules)"
    assert subprocess.run([sys.executable, "-I", "-c", program], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            refusal.unverifiable_error(),
            Unsupported,
            (
                "this key requires user verification, which the authenticator does not have; "
                "connect the authenticator that it was enrolled on"
            ),
        ),
        (
            refusal.lost_pin_error("it has none", token()),
            PinNotSet,
            (
                "it has none; connect the authenticator that the key was enrolled on; if this one was reset "
                "since, enroll a "
                "new key; if it never had a PIN, set one with: pysk pin set unix:/token"
            ),
        ),
        (
            refusal.pin_change_error(token()),
            PinBlocked,
            "the authenticator requires its PIN to be changed first; change it with: pysk pin change unix:/token",
        ),
        (
            refusal.touch_error(),
            PresenceDenied,
            (
                "the key file asks for a signature without a touch, but the authenticator requires a touch; "
                "enroll a new key without -O no-touch-required"
            ),
        ),
        (
            refusal.hidden_key_error("it hides it"),
            CredentialNotFound,
            (
                "it hides it until it is given the PIN (verify-required); connect the authenticator that the key was "
                "enrolled on, or have ssh ask for the PIN (OpenSSH 10.5 and later): ssh-keygen -p -O verify-required"
            ),
        ),
        (
            refusal.failure_error("status 6f00", token("/dev/hidraw0")),
            AuthenticatorError,
            "the authenticator failed (status 6f00); unplug it and plug it in again, and try again",
        ),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(
    error: SecurityKeyError, kind: type[SecurityKeyError], sentence: str
) -> None:
    assert (type(error), str(error)) == (kind, sentence)


def retries(number: object, needs_power_cycle: object = False) -> bytes:
    return answer({3: number, 4: needs_power_cycle})


def question(answers: dict[int, bytes], *, force_pin_change: bool = False) -> tuple[SecurityKeyError, Scripted]:
    channel = Scripted(dict(answers))
    found = refusal.question_or_error(
        QUESTION, Token(channel, "unix:/token"), Operation(30), force_pin_change=force_pin_change
    )
    return found, channel


@pytest.mark.parametrize("number", [1, 8])
def test_a_pin_is_asked_for_where_there_are_tries(number: int) -> None:
    found, channel = question({CLIENT_PIN: retries(number)})
    assert found is QUESTION
    assert channel.parameters(CLIENT_PIN) == [{1: 1, 2: commands.GET_PIN_RETRIES}]
    assert question({CLIENT_PIN: answer({3: number})})[0] is QUESTION


def test_a_pin_is_not_asked_for_where_none_is_accepted() -> None:
    assert "blocked for good" in str(question({CLIENT_PIN: retries(0)})[0])
    assert "blocked for good" in str(question({CLIENT_PIN: retries(0, True)})[0])
    assert "after three wrong tries" in str(question({CLIENT_PIN: retries(5, True)})[0])


def test_a_pin_that_must_be_changed_is_not_asked_for() -> None:
    found, channel = question({CLIENT_PIN: retries(8)}, force_pin_change=True)
    assert "pysk pin change" in str(found)
    assert channel.asked == []


def test_a_pin_is_asked_for_where_its_tries_are_not_told() -> None:
    assert question({CLIENT_PIN: bytes([status.INVALID_PARAMETER])})[0] is QUESTION
    with pytest.raises(AuthenticatorError, match="has no number of tries"):
        question({CLIENT_PIN: retries("eight")})


def test_the_question_for_a_key_that_wants_verification_is_of_that_key() -> None:
    for force_pin_change, kind in ((False, PinRequired), (True, PinBlocked)):
        info = requests.Info({}, [], force_pin_change=force_pin_change)
        error = refusal.verification_question_or_error(info, token(answers={CLIENT_PIN: retries(8)}), Operation(30))
        assert type(error) is kind
    info = requests.Info({}, [], force_pin_change=False)
    error = refusal.verification_question_or_error(info, token(answers={CLIENT_PIN: retries(8)}), Operation(30))
    assert str(error) == "this key requires a PIN for every use; enter it when you are asked"


def without_pin(code: int, info: bytes) -> SecurityKeyError:
    answers = {GET_INFO: info, CLIENT_PIN: retries(8)}
    return refusal.error_without_pin(code, QUESTION, NO_PIN, token(answers=answers), Operation(30))


def info(options: dict[str, bool], **members: object) -> bytes:
    return answer(
        {1: ["FIDO_2_1"], 3: bytes(16), 4: options, **{int(name[1:]): value for name, value in members.items()}}
    )


@pytest.mark.parametrize("code", [status.PUAT_REQUIRED, status.UV_BLOCKED, status.PIN_BLOCKED])
def test_what_a_pin_helps_against_is_a_question_for_it(code: int) -> None:
    assert without_pin(code, info({"clientPin": True})) is QUESTION
    assert "pysk pin change" in str(without_pin(code, info({"clientPin": True}, m12=True)))
    assert without_pin(code, info({"clientPin": True}, m12=1)) is QUESTION


@pytest.mark.parametrize("options", [{}, {"clientPin": False}])
def test_what_a_pin_would_help_against_is_told_where_there_is_none(options: dict[str, bool]) -> None:
    assert without_pin(status.PUAT_REQUIRED, info(options)) is NO_PIN
    for code in (status.UV_BLOCKED, status.PIN_BLOCKED):
        assert "built-in user verification is blocked" in str(without_pin(code, info(options)))


def test_other_refusals_are_told_as_they_are_and_nothing_is_asked() -> None:
    channel = Scripted({GET_INFO: info({"clientPin": True})})
    for code in (status.NO_CREDENTIALS, status.PIN_AUTH_BLOCKED, status.PIN_NOT_SET, status.OTHER):
        error = refusal.error_without_pin(code, QUESTION, NO_PIN, Token(channel, "unix:/token"), Operation(30))
        assert str(error) == told(code)[1]
    assert channel.asked == []


def test_a_refusal_is_told_as_it_is_where_the_token_says_nothing_of_itself() -> None:
    error = without_pin(status.PUAT_REQUIRED, bytes([status.INVALID_COMMAND]))
    assert str(error) == "the authenticator requires its PIN; enter it when you are asked"
    assert error is not QUESTION
