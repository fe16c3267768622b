"""The provider on CTAPHID tokens: how many transactions an operation takes, and what a bad token can do to it."""

from __future__ import annotations

import signal
import socket
import subprocess

import pytest
from support.openssh import PIN, PIN_PROMPT, WRONG_PIN, Person, asks_to_choose, assert_signs, enrolled, provider_lines
from support.processes import in_time, interrupt
from support.relay import TO_CLIENT, TO_TOKEN, Patience
from support.serve import wait_until

from sk_provider.ctap import framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from support import terminal
    from support.relay import Connect, Relay
    from support.sshd import Sshd

SILENCE_S = 3.0
CANCEL_S = 0.5  # for a token to confirm that it gave up
FOREIGN_CHANNEL = 0x0F0E0D0C


def test_operations_take_no_more_transactions_than_they_need(person: Person, connect: Connect) -> None:
    with connect() as relay:
        person.configure(device=relay.address)
        key = enrolled(person)
        assert relay.messages() == ["init", "info", "make"]
        relay.reports.clear()
        assert_signs(person, key)
        assert relay.messages() == ["init", "get"]
        relay.reports.clear()
        assert person.enroll("resident", "ed25519-sk", "resident")[0].status == 0
        # The assertion is the search for what would be overwritten.
        assert relay.messages() == ["init", "info", "get", "make"]


# What a PIN costs: getInfo tells the PIN protocols, the token's key is agreed on, and the PIN is exchanged for a token.
PIN_EXCHANGE = ["info", "pin", "pin"]
# Whether any tries are left, without which no PIN is asked for.
PIN_RETRIES = "pin"


