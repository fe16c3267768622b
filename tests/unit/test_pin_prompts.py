"""Who asks for a PIN, by a real SSH_ASKPASS where it is us, and what a person is told before they enter it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.traced import sentence_of, trace_into

from sk_provider import pin_prompts
from sk_provider.api import (
    ALGORITHM_ED25519,
    FLAG_USER_PRESENCE,
    MAJOR_SIGNING_ASKS,
    EnrollRequest,
    ResidentRequest,
    SignRequest,
)
from sk_provider.config import PIN_PROMPTS, Configuration, Use
from sk_provider.errors import Interrupted, PassphraseRequired, PinInvalid, PinRequired
from sk_provider.operation import Operation

PIN = "1234"
ASKPASS = """#!/bin/sh
printf '%s\\n' "$1" >> {folder}/questions
cat {folder}/answer
"""
TOO_OLD = MAJOR_SIGNING_ASKS - 1
CANNOT_ASK = "this OpenSSH cannot ask for a PIN when it signs: "


class Counting(Operation):
    restarts = -1  # as it begins

    def restart(self) -> None:
        self.restarts += 1
        super().restart()


class Desk:
    """Where a person sits who is asked by a program: what they answer, what they were asked, and what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[str] = []
        self.traced: list[str] = []
        self.operation = Counting(60, tell=self.told.append)
        self.operation.trace = trace_into(self.traced)
        self.configuration = Configuration()
        self.answers(PIN)

    def set_ways(self, *ways: str) -> None:
        self.configuration.ignore("pin_prompts")
        self.configuration.add_rule("pin_prompts", [], ways)
        self.configuration.settle(Use())

    def answers(self, answer: str) -> None:
        (self.folder / "answer").write_text(answer)

    def questions(self) -> list[str]:
        path = self.folder / "questions"
        return path.read_text().splitlines() if path.exists() else []

    def is_answered(
        self,
        request: EnrollRequest | SignRequest | ResidentRequest,
        question: PinRequired | None = None,
        api_major: int = MAJOR_SIGNING_ASKS,
    ) -> bool:
        question = question or PinRequired("this key requires a PIN", "enter it when you are asked")
        return pin_prompts.answer(question, request, self.configuration, self.operation, api_major)

    def ways_gone(self) -> list[str]:
        return [sentence_of(line) for line in self.traced]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    program = tmp_path / "askpass"
    program.write_text(ASKPASS.format(folder=tmp_path))
    program.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(program))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sk_provider.asking.pins.PINENTRY", str(tmp_path / "none"))
    return Desk(tmp_path)


def signing() -> SignRequest:
    return SignRequest(ALGORITHM_ED25519, bytes(32), "ssh:work", b"key", FLAG_USER_PRESENCE, None, None)


def enrolling() -> EnrollRequest:
    return EnrollRequest(ALGORITHM_ED25519, b"challenge", "ssh:work", FLAG_USER_PRESENCE, None, None, None)


def test_we_ask_in_the_ways_that_are_not_the_hosts_or_in_all_of_them(desk: Desk) -> None:
    desk.set_ways("host")
    assert pin_prompts.own_ways(desk.configuration) == PIN_PROMPTS[1:] == ("terminal", "askpass", "pinentry")
    desk.set_ways("askpass", "host", "terminal")
    assert pin_prompts.own_ways(desk.configuration) == ("askpass", "terminal")


def test_the_host_asks_where_it_is_named_first_and_can(desk: Desk) -> None:
    desk.set_ways("host", "askpass")
    request = signing()
    assert not desk.is_answered(request)
    assert request.pin is None
    assert desk.questions() == []
    assert desk.ways_gone() == ["PinPrompt host: the program that asked is to ask for the PIN"]


def test_we_ask_where_the_host_cannot(desk: Desk) -> None:
    desk.set_ways("host", "pinentry", "askpass")
    request = signing()
    assert desk.is_answered(request, api_major=TOO_OLD)
    assert request.pin == PIN
    # What it is for, and then what is wanted.
    assert desk.questions() == ["signature, with a key for ssh:work", "PIN: "]
    assert desk.ways_gone() == [
        "PinPrompt host: it asks nobody for a PIN",
        f"PinPrompt pinentry: {desk.folder}/none cannot be started (No such file or directory)",
        "PinPrompt askpass: a PIN was entered",
    ]
    assert desk.told == []
    # For each way in which they are asked, and once more when they have answered.
    assert desk.operation.restarts == 3


