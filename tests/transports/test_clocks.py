"""How long the provider waits on CTAPHID tokens: for a silent one, for a person, and for others."""

from __future__ import annotations

import subprocess
from contextlib import closing

import pytest
from support.impatient import LATE_TOUCH
from support.openssh import Person, assert_signs, enrolled, provider_lines, sign_at_once
from support.processes import in_time
from support.relay import TO_CLIENT, TO_TOKEN
from support.serve import serve

from sk_provider.client import token
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import commands, framing, hid, requests
from sk_provider.ctap.cbor import encode
from sk_provider.errors import AuthenticatorError, TimedOut
from sk_provider.operation import Operation
from sk_provider.transports import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from support import terminal
    from support.relay import Connect, Relay

SHORT_S = 0.3
OTHERS = "libpysk: another program is using the authenticator; waiting for it"
BUSY = "libpysk: the authenticator is busy with another program; end that, or try again when it is done"

# A credential for nobody, and what need not wait for a touch
MAKE = bytes([commands.MAKE_CREDENTIAL]) + encode(
    {1: bytes(32), 2: {"id": "ssh:"}, 3: {"id": b"0", "name": "0"}, 4: [{"type": "public-key", "alg": -7}]}
)
ASSERT = bytes([commands.GET_ASSERTION]) + encode({1: "ssh:", 2: bytes(32)})
PROBE = bytes([commands.GET_ASSERTION]) + encode({1: "ssh:", 2: bytes(32), 5: {"up": False}})
VERIFY = bytes([commands.CLIENT_PIN]) + encode({1: 2, 2: commands.GET_TOKEN_USING_UV})
AGREE = bytes([commands.CLIENT_PIN]) + encode({1: 2, 2: commands.GET_KEY_AGREEMENT})
RETRIES = bytes([commands.CLIENT_PIN]) + encode({1: 1, 2: commands.GET_PIN_RETRIES})


def is_keepalive(content: bytes) -> bool:
    return content[4] == framing.KEEPALIVE | framing.INIT_PACKET


def drop_keepalives(direction: str, _number: int, content: bytes) -> list[bytes]:
    return [] if direction == TO_CLIENT and is_keepalive(content) else [content]


def answer_only_init(direction: str, _number: int, content: bytes) -> list[bytes]:
    is_init = content[4] == framing.INIT | framing.INIT_PACKET
    return [content] if direction == TO_TOKEN or is_init else []


def open_channel(relay: Relay, operation: Operation) -> hid.HidChannel:
    path = relay.address.removeprefix("unix:")
    return unix.open(path, Configuration(), operation, may_create=False)


@pytest.mark.usefixtures("impatient")
def test_a_token_that_sends_no_keepalives_while_it_waits_for_a_touch_enrolls_and_signs(
    person: Person, connect: Connect
) -> None:
    with connect(drop_keepalives, "--profile", "fido2.0", presence=LATE_TOUCH) as relay:
        person.configure(device=relay.address)
        assert_signs(person, enrolled(person))


