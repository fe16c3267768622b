"""The provider on tokens that are reached by datagrams, as the simulators are."""

from __future__ import annotations

import socket
from contextlib import closing, suppress

import pytest
from support.openssh import PIN, PIN_PROMPT, Person, assert_signs, enrolled, provider_lines
from support.serve import serve

from sk_provider import peers
from sk_provider.config import Configuration
from sk_provider.ctap import framing
from sk_provider.ctap.cbor import encode
from sk_provider.ctap.commands import CLIENT_PIN, GET_KEY_AGREEMENT
from sk_provider.errors import AuthenticatorError, ConfigurationError
from sk_provider.operation import Operation
from sk_provider.transports import udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_AGREEMENT = bytes([CLIENT_PIN]) + encode({1: 2, 2: GET_KEY_AGREEMENT})
SIMULATORS_PORT = 7112  # to which simulators send their answers


@pytest.fixture(params=["port free", "port taken"])
def token(request: pytest.FixtureRequest, person: Person) -> Iterator[str]:
    """The address of a token, while the client may have the simulators' port or may not."""
    with serve("udp:127.0.0.1:0") as served, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        if request.param == "port taken":
            # If another program has it, it is taken as well.
            with suppress(OSError):
                taken.bind(("127.0.0.1", SIMULATORS_PORT))
        host, port = served.address
        person.configure(device=f"udp:{host}:{port}")
        yield f"udp:{host}:{port}"


@pytest.mark.usefixtures("token")
def test_a_token_behind_datagrams_enrolls_and_signs(person: Person, kind: str) -> None:
    assert_signs(person, enrolled(person, kind))


def test_a_token_behind_datagrams_wants_its_pin_and_lists_its_keys(person: Person, token: str) -> None:
    person.set_pin(PIN, token)
    done, key = person.enroll("id", "ed25519-sk", "resident", "verify-required", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert_signs(person, key, answers=[(PIN_PROMPT, PIN)])
    done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
    assert done.status == 0, done
    assert (person.folder / "id_ed25519_sk_rk").exists()


@pytest.mark.usefixtures("impatient")
def test_nobody_behind_the_datagrams_is_told(person: Person) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        person.configure(device=f"udp:127.0.0.1:{silent.getsockname()[1]}")
        done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == [
        "libpysk: the authenticator does not answer; start it again, or correct the address"
    ]


def test_no_pin_goes_to_a_port_that_anybody_may_take_next() -> None:
    operation = Operation(60)
    with serve("udp:127.0.0.1:0") as served:
        host, port = served.address
        with closing(udp.open(f"{host}:{port}", Configuration(), operation, may_create=False)) as channel:
            assert channel.call(framing.CBOR, KEY_AGREEMENT, operation)[0] == 0
            served.end()
            with pytest.raises(AuthenticatorError, match=f"nobody listens at udp:{host}:{port}; start"):
                channel.call(framing.CBOR, KEY_AGREEMENT, operation)


def test_where_nothing_tells_whose_a_port_is_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_TABLES", ("/nowhere/udp",))
    with pytest.raises(
        ConfigurationError, match=r"the owner of udp:127\.0\.0\.1:8111 cannot be found out \(No such file"
    ):
        udp.open("127.0.0.1:8111", Configuration(), Operation(60), may_create=False)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "udp:192.0.2.1:8111",
            "is not on this machine, and anybody on the network could answer; use a unix: socket that ssh forwards",
        ),
        (
            "udp:127.example.org:8111",
            "is not on this machine, and anybody on the network could answer; use a unix: socket that ssh forwards",
        ),
        ("udp:127.0.0.1", "is not an authenticator's address; write one as udp:127.0.0.1:8111"),
    ],
)
def test_an_address_of_datagrams_is_on_this_machine(person: Person, address: str, sentence: str) -> None:
    done, _ = person.enroll("id", "ed25519-sk", f"device={address}")
    assert provider_lines(done.errors) == [f"libpysk: {address} {sentence}"]
