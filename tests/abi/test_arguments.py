"""Arguments that no sane host passes, and options that no authenticator knows."""

from __future__ import annotations

import pytest
from support import sk_host
from support.openssh import Person
from support.sk_host import PIN, Build, Played

# What fails, and with which code, of the calls that the host's scenario makes; all others succeed.
REFUSED_ARGUMENTS = {
    "enroll-challenge-null": -1,
    "enroll-application-null": -1,
    "enroll-application-not-text": -1,
    "enroll-application-long": -1,
    "enroll-pin-not-text": -1,
    "enroll-algorithm-2": -2,
    "enroll-algorithm-max": -2,
    "enroll-out-null": -1,
    "sign-data-null": -1,
    "sign-application-null": -1,
    "sign-application-empty": -4,
    "sign-application-other": -4,
    "sign-application-not-text": -1,
    "sign-application-long": -1,
    "sign-handle-null": -1,
    "sign-handle-null-empty": -1,
    "sign-handle-empty": -1,
    "sign-handle-1-byte": -4,
    "sign-handle-truncated": -4,
    "sign-handle-changed": -4,
    "sign-handle-64-kib": -1,
    "sign-handle-64-kib-foreign": -1,
    "sign-pin-not-text": -1,
    "sign-algorithm-other": -1,
    "sign-algorithm-2": -2,
    "sign-algorithm-max": -2,
    "sign-out-null": -1,
    "load-pin-null": -1,
    "load-pin-empty": -1,
    "load-keys-null": -1,
    "load-count-null": -1,
    "load-both-null": -1,
}

ACCEPTED_ARGUMENTS = {
    "enroll-challenge-null-empty",
    "enroll-challenge-empty",
    "enroll-challenge-long",
    "enroll-application-empty",
    "enroll-flags-none",
    "enroll-flags-unknown",
    "enroll-pin-empty",
    "sign-data-null-empty",
    "sign-data-empty",
    "sign-data-1-mib",
    "sign-flags-none",
    "sign-flags-resident",
    "sign-flags-unknown",
    "sign-pin-empty",
}

MESSAGES = {"sign-data-null-empty": b"", "sign-data-empty": b"", "sign-data-1-mib": b"m" * (1 << 20)}


@pytest.fixture
def hostile(build: Build, person: Person) -> Played:
    """What came of the scenario in which each argument in turn is one that no sane host passes."""
    played = sk_host.play(build.host, "arguments", build.library, env=person.environment)
    sk_host.assert_untouched(played)
    return played


def test_an_impossible_argument_is_refused_with_a_sentence_and_any_other_is_served(hostile: Played) -> None:
    usual, afterwards = hostile.call("enroll"), hostile.call("afterwards")
    labels = {event["label"] for event in hostile.events}
    assert labels == REFUSED_ARGUMENTS.keys() | ACCEPTED_ARGUMENTS | {"enroll", "afterwards", "end"}
    for label, code in REFUSED_ARGUMENTS.items():
        sk_host.assert_refused(hostile, label, code)
    for label in ACCEPTED_ARGUMENTS:
        event = hostile.call(label)
        assert event["rc"] == 0, (label, hostile.said(label))
        assert hostile.said(label) == ""
        if event["call"] == "sign":
            sk_host.verify_signature(usual, event, message=MESSAGES.get(label, sk_host.MESSAGE))
    assert hostile.call("sign-flags-none")["flags"] == 0
    sk_host.verify_signature(usual, afterwards)


# Options that are refused, by function and with OpenSSH's own provider's code; all others are served.
REFUSED_OPTIONS = {
    "enroll": {"unknown-required": -1, "unknown-required-last": -1, "device-unknown-scheme": -1},
    "sign": {"unknown-required": -1, "unknown-required-last": -1, "device-unknown-scheme": -1},
    "load": {"unknown-required": -1, "unknown-required-last": -1, "device-unknown-scheme": -1},
}


def test_an_option_that_nobody_knows_is_refused_only_if_the_host_insists(build: Build, person_with_pin: Person) -> None:
    device = f"soft:{person_with_pin.store}"
    played = sk_host.play(build.host, "options", build.library, device, PIN, env=person_with_pin.environment)
    sk_host.assert_untouched(played)
    usual = played.call("enroll")
    for event in played.events[1:-1]:
        label, option = event["label"], event["label"].partition("-")[2]
        code = REFUSED_OPTIONS[event["call"]].get(option, 0)
        if code:
            sk_host.assert_refused(played, label, code)
            continue
        assert event["rc"] == 0, (label, played.said(label))
        assert played.said(label) == ""
        if event["call"] == "sign":
            sk_host.verify_signature(usual, event)
