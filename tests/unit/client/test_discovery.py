"""Which authenticators addresses mean, with scripted ones in the places of our transports."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from support import third_party
from support.drawer import Drawer, Player

from sk_provider import transports
from sk_provider.api import ALGORITHM_ECDSA, FLAG_USER_PRESENCE, EnrollRequest, SignRequest
from sk_provider.client import discovery, selection
from sk_provider.client.discovery import Found
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.ctap import status
from sk_provider.errors import (
    AuthenticatorError,
    ConfigurationError,
    CredentialNotFound,
    DeviceNotFound,
    SecurityKeyError,
    TransportDefect,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GONE = DeviceNotFound("it is gone", "bring it back")
BROKEN = AuthenticatorError("it is broken", "mend it")
ELSEWHERE = CredentialNotFound("it is elsewhere", "go there")
MARKED = b"pysk and more"
UNMARKED = b"key handle"


class Place:
    """Our transports, each of them a drawer, and what the readers' service is."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawers: dict[str, Any] = {scheme: Drawer() for scheme in ("usb", "nfc", "unix", "udp", "soft", "tpm")}
        for scheme, drawer in self.drawers.items():
            drawer.put_in_place_of(scheme, monkeypatch)
        self.socket = folder / "pcscd.comm"
        self.drawers["nfc"].waits_for_a_person = True
        monkeypatch.setattr(transports, "FALLBACK_SOCKET", str(self.socket))

    def __getitem__(self, scheme: str) -> Any:
        return self.drawers[scheme]

    def put(self, scheme: str, *locations: str) -> None:
        self.drawers[scheme].channels.update({location: Player() for location in locations})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def discover(*addresses: str, configuration: Configuration | None = None) -> list[str]:
    return [found.address for found in discovery.discover(list(addresses), configuration or Configuration())]


def refusal(*addresses: str) -> SecurityKeyError:
    with pytest.raises(SecurityKeyError) as caught:
        discover(*addresses)
    return caught.value


def test_each_authenticator_is_found_once_in_the_order_of_the_addresses(place: Place) -> None:
    place.put("unix", "/a", "/b")
    place.put("usb", "/dev/hidraw3")
    place.put("udp", "/a")
    assert discover("unix:/b", "/dev/hidraw3", "unix:/", "udp:/a", "usb:/dev") == [
        "unix:/b",
        "/dev/hidraw3",
        "unix:/a",
        "udp:/a",
    ]


def test_the_only_address_is_opened_whether_or_not_there_is_anything(place: Place) -> None:
    assert discover("unix:/nothing") == ["unix:/nothing"]
    assert discover("nfc:") == ["nfc:"]


def test_nothing_at_several_addresses_is_told(place: Place) -> None:
    error = refusal("unix:/a", "udp:/b")
    assert (type(error), str(error)) == (
        DeviceNotFound,
        "no authenticator is at unix:/a or udp:/b; connect it, or correct the address",
    )


def test_what_is_wrong_with_the_only_address_is_told(place: Place) -> None:
    place["unix"].found["/a"] = GONE
    assert refusal("unix:/a") is GONE


def test_what_is_wrong_with_one_of_several_addresses_is_told_where_nothing_is_at_the_others(place: Place) -> None:
    place["unix"].found.update({"/gone": GONE, "/broken": BROKEN})
    assert refusal("unix:/gone", "unix:/broken", "unix:/a") is BROKEN
    assert "no authenticator is at unix:/gone or unix:/a" in str(refusal("unix:/gone", "unix:/a"))
    place.put("unix", "/a")
    assert discover("unix:/gone", "unix:/broken", "unix:/a") == ["unix:/a"]


def test_a_card_is_waited_for_where_nothing_else_is_there(place: Place) -> None:
    assert discover("unix:/a", "nfc:first", "nfc:second") == ["nfc:first"]
    place.put("nfc", "second")
    assert discover("unix:/a", "nfc:first", "nfc:second") == ["nfc:second"]
    place.put("unix", "/a")
    place["nfc"].channels.clear()
    assert discover("nfc:first", "unix:/a") == ["unix:/a"]
    del place["nfc"].waits_for_a_person
    place["unix"].channels.clear()
    assert type(refusal("unix:/a", "nfc:first")) is DeviceNotFound


