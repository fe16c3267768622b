"""How long the provider waits on CTAPHID tokens that others use."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.openssh import Person, assert_signs, enrolled, provider_lines, sign_at_once
from support.processes import within
from support.relay import TO_CLIENT, TO_TOKEN
from support.serve import serve

from sk_provider.client import token
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import framing, hid, requests
from sk_provider.errors import AuthenticatorError
from sk_provider.operation import Operation
from sk_provider.transports import unix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from support.relay import Connect, Relay

OTHERS = "libpysk: another program uses the authenticator; waiting for it"
BUSY = "libpysk: the authenticator is busy with another program; end that, or try again when it is done"


def open_channel(relay: Relay, operation: Operation) -> hid.HidChannel:
    path = relay.address.removeprefix("unix:")
    return unix.open(path, Configuration(), operation, may_create=False)


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
        with within(2):
            done, _ = person.enroll("id", "ed25519-sk")
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
