"""When a person is asked for the passphrase of a sealed key handle, by a real SSH_ASKPASS, and what a wrong one is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.drawer import Player
from support.traced import sentence_of, trace_into

from sk_provider import sealed_keys
from sk_provider.api import (
    ALGORITHM_ED25519,
    FLAG_USER_PRESENCE,
    FLAG_USER_VERIFICATION,
    EnrollRequest,
    EnrollResponse,
    SignRequest,
)
from sk_provider.asking import keyring
from sk_provider.client.token import Token
from sk_provider.config import Configuration, Use
from sk_provider.credentials import sealing
from sk_provider.ctap import commands, status
from sk_provider.errors import (
    CredentialNotFound,
    Interrupted,
    InvalidRequest,
    PassphraseRequired,
    PinRequired,
    SecurityKeyError,
    Unsupported,
)
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

APPLICATION = "ssh:work"
PASSPHRASE = "correct horse"
VERIFIED = FLAG_USER_PRESENCE | FLAG_USER_VERIFICATION
ASKPASS = """#!/bin/sh
printf '%s\\0' "$1" >> questions
read -r answer < answers || exit 1
sed -i 1d answers
printf '%s\\n' "$answer"
"""


class Desk:
    """A key that is sealed, and a person who is asked by a program: what they answer, and what they were asked."""

    def __init__(self, folder: Path, handle: bytes, sealed: bytes) -> None:
        self.handle = handle
        self.sealed = sealed
        self.told: list[str] = []
        self.configuration = Configuration()
        self.set_ways("host", "askpass")
        self.operation = Operation(60, tell=self.told.append)
        self.folder = folder
        self.answers()

    def set_ways(self, *ways: str) -> None:
        self.configuration.ignore("pin_prompts")
        self._set("pin_prompts", ways)

    def remember(self, seconds: int) -> None:
        self.configuration.ignore("remember_pin")
        self._set("remember_pin", seconds)

    def _set(self, name: str, value: object) -> None:
        self.configuration.add_rule(name, [], value)
        self.configuration.settle(Use())

    def answers(self, *lines: str) -> None:
        (self.folder / "answers").write_text("".join(f"{line}\n" for line in lines))
        (self.folder / "questions").write_bytes(b"")

    def questions(self) -> list[list[str]]:
        return [each.splitlines() for each in (self.folder / "questions").read_text().split("\0")[:-1]]

    def request(self, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> SignRequest:
        return SignRequest(ALGORITHM_ED25519, bytes(32), APPLICATION, self.sealed, flags, pin, None)

    def unsealed(self, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> SignRequest:
        request = self.request(flags, pin)
        sealed_keys.unseal(request, self.configuration, self.operation)
        return request

    def refusal(self, flags: int = FLAG_USER_PRESENCE, pin: str | None = None) -> SecurityKeyError:
        with pytest.raises(SecurityKeyError) as caught:
            self.unsealed(flags, pin)
        return caught.value

    def judged(self, request: SignRequest, error: SecurityKeyError | None = None) -> None:
        with sealed_keys.passphrase_judged(request, self.configuration, self.operation):
            if error is not None:
                raise error

    def nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let libpysk have no way to ask anybody."""
        monkeypatch.delenv("DISPLAY")
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.delenv("SSH_ASKPASS_REQUIRE", raising=False)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    program = tmp_path / "askpass"
    program.write_text(ASKPASS.replace("questions", f"{tmp_path}/questions").replace("answers", f"{tmp_path}/answers"))
    program.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("DISPLAY", ":0")
    handle = os.urandom(64)
    made = Desk(tmp_path, handle, sealing.seal(handle, APPLICATION, ALGORITHM_ED25519, PASSPHRASE))
    yield made
    keyring.forget(sealed_keys._name(made.request()))


def new_key() -> tuple[EnrollRequest, EnrollResponse]:
    request = EnrollRequest(ALGORITHM_ED25519, b"challenge", APPLICATION, FLAG_USER_PRESENCE, None, None, None)
    return request, EnrollResponse(FLAG_USER_PRESENCE, bytes(32), b"h" * 64, b"signature", b"certificate", b"data")


