"""What is told of authenticators, with scripted ones in the places of our transports."""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import third_party
from support.answering import Scripted, Token, answer
from support.drawer import Drawer, Player
from support.soft_token import PIN, Device, Person

from sk_provider.authenticator.profiles import PROFILES
from sk_provider.authenticator.store import Store
from sk_provider.client import description
from sk_provider.client.description import Description, look
from sk_provider.config import Configuration
from sk_provider.ctap import commands, status
from sk_provider.ctap.cbor import encode
from sk_provider.errors import (
    AuthenticatorError,
    ConfigurationError,
    DeviceNotFound,
    Interrupted,
    NotMadeYet,
    PinBlocked,
    StoreUnusable,
    Unsupported,
)
from sk_provider.operation import Operation
from sk_provider.transports import pcsc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.transport_api import Channel

YUBIKEY = bytes.fromhex("2fc0579f811347eab116bb5a8db9202a")
ES256, EDDSA = -7, -8


class Place:
    """Our transports, each of them a drawer; and the readers, by whether a card lies on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawers: dict[str, Any] = {scheme: Drawer() for scheme in ("usb", "nfc", "unix", "udp", "soft", "tpm")}
        for scheme, drawer in self.drawers.items():
            drawer.put_in_place_of(scheme, monkeypatch)
        self["tpm"].found[""] = []
        self["tpm"].device_file = lambda _: None
        self.cards: dict[str, bool] = {}
        self.times_released = 0
        monkeypatch.setattr(pcsc, "Context", lambda: self)

    def __getitem__(self, scheme: str) -> Any:
        return self.drawers[scheme]

    def readers(self, name: str) -> list[str]:
        if not self.cards:
            raise DeviceNotFound("no card reader is connected", "connect it")
        return [reader for reader in self.cards if name in reader]

    def has_card(self, reader: str) -> bool:
        return self.cards[reader]

    def release(self) -> None:
        self.times_released += 1


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def described(
    *addresses: str, configuration: Configuration | None = None, operation: Operation | None = None
) -> list[Description]:
    return look(list(addresses), configuration or Configuration(), operation or Operation(5, tell=lambda _: None))


def statuses(*addresses: str, configuration: Configuration | None = None) -> list[tuple[str, str]]:
    return [(each.address, each.status) for each in described(*addresses, configuration=configuration)]


def described_by(place: Place, channel: Channel | Exception) -> Description:
    place["unix"].channels = {"/token": channel}
    (found,) = described("unix:/token")
    return found


def told_of(place: Place, members: dict[int, object]) -> Description:
    return described_by(place, Token(answer(members)))


def test_all_transports_are_looked_at_and_the_configured_addresses_each_once(place: Place) -> None:
    configuration = Configuration()
    configuration.add_rule("devices", [("application", ["ssh:work"])], ["unix:/b", "usb:"])
    configuration.add_rule("devices", [], ["unix:/a", "unix:/b"])
    place["usb"].channels.update({"/dev/hidraw0": Player(), "/dev/hidraw1": Player()})
    place["nfc"].channels["A Reader"] = Player()
    place.cards = {"A Reader": True, "An Empty Reader": False}
    place["soft"].channels[""] = Player()
    place["tpm"].found.clear()
    place["tpm"].channels[""] = Player()
    place["unix"].channels.update({"/a": Player(), "/b": Player()})
    assert statuses(configuration=configuration) == [
        ("/dev/hidraw0", "ready"),
        ("/dev/hidraw1", "ready"),
        ("nfc:A Reader", "ready"),
        ("nfc:An Empty Reader", "no-card"),
        ("soft:", "ready"),
        ("tpm:", "ready"),
        ("unix:/b", "ready"),
        ("unix:/a", "ready"),
    ]
    assert place.times_released == 1
    assert all(not may_create for drawer in place.drawers.values() for _, may_create in drawer.opened)


def test_what_is_not_there_is_told_where_it_could_be(place: Place) -> None:
    place["soft"].found[""] = []
    place["soft"].channels[""] = NotMadeYet("there is none", "make one")
    place["unix"].found["/a"] = []
    place["unix"].channels["/a"] = DeviceNotFound("nobody listens", "start it")
    configuration = Configuration()
    configuration.add_rule("devices", [], ["unix:/a"])
    assert statuses(configuration=configuration) == [
        ("nfc:", "no-reader"),
        ("soft:", "not-made"),
        ("unix:/a", "not-there"),
    ]
    assert statuses("nfc:x") == [("nfc:x", "no-reader")]
    assert place.times_released == 2


def test_nothing_plugged_in_is_told_where_it_is_asked_for(place: Place) -> None:
    place["usb"].found[""] = []
    place["usb"].channels[""] = DeviceNotFound("no security key is plugged in", "plug it in")
    (found,) = described("usb:")
    assert (found.status, found.problem, found.remedy) == ("not-there", "no security key is plugged in", "plug it in")


def test_why_there_are_no_cards_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(error: Exception) -> Any:
        raise error

    service = DeviceNotFound("the PC/SC service does not run", "start pcscd")
    monkeypatch.setattr(pcsc, "Context", lambda: refuse(service))
    assert statuses("nfc:") == [("nfc:", "no-service")]
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "smartcard", None)
    (found,) = described("nfc:")
    assert found.status == "no-package"
    assert "pyscard" in str(found.remedy)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AuthenticatorError("it fails", "mend it"), "failed"),
        (StoreUnusable("it fails", "mend it"), "failed"),
        (ConfigurationError("it fails", "mend it"), "unusable"),
        (Unsupported("it fails", "mend it"), "not-fido"),
        (DeviceNotFound("it fails", "mend it"), "not-there"),
    ],
)
def test_what_cannot_be_opened_is_told_with_its_reason(place: Place, error: Exception, expected: str) -> None:
    found = described_by(place, error)
    assert (found.status, found.problem, found.remedy) == (expected, "it fails", "mend it")


def test_a_device_file_that_may_not_be_opened_comes_with_the_rule_that_helps(place: Place, tmp_path: Path) -> None:
    allowed, forbidden = str(tmp_path / "allowed"), str(tmp_path / "not there")
    Path(allowed).touch()
    error = ConfigurationError("it may not be opened", "have somebody allow it")
    place["usb"].channels = {allowed: error, forbidden: error}
    place["usb"].vendor_and_product = lambda _: (0x1050, 0x407)
    found = {each.address: each for each in described(f"usb:{tmp_path}")}
    assert found[f"usb:{allowed}"].status == "unusable"
    assert found[f"usb:{allowed}"].udev_rule is None
    assert found[f"usb:{forbidden}"].status == "forbidden"
    assert found[f"usb:{forbidden}"].udev_rule == (
        'KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{idVendor}=="1050", ATTRS{idProduct}=="0407", '
        'TAG+="uaccess", GROUP="plugdev", MODE="0660"'
    )
    place["usb"].vendor_and_product = lambda _: None
    assert [each.udev_rule for each in described(f"usb:{tmp_path}")] == [None, None]


def test_why_a_tpm_cannot_be_used_is_told(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "device"
    place["tpm"].channels[""] = DeviceNotFound("it is not there", "make it")
    assert statuses("tpm:") == [("tpm:", "not-there")]
    place["tpm"].found[""] = [""]
    assert statuses("tpm:") == [("tpm:", "not-there")]
    place["tpm"].channels[""] = NotMadeYet("no key was made", "make one")
    place["tpm"].check = lambda *_: None
    assert statuses("tpm:") == [("tpm:", "not-made")]

    def refuse(*_: object) -> None:
        raise AuthenticatorError("it is broken", "mend it")

    place["tpm"].check = refuse
    assert statuses("tpm:") == [("tpm:", "failed")]
    place["tpm"].channels[""] = AuthenticatorError("it may not be used", "have somebody allow it")
    assert statuses("tpm:") == [("tpm:", "failed")]
    place["tpm"].device_file = lambda _: str(device)
    assert statuses("tpm:") == [("tpm:", "forbidden")]
    device.touch()
    place["tpm"].channels[""] = ConfigurationError("a package is missing", "install it")
    assert statuses("tpm:") == [("tpm:", "unusable")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert statuses("tpm:") == [("tpm:", "no-package")]


def test_a_pin_that_is_refused_for_the_sake_of_others_is_told_of_one_that_is_ready(place: Place) -> None:
    class Locked(Player):
        def call(self, cmd: int, data: bytes = b"", *arguments: Any) -> bytes:
            if data[0] == 6:
                raise PinBlocked("it is locked", "wait")
            return super().call(cmd, data, *arguments)

    found = described_by(place, Locked(options={"clientPin": True}))
    assert (found.status, found.pin, found.problem, found.remedy) == ("ready", "blocked", "it is locked", "wait")


def test_an_address_that_is_none_and_one_that_fails_hide_no_other(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party.install(tmp_path, monkeypatch)
    place["unix"].channels["/a"] = Player()
    configuration = Configuration()
    found = described("nonsense", "crow:", "pigeon:x", "lame:", "unix:/a", configuration=configuration)
    assert [each.status for each in found] == ["unusable", "unusable", "failed", "failed", "ready"]
    assert [each.transport for each in found] == ["", "crow", "pigeon", "lame", "unix"]
    assert found[2].problem is not None
    assert found[2].problem.startswith(
        "the transport pigeon: of the package pigeon failed (AssertionError in pigeon_transport.py"
    )


def test_whoever_sets_the_environment_cannot_choose_another_packages_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third_party.install(tmp_path, monkeypatch)
    configuration = Configuration()
    configuration.add_rule("devices", [], ["pigeon:x"])
    configuration.limit(["pigeon:x"])
    (found,) = described("pigeon:x", configuration=configuration)
    assert found.status == "unusable"
    assert not third_party.is_loaded()


def test_one_that_does_not_even_notice_that_its_time_is_over_hides_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    class Hanging(Player):
        def call(self, *_: object, **__: object) -> bytes:
            is_over.wait()
            return b""

    monkeypatch.setattr(description, "PROBE_PATIENCE", 0.1)
    monkeypatch.setattr(description, "_GRACE", 0.1)
    place["unix"].channels.update({"/a": Hanging(), "/b": Player()})
    found = described("unix:/a", "unix:/b")
    is_over.set()
    assert [(each.status, each.problem) for each in found] == [("failed", "it does not answer"), ("ready", None)]


def test_an_interrupted_look_tells_nothing(place: Place) -> None:
    operation = Operation(5)
    operation.call_off()
    with pytest.raises(Interrupted):
        described("unix:/a", operation=operation)


def test_a_token_that_others_use_is_busy(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(Player):
        def call(self, _cmd: int, _data: bytes = b"", event: Any = None, _on_keepalive: Any = None) -> bytes:
            while True:
                event.wait_for_others(0.0)

    monkeypatch.setattr(description, "PROBE_PATIENCE", 0)
    found = described_by(place, Busy())
    assert (found.status, found.problem) == ("busy", "the authenticator is busy with another program")


@pytest.mark.parametrize("name", PROFILES)
def test_each_profile_is_described_as_what_it_is(place: Place, tmp_path: Path, name: str) -> None:
    device = Device(Store.create(str(tmp_path / "store")), Person(), name)
    profile = device.profile
    found = described_by(place, device)
    assert found.status == "ready"
    assert found.versions == [each for each in profile.versions if each != "U2F_V2" or not profile.always_uv]
    assert found.ecdsa_sk is True
    if not profile.ctap2:
        assert (found.name, found.aaguid) == ("U2F security key", None)
        assert (found.ed25519_sk, found.resident_keys, found.verify_required) == (False, False, False)
        assert (found.pin, found.pin_tries_left, found.built_in_verification) == ("unsupported", None, "none")
        assert found.always_verifies is False
        return
    assert (found.name, found.aaguid) == ("pysk software authenticator", "4415c58f-d29e-f869-f813-4db032b931cc")
    assert found.ed25519_sk == ((EDDSA in profile.algorithms) if profile.lists_algorithms else None)
    protects = "credProtect" in profile.extensions
    assert (found.resident_keys, found.verify_required) == (protects, protects)
    is_new = "FIDO_2_1" in profile.versions
    assert found.resident_keys_left == (profile.max_resident if is_new else None)
    assert (found.pin, found.pin_tries_left) == ("not-set", None)
    assert found.built_in_verification == ("set-up" if profile.uv else "none")
    assert found.always_verifies == profile.always_uv
    assert found.firmware == (1 if is_new else None)
    device.set_pin()
    found = described_by(place, device)
    assert (found.pin, found.pin_tries_left) == ("set", 8)
    assert device.person.requests == []


def test_slots_that_are_used_are_not_left(place: Place, tmp_path: Path) -> None:
    device = Device(Store.create(str(tmp_path / "store")), Person(), "small")
    device.set_pin(PIN)
    device.make_resident()
    assert described_by(place, device).resident_keys_left == 2


@pytest.mark.parametrize(
    ("tries", "expected", "left"),
    [
        ({3: 0}, "blocked", 0),
        ({3: 5, 4: True}, "blocked-until-power-up", 5),
        ({3: 1}, "set", 1),
        ({3: -1}, "set", None),
    ],
)
def test_a_pin_that_is_not_accepted_is_told(
    place: Place, tries: dict[int, object], expected: str, left: int | None
) -> None:
    info = answer({1: ["FIDO_2_0"], 4: {"clientPin": True}})
    channel = Scripted({commands.GET_INFO: info, commands.CLIENT_PIN: answer(tries)})
    found = described_by(place, channel)
    assert (found.pin, found.pin_tries_left) == (expected, left)
    assert channel.times_closed == 1


def test_tries_that_are_not_told_and_a_pin_that_must_be_changed_are_no_failures(place: Place) -> None:
    info: dict[int, object] = {1: ["FIDO_2_1"], 4: {"clientPin": True}}
    found = described_by(place, Scripted({commands.GET_INFO: answer(info)}))
    assert (found.status, found.pin, found.pin_tries_left) == ("ready", "set", None)
    info[0x0C] = True
    found = described_by(place, Scripted({commands.GET_INFO: answer(info), commands.CLIENT_PIN: answer({3: 4})}))
    assert (found.pin, found.pin_tries_left) == ("must-be-changed", 4)


def test_a_known_model_is_named_and_another_by_what_it_calls_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place["unix"].name = lambda location: f"product at {location}"
    found = told_of(place, {1: ["FIDO_2_0"], 3: YUBIKEY})
    assert (found.name, found.product) == ("YubiKey 5 with NFC", "product at /token")
    assert found.aaguid == "2fc0579f-8113-47ea-b116-bb5a8db9202a"
    found = told_of(place, {1: ["FIDO_2_0"], 3: bytes(range(16))})
    assert (found.name, found.aaguid) == ("product at /token", "00010203-0405-0607-0809-0a0b0c0d0e0f")
    assert described_by(place, Player(capabilities=0)).name == "product at /token"
    del place["unix"].name
    assert told_of(place, {1: ["FIDO_2_0"], 3: bytes(16)}).name == "FIDO2 security key"


def test_an_error_for_an_answer_is_told(place: Place) -> None:
    found = described_by(place, Token(bytes([status.OTHER])))
    assert found.status == "failed"
    assert "0x7f" in str(found.problem)
    assert described_by(place, Token(b"")).status == "failed"
    assert described_by(place, Token(b"\0\xff")).status == "failed"


def test_members_of_other_types_are_as_if_they_were_not_told(place: Place) -> None:
    untrusted: dict[int, object] = {member: [{}, [], "x", 7] for member in range(1, 0x20)}
    untrusted[0x04] = {"clientPin": {}, "uv": [], "rk": 1, "alwaysUv": "yes", 7: {}}
    untrusted[0x0A] = [{"alg": {}}, 7, {"alg": ES256}]
    untrusted[0x0E] = 1 << 60
    untrusted[0x14] = -1
    found = told_of(place, untrusted)
    assert (found.status, found.versions, found.aaguid, found.firmware) == ("ready", ["x"], None, None)
    assert (found.pin, found.built_in_verification, found.always_verifies) == ("unsupported", "none", False)
    assert (found.resident_keys, found.resident_keys_left) == (False, None)
    assert (found.ecdsa_sk, found.ed25519_sk) == (True, False)


@pytest.mark.parametrize("algorithms", [None, 7, []])
def test_without_a_list_of_algorithms_it_is_known_of_one_alone(place: Place, algorithms: object) -> None:
    found = told_of(place, {1: ["FIDO_2_0"], 0x0A: algorithms})
    assert (found.ecdsa_sk, found.ed25519_sk) == (True, None)


@pytest.mark.parametrize(
    ("options", "expected"), [({}, False), ({"clientPin": False}, True), ({"uv": False}, True), ({"uv": True}, True)]
)
def test_keys_that_want_the_person_verified_want_a_token_that_can(
    place: Place, options: dict[str, bool], expected: bool
) -> None:
    assert told_of(place, {1: ["FIDO_2_1"], 2: ["credProtect"], 4: options}).verify_required is expected
    assert told_of(place, {1: ["FIDO_2_1"], 4: options}).verify_required is False


def test_numbers_have_32_bits(place: Place) -> None:
    assert told_of(place, {0x0E: 0}).firmware == 0
    assert told_of(place, {0x0E: 0xFFFFFFFF}).firmware == 0xFFFFFFFF
    assert told_of(place, {0x0E: 0x100000000}).firmware is None
    assert told_of(place, {0x0E: True}).firmware is None


def test_what_is_told_is_bounded(place: Place) -> None:
    found = told_of(place, {1: ["v" * 2000] * 1000, 2: ["\x1b[2J\n"] * 1000, 9: ["t"] * 1000})
    assert found.versions == ["v" * 64] * 32
    assert len(found.extensions) == len(found.transports) == 32


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=8) | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.integers(0, 32), inner),
    max_leaves=12,
)


@given(members=st.dictionaries(st.integers(0, 0x20), ANYTHING, max_size=12))
def test_no_answer_makes_it_stumble(members: dict[object, object]) -> None:
    found = Description("unix:/token", "unix")
    description._learn_members(found, members)
    assert found.name is not None
    encode({1: found.versions, 2: found.extensions, 3: found.transports})
