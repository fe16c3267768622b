"""Which of several authenticators the provider uses, above all where one of them cannot be asked."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.openssh import PIN, PIN_PROMPT, KeyFile, Person, assert_signs, enrolled, provider_lines
from support.relay import TO_TOKEN, Patience
from support.serve import wait_until

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE, SignRequest
from sk_provider.authenticator.store import Store
from sk_provider.client import token, u2f
from sk_provider.config import Configuration
from sk_provider.ctap import framing
from sk_provider.errors import CredentialNotFound
from sk_provider.operation import Operation
from sk_provider.sign import sign
from sk_provider.transports.unix import open as open_unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from support.relay import Connect, Relay

NEVER = "after:60000"
SOON = "after:200"


def choose_another(dead: Relay) -> str:
    """Return the line that tells which token cannot be asked, and that another may be touched."""
    return f"libpysk: {dead.address}: the authenticator does not answer; to use another authenticator, touch it"


def say_nothing(*_: object) -> list[bytes]:
    return []


def tries_left(person: Person, relay: Relay) -> str:
    done = person.run(str(person.pysk), "pin", "status", relay.address)
    assert done.status == 0, done
    return done.screen


def key_of_another_token(person: Person, connect: Connect, *options: str) -> Path:
    """Return a key whose token is gone; with a PIN if the options want one."""
    with connect() as holder:
        person.configure(device=holder.address)
        if options:
            person.set_pin(PIN)
        return enrolled(person, "ed25519-sk", *options)


@pytest.mark.usefixtures("impatient")
def test_no_pin_goes_to_a_token_that_may_hold_the_key_while_another_cannot_be_asked(
    person: Person, connect: Connect
) -> None:
    key = key_of_another_token(person, connect, "verify-required")
    with connect(say_nothing) as dead, connect(None, presence=NEVER) as other:
        person.set_pin("another PIN", other.address)
        person.configure("Timeout 3", device=f"{dead.address} {other.address}")
        done, _ = person.sign(key, answers=[(PIN_PROMPT, PIN)])
        assert done.status != 0
        assert provider_lines(done.errors) == [
            choose_another(dead),
            "libpysk: nobody answered within 3 seconds; try again and touch the authenticator",
        ]
        assert "8 tries left" in tries_left(person, other)


@pytest.mark.usefixtures("impatient")
def test_a_touched_token_gets_the_pin_while_another_cannot_be_asked(person: Person, connect: Connect) -> None:
    with connect(say_nothing) as dead, connect(None, presence=SOON) as holder:
        person.set_pin(PIN, holder.address)
        person.configure(device=holder.address)
        key = enrolled(person, "ed25519-sk", "verify-required")
        person.configure(device=f"{dead.address} {holder.address}")
        done, signature = person.sign(key, answers=[(PIN_PROMPT, PIN)])
        assert done.status == 0, done
        assert provider_lines(done.errors) == [choose_another(dead)]
        assert person.verify(key, signature).returncode == 0


def test_no_pin_is_asked_for_where_none_of_several_tokens_would_take_it(person: Person, connect: Connect) -> None:
    key = key_of_another_token(person, connect, "verify-required")
    folders = [str(person.folder / name) for name in ("first", "second")]
    with connect(None, "--store", folders[0]) as first, connect(None, "--store", folders[1]) as second:
        for relay, folder, retries in ((first, folders[0], 0), (second, folders[1], 1)):
            person.set_pin(PIN, relay.address)
            with Store.open(folder).transaction() as state:
                state.pin_retries = retries
        person.configure(device=f"{first.address} {second.address}")
        # ssh-keygen asks for it anyway; an empty PIN is none, and the provider's question prints nothing.
        done, _ = person.sign(key, answers=[(PIN_PROMPT, "")])
        assert done.status != 0
        assert provider_lines(done.errors) == []
        with Store.open(folders[1]).transaction() as state:
            state.pin_retries = 0
        done, _ = person.sign(key, answers=[(PIN_PROMPT, "")])
        assert done.status != 0
        assert provider_lines(done.errors) == [
            (
                "libpysk: the PIN is blocked for good; only a reset unblocks it, which deletes all keys: "
                f"pysk reset {first.address}"
            )
        ]


def test_a_token_that_fails_after_the_search_does_not_hide_one_that_takes_the_pin(
    person: Person, connect: Connect
) -> None:
    key = key_of_another_token(person, connect, "verify-required")
    questions_left = 100

    def die(direction: str, _number: int, content: bytes) -> list[bytes] | None:
        nonlocal questions_left
        questions_left -= direction == TO_TOKEN and content[4] == framing.CBOR | framing.INIT_PACKET
        return [content] if questions_left > 0 else None

    with connect() as sound, connect(die) as dying:
        for relay in (sound, dying):
            person.set_pin(PIN, relay.address)
        # It answers the silent one, whether it holds the key.
        questions_left = 2
        person.configure(device=f"{dying.address} {sound.address}")
        done, _ = person.sign(key, answers=[(PIN_PROMPT, "")])
        assert done.status != 0
        # The provider's question for the PIN prints nothing, unlike what the dying token met.
        assert provider_lines(done.errors) == []
        assert sound.messages()[-1] == "pin"


@pytest.mark.usefixtures("impatient")
def test_a_token_that_cannot_be_asked_is_told_where_no_other_holds_the_key(person: Person, connect: Connect) -> None:
    key = key_of_another_token(person, connect)
    with connect() as other, connect(say_nothing) as dead:
        person.configure(device=f"{other.address} {dead.address}")
        done, _ = person.sign(key)
        assert done.status != 0
        assert provider_lines(done.errors) == [
            f"libpysk: {dead.address}: the authenticator does not answer; unplug it, plug it in and try again"
        ]


def test_the_token_with_the_key_signs_at_once_though_another_does_not_answer(person: Person, connect: Connect) -> None:
    with connect(say_nothing) as dead, connect(None) as holder:
        person.configure(device=holder.address)
        key = enrolled(person)
        # The silence of the other would end after the person's time.
        person.configure("Timeout 2", device=f"{dead.address} {holder.address}")
        assert_signs(person, key)


@pytest.mark.usefixtures("impatient")
def test_no_pin_goes_to_the_only_one_of_several_tokens_that_can_be_opened_unless_it_is_touched(
    person: Person, connect: Connect
) -> None:
    with connect(say_nothing) as dead, connect(None, presence=NEVER) as other:
        person.set_pin("another PIN", other.address)
        person.configure("Timeout 3", device=f"{dead.address} {other.address}")
        done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
        assert done.status != 0
        assert provider_lines(done.errors) == [
            choose_another(dead),
            "libpysk: nobody answered within 3 seconds; try again and touch the authenticator",
        ]
        assert "8 tries left" in tries_left(person, other)


@pytest.mark.usefixtures("impatient")
def test_the_only_one_of_several_tokens_that_can_be_opened_enrolls_once_it_is_touched(
    person: Person, connect: Connect
) -> None:
    with connect(say_nothing) as dead, connect(None, presence=SOON) as living:
        person.configure(device=f"{dead.address} {living.address}")
        done, key = person.enroll("id", "ed25519-sk")
        assert done.status == 0, done
        assert provider_lines(done.errors) == [choose_another(dead)]
        person.configure(device=living.address)
        assert_signs(person, key)


def test_a_socket_where_nobody_listens_is_no_candidate(person: Person, connect: Connect, sockets: Path) -> None:
    with connect() as gone:
        pass
    assert (sockets / gone.address.rpartition("/")[2]).exists()
    with connect() as living:
        person.configure(device=f"{gone.address} {living.address}")
        assert_signs(person, enrolled(person))


def test_an_address_that_leads_nowhere_does_not_hide_the_others(person: Person, connect: Connect) -> None:
    with connect() as living:
        person.configure(device=f"nfc:NoSuchReader {living.address} unix:{person.folder}/nobody")
        assert_signs(person, enrolled(person))


def test_addresses_that_all_lead_nowhere_are_told(person: Person) -> None:
    addresses = f"nfc:NoSuchReader unix:{person.folder}/nobody"
    person.configure(device=addresses)
    done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == [
        f"libpysk: no authenticator is at {addresses.replace(' ', ' or ')}; connect it, or correct the address"
    ]


def test_an_address_that_cannot_be_used_is_told_where_no_other_leads_to_an_authenticator(person: Person) -> None:
    person.configure(device=f"unix:relative unix:{person.folder}/nobody")
    done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == ["libpysk: unix:relative is not an absolute path; begin it with / or ~/"]


def test_an_authenticator_that_takes_its_time_is_given_up_once_another_says_that_it_has_the_key(
    person: Person, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token, "PROBE_PATIENCE", 3600)
    patience = Patience()
    with connect(fault="stuck") as stuck, connect(patience) as living:
        person.configure(device=living.address)
        key = KeyFile(enrolled(person))
        patience.until = lambda: "get" in stuck.messages()
        configuration = Configuration()
        configuration.add_rule("devices", [], [stuck.address, living.address])
        request = SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:", key.key_handle, FLAG_USER_PRESENCE, None, None)
        sign(request, configuration, Operation(60))
        wait_until(lambda: stuck.messages() == ["init", "get", "cancel"], "the cancelling")


def test_a_key_handle_that_is_too_long_for_u2f_is_another_tokens(connect: Connect) -> None:
    with connect(None, "--profile", "u2f") as relay:
        request = SignRequest(ALGORITHM_ECDSA, bytes(32), "ssh:", bytes(256), FLAG_USER_PRESENCE, None, relay.address)
        with pytest.raises(CredentialNotFound):
            sign(request, Configuration(), Operation(5))
        operation = Operation(5)
        path = relay.address.removeprefix("unix:")
        with closing(open_unix(path, Configuration(), operation, may_create=False)) as channel:
            assert not u2f.holds_key(token.Token(channel, relay.address), "ssh:", bytes(256), operation)


def test_ctrl_c_while_several_tokens_wait_for_a_touch_cancels_all(person: Person, connect: Connect) -> None:
    with connect(None, presence=NEVER) as first, connect(None, presence=NEVER) as second:
        person.configure(device=f"{first.address} {second.address}")
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("pysk")), "pin", "status"],
            env=person.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for relay in (first, second):
            wait_until(
                lambda relay=relay: any(report.command == framing.KEEPALIVE for report in relay.reports),
                "the token's blinking",
            )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert said.splitlines()[-1] == "Aborted!"
        for relay in (first, second):
            assert relay.transactions() == [framing.INIT, framing.CBOR, framing.CANCEL]