def test_a_pin_costs_an_enrollment_a_second_call_and_its_exchange(person: Person, connect: Connect) -> None:
    with connect() as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        relay.reports.clear()
        done, _ = person.enroll("id", "ed25519-sk", "verify-required")
        assert done.status == 0, done
        # Only since getInfo has told that this token makes such a key without its PIN is none asked for.
        assert relay.messages() == ["init", "info", "make"]
        relay.reports.clear()
        done, _ = person.enroll("resident", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        # The host asks for the PIN once it is told that one is wanted, and calls again in another process. One token
        # is good for both the search for what would be overwritten and the new key.
        assert relay.messages() == ["init", "info", PIN_RETRIES, "init", *PIN_EXCHANGE, "get", "make"]


def test_a_pin_that_is_wanted_for_every_new_key_costs_the_same(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "pin-for-create") as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        relay.reports.clear()
        done, _ = person.enroll("id", "ed25519-sk", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert relay.messages() == ["init", "info", PIN_RETRIES, "init", *PIN_EXCHANGE, "make"]


def test_no_pin_is_asked_for_a_key_that_the_token_does_not_make(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "es256-only") as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        relay.reports.clear()
        done, _ = person.enroll("id", "ed25519-sk", "resident")
        assert provider_lines(done.errors) == [
            "libpysk: the authenticator does not support this type of key; use the other one: ecdsa-sk or ed25519-sk"
        ]
        assert relay.messages() == ["init", "info"]


def test_a_pin_costs_a_signature_its_exchange(person: Person, connect: Connect) -> None:
    with connect() as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        done, key = person.enroll("id", "ed25519-sk", "verify-required")
        assert done.status == 0, done
        relay.reports.clear()
        done, signature = person.sign(key, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert person.verify(key, signature).returncode == 0
        assert relay.messages() == ["init", *PIN_EXCHANGE, "get"]


def test_listing_keys_costs_the_pins_exchange_and_one_question_for_each_rp_and_key(
    person: Person, connect: Connect
) -> None:
    with connect() as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        for application in ("ssh:one", "ssh:other"):
            options = ("resident", f"application={application}")
            done, _ = person.enroll(application, "ed25519-sk", *options, answers=[(PIN_PROMPT, PIN)])
            assert done.status == 0, done
        relay.reports.clear()
        done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert len(list(person.folder.glob("id_ed25519_sk_rk_*.pub"))) == 2
        # Two RPs, each with the key that is its first and last.
        assert relay.messages() == ["init", *PIN_EXCHANGE, "manage", "manage", "manage", "manage"]


def test_one_gesture_verifies_a_person_for_a_resident_key(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "uv", presence="after:200") as relay:
        person.configure(device=relay.address)
        enrolled(person, "ed25519-sk", "resident", "verify-required")
        # The agreed key, and the token for both the search and the new key
        assert relay.messages() == ["init", "info", "pin", "pin", "get", "make"]
        assert relay.touches() == 1


def test_the_pin_is_asked_for_when_built_in_verification_is_blocked(person: Person, connect: Connect) -> None:
    options = ("--profile", "uv", "--store", str(person.store))
    with connect(None, *options, presence="deny") as relay:
        person.configure(device=relay.address)
        person.set_pin(PIN)
        # Whoever is not recognised is asked for the PIN as well; there, nobody touches the token.
        done, _ = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
        assert provider_lines(done.errors) == [
            "libpysk: the authenticator did not recognise you; try again",
            "libpysk: the authenticator did not recognise you; try again",
            "libpysk: the request was not confirmed on the authenticator; try again and touch it",
        ]
        done, _ = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, WRONG_PIN), (PIN_PROMPT, "")])
        assert done.status != 0
    with connect(None, *options) as relay:
        person.configure(device=relay.address)
        done, key = person.enroll("id", "ed25519-sk", "resident", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert provider_lines(done.errors) == []
        assert_signs(person, key)
        # The right PIN has given the other way back.
        assert person.enroll("id2", "ed25519-sk", "resident", "user=another")[0].status == 0


def test_a_person_is_told_to_set_a_pin_when_built_in_verification_is_blocked_without_one(
    person: Person, connect: Connect
) -> None:
    options = ("--profile", "uv", "--store", str(person.store))
    with connect(None, *options) as relay:
        person.configure(device=relay.address)
        key = enrolled(person, "ed25519-sk", "verify-required")
    with connect(None, *options, presence="deny") as relay:
        person.configure(device=relay.address)
        person.sign(key, answers=[(PIN_PROMPT, "")])
    with connect(None, *options) as relay:
        person.configure(device=relay.address)
        signing, _ = person.sign(key, answers=[(PIN_PROMPT, "")])
        enrolling, _ = person.enroll("id2", "ed25519-sk", "resident")
    for done in (signing, enrolling):
        (line,) = provider_lines(done.errors)
        assert line.startswith(
            "libpysk: the authenticator's built-in user verification is blocked; use its PIN, or set one"
        )


def test_other_programs_packets_are_skipped(person: Person, connect: Connect) -> None:
    def add_foreign(direction: str, _number: int, content: bytes) -> list[bytes]:
        if direction == TO_TOKEN:
            return [content]
        foreign = framing.split_message(FOREIGN_CHANNEL, framing.CBOR, bytes(200))
        return [foreign[0], bytes(64), content, *foreign[1:]]

    with connect(add_foreign) as relay:
        person.configure(device=relay.address)
        key = enrolled(person)
        assert_signs(person, key)


def boundaries(person: Person, connect: Connect) -> tuple[Path, int]:
    """Return a key of the token and how many reports a signature with it takes at least: a busy machine adds some."""
    with connect(None, "--store", str(person.store)) as relay:
        person.configure(device=relay.address)
        key = enrolled(person)
        relay.reports.clear()
        assert person.sign(key)[0].status == 0
        return key, sum(report.command != framing.KEEPALIVE for report in relay.reports)


def sign_anew(person: Person, relay: Relay, key: Path) -> tuple[terminal.Done, Path]:
    """Sign, after which the relay tells of that alone."""
    relay.reports.clear()
    return person.sign(key)


def test_a_token_that_vanishes_at_any_packet_is_told_and_the_next_operation_works(
    person: Person, connect: Connect
) -> None:
    key, reports = boundaries(person, connect)
    vanish_at = 0

    def vanish(_direction: str, number: int, content: bytes) -> list[bytes] | None:
        return None if number == vanish_at else [content]

    with connect(vanish, "--store", str(person.store)) as relay:
        person.configure(device=relay.address)
        for boundary in range(reports):
            vanish_at = boundary
            done, _ = in_time(0, lambda: sign_anew(person, relay, key))
            assert done.status != 0
            assert provider_lines(done.errors) == [
                f"libpysk: the other end of {relay.address} is gone; start or forward it again"
            ]
        vanish_at = -1
        assert_signs(person, key)


def test_a_token_that_falls_silent_is_given_up_in_time(person: Person, connect: Connect) -> None:
    key, reports = boundaries(person, connect)
    silent_from = reports

    def fall_silent(direction: str, number: int, content: bytes) -> list[bytes]:
        return [] if direction == TO_CLIENT and number >= silent_from else [content]

    with connect(fall_silent, "--store", str(person.store)) as relay:
        person.configure(device=relay.address)
        # In its first answer, and in the middle of its last
        for silent_from in (0, reports - 1):
            done, _ = in_time(SILENCE_S, lambda: sign_anew(person, relay, key))
            assert done.status != 0
            assert provider_lines(done.errors) == [
                "libpysk: the authenticator does not answer; unplug it, plug it in and try again"
            ]
            if silent_from:
                assert relay.messages()[-1] == "cancel"
                *_, asked, cancelled = [report.at for report in relay.reports if report.direction == TO_TOKEN]
                assert SILENCE_S - 0.1 < cancelled - asked < SILENCE_S + 2  # as the relay saw it
        silent_from = 1 << 30
        relay.reports.clear()
        assert_signs(person, key)


@pytest.mark.parametrize(
    ("spoiled", "sentence"),
    [
        (lambda packet: packet[:4] + b"\x00" + packet[5:], "the authenticator began in the middle of a message"),
        (lambda packet: packet[:5] + b"\xff\xff" + packet[7:], "the authenticator announced an impossible message"),
        (lambda packet: packet[:4] + b"\x81" + packet[5:], "the authenticator answered another question"),
        (lambda packet: packet[:7] + b"\x7f" + packet[8:], "the shared authenticator failed (error 0x7f)"),
        (lambda packet: packet[:8] + b"\xff" * 56, "the authenticator's answer is not CBOR"),
    ],
    ids=["continuation", "length", "command", "status", "cbor"],
)
def test_an_answer_that_breaks_the_protocol_is_told(
    person: Person, connect: Connect, spoiled: object, sentence: str
) -> None:
    assert callable(spoiled)
    key, _ = boundaries(person, connect)
    spoils = True

    def spoil(direction: str, _number: int, content: bytes) -> list[bytes]:
        begins = content[4] == framing.CBOR | framing.INIT_PACKET
        return [spoiled(content)] if spoils and direction == TO_CLIENT and begins else [content]

    with connect(spoil, "--store", str(person.store)) as relay:
        person.configure(device=relay.address)
        done, _ = in_time(CANCEL_S, lambda: sign_anew(person, relay, key))
        assert done.status != 0
        (line,) = provider_lines(done.errors)
        assert line.startswith(f"libpysk: {sentence}; ")
        spoils = False
        assert_signs(person, key)


def test_packets_out_of_order_are_told(person: Person, connect: Connect) -> None:
    key, _ = boundaries(person, connect)
    is_disordered = True

    def disorder(direction: str, _number: int, content: bytes) -> list[bytes]:
        if is_disordered and direction == TO_CLIENT and not content[4] & framing.INIT_PACKET:
            return [content[:4] + bytes([content[4] + 1]) + content[5:]]
        return [content]

    with connect(disorder, "--store", str(person.store)) as relay:
        person.configure(device=relay.address)
        done, _ = in_time(CANCEL_S, lambda: sign_anew(person, relay, key))
        assert done.status != 0
        assert provider_lines(done.errors) == [
            "libpysk: the authenticator mixed up its packets; unplug it, plug it in and try again"
        ]
        is_disordered = False
        assert_signs(person, key)


def test_a_person_who_does_not_come_ends_the_wait_and_the_token_stops_blinking(
    person: Person, connect: Connect
) -> None:
    key, _ = boundaries(person, connect)
    with connect(None, "--store", str(person.store), presence="after:60000") as relay:
        person.configure("Timeout 1", device=relay.address)
        done, _ = in_time(1 + CANCEL_S, lambda: sign_anew(person, relay, key))
        assert done.status != 0
        assert provider_lines(done.errors) == [
            "libpysk: nobody answered within 1 second; try again and touch the authenticator"
        ]
        assert relay.messages() == ["init", "get", "cancel"]


def test_a_flood_of_keepalives_is_no_answer(person: Person, connect: Connect) -> None:
    key, _ = boundaries(person, connect)

    def flood(_direction: str, _number: int, content: bytes) -> list[bytes]:
        return [content] * (1000 if content[4] == framing.KEEPALIVE | framing.INIT_PACKET else 1)

    with connect(flood, "--store", str(person.store), presence="after:3000") as relay:
        person.configure("Timeout 1", device=relay.address)
        done, _ = in_time(1 + CANCEL_S, lambda: sign_anew(person, relay, key))
        assert done.status != 0
        assert provider_lines(done.errors) == [
            "libpysk: nobody answered within 1 second; try again and touch the authenticator"
        ]
        assert relay.messages() == ["init", "get", "cancel"]
        # Whoever has the time for it is served, whatever else comes.
        person.configure(device=relay.address)
        assert_signs(person, key)


def is_blinking(relay: Relay) -> bool:
    return any(report.command == framing.KEEPALIVE for report in relay.reports)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_wait_ends_at_once_and_the_token_stops_blinking(
    person: Person, connect: Connect, number: signal.Signals
) -> None:
    key, _ = boundaries(person, connect)
    with connect(None, "--store", str(person.store), presence="after:60000") as relay:
        person.configure(device=relay.address)
        document = person.folder / "document"
        process = subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(document)],
            env=person.environment, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(lambda: is_blinking(relay), "the token's blinking")
        interrupt(process, number)
        wait_until(lambda: relay.messages() == ["init", "get", "cancel"], "the cancelling")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_reset_is_not_left_to_the_next_touch(
    person: Person, connect: Connect, number: signal.Signals
) -> None:
    with connect(None, presence="after:60000") as relay:
        process = subprocess.Popen(
            [person.pysk, "reset", "--yes", relay.address],
            env=person.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: is_blinking(relay), "the token's blinking")
        process.send_signal(number)
        assert process.wait(30) != 0
        assert relay.messages() == ["init", "info", "reset", "cancel"]


