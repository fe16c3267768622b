"""What a person is told where a token refuses or fails: it is true of this token and of what was asked of it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from support.impatient import RESET_WINDOW_S
from support.openssh import PIN, Person, asks_to_choose, enrolled, provider_lines
from support.relay import TO_CLIENT
from support.serve import serve

from sk_provider.api import (
    ALGORITHM_ECDSA,
    FLAG_RESIDENT_KEY,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    ResidentRequest,
    SignRequest,
)
from sk_provider.authenticator.store import Store
from sk_provider.client import refusal
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import commands, framing, status
from sk_provider.enroll import enroll
from sk_provider.errors import SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.resident import load_resident_keys
from sk_provider.sign import sign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from support.impatient import Impatient
    from support.relay import Connect, Spoil

HIDDEN = (
    "the authenticator does not hold this key, or hides it until it is given the PIN (verify-required); "
    "connect the authenticator that the key was enrolled on, or have ssh ask for the PIN (OpenSSH 10.5 and later): "
    "ssh-keygen -p -O verify-required"
)


class Refusing:
    """Spoils the answers to a CTAP2 command, once there is one: a status instead."""

    def __init__(self) -> None:
        self.command = 0
        self.code = 0
        self._asked = 0
        self._is_refused = False

    def __call__(self, direction: str, _number: int, content: bytes) -> list[bytes]:
        is_cbor = content[4] == framing.CBOR | framing.INIT_PACKET
        if direction != TO_CLIENT:
            if is_cbor:
                self._asked = content[7]
            return [content]
        if content[4] & framing.INIT_PACKET:
            self._is_refused = is_cbor and self._asked == self.command
            if self._is_refused:
                return [content[:5] + b"\0\1" + bytes([self.code]) + bytes(56)]
        elif self._is_refused:
            # the rest of the answer
            return []
        return [content]


class Asker:
    """Asks the token at an address, as a host does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.key_handle = b""

    def enroll(self, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> None:
        request = EnrollRequest(ALGORITHM_ECDSA, bytes(32), "ssh:", flags, pin, self.address, None)
        self.key_handle = enroll(request, Configuration(), Operation(30)).key_handle

    def sign(self, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> None:
        request = SignRequest(ALGORITHM_ECDSA, bytes(32), "ssh:", self.key_handle, flags, pin, self.address)
        sign(request, Configuration(), Operation(30))

    def list(self, pin: str) -> None:
        load_resident_keys(ResidentRequest(pin, self.address), Configuration(), Operation(30))


def told(call: Callable[..., None], *arguments: object) -> str:
    with pytest.raises(SecurityKeyError) as caught:
        call(*arguments)
    return str(caught.value)


def pysk(person: Person, *arguments: str, lines: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [person.pysk, *arguments], input="".join(f"{line}\n" for line in lines), text=True,
        env=person.environment, cwd=person.folder, check=False, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("code", [status.UNSUPPORTED_OPTION, status.INVALID_OPTION, status.UP_REQUIRED])
def test_a_token_that_signs_only_when_touched_is_told_for_a_key_that_wants_no_touch(
    connect: Connect, code: int
) -> None:
    refusing = Refusing()
    with connect(refusing) as relay:
        asker = Asker(relay.address)
        asker.enroll()
        refusing.command, refusing.code = commands.GET_ASSERTION, code
        assert told(asker.sign, 0) == (
            "the key file asks for a signature without a touch, but the authenticator requires a touch; "
            "enroll a new key without -O no-touch-required"
        )


@pytest.mark.parametrize("code", [status.UNSUPPORTED_OPTION, status.INVALID_OPTION])
def test_an_option_of_the_command_line_is_to_be_left_out_only_where_one_was_given(connect: Connect, code: int) -> None:
    refusing = Refusing()
    with connect(refusing) as relay:
        asker = Asker(relay.address)
        asker.enroll()
        refusing.command, refusing.code = commands.GET_ASSERTION, code
        assert "-O" not in told(asker.sign)
        refusing.command = commands.MAKE_CREDENTIAL
        assert "-O" not in told(asker.enroll)
        assert "leave out -O resident" in told(asker.enroll, FLAG_USER_PRESENCE | FLAG_RESIDENT_KEY)


MAKE, ASSERT, LIST = commands.MAKE_CREDENTIAL, commands.GET_ASSERTION, commands.CREDENTIAL_MANAGEMENT

# What a person is told of a status, by the command of those that ssh causes whose answer it is here.
REFUSALS = {
    MAKE: {
        status.UNSUPPORTED_ALGORITHM: (
            "the authenticator does not support this type of key; use the other one: ecdsa-sk or ed25519-sk"
        ),
        status.OPERATION_DENIED: "the request was not confirmed on the authenticator; try again and touch it",
        status.KEY_STORE_FULL: (
            "the authenticator has no room for another resident key; enroll without -O resident, or delete one; "
            "to list them: pysk keys list --all {address}"
        ),
        status.UNSUPPORTED_OPTION: (
            "the authenticator does not support an option of the request (error 0x2b); use another authenticator"
        ),
        status.INVALID_OPTION: (
            "the authenticator does not support an option of the request (error 0x2c); use another authenticator"
        ),
        status.KEEPALIVE_CANCEL: "the operation was cancelled; try again",
        status.NOT_ALLOWED: (
            "the authenticator does not allow that; if pysk share serves it, see what that prints: it refuses "
            "what ssh does not need"
        ),
        status.PIN_NOT_SET: "the authenticator has no PIN; set one with: pysk pin set {address}",
        status.PIN_POLICY_VIOLATION: "the authenticator does not accept this PIN (PIN policy); choose a longer one",
        status.ACTION_TIMEOUT: "nobody touched the authenticator in time; try again and touch it",
        0x11: "the authenticator answered with error 0x11; try again",
    },
    ASSERT: {
        status.NO_CREDENTIALS: "the authenticator does not hold this key; connect the one that it was enrolled on",
        status.INVALID_CREDENTIAL: "the authenticator does not hold this key; connect the one that it was enrolled on",
        status.USER_ACTION_TIMEOUT: "nobody touched the authenticator in time; try again and touch it",
        status.PIN_AUTH_BLOCKED: (
            "the PIN is blocked after three wrong tries; unplug it and plug it in again on the machine that shares it, "
            "or restart pysk serve, and try again"
        ),
        status.REQUEST_TOO_LARGE: (
            "the request is too large for the authenticator; use a shorter application name, or check the key file"
        ),
        status.UP_REQUIRED: "the authenticator requires a touch; try again and touch it",
        status.UV_INVALID: "the authenticator did not recognise you; try again",
        status.OTHER: (
            "the shared authenticator failed (error 0x7f); on the machine that shares it, check that it is plugged in, "
            "and what pysk share prints"
        ),
    },
    LIST: {
        status.PIN_INVALID: "wrong PIN; try again",
        status.PIN_BLOCKED: (
            "the PIN is blocked for good; only a reset unblocks it, which deletes all keys: pysk reset {address}"
        ),
        status.PUAT_REQUIRED: "the authenticator requires its PIN; enter it when you are asked",
        status.UV_BLOCKED: (
            "the authenticator's built-in user verification is blocked; "
            "use its PIN, or set one with: pysk pin set {address}"
        ),
    },
}


@pytest.mark.parametrize(("command", "code"), [(command, code) for command in REFUSALS for code in REFUSALS[command]])
def test_each_status_has_its_sentence(person: Person, connect: Connect, command: int, code: int) -> None:
    refusing = Refusing()
    with connect(refusing, "--profile", "fido2.0" if code == status.NO_CREDENTIALS else "fido2.1") as relay:
        asker = Asker(relay.address)
        asker.enroll()
        refusing.code = code
        if command == LIST:
            person.set_pin(PIN, relay.address)
            refusing.command = command
            said = told(asker.list, PIN)
        else:
            refusing.command = command
            said = told(asker.enroll if command == MAKE else asker.sign)
    assert said == REFUSALS[command][code].format(address=relay.address)


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("/dev/hidraw0", "unplug it and plug it in again"),
        ("usb:", "unplug it and plug it in again"),
        ("nfc:A Reader", "take it off the reader and put it back"),
        ("soft:", "restart the machine"),
        ("udp:127.0.0.1:8111", "restart the program that serves it"),
        ("unix:/socket", "unplug it and plug it in again on the machine that shares it, or restart pysk serve"),
    ],
)
def test_what_starts_an_authenticator_anew_depends_on_where_it_is(address: str, remedy: str) -> None:
    error = refusal.error_of(status.PIN_AUTH_BLOCKED, token_at(address))
    assert str(error) == f"the PIN is blocked after three wrong tries; {remedy}, and try again"
    if not address.startswith("unix:"):
        error = refusal.error_of(status.OTHER, token_at(address))
        assert str(error) == f"the authenticator failed (error 0x7f); {remedy}, and try again"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nfc:A Reader", "the card has been on the reader for too long; try again and present the card again"),
        ("/dev/hidraw0", "nobody touched the authenticator in time; try again and touch it"),
    ],
)
def test_a_card_is_not_waited_for_but_waits(address: str, sentence: str) -> None:
    assert str(refusal.error_of(status.USER_ACTION_TIMEOUT, token_at(address))) == sentence


