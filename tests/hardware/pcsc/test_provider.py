"""The provider on cards in PC/SC readers, through a real pcscd."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from fido2.ctap2 import ClientPin
from smartcard import scard
from support import pcscd
from support.card import PassedOn
from support.openssh import (
    PIN,
    PIN_PROMPT,
    RESIDENT,
    WRONG_PIN,
    Agent,
    KeyFile,
    Person,
    Signature,
    asks_to_choose,
    assert_signs,
    enrolled,
    provider_lines,
    sign_at_once,
)
from support.pcscd import POLLING_INTERVAL
from support.serve import serve, wait_until

from sk_provider.client import pin
from sk_provider.client.fido2_client import open_ctap2
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import framing, requests
from sk_provider.errors import AuthenticatorError, Interrupted
from sk_provider.operation import Operation
from sk_provider.transports import nfc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from support.serve import Served

READER = "Virtual PCD 00 00"
OTHER_READER = "Virtual PCD 00 01"
PORT = pcscd.PORT
LONG_APPLICATION = "ssh:" + "a" * 500
NEVER = "after:600000"
SILENCE_S = 5.0
AID = bytes.fromhex("a0000006472f0001")
OTHERS = "libpysk: another program is using the authenticator; waiting for it"
TAKEN_AWAY = "libpysk: the card was removed; present it again and leave it there until the operation ends"
NO_ANSWER = "libpysk: the card does not answer; present it again and leave it there until the operation ends"
PRESENT = f"libpysk: present the security key to the reader {READER}"


def not_presented(readers: str, seconds: int) -> str:
    return (
        f"libpysk: no security key was presented to the reader {readers} within {seconds} s; try again and present it"
    )


@pytest.fixture
def person(person: Person) -> Person:
    person.configure(device="nfc:")
    return person


@contextmanager
def card(person: Person, *options: str, port: int = PORT, presence: str = "auto") -> Iterator[Served]:
    """Put a card into a reader; it keeps its keys in the person's store, so that it can be taken out and put back."""
    reader = f"Virtual PCD 00 {port - PORT:02}"
    wait_until(lambda: reader not in nfc.discover(""), "the removal of the card before")
    time.sleep(POLLING_INTERVAL)  # pcscd itself may not have noticed it
    with serve("--store", str(person.store), *options, f"vpcd:127.0.0.1:{port}", presence=presence) as served:
        wait_until(lambda: reader in nfc.discover(""), "the card's being seen")
        yield served


@pytest.mark.parametrize("kind", ["ed25519-sk", "ecdsa-sk"])
def test_a_card_enrolls_and_signs(person: Person, kind: str) -> None:
    with card(person):
        assert_signs(person, enrolled(person, kind))


@pytest.mark.parametrize("profile", ["u2f", "fido2.0", "fido2.1-pre"])
def test_older_cards_enroll_and_sign(person: Person, profile: str) -> None:
    with card(person, "--profile", profile):
        assert_signs(person, enrolled(person, "ecdsa-sk"))


def test_a_long_request_reaches_the_card(person: Person) -> None:
    with card(person):
        assert_signs(person, enrolled(person, "ecdsa-sk", f"application={LONG_APPLICATION}"))


def test_a_long_request_is_chained_to_a_card_that_takes_no_long_commands(person: Person) -> None:
    def refuse_extended(command: bytes) -> bytes | None:
        return b"\x67\x00" if len(command) > 5 and command[4] == 0 else None

    with PassedOn(PORT, refuse_extended, "--store", str(person.store)) as passed_on:
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        assert_signs(person, enrolled(person, "ecdsa-sk", f"application={LONG_APPLICATION}"))
    assert any(command[0] & 0x10 for command in passed_on.commands)


