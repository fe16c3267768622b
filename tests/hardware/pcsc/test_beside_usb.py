"""A card beside a USB token, where nothing is configured.

A terminal stands for the token's /dev/hidraw, and tmpfs for what sysfs says of it.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
import tty
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support import pcscd
from support.openssh import PIN, PIN_PROMPT, Person, asks_to_choose, assert_signs, enrolled, provider_lines
from support.serve import connect_unix, serve, wait_until

from sk_provider.ctap import framing
from sk_provider.transports import nfc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "full"  # of a file in /dev that the terminal is laid over, in this namespace alone
CLASSES = Path("/sys/class")
NODES = Path("/sys/dev/char")
WANTS_NO_TOUCH = (
    "libpysk: nfc:Virtual PCD 00 00 waits for no touch, and cannot be chosen by touch; "
    "name one with Device in pysk_config, or connect only the one to use"
)
FIDO_REPORT_DESCRIPTOR = bytes.fromhex("06d0f10901a101")


@pytest.fixture
def person(person: Person) -> Person:
    """Somebody who has configured nothing."""
    person.config.write_text("")
    return person


@contextmanager
def usb_token(socket: Path | None = None) -> Iterator[None]:
    """Plug in the token that is served at a socket, or one that never answers."""
    with ExitStack() as stack:
        ours, theirs = os.openpty()
        stack.callback(os.close, theirs)
        stack.callback(os.close, ours)
        tty.setraw(theirs)
        for folder in (CLASSES, NODES):
            mount(stack, "-t", "tmpfs", "tmpfs", str(folder))
        described = CLASSES / "hidraw" / NAME / "device"
        described.mkdir(parents=True)
        (described / "report_descriptor").write_bytes(FIDO_REPORT_DESCRIPTOR)
        number = os.fstat(theirs).st_rdev
        (NODES / f"{os.major(number)}:{os.minor(number)}").symlink_to(described.parent)
        mount(stack, "--bind", os.ttyname(theirs), f"/dev/{NAME}")
        if socket is not None:
            token = stack.enter_context(connect_unix(str(socket)))
            ended, end = os.pipe()
            thread = threading.Thread(target=pass_reports, args=(ours, token.fileno(), ended))
            thread.start()
            stack.callback(thread.join)
            stack.callback(os.write, end, b"end")
        yield


def mount(stack: ExitStack, *arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, timeout=20)
    stack.callback(subprocess.run, ["umount", arguments[-1]], check=True, timeout=20)


def pass_reports(device: int, token: int, ended: int) -> None:
    while ended not in (ready := select.select([device, token, ended], [], [])[0]):
        if device in ready:
            # In front of each report stands its number.
            os.write(token, os.read(device, 1 + framing.REPORT_SIZE)[1:])
        if token in ready:
            os.write(device, os.read(token, framing.REPORT_SIZE))


@contextmanager
def card(person: Person) -> Iterator[None]:
    with serve("--store", str(person.store), f"vpcd:127.0.0.1:{pcscd.PORT}"):
        wait_until(lambda: nfc.discover(""), "the card's being seen")
        yield


def test_a_usb_token_is_used_before_a_card(person: Person, tmp_path: Path) -> None:
    socket = tmp_path / "token"
    with serve(f"unix:{socket}"):
        with card(person), usb_token(socket):
            key = enrolled(person)
        with usb_token(socket):
            assert_signs(person, key)


def test_a_card_signs_where_the_usb_token_does_not_hold_the_key(person: Person, tmp_path: Path) -> None:
    socket = tmp_path / "token"
    with card(person), serve(f"unix:{socket}"):
        key = enrolled(person)
        with usb_token(socket):
            assert_signs(person, key)


def test_a_card_serves_where_the_usb_token_cannot_be_used(person: Person) -> None:
    with card(person):
        with usb_token():
            done, key = person.enroll("id", "ed25519-sk")
            assert done.status == 0, done
            assert provider_lines(done.errors) == [
                f"libpysk: /dev/{NAME}: the authenticator does not answer; to use another authenticator, touch it"
            ]
            assert_signs(person, key)
        assert_signs(person, key)


def test_a_card_that_lies_there_gets_no_pin_because_of_that(person: Person, tmp_path: Path) -> None:
    socket = tmp_path / "token"
    with serve(f"unix:{socket}", presence="after:2500"), card(person):
        person.set_pin("card's PIN", "nfc:")
        person.set_pin(PIN, f"unix:{socket}")
        person.configure(device=f"unix:{socket}")
        key = enrolled(person, "ed25519-sk", "verify-required")
        person.config.write_text("")
        with usb_token(socket):
            done, signature = person.sign(key, answers=[(PIN_PROMPT, PIN)])
            assert done.status == 0, done
            choice, reason = provider_lines(done.errors)
            assert asks_to_choose(choice, 2, "may hold the key for ssh:")
            assert reason == WANTS_NO_TOUCH
            assert person.verify(key, signature).returncode == 0
        with usb_token():
            done = person.run("ssh-keygen", "-K", "-N", "", answers=[(PIN_PROMPT, PIN)])
            assert done.status != 0
            assert provider_lines(done.errors)[-1] == WANTS_NO_TOUCH
        assert "8 tries left" in person.run(str(person.pysk), "pin", "status", "nfc:").screen


def test_a_usb_token_that_cannot_be_used_is_told_where_no_card_is(person: Person) -> None:
    with usb_token():
        done, _ = person.enroll("id", "ed25519-sk")
    assert provider_lines(done.errors) == [
        f"libpysk: /dev/{NAME}: the authenticator does not answer; unplug it, plug it in and try again"
    ]