def test_what_another_program_may_be_doing_is_told_of_what_is_not_shared() -> None:
    assert str(refusal.error_of(status.NOT_ALLOWED, token_at("/dev/hidraw0"))) == (
        "the authenticator does not allow that now; try again when no other program uses it"
    )


def forget_pins(_direction: str, _number: int, content: bytes) -> list[bytes]:
    """Spoil getInfo: the token has a PIN in no way, and knows another option instead."""
    return [content.replace(b"clientPin", b"noPin-yet")]


@pytest.mark.parametrize(("spoil", "profile"), [(None, "u2f"), (forget_pins, "fido2.1")], ids=["u2f", "no PIN"])
def test_a_key_that_wants_verification_is_told_of_a_token_that_cannot_verify(
    connect: Connect, spoil: Spoil | None, profile: str
) -> None:
    with connect(spoil, "--profile", profile) as relay:
        asker = Asker(relay.address)
        asker.enroll()
        assert told(asker.sign, FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION) == (
            "this key requires user verification, which the authenticator does not have; "
            "connect the authenticator that it was enrolled on"
        )


def test_a_pin_that_is_to_be_changed_is_told(person: Person, connect: Connect) -> None:
    with connect(None, "--store", str(person.store)) as relay:
        person.set_pin(PIN, relay.address)
        asker = Asker(relay.address)
        asker.enroll(FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION, PIN)
        verified = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
        assert told(asker.sign, verified) == "this key requires a PIN for every use; enter it when you are asked"
        with Store.open(str(person.store)).transaction() as state:
            state.force_pin_change = True
        # Neither asked for nor sent
        for pin in (None, PIN):
            assert told(asker.sign, verified, pin) == (
                "the authenticator requires its PIN to be changed first; "
                f"change it with: pysk pin change {relay.address}"
            )


