"""The provider on cards in PC/SC readers, through a real pcscd."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.openssh import PIN, PIN_PROMPT, Person, assert_signs, enrolled, provider_lines
from support.pcscd import POLLING_INTERVAL
from support.serve import serve, wait_until

from sk_provider.transports import nfc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.serve import Served

READER = "Virtual PCD 00 00"
PORT = 35963


@pytest.fixture
def person(person: Person) -> Person:
    person.configure(device="nfc:")
    return person


@contextmanager
def card(person: Person, *options: str, port: int = PORT) -> Iterator[Served]:
    """Put a card into a reader; it keeps its keys in the person's store, so that it can be taken out and put back."""
    reader = f"Virtual PCD 00 {port - PORT:02}"
    wait_until(lambda: reader not in nfc.readers_with_card(), "the removal of the card before")
    time.sleep(POLLING_INTERVAL)  # pcscd itself may not have noticed it
    with serve("--store", str(person.store), *options, f"vpcd:127.0.0.1:{port}") as served:
        wait_until(lambda: reader in nfc.readers_with_card(), "the card's being seen")
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
    application = "application=ssh:" + "a" * 500
    with card(person):
        assert_signs(person, enrolled(person, "ecdsa-sk", application))


def test_a_card_wants_its_pin_and_lists_its_keys(person: Person) -> None:
    with card(person):
        person.set_pin(PIN)
        done, key = person.enroll("id", "ed25519-sk", "resident", "verify-required", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert_signs(person, key, answers=((PIN_PROMPT, PIN),))
        done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert (person.folder / "id_ed25519_sk_rk.pub").read_text().split()[:2] == (
            person.folder / "id.pub"
        ).read_text().split()[:2]


def test_a_card_in_the_only_reader_needs_no_configuration(person: Person) -> None:
    with card(person):
        person.config.write_text("")
        assert_signs(person, enrolled(person))


def test_a_card_is_asked_for_and_may_come_late(person: Person) -> None:
    with card(person):
        key = enrolled(person)

    def present_late() -> None:
        time.sleep(1)
        with card(person):
            done.wait(60)

    wait_until(lambda: READER not in nfc.readers_with_card(), "the removal of the card")
    done = threading.Event()
    late = threading.Thread(target=present_late)
    late.start()
    try:
        outcome, signature = person.sign(key)
    finally:
        done.set()
        late.join()
    assert outcome.status == 0, provider_lines(outcome.errors)
    (line,) = provider_lines(outcome.errors)
    assert line.startswith(f"libpysk: present the security key to the reader {READER}")
    assert person.verify(key, signature).returncode == 0


def test_a_card_that_does_not_come_is_told(person: Person) -> None:
    person.configure("Timeout 1", device="nfc:")
    done, _ = person.enroll("id", "ed25519-sk")
    assert done.status != 0
    assert provider_lines(done.errors)[1:] == [
        "libpysk: nobody answered within 1 second; try again and touch the authenticator"
    ]


@pytest.mark.parametrize("packets", range(4, 16, 2))
def test_a_card_that_is_taken_away_is_told_and_the_next_operation_works(person: Person, packets: int) -> None:
    with card(person):
        key = enrolled(person)
    person.configure("Timeout 2", device="nfc:")
    with serve("--store", str(person.store), "--profile", f"dies-after:{packets}", "vpcd:"):
        done, signature = person.sign(key)
    if done.status == 0:
        assert person.verify(key, signature).returncode == 0
    else:
        assert "; " in provider_lines(done.errors)[-1], done
    person.configure(device="nfc:")
    with card(person):
        assert_signs(person, key)


def test_the_key_is_found_in_the_right_one_of_two_readers(person: Person, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Person(tmp_path / "other", person.provider)
    with card(other, port=PORT + 1):
        key = enrolled(person)
        with card(person):
            assert len(nfc.readers_with_card()) == 2
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
        wait_until(nfc.readers_with_card, "the card's being seen")
        done, _ = person.enroll("id", "ed25519-sk")
        assert provider_lines(done.errors) == [f"libpysk: the card in {READER} is not a security key; present another"]
    finally:
        connected.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_card_that_never_answers_is_given_up(person: Person) -> None:
    with card(person):
        key = enrolled(person)
    with serve("--store", str(person.store), "--profile", "stuck", "vpcd:"):
        wait_until(nfc.readers_with_card, "the card's being seen")
        person.configure("Timeout 2", device="nfc:")
        done, _ = person.sign(key)
    assert done.status != 0
    assert "; " in provider_lines(done.errors)[-1], done