def test_a_ctap_status_that_a_card_puts_into_its_status_word_is_understood(person: Person) -> None:
    is_wrapping = False

    def wrap_status(command: bytes) -> bytes | None:
        return b"\x64\x2e" if is_wrapping and command[5:6] == b"\x02" else None

    with PassedOn(PORT, wrap_status, "--store", str(person.store)):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        key = enrolled(person)
        is_wrapping = True
        done, _ = person.sign(key)
        (line,) = provider_lines(done.errors)
        assert line.startswith("libpysk: the authenticator does not hold this key")


@pytest.mark.parametrize("result", ["SCARD_E_NOT_TRANSACTED", "SCARD_E_INSUFFICIENT_BUFFER"])
def test_a_long_request_is_chained_in_a_reader_that_takes_no_long_commands(
    person: Person, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    refused = []

    def refuse_extended(apdu: bytes) -> list[object] | None:
        if len(apdu) <= 261:
            return None
        refused.append(apdu)
        return [getattr(scard, result), []]

    with card(person):
        key = KeyFile(enrolled(person, "ecdsa-sk", f"application={LONG_APPLICATION}"))
        with opened() as channel:
            before_each_apdu(monkeypatch, refuse_extended)
            for _ in range(2):
                assert get_assertion(channel, key).flags == 1
    assert len(refused) == 1


def test_a_card_that_is_taken_away_before_a_long_request_is_told(person: Person) -> None:
    with card(person) as served:
        key = KeyFile(enrolled(person, "ecdsa-sk", f"application={LONG_APPLICATION}"))
        with opened() as channel:
            served.end()
            with pytest.raises(AuthenticatorError, match="the card was removed"):
                get_assertion(channel, key)


def get_assertion(channel: nfc.NfcChannel, key: KeyFile) -> requests.Assertion:
    return requests.get_assertion(channel, key.public.application, bytes(32), key.key_handle, Operation(60), up=True)


def before_each_apdu(monkeypatch: pytest.MonkeyPatch, act: Callable[[bytes], list[object] | None]) -> None:
    """Have something done before each APDU of this process; the result and answer that it returns are the reader's."""
    transmit = scard.SCardTransmit

    def transmit_or_not(connected: object, protocol: int, apdu: list[int]) -> list[object]:
        return act(bytes(apdu)) or transmit(connected, protocol, apdu)

    monkeypatch.setattr(scard, "SCardTransmit", transmit_or_not)


def test_a_card_wants_its_pin_and_lists_and_overwrites_its_keys(person: Person) -> None:
    options = ("resident", "verify-required")
    with card(person):
        person.set_pin(PIN)
        done, first = person.enroll("first", "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        overwritten = [(PIN_PROMPT, PIN), ("Overwrite key in token", "y")]
        done, second = person.enroll("second", "ed25519-sk", *options, answers=overwritten)
        assert done.status == 0, done
        done, _ = person.sign(second, answers=[(PIN_PROMPT, WRONG_PIN)])
        assert provider_lines(done.errors) == ["libpysk: wrong PIN, 7 tries left; try again"]
        assert_signs(person, second, answers=((PIN_PROMPT, PIN),))
        done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        loaded = KeyFile(person.folder / "id_ed25519_sk_rk")
        assert loaded.public.blob == KeyFile(second).public.blob != KeyFile(first).public.blob
        assert loaded.flags & RESIDENT
        with Agent(person) as agent:
            done = agent.add("-K", answers=[(PIN_PROMPT, PIN)])
            assert done.status == 0, done
            assert second.with_suffix(".pub").read_text().split()[1] in agent.add("-L").screen


def test_a_card_signs_without_a_touch_where_the_key_wants_none(person: Person) -> None:
    with card(person):
        key = enrolled(person, "ed25519-sk", "no-touch-required")
    with card(person, presence="deny"):
        done, signature = person.sign(key)
        assert done.status == 0, done
        assert Signature(signature.read_text()).flags == 0


def test_a_card_in_the_only_reader_needs_no_configuration(person: Person) -> None:
    with card(person):
        person.config.write_text("")
        assert_signs(person, enrolled(person))


@contextmanager
def card_that_comes(person: Person, come: Callable[[], None]) -> Iterator[None]:
    """Have a card come to the empty reader in the way of ``come``, and stay until the end of the with statement."""

    def come_and_stay() -> None:
        come()
        with card(person):
            done.wait(60)

    wait_until(lambda: READER not in nfc.discover(""), "the removal of the card")
    done = threading.Event()
    late = threading.Thread(target=come_and_stay)
    late.start()
    try:
        yield
    finally:
        done.set()
        late.join()


def test_a_card_is_asked_for_and_may_come_late(person: Person) -> None:
    with card(person):
        key = enrolled(person)
    with card_that_comes(person, lambda: time.sleep(1)):
        outcome, signature = person.sign(key)
    assert outcome.status == 0, provider_lines(outcome.errors)
    (line,) = provider_lines(outcome.errors)
    assert line.startswith(f"libpysk: present the security key to the reader {READER}")
    assert person.verify(key, signature).returncode == 0


def test_a_late_card_may_be_lost_for_a_moment_while_it_is_laid_down(person: Person) -> None:
    def come_late_and_bounce() -> None:
        time.sleep(nfc._LEAVING_PATIENCE + 1)
        with serve("vpcd:", fault="dies-after:1") as served:
            served.process.wait(60)

    with card_that_comes(person, come_late_and_bounce), opened() as channel:
        assert channel.call(framing.CBOR, b"\x04")[0] == 0


def test_a_card_that_does_not_come_is_told(person: Person) -> None:
    person.configure("Timeout 1", device="nfc:")
    done, _ = person.enroll("id", "ed25519-sk")
    assert done.status != 0
    assert provider_lines(done.errors)[1:] == [not_presented(f"{READER} or {OTHER_READER}", 1)]


def test_a_card_that_is_taken_away_is_told_and_the_next_operation_works(person: Person) -> None:
    with card(person):
        key = enrolled(person)
    told = []
    # SELECT, getInfo in two pieces and getAssertion, each with its answer.
    for packets in range(1, 9):
        person.configure("Timeout 2", device="nfc:")
        wait_until(lambda: not nfc.discover(""), "the removal of the card before")
        time.sleep(POLLING_INTERVAL)
        with serve("--store", str(person.store), "vpcd:", fault=f"dies-after:{packets}"):
            wait_until(lambda: nfc.discover(""), "the card's being seen")
            done, _ = person.sign(key)
        assert done.status != 0
        told.append(provider_lines(done.errors))
    # While nothing is begun another card, or the same one, may come; that it has gone is noticed after a while.
    late = not_presented(READER, 2)
    assert all(lines in ([PRESENT, late], [late]) for lines in told[:6]), told
    assert told[6:] == [[TAKEN_AWAY]] * 2
    person.configure(device="nfc:")
    with card(person):
        assert_signs(person, key)


@pytest.fixture
def other(tmp_path: Path, provider: Path) -> Person:
    """Somebody else, whose card may lie in the other reader."""
    (tmp_path / "other").mkdir()
    return Person(tmp_path / "other", provider)


def test_the_key_is_found_in_the_right_one_of_two_readers(person: Person, other: Person) -> None:
    with card(other, port=PORT + 1):
        key = enrolled(person)
        with card(person):
            assert len(nfc.discover("")) == 2
            assert_signs(person, key)


def test_readers_are_named_by_a_part_of_their_name(person: Person) -> None:
    with card(person):
        done, _ = person.enroll("id", "ed25519-sk", "device=nfc:PCD 00 00")
        assert done.status == 0, done
        done, _ = person.enroll("id2", "ed25519-sk", "device=nfc:ACS")
        assert provider_lines(done.errors) == ["libpysk: no card reader is called ACS; connect it"]


def test_a_card_that_is_no_security_key_is_told(person: Person) -> None:
    """A card that answers every command with 6A82, file not found."""
    connected = socket.create_connection(("127.0.0.1", PORT))

    def answer() -> None:
        with connected, suppress(OSError):  # pcscd may be speaking when the card goes
            while header := connected.recv(2, socket.MSG_WAITALL):
                message = connected.recv(int.from_bytes(header, "big"), socket.MSG_WAITALL)
                if message == b"\x04":
                    connected.sendall(b"\0\x05" + bytes.fromhex("3b80800101"))
                elif len(message) > 1:
                    connected.sendall(b"\0\x02\x6a\x82")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        done, _ = person.enroll("id", "ed25519-sk")
        assert provider_lines(done.errors) == [f"libpysk: the card in {READER} is not a security key; present another"]
    finally:
        connected.shutdown(socket.SHUT_RDWR)
        thread.join()


class Silence:
    """What a card answers that falls silent at a command that contains some bytes, until it may go on."""

    def __init__(self, at: bytes) -> None:
        self._at = at
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, command: bytes) -> None:
        if self._at in command and not self.may_end.is_set():
            self.has_begun.set()
            self.may_end.wait(60)


@pytest.mark.parametrize(
    ("timeout", "at", "sentence"),
    [
        (60, AID, NO_ANSWER),
        # Here it may wait for a touch.
        (7, b"ssh:", "libpysk: nobody answered within 7 seconds; try again and touch the authenticator"),
    ],
    ids=["select", "getAssertion"],
)
def test_a_card_that_never_answers_is_given_up(person: Person, timeout: int, at: bytes, sentence: str) -> None:
    with card(person):
        key = enrolled(person)
    wait_until(lambda: not nfc.discover(""), "the removal of the card before")
    time.sleep(POLLING_INTERVAL)
    silence = Silence(at)
    with PassedOn(PORT, silence, "--store", str(person.store)):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        person.configure(f"Timeout {timeout}", device="nfc:")
        done, _ = person.sign(key)
        silence.may_end.set()
    assert done.status != 0
    assert provider_lines(done.errors) == [sentence]


def test_a_card_that_is_silent_while_it_waits_for_a_touch_signs(person: Person) -> None:
    with card(person):
        key = enrolled(person)
    wait_until(lambda: not nfc.discover(""), "the removal of the card before")
    time.sleep(POLLING_INTERVAL)
    silence = Silence(at=b"ssh:")

    def touch_late() -> None:
        silence.has_begun.wait(60)
        time.sleep(SILENCE_S + 1)
        silence.may_end.set()

    with PassedOn(PORT, silence, "--store", str(person.store)):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        threading.Thread(target=touch_late).start()
        assert_signs(person, key)


def test_programs_that_sign_at_the_same_time_take_turns(person: Person) -> None:
    with card(person):
        key = enrolled(person)
    with card(person, presence="after:1000"):
        assert set(sign_at_once(person, key, 6)) == {OTHERS}


def test_a_card_that_another_program_keeps_to_itself_is_told(person: Person) -> None:
    with card(person):
        key = enrolled(person)
        person.configure("Timeout 4", device="nfc:")  # longer than a card is waited for that is shared
        with other_program(scard.SCARD_SHARE_EXCLUSIVE):
            done, _ = person.sign(key)
        assert provider_lines(done.errors) == [
            OTHERS,
            "libpysk: the authenticator is busy with another program; end that, or try again when it is done",
        ]
        with other_program():
            done, _ = person.sign(key)
        assert done.status == 0, done


def test_a_silent_card_is_let_go_at_once_and_works_once_it_answers_again(person: Person) -> None:
    silence = Silence(at=b"ssh:")
    operation = Operation(60)

    def call_off() -> None:
        silence.has_begun.wait(60)
        operation.call_off()

    with PassedOn(PORT, silence, "--store", str(person.store)):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        with closing(nfc.open(READER, Configuration(), operation, may_create=False)) as channel:
            threading.Thread(target=call_off).start()
            started = time.monotonic()
            with pytest.raises(Interrupted):
                channel.call(framing.CBOR, b"\x02ssh:", operation)
            assert time.monotonic() - started < SILENCE_S
            with pytest.raises(AuthenticatorError, match="does not answer"):
                channel.call(framing.CBOR, b"\x04", Operation(60))
        silence.may_end.set()
        assert_signs(person, enrolled(person))


def test_a_service_that_stops_is_given_up(person: Person) -> None:
    with card(person):
        key = enrolled(person)
        with pcscd.stopped():
            done, _ = person.sign(key)
        assert provider_lines(done.errors) == ["libpysk: the PC/SC service does not answer; restart pcscd"]
        assert_signs(person, key)


def test_a_service_that_does_not_run_is_told(person: Person) -> None:
    with pcscd.hidden():
        done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == ["libpysk: the PC/SC service does not run; start pcscd"]


@pytest.mark.parametrize("profile", ["fido2.1", "u2f"])
def test_a_card_that_another_program_resets_is_selected_again(person: Person, profile: str) -> None:
    with card(person, "--profile", profile), other_program() as (other, protocol), opened() as channel:
        reset(other, protocol)
        if profile == "u2f":
            assert channel.call(framing.MSG, bytes.fromhex("00030000000000")) == b"U2F_V2\x90\x00"
        else:
            assert channel.call(framing.CBOR, b"\x04")[0] == 0


def test_a_card_on_which_another_program_selects_something_else_is_selected_again(person: Person) -> None:
    with card(person), other_program() as (other, protocol), opened() as channel:
        select_another(other, protocol)
        assert channel.call(framing.CBOR, b"\x04")[0] == 0


def reset(other: object, protocol: int, how: int = scard.SCARD_RESET_CARD) -> None:
    assert scard.SCardReconnect(other, scard.SCARD_SHARE_SHARED, protocol, how)[0] == 0


def cut_power(other: object, protocol: int) -> None:
    reset(other, protocol, scard.SCARD_UNPOWER_CARD)


def select_another(other: object, protocol: int) -> None:
    assert scard.SCardTransmit(other, protocol, list(bytes.fromhex("00a4040005a000000003"))) == [0, [0x6A, 0x82]]


class Disturbance:
    """Has another program do something before this one's first APDU that contains some bytes."""

    def __init__(self, at: bytes, disturb: Callable[[], None]) -> None:
        self.apdus: list[bytes] = []
        self._at = at
        self._disturb = disturb

    def __call__(self, apdu: bytes) -> None:
        is_due = self._at in apdu and not any(self._at in before for before in self.apdus)
        self.apdus.append(apdu)
        if is_due:
            self._disturb()


@pytest.mark.parametrize("disturb", [cut_power, select_another])
def test_no_try_is_spent_on_a_right_pin_where_another_program_disturbs_the_card(
    person: Person, monkeypatch: pytest.MonkeyPatch, disturb: Callable[[object, int], None]
) -> None:
    with card(person):
        person.set_pin(PIN)
        with other_program() as (other, protocol), opened() as channel:
            token = Token(channel, "nfc:")
            ctap2 = open_ctap2(token, Operation(60))
            get_pin_token = bytes.fromhex("01020209")  # by PIN protocol two
            before_each_apdu(monkeypatch, Disturbance(get_pin_token, lambda: disturb(other, protocol)))
            with pytest.raises(AuthenticatorError, match="another program reset the card"):
                pin.get_token(ctap2, PIN, ClientPin.PERMISSION.GET_ASSERTION, "ssh:", token)
            assert requests.get_pin_retries(channel, Operation(60)) == (8, False)
            pin.get_token(ctap2, PIN, ClientPin.PERMISSION.GET_ASSERTION, "ssh:", token)


def test_a_pin_is_sent_in_the_form_that_every_card_takes_for_it_is_not_sent_again_in_another(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with card(person):
        person.set_pin(PIN)
        with opened() as channel:
            token = Token(channel, "nfc:")
            ctap2 = open_ctap2(token, Operation(60))
            apdus: list[bytes] = []
            before_each_apdu(monkeypatch, apdus.append)
            pin.get_token(ctap2, PIN, ClientPin.PERMISSION.GET_ASSERTION, LONG_APPLICATION, token)
    assert any(apdu[0] & 0x10 for apdu in apdus)
    assert max(map(len, apdus)) <= 261


def test_no_second_key_is_made_where_another_program_resets_the_card_before_its_answer_is_fetched(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with card(person), other_program() as (other, protocol), opened() as channel:
        ctap2 = open_ctap2(Token(channel, "nfc:"), Operation(60))
        disturbance = Disturbance(bytes.fromhex("00c00000"), lambda: reset(other, protocol))
        before_each_apdu(monkeypatch, disturbance)
        algorithms: list[Mapping[str, object]] = [{"type": "public-key", "alg": -7}]
        with pytest.raises(AuthenticatorError, match="another program reset the card"):
            ctap2.make_credential(bytes(32), {"id": "ssh:", "name": "ssh"}, {"id": b"u", "name": "u"}, algorithms)
    assert sum(apdu[:2] == b"\x80\x10" for apdu in disturbance.apdus) == 1


def test_a_chained_request_is_sent_again_from_its_beginning_where_another_program_resets_the_card(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with card(person):
        key = KeyFile(enrolled(person, "ecdsa-sk", f"application={LONG_APPLICATION}"))
        with other_program() as (other, protocol), opened() as channel:
            in_last_block = Disturbance(b"public-key", lambda: reset(other, protocol))
            refused = [scard.SCARD_E_INSUFFICIENT_BUFFER, []]
            before_each_apdu(monkeypatch, lambda apdu: refused if len(apdu) > 261 else in_last_block(apdu))
            assert get_assertion(channel, key).flags == 1


@contextmanager
def other_program(mode: int = scard.SCARD_SHARE_SHARED) -> Iterator[tuple[object, int]]:
    """Connect to the card as a program does that shares it, or does not, for as long as it runs."""
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    assert result == 0
    try:
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        result, connected, protocol = scard.SCardConnect(context, READER, mode, protocols)
        assert result == 0
        yield connected, protocol
    finally:
        scard.SCardReleaseContext(context)


def opened() -> AbstractContextManager[nfc.NfcChannel]:
    return closing(nfc.open(READER, Configuration(), Operation(60), may_create=False))


def test_the_touched_one_of_two_cards_is_enrolled_on(person: Person, other: Person) -> None:
    with card(other, port=PORT + 1, presence=NEVER), card(person, presence="after:500"):
        done, key = person.enroll("id", "ed25519-sk")
        assert done.status == 0, done
        (line,) = provider_lines(done.errors)
        assert asks_to_choose(line, 2)
    with card(person):
        assert_signs(person, key)


def test_an_empty_reader_does_not_hide_a_token(person: Person, tmp_path: Path) -> None:
    token = f"unix:{tmp_path}/token"
    with serve("--store", str(person.store), token):
        person.configure("Timeout 5", device=f"nfc: {token}")
        assert_signs(person, enrolled(person))


def test_an_empty_reader_waits_for_its_card_where_no_token_is(person: Person) -> None:
    person.configure("Timeout 1", device=f"unix:{person.folder}/nobody nfc:")
    done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors)[0].startswith(PRESENT)


def test_a_software_authenticators_key_is_not_looked_for_elsewhere_than_configured(person: Person) -> None:
    person.configure("Presence auto", device=f"soft:{person.store}")
    key = enrolled(person)
    with card(person, "--store", str(person.folder / "card")):
        person.configure(device=f"soft:{person.folder}/another")
        done, _ = person.sign(key)
    (line,) = provider_lines(done.errors)
    assert line == (
        "libpysk: the key belongs to a software authenticator that is neither the default one (soft:) nor named "
        "by Device; name it with Device in pysk_config: soft:/PATH for its store, or the address at "
        "which pysk serve serves it; "
        "if its store was deleted, enroll a new key"
    )
