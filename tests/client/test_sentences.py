"""What a person is told where a token refuses or fails: it is true of this token and of what was asked of it."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
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
from sk_provider.virtual_key.key import RESET_WINDOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from support.relay import Connect

HIDDEN = (
    "the authenticator does not hold this key, or hides it because it was enrolled with verify-required; "
    "connect the one that it was enrolled on, or have the key file ask for the PIN (OpenSSH 10.5) with: "
    "ssh-keygen -p -O verify-required"
)


class Refusing:
    """Spoils the answers to a CTAP2 command, once there is one: a status instead."""

    def __init__(self) -> None:
        self.command = 0
        self.code = 0
        self._asked = 0

    def __call__(self, direction: str, _number: int, content: bytes) -> list[bytes]:
        if content[4] != framing.CBOR | framing.INIT_PACKET:
            return [content]
        if direction != TO_CLIENT:
            self._asked = content[7]
        elif self._asked == self.command:
            return [content[:5] + b"\0\1" + bytes([self.code]) + bytes(56)]
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
            "the key file asks for a signature without a touch, which the authenticator does not make; "
            "enroll a key without -O no-touch-required"
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
        assert error.remedy == "try again and present the card anew"
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
    assert sentence.startswith("the authenticator failed where it is shared (")
    assert sentence.endswith("; see there what pysk share prints, and whether the authenticator is plugged in")


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
    assert done.stderr.startswith("pysk: pysk share passes no reset on, ")
    assert "reset it on the machine that it is plugged into" in done.stderr


def test_a_served_token_is_to_be_restarted_before_its_reset(person: Person) -> None:
    with serve("udp:127.0.0.1:0") as served:
        time.sleep(RESET_WINDOW)
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


@pytest.mark.parametrize(("profile", "flags"), [("fido2.1", FLAG_USER_VERIFICATION), ("always-uv", 0)])
def test_a_pin_alone_brings_no_key_back_to_a_token_that_was_reset(
    person: Person, connect: Connect, profile: str, flags: int
) -> None:
    with connect(None, "--profile", profile) as relay:
        person.set_pin(PIN, relay.address)
        asker = Asker(relay.address)
        asker.enroll(FLAG_USER_PRESENCE | flags, PIN)
        assert pysk(person, "reset", "--yes", relay.address).returncode == 0
        sentence = told(asker.sign, FLAG_USER_PRESENCE | flags)
    assert "if this one has been reset since, enroll a new key; if it never had a PIN, set one with: " in sentence


def test_the_key_of_a_served_token_that_is_not_named_is_told_with_what_may_hold_it(person: Person) -> None:
    with serve("udp:127.0.0.1:0") as served:
        person.configure(device=served.names[0])
        key = enrolled(person)
        person.configure("Presence auto")
        enrolled_elsewhere, _ = person.enroll("other", "ed25519-sk")
        assert enrolled_elsewhere.status == 0
        done, _ = person.sign(key)
    (line,) = provider_lines(done.errors)
    assert line.startswith("libpysk: the key belongs to a software authenticator that is neither soft: nor named ")
    assert "the address at which pysk serve serves it" in line
    assert line.endswith("if its store was deleted, enroll a new key")


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
        f"pysk: {first.address} and {second.address} wait for no touch, and cannot be chosen by one; "
        "connect the one to use alone, or name no other"
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
        f"libpysk: {untouchable.address} waits for no touch, and cannot be chosen by one; "
        "connect the one to use alone, or name no other"
    )


@pytest.mark.parametrize(("retries", "words"), [(8, "8 tries left"), (1, "1 try left")])
def test_the_tries_that_are_left_are_counted_in_english(person: Person, retries: int, words: str) -> None:
    person.set_pin(PIN)
    with Store.open(str(person.store)).transaction() as state:
        state.pin_retries = retries
    assert pysk(person, "pin", "status").stdout == f"a PIN is set, {words}\n"
