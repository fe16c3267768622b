"""Which keys of a directory are listed beside an authenticator's, and what a part that fails costs."""

from __future__ import annotations

import posix
from pathlib import Path

import pytest
from support.records import record

from sk_provider import directory_keys
from sk_provider.api import ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION, ResidentKey, ResidentRequest
from sk_provider.client import holders
from sk_provider.config import Configuration
from sk_provider.credentials.directory import file
from sk_provider.credentials.directory.record import Record
from sk_provider.errors import (
    ConfigurationError,
    DeviceNotFound,
    Interrupted,
    PinInvalid,
    PinRequired,
    SecurityKeyError,
    TimedOut,
)
from sk_provider.operation import Operation

ALICE = record()
OTHER = record(key_handle=b"another", flags=FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION)
DOMAIN = record(application="example.com")
NOWHERE = "unix:/nonexistent"


class Listing:
    """One listing, by an authenticator that answers as it is told, of whom nobody is connected."""

    def __init__(self, folder: Path, *records: Record, missing: int = 0) -> None:
        path = folder / "keys"
        path.write_text("".join(f"{file.line_of(each)}\n" for each in records))
        path.chmod(0o644)
        self.told: list[str] = []
        self.configuration = Configuration()
        self.configuration.directory_user = "alice"
        self.configuration.key_directories = [f"file:{folder}/missing{number}" for number in range(missing)]
        if records:
            self.configuration.key_directories.append(f"file:{path}")
        self.operation = Operation(30, tell=self.told.append)

    def listed(self, *resident: ResidentKey, error: SecurityKeyError | None = None) -> list[ResidentKey]:
        def list_resident() -> list[ResidentKey]:
            if error is not None:
                raise error
            return list(resident)

        request = ResidentRequest("1234", NOWHERE)
        return directory_keys.list_beside(list_resident, request, self.configuration, self.operation)


def resident(user_id: bytes, key_handle: bytes = b"resident", application: str = "ssh:") -> ResidentKey:
    return ResidentKey(ALGORITHM_ED25519, application, 0, key_handle, bytes(32), user_id)


def test_the_authenticators_entry_wins(tmp_path: Path) -> None:
    listing = Listing(tmp_path, ALICE, OTHER)
    token, directory = listing.listed(resident(b"me", ALICE.key_handle))
    assert token.user_id == b"me"
    assert (directory.key_handle, directory.flags) == (OTHER.key_handle, FLAG_USER_VERIFICATION)
    assert listing.told == []


def test_no_two_keys_have_the_same_user_id(tmp_path: Path) -> None:
    digest = ALICE.handle_digest().encode()
    same_handle = record(application="ssh:other")
    keys = Listing(tmp_path, ALICE, same_handle).listed(resident(digest))
    assert [key.user_id for key in keys] == [digest, digest + b"+", digest + b"++"]


@pytest.mark.parametrize("error", [PinInvalid("wrong PIN", "try again"), TimedOut("nobody came", "come")])
def test_an_authenticator_that_fails_costs_only_its_own_keys(tmp_path: Path, error: SecurityKeyError) -> None:
    listing = Listing(tmp_path, ALICE)
    assert [key.key_handle for key in listing.listed(error=error)] == [ALICE.key_handle]
    assert listing.told == [str(error)]


def test_that_there_is_no_authenticator_is_told_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    absence = DeviceNotFound("no authenticator", "connect one")
    listing = Listing(tmp_path, ALICE)
    assert len(listing.listed(error=absence)) == 1
    assert listing.told == []
    listing = Listing(tmp_path, record("bob"))
    assert listing.listed(error=absence) == []
    assert listing.told == [str(absence)]


def test_a_directory_that_fails_costs_only_its_own_keys(tmp_path: Path) -> None:
    listing = Listing(tmp_path, ALICE, missing=2)
    assert len(listing.listed(error=PinInvalid("wrong PIN", "try again"))) == 1
    assert [sentence.partition(";")[0] for sentence in listing.told] == [
        f"{tmp_path}/missing0 does not exist",
        f"{tmp_path}/missing1 does not exist",
        "wrong PIN",
    ]
    listing = Listing(tmp_path, missing=1)
    assert len(listing.listed(resident(b""))) == 1
    assert len(listing.told) == 1


