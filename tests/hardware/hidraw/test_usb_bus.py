"""The provider on a token on a USB bus, which is pulled out in the middle of an operation and put back."""

from __future__ import annotations

import pytest
from support import terminal, usb_bus
from support.openssh import PIN, Person, assert_signs, enrolled, provider_lines
from support.plugged import NotingServer, Plugged
from support.usb_bus import GadgetServer

from sk_provider.authenticator.profiles import DEFAULT
from sk_provider.authenticator.store import Store
from sk_provider.device_side import uhid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMEOUT = 3000  # seconds; each operation takes some in the virtual machine
NO_OPERATION_HAS_SO_MANY = 100
EVERY_PACKET = range(1, NO_OPERATION_HAS_SO_MANY)


class Operation:
    """What a person does, for the how manieth time, with a key that they have made, on a token that has a PIN if so."""

    def __init__(self, perform: Callable[[Person, int], terminal.Done], *needed: str, has_pin: bool = False) -> None:
        self.perform = perform
        self.needed = needed
        self.has_pin = has_pin


OPERATIONS = {
    "sign": Operation(lambda person, _: person.sign(person.folder / "id")[0]),
    "enroll": Operation(lambda person, number: person.enroll(f"id{number}", "ed25519-sk")[0]),
    "sign with PIN": Operation(
        lambda person, _: person.sign(person.folder / "needed")[0], "verify-required", has_pin=True
    ),
    # A key that was made, while its maker did not hear of it, is in the way of no other.
    "resident": Operation(
        lambda person, number: person.enroll(f"id{number}", "ed25519-sk", "resident", f"application=ssh:{number}")[0],
        has_pin=True,
    ),
    "-K": Operation(lambda person, _: person.run("ssh-keygen", "-K", "-N", ""), "resident", has_pin=True),
}


@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize(
    ("name", "boundaries"),
    [
        pytest.param("sign", (2, 6), id="sign-some"),
        pytest.param("enroll", (4, 12), id="enroll-some"),
        *(pytest.param(name, EVERY_PACKET, id=f"{name}-all", marks=pytest.mark.long) for name in OPERATIONS),
    ],
)
def test_a_token_that_is_pulled_out_is_told_and_serves_again_when_it_is_put_back(
    person: Person, name: str, boundaries: Sequence[int]
) -> None:
    operation = OPERATIONS[name]
    Store.create(str(person.store))
    sentences = ["the authenticator was unplugged"]
    if operation.has_pin:
        person.set_pin(PIN, f"soft:{person.store}")
        # Two processes take part, and it may be gone before the second one looks.
        sentences.append("no security key is plugged in")
    with Plugged(GadgetServer, person.store, DEFAULT):
        key = enrolled(person)
        if operation.needed:
            person.environment |= person.askpass(PIN, PIN)
            assert person.enroll("needed", "ed25519-sk", *operation.needed)[0].status == 0
    for packets in boundaries:
        if operation.has_pin:
            person.environment |= person.askpass(PIN, PIN)
        with Plugged(GadgetServer, person.store, DEFAULT, "after:150", f"dies-after:{packets}"):
            done = operation.perform(person, packets)
        if done.status == 0:
            assert boundaries is EVERY_PACKET
            assert packets > 10
            break
        (line,) = provider_lines(done.errors)
        assert line.removeprefix("libpysk: ").startswith(tuple(sentences)), packets
        with Plugged(GadgetServer, person.store, DEFAULT):
            assert_signs(person, key)
    else:
        assert boundaries is not EVERY_PACKET


def test_a_token_is_chosen_by_its_device_file_or_by_vendor_and_product(person: Person) -> None:
    address = f"usb:{uhid.VENDOR:04x}:{usb_bus.PRODUCT:04x}"
    assert usb_bus.PRODUCT != uhid.PRODUCT
    Store.create(str(person.store))
    Store.create(str(person.folder / "another"))
    with Plugged(NotingServer, person.folder / "another", DEFAULT) as other:
        with Plugged(GadgetServer, person.store, DEFAULT) as plugged:
            key = enrolled(person, "ed25519-sk", f"device={plugged.server.name}")
            assert person.enroll("id2", "ed25519-sk", f"device={address}")[0].status == 0
            person.configure(device=address)
            assert_signs(person, key)
        done, _ = person.sign(key)
        assert done.status != 0
        (line,) = provider_lines(done.errors)
        assert line == f"libpysk: no security key {address[4:]} is plugged in; plug it in"
        assert other.server.messages == []
