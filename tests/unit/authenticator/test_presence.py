from __future__ import annotations

import pytest

from sk_provider.authenticator.presence import PresenceRequest


@pytest.mark.parametrize(
    ("action", "question"),
    [
        ("enroll", "Make a key for ssh:x on the software authenticator?"),
        ("sign", "Sign for ssh:x with the software authenticator?"),
        ("reset", "Delete all keys of the software authenticator?"),
        ("select", "Use the software authenticator?"),
        ("verify", "Use the software authenticator?"),
    ],
)
def test_a_person_is_told_what_for(action: str, question: str) -> None:
    assert PresenceRequest(action, "ssh:x").question() == question