def test_where_all_fail_the_authenticators_error_is_raised_and_told(tmp_path: Path) -> None:
    listing = Listing(tmp_path, missing=1)
    with pytest.raises(PinRequired) as caught:
        listing.listed(error=PinRequired("a PIN is wanted", "enter it"))
    # Which the reporter leaves out where the host asks.
    assert not caught.value.is_question
    assert len(listing.told) == 1


def test_an_interrupted_operation_lists_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        Listing(tmp_path, ALICE).listed(error=Interrupted("interrupted", "start again"))
    listing = Listing(tmp_path, ALICE)
    listing.operation.call_off()
    with pytest.raises(Interrupted):
        listing.listed()


def test_directories_take_nothing_of_the_time_that_a_person_has(tmp_path: Path) -> None:
    listing = Listing(tmp_path, ALICE, missing=1)
    listing.operation = Operation(0, tell=listing.told.append)
    assert len(listing.listed()) == 1


def test_authenticators_have_all_their_time_once_directories_were_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(records: list[Record], _device: object, _configuration: object, operation: Operation) -> list[Record]:
        return [] if operation.is_set() else records

    monkeypatch.setattr(holders, "may_be_held", look)
    listing = Listing(tmp_path, ALICE)
    listing.operation._deadline = 0
    assert len(listing.listed()) == 1


def test_a_person_has_all_their_time_once_authenticators_were_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_time(records: list[Record], _device: object, _configuration: object, operation: Operation) -> list[Record]:
        operation._deadline = 0
        return records

    monkeypatch.setattr(holders, "may_be_held", take_time)
    listing = Listing(tmp_path, ALICE)
    assert len(listing.listed()) == 1
    assert not listing.operation.is_set()


def test_keys_that_no_host_would_take_are_told_where_there_are_no_others(tmp_path: Path) -> None:
    listing = Listing(tmp_path, DOMAIN)
    assert listing.listed() == []
    (sentence,) = listing.told
    assert "example.com" in sentence
    assert "pysk directory export" in sentence
    listing = Listing(tmp_path, DOMAIN, ALICE)
    assert [key.application for key in listing.listed()] == ["ssh:"]
    assert listing.told == []


def test_that_the_connected_authenticator_holds_no_key_of_the_directory_is_told_where_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "may_be_held", lambda *_: [])
    listing = Listing(tmp_path, ALICE)
    assert listing.listed() == []
    assert listing.told == [
        "the connected authenticator holds none of your keys in the key directory; connect the one that does"
    ]
    listing = Listing(tmp_path, ALICE)
    assert len(listing.listed(resident(b"user"))) == 1
    assert listing.told == []


def test_the_keys_are_the_effective_users_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = Configuration()
    monkeypatch.setattr(posix, "geteuid", lambda: 0)
    assert directory_keys.user(configuration) == "root"
    monkeypatch.setattr(posix, "geteuid", lambda: 4_000_000)
    with pytest.raises(ConfigurationError, match="name one with KeyDirectoryUser"):
        directory_keys.user(configuration)
    configuration.directory_user = "alice"
    assert directory_keys.user(configuration) == "alice"


@pytest.mark.parametrize(
    ("connected", "error"),
    [
        (0, "no authenticator is connected"),
        (1, None),
        (2, "several authenticators are connected, whose keys are listed only with a PIN"),
    ],
)
def test_without_a_pin_nobody_has_to_choose_an_authenticator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connected: int, error: str | None
) -> None:
    monkeypatch.setattr(holders, "count_connected", lambda *_: connected)
    listing = Listing(tmp_path)
    request = ResidentRequest(None, None)
    if error is None:
        directory_keys._check_choice(request, listing.configuration, listing.operation)
    else:
        with pytest.raises(DeviceNotFound if connected == 0 else PinRequired, match=error):
            directory_keys._check_choice(request, listing.configuration, listing.operation)
    # Whoever enters one may choose.
    directory_keys._check_choice(ResidentRequest("1234", None), listing.configuration, listing.operation)
