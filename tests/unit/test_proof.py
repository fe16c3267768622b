"""Whether a key's authenticator is there: what its answer to a silent question says, and when a PIN is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.answering import Scripted
from support.soft_token import EDDSA, PIN, Device, Person, credential_id

from sk_provider import proof
from sk_provider.api import ALGORITHM_ED25519, FLAG_USER_PRESENCE, FLAG_USER_VERIFICATION
from sk_provider.authenticator.store import Store
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.config import Configuration
from sk_provider.credentials.directory.record import Record
from sk_provider.credentials.public_key import public_key_bytes
from sk_provider.errors import CredentialNotFound, PinInvalid
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.api import SignRequest
    from sk_provider.transport_api import Channel

VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION


class Restarted(Operation):
    """One that counts how often the person had all their time again, once as it began."""

    restarts = 0

    def restart(self) -> None:
        self.restarts += 1
        super().restart()


class Table:
    """A software authenticator with two keys on it, and the PIN that a person enters for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, profile: str = "fido2.1") -> None:
        self.device = Device(Store.create(str(folder / "store")), Person(), profile)
        self.device.set_pin()
        self.pin = PIN
        self.questions = 0
        self.requests: list[SignRequest] = []
        self.operation = Restarted(60, tell=lambda _: None)
        self._monkeypatch = monkeypatch

    def record(self, flags: int = FLAG_USER_PRESENCE) -> Record:
        """Return a new key of the device, as a directory has it."""
        made = self.device.make(algorithm=EDDSA, verified=True)
        assert made.auth_data.credential_data is not None
        public_key = public_key_bytes(made.auth_data.credential_data.public_key, EDDSA)
        self.device.person.requests.clear()
        return Record("ann", "ssh:", ALGORITHM_ED25519, public_key, credential_id(made), flags)

    def prove(self, record: Record, key_handle: bytes, channel: Channel) -> None:
        def open_token(request: SignRequest, *_: object) -> Token:
            self.requests.append(request)
            return Token(channel, "unix:/token")

        def ask() -> str:
            self.questions += 1
            return self.pin

        self._monkeypatch.setattr(selection, "open_for_signature", open_token)
        proof.prove(record, key_handle, Configuration(), self.operation, ask)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(tmp_path, monkeypatch)


def test_an_authenticator_shows_its_key_without_a_touch_or_a_pin(table: Table) -> None:
    record = table.record()
    channel = Scripted({}, table.device)
    table.prove(record, record.key_handle, channel)
    assert table.device.person.actions == []
    assert (table.questions, channel.times_closed, len(table.requests)) == (0, 1, 1)


def test_another_key_of_the_same_authenticator_is_not_this_one(table: Table) -> None:
    record, other = table.record(), table.record()
    channel = Scripted({}, table.device)
    with pytest.raises(CredentialNotFound, match="does not hold this key; connect the one that it was enrolled on"):
        table.prove(record, other.key_handle, channel)
    assert (table.questions, channel.times_closed) == (0, 1)


def test_a_key_handle_that_nothing_holds_is_told_without_a_pin(table: Table) -> None:
    with pytest.raises(CredentialNotFound):
        table.prove(table.record(), bytes(64), Scripted({}, table.device))
    assert table.questions == 0


def test_a_key_that_wants_a_pin_is_shown_by_a_signature(table: Table) -> None:
    record = table.record(VERIFIED)
    channel = Scripted({}, table.device)
    table.prove(record, record.key_handle, channel)
    assert table.questions == 1
    assert [request.flags for request in table.requests] == [FLAG_USER_VERIFICATION]
    assert table.operation.restarts == 2
    table.pin = "9999"
    with pytest.raises(PinInvalid):
        table.prove(record, record.key_handle, channel)


def test_an_authenticator_that_shows_nothing_without_a_pin_is_asked_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strict").mkdir()
    table = Table(tmp_path / "strict", monkeypatch, "always-uv")
    record = table.record()
    table.prove(record, record.key_handle, Scripted({}, table.device))
    assert table.questions == 1
    assert len(table.requests) == 2
    with pytest.raises(CredentialNotFound):
        table.prove(record, bytes(64), Scripted({}, table.device))