def test_a_new_key_is_sealed_under_what_is_entered_twice(desk: Desk) -> None:
    desk.answers(PASSPHRASE, PASSPHRASE)
    request, response = new_key()
    sealed_keys.seal(response, request, desk.configuration, desk.operation)
    sealed = sealing.parse(response.key_handle, APPLICATION, ALGORITHM_ED25519)
    assert sealed.open(sealed.key_stream(PASSPHRASE)) == b"h" * 64
    # They have the key handle in clear.
    assert (response.signature, response.attestation_certificate, response.authenticator_data) == (b"", b"", b"")
    purpose = "enrolling a key for ssh:work"
    assert desk.questions() == [
        [purpose, "Passphrase for the new key: "],
        [purpose, "Same passphrase again: "],
    ]


def test_what_is_entered_differently_is_asked_for_anew_three_times_in_all(desk: Desk) -> None:
    desk.answers("a", "b", "a", "b", PASSPHRASE, PASSPHRASE)
    request, response = new_key()
    sealed_keys.seal(response, request, desk.configuration, desk.operation)
    assert sealing.is_sealed(response.key_handle)
    # Only whoever has made the mistake is told, and with the first question of the two.
    told = ["the two passphrases differ" in lines for lines in desk.questions()]
    assert told == [False, False, True, False, True, False]

    desk.answers("a", "b", "a", "b", "a", "b", PASSPHRASE, PASSPHRASE)
    request, response = new_key()
    with pytest.raises(InvalidRequest, match="the two passphrases differ; enroll the key again"):
        sealed_keys.seal(response, request, desk.configuration, desk.operation)
    assert len(desk.questions()) == 6
    assert response.key_handle == b"h" * 64


def test_a_new_key_is_not_sealed_where_nobody_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request, response = new_key()
    with pytest.raises(Interrupted, match="no passphrase was entered; try again"):
        sealed_keys.seal(response, request, desk.configuration, desk.operation)
    desk.nobody(monkeypatch)
    with pytest.raises(Unsupported, match="this key wants a passphrase, and nobody can be asked for it"):
        sealed_keys.seal(response, request, desk.configuration, desk.operation)
    assert response.key_handle == b"h" * 64


def test_the_passphrase_opens_the_key_handle(desk: Desk) -> None:
    traced: list[str] = []
    desk.answers(PASSPHRASE)
    desk.operation.trace = trace_into(traced)
    request = desk.unsealed(VERIFIED, "1234")
    assert request.key_handle == desk.handle
    assert request.host_key_handle == desk.sealed
    assert request.asked_by == "askpass"
    assert request.pin == "1234"
    assert [lines[-1] for lines in desk.questions()] == ["Passphrase: "]
    said = [sentence_of(line) for line in traced]
    assert said == [
        "the key handle is sealed under a passphrase; its layout: unknown",
        "PinPrompt askpass: a passphrase was entered",
    ]