def test_an_interrupted_login_ends_at_once_and_the_token_stops_blinking(
    person: Person, connect: Connect, server: Sshd
) -> None:
    key, _ = boundaries(person, connect)
    server.authorized_keys.write_text(key.with_name(key.name + ".pub").read_text())
    options = ("-o", f"SecurityKeyProvider={person.provider}", "-o", "IdentitiesOnly=yes", "-i", str(key))
    with connect(None, "--store", str(person.store), presence="after:60000") as relay:
        person.configure(device=relay.address)
        process = subprocess.Popen(
            [*server.client(*options), "true"],
            env=person.environment, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        wait_until(lambda: is_blinking(relay), "the token's blinking")
        interrupt(process)
        assert process.returncode != 0
        wait_until(lambda: relay.messages() == ["init", "get", "cancel"], "the cancelling")


def test_the_end_of_the_program_that_asked_ends_the_wait(person: Person, connect: Connect) -> None:
    key, _ = boundaries(person, connect)
    with connect(None, "--store", str(person.store), presence="after:60000") as relay:
        person.configure(device=relay.address)
        process = subprocess.Popen(
            ["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(key), str(person.folder / "document")],
            env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: is_blinking(relay), "the token's blinking")
        process.kill()
        process.wait(30)
        wait_until(lambda: relay.messages() == ["init", "get", "cancel"], "the cancelling")


def test_the_key_is_found_among_several_tokens_before_any_pin_is_asked(person: Person, connect: Connect) -> None:
    patience = Patience()
    with connect() as first, connect(patience) as second, connect() as third:
        person.configure(device=second.address)
        key = enrolled(person)
        for relay in (first, second, third):
            person.set_pin(PIN, relay.address)
            relay.reports.clear()
        # an answer to the request for a channel, and one to the question
        patience.until = lambda: min(relay.answers() for relay in (first, third)) == 2
        person.configure(device=f"{first.address} {second.address} {third.address}")
        done, signature = person.sign(key)
        assert done.status == 0, done
        assert provider_lines(done.errors) == []
        assert person.verify(key, signature).returncode == 0
        # The first question is a silent one, which is withdrawn from whoever has not answered once the key is found.
        for relay in (first, third):
            assert [message for message in relay.messages() if message != "cancel"] == ["init", "get"]
        assert second.messages() == ["init", "get", "get"]


def test_a_token_that_tells_nothing_without_a_pin_is_taken_for_the_holder(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "always-uv") as secretive, connect() as other:
        person.set_pin(PIN, secretive.address)
        person.configure(device=secretive.address)
        done, key = person.enroll("id", "ed25519-sk", answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        person.configure(device=f"{other.address} {secretive.address}")
        for relay in (other, secretive):
            relay.reports.clear()
        done, _ = person.sign(key)
        (sentence,) = provider_lines(done.errors)
        assert sentence.startswith("libpysk: the authenticator requires its PIN for every use (alwaysUv); ")
        # a channel and the silent question, to which only the other says that it does not hold the key
        assert other.messages() == ["init", "get"]
        assert secretive.messages()[:3] == ["init", "get", "get"]


def test_no_touch_is_wanted_before_the_pin_where_every_token_needs_one(person: Person, connect: Connect) -> None:
    with connect(None, presence="after:60000") as untouched, connect(None, presence="after:200") as touched:
        for relay in (untouched, touched):
            person.set_pin(PIN, relay.address)
        person.configure(device=touched.address)
        done, key = person.enroll("id", "ed25519-sk", "verify-required")
        assert done.status == 0, done
        person.configure(device=f"{untouched.address} {touched.address}")
        for relay in (untouched, touched):
            relay.reports.clear()
        # An empty PIN is none.
        done, _ = person.sign(key, answers=[(PIN_PROMPT, "")])
        assert done.status != 0
        assert untouched.messages() == touched.messages() == ["init", "get", "info", PIN_RETRIES]
        done, signature = person.sign(key, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert person.verify(key, signature).returncode == 0


def test_a_dead_token_does_not_hide_the_others(person: Person, connect: Connect) -> None:
    with connect(lambda *_: []) as dead, connect() as living:
        person.configure(device=living.address)
        key = enrolled(person)
        person.configure(device=f"{dead.address} {living.address}")
        assert_signs(person, key)


def test_a_token_that_is_stuck_does_not_hide_the_others(person: Person, connect: Connect) -> None:
    patience = Patience()
    with connect(fault="stuck") as stuck, connect(patience) as living:
        person.configure(device=living.address)
        key = enrolled(person)
        patience.until = lambda: "get" in stuck.messages()
        person.configure(device=f"{stuck.address} {living.address}")
        assert_signs(person, key)
        assert stuck.messages() == ["init", "get", "cancel"]


@pytest.mark.usefixtures("impatient")
def test_a_stuck_token_is_not_said_to_be_without_the_key(person: Person, connect: Connect) -> None:
    with connect(fault="stuck") as stuck, connect() as other:
        with connect() as holder:
            person.configure(device=holder.address)
            key = enrolled(person)
        person.configure(device=f"{stuck.address} {other.address}")
        done, _ = person.sign(key)
        assert done.status != 0
        (sentence,) = provider_lines(done.errors)
        assert sentence == (
            f"libpysk: {stuck.address} does not answer, and no other authenticator is known to hold this key; "
            "unplug it, plug it in and try again, or connect the one that the key was enrolled on"
        )


def test_a_key_that_no_token_holds_is_told(person: Person, connect: Connect) -> None:
    with connect() as first, connect() as second:
        with connect() as third:
            person.configure(device=third.address)
            key = enrolled(person)
        person.configure(device=f"{first.address} {second.address}")
        done, _ = person.sign(key)
        assert done.status != 0
        (line,) = provider_lines(done.errors)
        assert line == (
            "libpysk: no connected authenticator holds this key, or one hides it until it is given "
            "the PIN (verify-required); connect the authenticator that the key was enrolled on, or have ssh ask for "
            "the PIN (OpenSSH 10.5 and later): ssh-keygen -p -O verify-required"
        )


@pytest.mark.parametrize("profile", ["fido2.1", "fido2.0", "u2f"])
def test_the_touched_one_of_several_tokens_is_enrolled_on(person: Person, connect: Connect, profile: str) -> None:
    with (
        connect(None, presence="after:60000") as untouched,
        connect(None, "--profile", profile, presence="after:500") as touched,
    ):
        person.configure(device=f"{untouched.address} {touched.address}")
        done, key = person.enroll("id", "ecdsa-sk")
        assert done.status == 0, done
        (line,) = provider_lines(done.errors)
        assert asks_to_choose(line, 2)
        assert untouched.messages()[-1] == "cancel"
        person.configure(device=touched.address)
        assert_signs(person, key)


def test_a_u2f_token_is_asked_again_until_somebody_has_touched_it(person: Person, connect: Connect) -> None:
    with connect(None, "--profile", "u2f", presence="after:1000") as relay:
        person.configure(device=relay.address)
        key = enrolled(person, "ecdsa-sk")
        first, *polls = relay.messages()
        assert first == "init"
        assert 1 < polls.count("u2f") == len(polls) < 10
        relay.reports.clear()
        assert_signs(person, key)
        first, *polls = relay.messages()
        assert first == "init"
        assert 1 < polls.count("u2f") == len(polls) < 10


def test_a_token_that_is_busy_for_a_moment_is_waited_for(person: Person, connect: Connect) -> None:
    busy = framing.split_message(framing.BROADCAST_CHANNEL, framing.ERROR, bytes([framing.ERR_CHANNEL_BUSY]))

    def refuse_at_first(direction: str, number: int, content: bytes) -> list[bytes]:
        return busy if direction == TO_CLIENT and number < 3 else [content]

    with connect(refuse_at_first) as relay:
        person.configure(device=relay.address)
        enrolled(person)
        assert relay.messages() == ["init", "init", "info", "make"]


@pytest.mark.usefixtures("impatient")
def test_nobody_at_the_port_is_told(person: Person) -> None:
    # Held, but nobody reads there.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        person.configure(device=f"udp:127.0.0.1:{held.getsockname()[1]}")
        done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == [
        "libpysk: the authenticator does not answer; start it again, or correct the address"
    ]


def test_nobody_at_the_socket_is_told(person: Person, sockets: Path) -> None:
    person.configure(device=f"unix:{sockets}/nobody")
    done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == [
        f"libpysk: nobody listens at unix:{sockets}/nobody; start or forward the authenticator"
    ]