def test_no_status_has_a_sentence_that_is_not_tried() -> None:
    token = token_at("unix:/socket")
    others = set(range(1, 256)).difference(*REFUSALS.values())
    assert {refusal.error_of(code, token).happened for code in others} == {
        f"the authenticator answered with error 0x{code:02x}" for code in others
    }


def token_at(address: str) -> Token:
    class Nothing:
        capabilities = framing.CAPABILITY_CBOR

        def call(self, *_: object) -> bytes:
            raise AssertionError

        def close(self) -> None:
            pass

    return Token(Nothing(), address)


@pytest.mark.parametrize("address", ["/dev/hidraw0", "nfc:A Reader", "soft:", "udp:127.0.0.1:8111"])
@pytest.mark.parametrize("code", [status.NOT_ALLOWED, status.OTHER])
def test_no_share_is_named_where_none_can_be(address: str, code: int) -> None:
    assert "share" not in str(refusal.error_of(code, token_at(address)))


def test_a_card_is_not_to_be_touched() -> None:
    card = token_at("nfc:A Reader")
    for code in (status.OPERATION_DENIED, status.USER_ACTION_TIMEOUT, status.ACTION_TIMEOUT, status.UP_REQUIRED):
        error = refusal.error_of(code, card)
        assert error.remedy == "try again and present the card again"
        assert "nobody touched" not in error.happened
        assert refusal.error_of(code, token_at("/dev/hidraw0")).remedy == "try again and touch it"