@pytest.mark.parametrize("request_", [enrolling(), ResidentRequest(None, None)], ids=["enroll", "list"])
def test_a_host_that_asks_nobody_when_it_signs_asks_otherwise(
    desk: Desk, request_: EnrollRequest | ResidentRequest
) -> None:
    desk.set_ways("host", "askpass")
    assert not desk.is_answered(request_, api_major=TOO_OLD)
    assert desk.questions() == []


def test_a_host_that_has_given_a_pin_can_ask_for_another(desk: Desk) -> None:
    desk.set_ways("host", "askpass")
    request = signing()
    request.pin = "4321"
    assert not desk.is_answered(request, api_major=TOO_OLD)
    assert (request.pin, desk.questions()) == ("4321", [])


def test_a_passphrase_is_the_hosts_to_ask_for_once_nobody_else_could(desk: Desk) -> None:
    desk.set_ways("askpass")
    request = signing()
    assert not desk.is_answered(request, PassphraseRequired("this key wants a passphrase", "enter it"))
    assert (request.pin, desk.questions()) == (None, [])


def test_whoever_has_entered_a_passphrase_with_us_enters_the_pin_with_us(desk: Desk) -> None:
    desk.set_ways("host", "askpass")
    request = signing()
    request.asked_by = "askpass"
    assert desk.is_answered(request)
    assert request.pin == PIN


def test_no_pin_ends_it(desk: Desk) -> None:
    desk.set_ways("askpass", "terminal")
    desk.answers("")
    request = signing()
    with pytest.raises(Interrupted, match="no PIN was entered; try again"):
        desk.is_answered(request)
    assert request.pin is None
    assert desk.ways_gone() == ["PinPrompt askpass: no PIN was entered"]


def test_whoever_has_given_up_is_not_asked_in_another_way(desk: Desk) -> None:
    desk.set_ways("pinentry", "askpass")
    desk.operation.call_off()
    with pytest.raises(Interrupted) as caught:
        desk.is_answered(signing())
    assert str(caught.value) == str(desk.operation.reason())
    assert desk.questions() == []


def test_that_nobody_can_be_asked_is_told_with_what_helps(desk: Desk) -> None:
    desk.set_ways("pinentry")
    question = PinRequired("this key requires a PIN", "enter it when you are asked")
    assert not desk.is_answered(signing(), question, TOO_OLD)
    (told,) = desk.told
    assert told.startswith(f"nobody can be asked for the PIN (pinentry: {desk.folder}/none cannot be started (")
    assert not question.is_question
    assert question.remedy.startswith(CANNOT_ASK)

    question = PinRequired("the authenticator requires its PIN", "enter it when you are asked")
    assert not desk.is_answered(enrolling(), question, TOO_OLD)
    # Whoever enrolls can still be asked by the host.
    assert (question.is_question, question.remedy) == (True, "enter it when you are asked")


def of(question: PinRequired, retries: int | None, address: str | None = None) -> PinRequired:
    question.retries, question.address = retries, address
    return question


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (of(PinRequired("a PIN is wanted", "enter it"), None), []),
        (of(PinRequired("a PIN is wanted", "enter it"), 8), []),
        (of(PinRequired("a PIN is wanted", "enter it"), 4), []),
        (of(PinRequired("a PIN is wanted", "enter it"), 3), ["3 tries left"]),
        (of(PinRequired("a PIN is wanted", "enter it"), 1), ["1 try left: the last one"]),
        (of(PinInvalid("wrong PIN", "try again"), None), ["wrong PIN"]),
        (of(PinInvalid("wrong PIN", "try again"), 7), ["wrong PIN, 7 tries left"]),
        (of(PinInvalid("wrong PIN", "try again"), 1), ["wrong PIN, 1 try left: the last one"]),
        (of(PinRequired("a PIN is wanted", "enter it"), 8, "unix:/token"), ["Security key: unix:/token"]),
    ],
)
def test_a_person_is_told_what_they_must_know_before(desk: Desk, question: PinRequired, said: list[str]) -> None:
    desk.set_ways("askpass")
    assert desk.is_answered(signing(), question)
    assert desk.questions()[1:-1] == said