def test_without_an_address_what_is_plugged_in_is_found(place: Place) -> None:
    place.socket.touch()
    place.put("usb", "/dev/hidraw0", "/dev/hidraw1")
    place.put("nfc", "A Reader")
    assert discover() == ["/dev/hidraw0", "/dev/hidraw1"]


def test_a_card_is_found_where_nothing_is_plugged_in(place: Place) -> None:
    place.put("nfc", "A Reader")
    assert type(refusal()) is DeviceNotFound
    place.socket.touch()
    assert discover() == ["nfc:A Reader"]
    place["nfc"].found[""] = BROKEN
    assert str(refusal()) == (
        "no security key is plugged in; plug one in, "
        "or name another authenticator, such as soft:, with `Device` in pysk_config"
    )


def test_the_settings_that_are_missed_are_told_where_nothing_is_plugged_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = Configuration()
    monkeypatch.setattr(configuration, "aside", lambda: " (and more)")
    with pytest.raises(DeviceNotFound, match=r"no security key is plugged in \(and more\);"):
        discover(configuration=configuration)


def may_have_more(*schemes: str) -> bool:
    return discovery.may_have_more([Found(scheme, Drawer(), "x") for scheme in schemes])


def test_cards_are_looked_for_where_there_can_be_any(place: Place) -> None:
    assert not may_have_more("usb")
    place.socket.touch()
    assert may_have_more() is may_have_more("usb", "usb") is True
    assert not may_have_more("usb", "nfc")
    place["nfc"].could_be_there = lambda: False
    assert may_have_more("usb") is False
    place["nfc"].could_be_there = lambda: True
    assert may_have_more("usb") is True


@pytest.fixture
def pigeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "packages").mkdir()
    third_party.install(tmp_path / "packages", monkeypatch)


def limited(*addresses: str) -> Configuration:
    """Settings of a file that the environment has named."""
    configuration = Configuration()
    configuration.add_rule("devices", [], list(addresses))
    configuration.limit(list(addresses))
    return configuration


@pytest.mark.usefixtures("pigeon")
def test_whoever_sets_the_environment_cannot_have_another_packages_code_run(place: Place) -> None:
    configuration = limited("pigeon:x", "unix:/a")
    place.put("unix", "/a")
    for addresses in (["pigeon:x"], ["unix:/a", "pigeon:x"]):
        with pytest.raises(ConfigurationError, match="another package's transport"):
            discovery.discover(addresses, configuration)
    for addresses in (["pigeon:x"], ["unix:/a", "pigeon:y", "pigeon:x"]):
        with pytest.raises(ConfigurationError, match="another package's transport"):
            discovery.open_marked(UNMARKED, addresses, configuration, Operation(30))
    for call in (sign, enroll):
        with pytest.raises(ConfigurationError, match="another package's transport"):
            call(configuration)
    assert not third_party.is_loaded()


@pytest.mark.usefixtures("pigeon")
def test_whoever_owns_the_settings_can_have_another_packages_code_run(place: Place) -> None:
    assert discover("pigeon:x", configuration=limited("pigeon:y")) == ["pigeon:x"]
    assert third_party.is_loaded()


def open_marked(key_handle: bytes, *addresses: str, configuration: Configuration | None = None) -> Token | None:
    return discovery.open_marked(key_handle, list(addresses), configuration or Configuration(), Operation(30))


def test_a_key_handle_that_bears_a_mark_is_opened_where_it_tells(place: Place) -> None:
    asked: list[tuple[bytes, list[str]]] = []

    def open_holder(key_handle: bytes, locations: list[str], *_: object) -> tuple[str, Player]:
        asked.append((key_handle, locations))
        return "/store", Player()

    place["soft"].open_holder = open_holder
    token = open_marked(MARKED, "unix:/a", "soft:/b", "soft:", "udp:/c")
    assert token is not None
    assert token.address == "soft:/store"
    assert asked == [(MARKED, ["/b", ""])]
    assert open_marked(UNMARKED, "soft:/b") is None
    assert len(asked) == 1


