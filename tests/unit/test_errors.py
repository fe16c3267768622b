"""What hosts are told of a failure."""

from __future__ import annotations

import pytest

from sk_provider import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SecurityKeyError", -1),
        ("Unsupported", -2),
        ("PinRequired", -3),
        ("PinInvalid", -3),
        ("PinAlwaysRequired", -3),
        ("PinBlocked", -1),
        ("PresenceDenied", -1),
        ("DeviceNotFound", -4),
        ("CredentialNotFound", -4),
        ("NotMadeYet", -4),
        ("CredentialExists", -5),
    ],
)
def test_every_failure_has_the_code_that_hosts_know(name: str, code: int) -> None:
    assert getattr(errors, name).code == code