@pytest.mark.usefixtures("impatient")
def test_a_token_that_sends_no_keepalives_is_reset_and_verifies(person: Person, connect: Connect) -> None:
    with connect(drop_keepalives, "--profile", "uv", presence=LATE_TOUCH) as relay:
        person.configure(device=relay.address)
        # The gesture is in clientPIN here.
        enrolled(person, "ed25519-sk", "resident", "verify-required")
        assert relay.messages() == ["init", "info", "pin", "pin", "get", "make"]
    with connect(drop_keepalives, presence=LATE_TOUCH) as relay:
        done = subprocess.run(
            [person.pysk, "reset", "--yes", relay.address],
            env=person.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("impatient")
def test_a_token_that_never_says_anything_ends_with_the_persons_time(person: Person, connect: Connect) -> None:
    makes = False

    def fall_silent(direction: str, number: int, content: bytes) -> list[bytes]:
        nonlocal makes
        makes = makes or (direction == TO_TOKEN and content[4:8] == bytes([0x90, *content[5:7], 1]))
        return [] if makes and direction == TO_CLIENT else [content]

    def enroll() -> tuple[terminal.Done, Path]:
        nonlocal makes
        makes = False
        relay.reports.clear()
        return person.enroll("id", "ed25519-sk")

    with connect(fall_silent) as relay:
        person.configure("Timeout 3", device=relay.address)
        done, _ = in_time(3 + hid._CANCEL_PATIENCE, enroll)
        assert done.status != 0
        assert provider_lines(done.errors) == [
            "libpysk: nobody answered within 3 seconds; try again and touch the authenticator"
        ]
        assert relay.messages() == ["init", "info", "make", "cancel"]


@pytest.mark.parametrize("request_", [MAKE, ASSERT, VERIFY, b"\x07", b"\x0b"], ids=bytes.hex)
def test_silence_ends_no_wait_for_a_person(connect: Connect, monkeypatch: pytest.MonkeyPatch, request_: bytes) -> None:
    monkeypatch.setattr(hid, "SILENCE", SHORT_S)
    with connect(answer_only_init) as relay, closing(open_channel(relay, Operation(60))) as channel:
        with pytest.raises(TimedOut):
            channel.call(framing.CBOR, request_, Operation(1))
        assert relay.messages()[-1] == "cancel"


@pytest.mark.parametrize("request_", [b"\x04", PROBE, AGREE, RETRIES, b"\x08"], ids=bytes.hex)
def test_silence_ends_what_nobody_need_come_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(hid, "SILENCE", SHORT_S)
    with connect(answer_only_init) as relay, closing(open_channel(relay, Operation(60))) as channel:
        with pytest.raises(AuthenticatorError, match="does not answer"):
            channel.call(framing.CBOR, request_, Operation(60))
        assert relay.messages()[-1] == "cancel"


def test_silence_after_a_keepalive_ends_every_wait(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hid, "SILENCE", 1.0)
    has_kept_alive = False

    def keep_alive_once(direction: str, _number: int, content: bytes) -> list[bytes]:
        nonlocal has_kept_alive
        if direction == TO_TOKEN or not is_keepalive(content):
            return [content]
        passed_on = [] if has_kept_alive else [content]
        has_kept_alive = True
        return passed_on

    with (
        connect(keep_alive_once, presence="after:60000") as relay,
        closing(open_channel(relay, Operation(60))) as channel,
    ):
        with pytest.raises(AuthenticatorError, match="does not answer"):
            channel.call(framing.CBOR, MAKE, Operation(60))
        assert relay.messages()[-1] == "cancel"


@pytest.mark.parametrize(("number", "milliseconds"), [(6, 1500), (32, 200)])
def test_programs_that_sign_at_the_same_time_take_turns(
    person: Person, sockets: Path, number: int, milliseconds: int
) -> None:
    path = f"unix:{sockets}/token"
    person.configure(device=path)
    with serve("--store", str(person.store), path):
        key = enrolled(person)
    with serve("--store", str(person.store), path, presence=f"after:{milliseconds}"):
        lines = sign_at_once(person, key, number)
    # Each is told once, and the first has waited for nobody.
    assert set(lines) == {OTHERS}
    assert len(lines) < number


def test_a_persons_time_begins_with_their_turn(person: Person, sockets: Path) -> None:
    path = f"unix:{sockets}/token"
    with serve("--store", str(person.store), path):
        person.configure(device=path)
        key = enrolled(person)
    # Each of the touches comes in time, the last of them not within that of the first.
    person.configure("Timeout 6", device=path)
    with serve("--store", str(person.store), path, presence="after:3500"):
        sign_at_once(person, key, 2)


def busy_on(content: bytes) -> list[bytes]:
    """Return the report that tells on the channel of another one that the token is busy."""
    channel = int.from_bytes(content[:4], "big")
    return framing.split_message(channel, framing.ERROR, bytes([framing.ERR_CHANNEL_BUSY]))


@pytest.mark.parametrize("command", [framing.INIT, framing.CBOR])
def test_a_token_that_others_never_let_go_is_told(person: Person, connect: Connect, command: int) -> None:
    def refuse(direction: str, _number: int, content: bytes) -> list[bytes]:
        if direction == TO_TOKEN or (command == framing.CBOR and content[4] == framing.INIT | framing.INIT_PACKET):
            return [content]
        return busy_on(content) if content[4] == command | framing.INIT_PACKET else []

    with connect(refuse) as relay:
        person.configure("Timeout 2", device=relay.address)
        done, _ = in_time(2, lambda: person.enroll("id", "ed25519-sk"))
        assert done.status != 0
        assert provider_lines(done.errors) == [OTHERS, BUSY]
        assert set(relay.messages()) == ({"init"} if command == framing.INIT else {"init", "info"})


def test_a_probe_waits_for_others_no_longer_than_for_an_answer(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token, "PROBE_PATIENCE", 1)

    def refuse(direction: str, _number: int, content: bytes) -> list[bytes]:
        is_busy = direction == TO_CLIENT and content[4] == framing.CBOR | framing.INIT_PACKET
        return busy_on(content) if is_busy else [content]

    operation = Operation(3600)
    with (
        connect(refuse) as relay,
        closing(open_channel(relay, operation)) as channel,
        pytest.raises(AuthenticatorError, match="is busy with another program"),
    ):
        Token(channel, relay.address).probe("ssh:", b"key handle", operation)


def test_another_programs_error_is_no_answer_to_init(person: Person, connect: Connect) -> None:
    def add_errors(direction: str, _number: int, content: bytes) -> list[bytes]:
        if direction == TO_TOKEN or content[4] != framing.INIT | framing.INIT_PACKET:
            return [content]
        others = framing.split_message(framing.BROADCAST_CHANNEL, framing.ERROR, bytes([framing.ERR_INVALID_SEQ]))
        return [*busy_on(content), *others, content]

    with connect(add_errors) as relay:
        person.configure(device=relay.address)
        assert_signs(person, enrolled(person))
        assert relay.messages() == ["init", "info", "make", "init", "get"]


def test_init_is_repeated_where_an_error_came_and_no_answer(connect: Connect) -> None:
    def refuse_first(direction: str, number: int, content: bytes) -> list[bytes]:
        if direction == TO_CLIENT and number == 1:
            return framing.split_message(framing.BROADCAST_CHANNEL, framing.ERROR, bytes([framing.ERR_INVALID_SEQ]))
        return [content]

    operation = Operation(60)
    with connect(refuse_first) as relay, closing(open_channel(relay, operation)) as channel:
        assert requests.get_info(channel, operation).options["rk"] is True
        assert relay.messages() == ["init", "init", "info"]