def test_a_key_handle_of_nobody_that_is_named_tells_of_none(place: Place) -> None:
    place["soft"].open_holder = lambda *_: None
    assert open_marked(MARKED, "soft:/b") is None
    del place["soft"].open_holder
    assert open_marked(MARKED, "soft:/b") is None


@pytest.mark.usefixtures("pigeon")
def test_another_packages_transport_is_asked_once_for_its_key_handles_where_it_is_named(place: Place) -> None:
    place["soft"].open_holder = lambda *_: None
    assert open_marked(MARKED, "unix:/a") is None
    assert not third_party.is_loaded()
    assert open_marked(MARKED, "pigeon:x", "unix:/a", "soft:/b") is None
    module = sys.modules[third_party.MODULE]
    assert module.asked == [(MARKED, ["x"])]
    module.held.append(("y", Player()))
    token = open_marked(UNMARKED, "pigeon:x", "pigeon:z")
    assert token is not None
    assert token.address == "pigeon:y"
    assert module.asked[1:] == [(UNMARKED, ["x", "z"])]


def test_one_that_did_not_tell_whose_a_key_handle_is_is_told_and_leaves_the_person_all_their_time(
    place: Place,
) -> None:
    told: list[str] = []
    operation = Operation(1, tell=told.append)

    def open_holder(*_: object) -> None:
        while not operation.is_set():
            time.sleep(0.01)
        raise TransportDefect("it does not answer", "report this")

    place["soft"].open_holder = open_holder
    assert discovery.open_marked(MARKED, ["soft:/a", "unix:/b"], Configuration(), operation) is None
    assert not operation.is_set()
    assert told == ["it does not answer; report this"]


def served(*addresses: str) -> list[str]:
    found = discovery.discover_served(MARKED, list(addresses), Configuration(), ELSEWHERE)
    return [each.address for each in found]


def test_a_marked_key_may_be_served_as_a_device(place: Place) -> None:
    place.put("unix", "/a")
    place.put("usb", "/dev/hidraw0")
    assert served("soft:/b", "unix:/a") == ["unix:/a"]
    assert served() == ["/dev/hidraw0"]
    with pytest.raises(CredentialNotFound) as caught:
        served("soft:/b")
    assert caught.value is ELSEWHERE
    place["usb"].channels.clear()
    with pytest.raises(CredentialNotFound) as caught:
        served()
    assert caught.value is ELSEWHERE
    place["unix"].found["/a"] = BROKEN
    with pytest.raises(AuthenticatorError):
        served("unix:/a")


def sign(configuration: Configuration | None = None, key_handle: bytes = UNMARKED, device: str | None = None) -> Token:
    request = SignRequest(ALGORITHM_ECDSA, bytes(32), "ssh:", key_handle, FLAG_USER_PRESENCE, None, device)
    return selection.open_for_signature(request, configuration or Configuration(), Operation(30))


def enroll(configuration: Configuration | None = None, device: str | None = None, application: str = "ssh:") -> Token:
    request = EnrollRequest(ALGORITHM_ECDSA, b"challenge", application, FLAG_USER_PRESENCE, None, device, None)
    return selection.open_for_enrollment(request, configuration or Configuration(), Operation(30))


def manage(
    configuration: Configuration | None = None, device: str | None = None, *, may_create: bool | None = None
) -> Token:
    more = {} if may_create is None else {"may_create": may_create}
    return selection.open_for_management(device, configuration or Configuration(), Operation(30), **more)


def test_the_option_comes_before_the_settings_and_these_before_what_is_plugged_in(place: Place) -> None:
    place.put("unix", "/option", "/settings", "/work")
    place.put("usb", "/dev/hidraw0")
    configuration = Configuration()
    configuration.add_rule("devices", [("application", ["ssh:work"])], ["unix:/work"])
    configuration.add_rule("devices", [], ["unix:/settings"])
    for call in (sign, enroll, manage):
        assert call(configuration, device="unix:/option").address == "unix:/option"
        assert call(configuration).address == "unix:/settings"
        assert call(Configuration()).address == "/dev/hidraw0"
        assert call(Configuration()).is_the_only_one
    assert enroll(configuration, application="ssh:work").address == "unix:/work"