@pytest.mark.parametrize("profile", ["fido2.1", "u2f"])
def test_a_shared_token_that_is_gone_is_told(person: Person, connect: Connect, sockets: Path, profile: str) -> None:
    shared = sockets / "shared"
    with connect(None, "--profile", profile) as relay:
        command = [str(person.pysk), "share", relay.address, f"unix:{shared}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=person.environment) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("sharing ")
                asker = Asker(f"unix:{shared}")
                asker.enroll()
                Path(relay.address.removeprefix("unix:")).unlink()
                # whose turn ends with its connection
                sentence = told(asker.sign)
            finally:
                process.terminate()
                process.communicate(timeout=60)
    assert sentence.startswith("the shared authenticator failed (")
    assert sentence.endswith("; on the machine that shares it, check that it is plugged in, and what pysk share prints")


def test_a_share_that_passes_no_reset_on_is_told_to(person: Person, connect: Connect, sockets: Path) -> None:
    with connect() as relay:
        command = [str(person.pysk), "share", relay.address, f"unix:{sockets}/shared"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=person.environment) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().startswith("sharing ")
                done = pysk(person, "reset", "--yes", f"unix:{sockets}/shared")
            finally:
                process.terminate()
                process.communicate(timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("pysk: pysk share refuses resets, ")
    assert "reset it on the machine that it is plugged into" in done.stderr


def test_a_served_token_is_to_be_restarted_before_its_reset(person: Person, impatience: Impatient) -> None:
    with serve("udp:127.0.0.1:0", pysk=impatience.pysk) as served:
        time.sleep(RESET_WINDOW_S)
        done = pysk(person, "reset", "--yes", served.names[0])
    assert done.stderr == (
        "pysk: the authenticator allows a reset only within 10 seconds of its start; "
        "restart the program that serves it and reset it at once\n"
    )


def test_a_key_that_verify_required_hides_is_told_with_what_shows_it(person: Person, connect: Connect) -> None:
    with connect() as relay:
        person.set_pin(PIN, relay.address)
        asker = Asker(relay.address)
        asker.enroll(FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION, PIN)
        assert told(asker.sign) == HIDDEN
        asker.sign(FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION, PIN)
        asker.key_handle = bytes(64)
        # Nothing is hidden from whoever has given the PIN.
        assert told(asker.sign, FLAG_USER_PRESENCE, PIN).startswith("the authenticator does not hold this key; ")


def test_a_token_that_cannot_hide_a_key_does_not_hold_it(connect: Connect) -> None:
    with connect(None, "--profile", "fido2.0") as relay:
        asker = Asker(relay.address)
        asker.key_handle = bytes(64)
        assert told(asker.sign).startswith("the authenticator does not hold this key; ")


@pytest.mark.parametrize(
    ("profile", "flags", "happened"),
    [
        ("fido2.1", FLAG_USER_VERIFICATION, "this key requires a PIN for every use, and the authenticator has none"),
        ("always-uv", 0, "the authenticator requires user verification for every use (alwaysUv), and has no PIN"),
    ],
)
def test_a_pin_alone_brings_no_key_back_to_a_token_that_was_reset(
    person: Person, connect: Connect, profile: str, flags: int, happened: str
) -> None:
    with connect(None, "--profile", profile) as relay:
        person.set_pin(PIN, relay.address)
        asker = Asker(relay.address)
        asker.enroll(FLAG_USER_PRESENCE | flags, PIN)
        assert pysk(person, "reset", "--yes", relay.address).returncode == 0
        sentence = told(asker.sign, FLAG_USER_PRESENCE | flags)
    assert sentence == (
        f"{happened}; connect the authenticator that the key was enrolled on; if this one was reset since, "
        f"enroll a new key; if it never had a PIN, set one with: pysk pin set {relay.address}"
    )


def test_the_key_of_a_served_token_that_is_not_named_is_told_with_what_may_hold_it(person: Person) -> None:
    with serve("udp:127.0.0.1:0") as served:
        person.configure(device=served.names[0])
        key = enrolled(person)
        person.configure("Presence auto")
        enrolled_elsewhere, _ = person.enroll("other", "ed25519-sk")
        assert enrolled_elsewhere.status == 0
        done, _ = person.sign(key)
    (line,) = provider_lines(done.errors)
    assert line.startswith(
        "libpysk: the key belongs to a software authenticator that is neither the default one (soft:) nor "
    )
    assert "the address at which pysk serve serves it" in line
    assert line.endswith("if its store was deleted, enroll a new key")


@pytest.mark.usefixtures("impatient")
def test_the_dead_one_of_several_tokens_is_named(person: Person, connect: Connect) -> None:
    with connect(lambda *_: []) as dead, connect() as other:
        with connect() as holder:
            person.configure(device=holder.address)
            key = enrolled(person)
        person.configure(device=f"{other.address} {dead.address}")
        done, _ = person.sign(key)
    (line,) = provider_lines(done.errors)
    assert line.startswith(f"libpysk: {dead.address}: the authenticator does not answer; ")


def test_several_tokens_that_wait_for_no_touch_are_told_once(person: Person, connect: Connect) -> None:
    with connect() as first, connect() as second:
        for relay in (first, second):
            person.set_pin(PIN, relay.address)
        person.configure(device=f"{first.address} {second.address}")
        done = pysk(person, "pin", "status")
    choice, error = done.stderr.splitlines()
    assert asks_to_choose(choice, 2)
    assert error == (
        f"pysk: {first.address} and {second.address} wait for no touch, and cannot be chosen by touch; "
        "name one with Device in pysk_config, or connect only the one to use"
    )


def test_a_token_that_waits_for_no_touch_is_named_once_beside_one_that_does(person: Person, connect: Connect) -> None:
    with connect() as untouchable, connect(presence="after:3000") as touched:
        person.set_pin(PIN, touched.address)
        person.configure(device=f"{untouchable.address} {touched.address}")
        done = pysk(person, "pin", "status")
    assert done.stdout == "a PIN is set, 8 tries left\n"
    choice, notice = done.stderr.splitlines()
    assert asks_to_choose(choice, 2)
    assert notice == (
        f"libpysk: {untouchable.address} waits for no touch, and cannot be chosen by touch; "
        "name one with Device in pysk_config, or connect only the one to use"
    )


@pytest.mark.parametrize(("retries", "words"), [(8, "8 tries left"), (1, "1 try left")])
def test_the_tries_that_are_left_are_counted_in_english(person: Person, retries: int, words: str) -> None:
    person.set_pin(PIN)
    with Store.open(str(person.store)).transaction() as state:
        state.pin_retries = retries
    assert pysk(person, "pin", "status").stdout == f"a PIN is set, {words}\n"