def test_the_ways_that_a_person_is_asked_in_are_tried_in_turn(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sk_provider.asking.pins.PINENTRY", str(desk.folder / "none"))
    desk.set_ways("pinentry", "host", "askpass")
    desk.answers(PASSPHRASE)
    assert desk.unsealed().asked_by == "askpass"


def test_whoever_has_given_up_is_not_asked_in_another_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sk_provider.asking.pins.PINENTRY", str(desk.folder / "none"))
    desk.set_ways("pinentry", "askpass")
    desk.answers(PASSPHRASE)
    desk.operation.call_off()
    assert type(desk.refusal()) is Interrupted
    assert desk.questions() == []


def test_a_person_has_all_their_time_for_the_answer_and_after_it(desk: Desk) -> None:
    class Counting(Operation):
        restarts = 0

        def restart(self) -> None:
            self.restarts += 1
            super().restart()

    operation = Counting(60)
    desk.operation = operation
    desk.answers(PASSPHRASE)
    desk.unsealed()
    # Once as it began.
    assert operation.restarts == 3


def test_a_host_that_has_asked_has_given_the_passphrase(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.nobody(monkeypatch)
    error = desk.refusal()
    assert type(error) is PassphraseRequired
    assert str(error).startswith(
        "this key wants a passphrase, and libpysk can ask nobody for it (askpass: there is no "
    )
    request = desk.unsealed(pin=PASSPHRASE)
    assert request.key_handle == desk.handle
    assert request.asked_by == "host"
    # It is no PIN, and so no authenticator gets it.
    assert request.pin is None


@pytest.mark.parametrize("pin", [None, PASSPHRASE])
def test_a_pin_is_not_taken_for_the_passphrase(desk: Desk, monkeypatch: pytest.MonkeyPatch, pin: str | None) -> None:
    desk.nobody(monkeypatch)
    error = desk.refusal(VERIFIED, pin)
    assert type(error) is Unsupported
    assert "this key wants a passphrase beside a PIN, and nobody can be asked for it" in str(error)


@pytest.mark.usefixtures("keyring_alone")
def test_a_passphrase_is_remembered_once_it_was_right(desk: Desk) -> None:
    desk.remember(600)
    desk.answers("wrong", PASSPHRASE)
    with pytest.raises(CredentialNotFound, match="the passphrase is wrong, or it is not held; try again, or connect"):
        desk.judged(desk.unsealed(), CredentialNotFound("it is not held", "connect it"))
    request = desk.unsealed()
    desk.judged(request)
    assert len(desk.questions()) == 2
    again = desk.unsealed()
    assert len(desk.questions()) == 2
    assert (again.key_handle, again.key_stream) == (desk.handle, request.key_stream)
    assert again.asked_by is None
    # It was right: what fails now is something else.
    with pytest.raises(CredentialNotFound, match=r"^it is not held; connect it$"):
        desk.judged(again, CredentialNotFound("it is not held", "connect it"))
    desk.judged(again)
    assert desk.told == []


@pytest.mark.usefixtures("keyring_alone")
def test_nothing_is_remembered_unless_that_is_asked_for(desk: Desk) -> None:
    desk.answers(PASSPHRASE, PASSPHRASE)
    for _ in range(2):
        desk.judged(desk.unsealed())
    assert len(desk.questions()) == 2
    desk.remember(600)
    desk.answers(PASSPHRASE)
    desk.judged(desk.unsealed())
    # Nor is it looked for once it is not asked for any more.
    desk.remember(0)
    desk.answers("wrong")
    assert desk.unsealed().key_handle != desk.handle


@pytest.mark.usefixtures("keyring_alone")
def test_what_is_remembered_of_another_length_is_not_used(desk: Desk) -> None:
    desk.remember(600)
    keyring.keep(sealed_keys._name(desk.request()), bytes(65), 600)
    desk.answers(PASSPHRASE)
    assert desk.unsealed().key_handle == desk.handle


def test_a_key_is_remembered_by_its_application_too(desk: Desk) -> None:
    other = SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:", desk.sealed, 0, None, None)
    assert sealed_keys._name(desk.request()).startswith(sealed_keys.PREFIX)
    assert sealed_keys._name(desk.request()) != sealed_keys._name(other)


def test_that_the_kernel_keeps_nothing_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_NUMBERS", {})
    desk.remember(600)
    desk.answers(PASSPHRASE)
    desk.judged(desk.unsealed())
    (told,) = desk.told
    assert told.startswith(
        "the passphrase is not remembered, as the kernel keeps no keys here (Function not implemented)"
    )


def test_a_program_that_asked_for_a_passphrase_is_not_asked_for_a_pin_as_well(desk: Desk) -> None:
    request = desk.request()
    request.asked_by = "host"
    with pytest.raises(Unsupported, match="wants its PIN as well as the key's passphrase"):
        desk.judged(request, PinRequired("a PIN is wanted", "enter it"))
    request.asked_by = "terminal"
    with pytest.raises(PinRequired):
        desk.judged(request, PinRequired("a PIN is wanted", "enter it"))


@pytest.mark.parametrize(
    ("flags", "answer", "is_refused"),
    [
        (FLAG_USER_PRESENCE, status.NO_CREDENTIALS, True),
        (FLAG_USER_PRESENCE, status.SUCCESS, False),
        (FLAG_USER_PRESENCE, status.PUAT_REQUIRED, False),
        (VERIFIED, status.NO_CREDENTIALS, False),
    ],
)
def test_an_authenticator_that_does_not_hold_it_is_told_before_a_touch(
    desk: Desk, flags: int, answer: int, *, is_refused: bool
) -> None:
    player = Player(answer)
    token = Token(player, "unix:/token")
    request = SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:", b"key handle", flags, None, None)
    if is_refused:
        with pytest.raises(CredentialNotFound, match="does not hold this key; connect the one that it was enrolled on"):
            sealed_keys.refuse_if_not_held(request, token, desk.operation)
    else:
        sealed_keys.refuse_if_not_held(request, token, desk.operation)
    assert player.asked == [commands.GET_ASSERTION]