def test_only_what_is_enrolled_on_may_be_made(place: Place) -> None:
    place.put("unix", "/a")
    for call, may_create in ((sign, False), (enroll, True), (manage, False)):
        call(device="unix:/a")
        assert place["unix"].opened.pop() == ("/a", may_create)
    manage(device="unix:/a", may_create=True)
    assert place["unix"].opened.pop() == ("/a", True)


def test_the_only_token_is_opened_and_asked_nothing(place: Place) -> None:
    place.put("usb", "/dev/hidraw0")
    for call in (sign, enroll, manage):
        call()
    assert place["usb"].channels["/dev/hidraw0"].asked == []
    assert place["nfc"].opened == []


def test_a_card_may_hold_what_the_only_token_does_not(place: Place) -> None:
    place.socket.touch()
    place["usb"].channels["/dev/hidraw0"] = Player()
    place["nfc"].channels["A Reader"] = Player(status.SUCCESS)
    assert sign().address == "nfc:A Reader"
    # Where an address is named, nothing else is looked for.
    place["nfc"].opened.clear()
    assert sign(device="/dev/hidraw0").address == "/dev/hidraw0"
    assert place["nfc"].opened == []


def test_a_card_is_enrolled_on_where_the_only_token_cannot_be_opened(place: Place) -> None:
    place.socket.touch()
    place["usb"].channels["/dev/hidraw0"] = BROKEN
    place.put("nfc", "A Reader")
    assert manage(device="nfc:A Reader").address == "nfc:A Reader"
    with pytest.raises(AuthenticatorError):
        enroll(device="/dev/hidraw0")
    place["usb"].channels["/dev/hidraw0"] = GONE
    assert enroll().address == manage().address == "nfc:A Reader"
    assert place["nfc"].opened[1:] == [("A Reader", True), ("A Reader", False)]


def test_a_marked_key_is_signed_by_its_own_authenticator_or_where_it_is_served(place: Place) -> None:
    place.put("unix", "/a")
    place.put("usb", "/dev/hidraw0")
    place["soft"].open_holder = lambda *_: ("/store", Player())
    assert sign(key_handle=MARKED).address == "soft:/store"

    def refuse(*_: object) -> None:
        raise ELSEWHERE

    place["soft"].open_holder = refuse
    assert sign(key_handle=MARKED).address == "/dev/hidraw0"
    assert sign(key_handle=MARKED, device="unix:/a").address == "unix:/a"
    with pytest.raises(CredentialNotFound) as caught:
        sign(key_handle=MARKED, device="soft:/b")
    assert caught.value is ELSEWHERE


def test_what_marks_its_key_handles_is_not_waited_for_where_another_may_hold_the_key(place: Place) -> None:
    place.put("tpm", "")
    place.put("soft", "")
    place["usb"].channels["/dev/hidraw0"] = Player(status.SUCCESS)
    configuration = Configuration()
    configuration.add_rule("devices", [], ["tpm:", "soft:", "usb:"])
    assert sign(configuration).address == "/dev/hidraw0"
    assert place["tpm"].opened == place["soft"].opened == []
    # Where nothing else is there, they tell best what is wrong.
    place["usb"].channels.clear()
    with pytest.raises(CredentialNotFound):
        sign(configuration)
    assert len(place["tpm"].opened) == len(place["soft"].opened) == 1
    # Which marks the key handle has its turn before.
    place.put("usb", "/dev/hidraw0", "/dev/hidraw1")
    place["soft"].open_holder = lambda *_: None
    place["soft"].channels[""] = Player(status.SUCCESS)
    assert sign(configuration, key_handle=MARKED).address == "soft:"
    assert len(place["tpm"].opened) == 1


def test_a_token_is_named_as_its_transport_knows_it(place: Place) -> None:
    place.put("usb", "/dev/hidraw0")
    assert sign().describe() == "/dev/hidraw0"
    place["usb"].name = lambda location: f"the one at {location}"
    assert sign().describe() == "/dev/hidraw0, the one at /dev/hidraw0"
