"""The provider on a token that is pulled out of the USB bus in the middle of an operation, and put back."""

from __future__ import annotations

import pytest
from support.openssh import Person, assert_signs, enrolled, provider_lines
from support.plugged import Plugged
from support.usb_bus import GadgetServer

from sk_provider.authenticator.profiles import DEFAULT
from sk_provider.authenticator.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 1100  # seconds; each operation takes some in the virtual machine
NO_OPERATION_HAS_SO_MANY = 100
EVERY_PACKET = range(1, NO_OPERATION_HAS_SO_MANY)


@pytest.fixture
def person(person: Person) -> Person:
    person.config.write_text("")
    return person


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize(
    ("operation", "boundaries"),
    [
        pytest.param("sign", (2, 6), id="sign-some"),
        pytest.param("enroll", (4, 12), id="enroll-some"),
        pytest.param("sign", EVERY_PACKET, id="sign-all", marks=pytest.mark.long),
        pytest.param("enroll", EVERY_PACKET, id="enroll-all", marks=pytest.mark.long),
    ],
)
def test_a_token_that_is_pulled_out_is_told_and_serves_again_when_it_is_put_back(
    person: Person, operation: str, boundaries: Sequence[int]
) -> None:
    Store.create(str(person.store))
    with Plugged(GadgetServer, person.store, DEFAULT):
        key = enrolled(person)
    for packets in boundaries:
        with Plugged(GadgetServer, person.store, f"dies-after:{packets}", "after:150"):
            done, _ = person.sign(key) if operation == "sign" else person.enroll(f"id{packets}", "ed25519-sk")
        if done.status == 0:
            assert boundaries is EVERY_PACKET
            assert packets > 10
            break
        (line,) = provider_lines(done.errors)
        assert line.startswith("libpysk: the authenticator was unplugged"), packets
        with Plugged(GadgetServer, person.store, DEFAULT):
            assert_signs(person, key)
    else:
        assert boundaries is not EVERY_PACKET
