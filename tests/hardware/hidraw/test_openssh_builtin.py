"""OpenSSH's built-in provider, which is libfido2 in ssh-sk-helper, as a client of the software authenticator."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from support.plugged import NotingServer, Plugged
from support.serve import serve

from sk_provider.authenticator.presence import GRANTED
from sk_provider.authenticator.profiles import DEFAULT
from sk_provider.authenticator.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from sk_provider.authenticator.event import Event
    from sk_provider.authenticator.presence import PresenceRequest


def keygen(*arguments: str, cwd: Path, message: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh-keygen", *arguments],
        cwd=cwd,
        input=message,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        start_new_session=True,
    )


def enroll_and_sign(device: str, kind: str, folder: Path, *options: str) -> None:
    """Make a key on a device and sign with it, wherever the built-in provider finds it."""
    made = keygen(
        "-q", "-w", "internal", "-t", kind, "-O", f"device={device}", *options, "-N", "", "-f", "key", cwd=folder
    )
    assert made.returncode == 0, made.stderr
    (folder / "message").write_text("a message")
    signed = keygen("-q", "-Y", "sign", "-w", "internal", "-n", "file", "-f", "key", "message", cwd=folder)
    assert signed.returncode == 0, signed.stderr
    public = (folder / "key.pub").read_text()
    (folder / "allowed").write_text(f"me {public}")
    verified = keygen(
        "-Y", "verify", "-f", "allowed", "-I", "me", "-n", "file", "-s", "message.sig", cwd=folder, message="a message"
    )
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("kind", ["ed25519-sk", "ecdsa-sk"])
def test_key_of_the_built_in_provider_signs(token: str, tmp_path: Path, kind: str) -> None:
    enroll_and_sign(token, kind, tmp_path)


def test_resident_key_without_touch_signs(token: str, tmp_path: Path) -> None:
    enroll_and_sign(token, "ed25519-sk", tmp_path, "-O", "no-touch-required", "-O", "resident")


def test_each_of_two_tokens_has_keys_of_its_own(token: str, tmp_path: Path) -> None:
    with serve("uhid:") as served:
        other = served.names[0]
        assert other != token
        for name, device in (("first", token), ("second", other)):
            (tmp_path / name).mkdir()
            enroll_and_sign(device, "ed25519-sk", tmp_path / name)


def test_two_tokens_are_used_at_the_same_time(tmp_path: Path) -> None:
    both_blink = threading.Barrier(2, timeout=60)

    def touch_when_both_blink(_request: PresenceRequest, _event: Event | None) -> int:
        both_blink.wait()
        return GRANTED

    with ExitStack() as stack, ThreadPoolExecutor() as people:
        enrolling = []
        for name in ("first", "second"):
            folder = tmp_path / name
            folder.mkdir()
            Store.create(str(folder / "store"))
            token = Plugged(NotingServer, folder / "store", DEFAULT, touch_when_both_blink)
            stack.enter_context(token)
            enrolling.append(people.submit(enroll_and_sign, token.server.name, "ed25519-sk", folder))
        for each in enrolling:
            each.result()


def test_key_of_another_token_is_not_found(token: str, tmp_path: Path) -> None:
    with serve("uhid:") as served:
        enroll_and_sign(served.names[0], "ed25519-sk", tmp_path)
    (tmp_path / "message.sig").unlink()
    signed = keygen("-q", "-Y", "sign", "-w", "internal", "-n", "file", "-f", "key", "message", cwd=tmp_path)
    assert signed.returncode != 0
    assert not (tmp_path / "message.sig").exists()
    assert token
