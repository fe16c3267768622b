"""pysk keys with authenticators that keep no more of applications or names than their beginning, or refuse or lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.answering import Liar
from support.soft_token import PIN, Device, Person, credential_id

from sk_provider.authenticator import resident
from sk_provider.authenticator.store import Store
from sk_provider.cli import main
from sk_provider.cli.keys import keys
from sk_provider.client import selection
from sk_provider.client.token import Token
from sk_provider.credentials import key_handle
from sk_provider.ctap import cbor, commands, status

RP = 3
CRED_PROTECT = 0x0A
LONG = "ssh:" + "a long name " * 4
KEPT = 32


def shorten(request: bytes, answer: dict[int, object]) -> None:
    rp = answer.get(RP)
    if request[0] == commands.CREDENTIAL_MANAGEMENT and isinstance(rp, dict):
        rp["id"] = rp["id"][:KEPT]


def test_a_key_of_a_shortened_application_can_be_listed_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(Store.create(str(tmp_path / "store")), Person())
    device.set_pin(PIN)
    key = key_handle.digest(credential_id(device.make_resident(LONG, b"alice")))
    monkeypatch.setattr(selection, "open_for_management", lambda *_: Token(Liar(device, shorten), "unix:/liar"))
    listed = CliRunner().invoke(keys, ["list"], input=f"{PIN}\n")
    assert listed.stdout.splitlines()[-1] == f"{key}  ecdsa-sk  none  -  {LONG[:KEPT]}...  alice  name of 616c696365"
    assert CliRunner().invoke(keys, ["delete", "--yes", key], input=f"{PIN}\n").exit_code == 0
    assert CliRunner().invoke(keys, ["list"], input=f"{PIN}\n").stdout == ""


class Refusing:
    """Passes commands on to a device, but answers a change of names with a status."""

    def __init__(self, device: Device, status: int) -> None:
        self.capabilities = device.capabilities
        self._device = device
        self._status = status

    def call(self, cmd: int, data: bytes = b"", event: object = None, on_keepalive: object = None) -> bytes:
        if data[0] == commands.CREDENTIAL_MANAGEMENT:
            parameters = cbor.decode(data[1:])
            if isinstance(parameters, dict) and parameters[1] == commands.UPDATE_USER_INFORMATION:
                return bytes([self._status])
        return self._device.call(cmd, data, event, on_keepalive)

    def close(self) -> None:
        """Nothing to let go."""


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = Device(Store.create(str(tmp_path / "store")), Person())
    device.set_pin(PIN)
    return device


def use(monkeypatch: pytest.MonkeyPatch, channel: object) -> None:
    monkeypatch.setattr(selection, "open_for_management", lambda *_: Token(channel, "unix:/token"))  # type: ignore[arg-type]  # what all of these have is enough


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", *arguments], input=f"{PIN}\n")


def test_a_name_that_a_token_cuts_off_is_put_back(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_handle.digest(credential_id(device.make_resident("ssh:", b"alice")))
    use(monkeypatch, device)
    before = run("show", key).stdout
    monkeypatch.setattr(resident, "MAX_NAME_LENGTH", 24)
    done = run("rename", key, "a name of twenty-five bytes")
    assert (done.exit_code, done.stderr) == (
        1,
        "pysk: the authenticator does not keep this name whole; choose a shorter one; the old one was put back\n",
    )
    assert run("show", key).stdout == before
    assert run("rename", key, "a shorter one").exit_code == 0


@pytest.mark.parametrize("code", [status.KEY_STORE_FULL, 0x15, 0x03, status.REQUEST_TOO_LARGE])
def test_a_name_that_a_token_has_no_room_for_is_told(
    device: Device, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    key = key_handle.digest(credential_id(device.make_resident("ssh:", b"alice")))
    use(monkeypatch, Refusing(device, code))
    done = run("rename", key, "a name")
    assert (done.exit_code, done.stderr) == (
        1,
        "pysk: the authenticator has no room for this name; choose a shorter one; the old one still stands\n",
    )


def test_a_token_that_does_not_allow_a_renaming_is_told(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_handle.digest(credential_id(device.make_resident("ssh:", b"alice")))
    use(monkeypatch, Refusing(device, status.NOT_ALLOWED))
    done = run("rename", key, "a name")
    assert done.exit_code == 1
    assert done.stderr.startswith("pysk: the authenticator does not allow that; if pysk share serves it")


def test_a_key_that_could_be_several_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        device.make_resident(f"ssh:{number}", b"alice")
    use(monkeypatch, device)
    monkeypatch.setattr(key_handle, "digest", lambda handle: f"aaaa{handle.hex()[-12:]}")
    for command in (
        ("show", "aaaa"),
        ("rename", "aaaa", "name"),
        ("delete", "--yes", "aaaa"),
        ("export", "--key", "aaaa"),
    ):
        done = run(*command)
        assert (done.exit_code, done.stderr) == (
            1, "pysk: 3 resident keys begin with aaaa; write more of the one that you mean\n"
        )  # fmt: skip
    assert len(run("list").stdout.splitlines()) == 3


def test_a_key_of_a_shortened_application_is_not_exported(
    device: Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = key_handle.digest(credential_id(device.make_resident(LONG, b"alice")))
    device.make_resident("ssh:", b"bob")
    use(monkeypatch, Liar(device, shorten))
    done = run("export", "--output", f"{tmp_path}/exported")
    assert [Path(path).name for path in done.stdout.splitlines()] == ["id_ecdsa_sk_rk_bob"]
    done = run("export", "--output", f"{tmp_path}/other", "--key", key)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"pysk: {key} is no key that ssh can use; give another one, as listed by: pysk keys list unix:/token\n"
    )
    assert not (tmp_path / "other").exists()


def test_a_hostile_token_makes_no_line_of_its_own(
    device: Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evil = "ssh:\nssh-ed25519 AAAA root\x1b[2J"
    key = key_handle.digest(credential_id(device.make_resident(evil, b"\n\x1b")))
    use(monkeypatch, device)
    (line,) = run("list").stdout.splitlines()
    assert line.split("  ")[4:] == ["ssh:?ssh-ed25519 AAAA root?[2J", "0a1b", "name of 0a1b"]
    assert "\x1b" not in run("show", key).stdout
    assert run("show", key).stdout.splitlines()[-1].endswith(" ssh:?ssh-ed25519 AAAA root?[2J")
    assert json.loads(run("show", "--json", key).stdout)["application"] == evil
    done = run("export", "--output", f"{tmp_path}/exported")
    assert done.stdout == f"{tmp_path}/exported/id_ecdsa_sk_rk_?ssh-ed25519 AAAA root?[2J_0a1b_{key}\n".replace(
        "?", "_"
    )
    assert [len(path.read_text().splitlines()) for path in (tmp_path / "exported").glob("*.pub")] == [1]


@pytest.mark.parametrize("level", [None, 0, 4, [3], "3", {}])
def test_a_protection_that_is_not_known_is_not_told_as_one(
    device: Device, monkeypatch: pytest.MonkeyPatch, level: object
) -> None:
    def lie(request: bytes, answer: dict[int, object]) -> None:
        if request[0] == commands.CREDENTIAL_MANAGEMENT and CRED_PROTECT in answer:
            answer[CRED_PROTECT] = level

    device.make_resident("ssh:", b"alice")
    use(monkeypatch, Liar(device, lie))
    assert run("list").stdout.split("  ")[2] == "-"
    assert json.loads(run("list", "--json").stdout)[0]["protection"] is None
