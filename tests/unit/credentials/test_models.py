"""The names of authenticators by their AAGUIDs."""

from __future__ import annotations

import re

from sk_provider.authenticator import profiles
from sk_provider.credentials import models


def test_a_model_is_known_by_its_aaguid() -> None:
    assert models.model(bytes.fromhex("2fc0579f811347eab116bb5a8db9202a")) == "YubiKey 5 with NFC"
    assert models.model(profiles.AAGUID) == "pysk software authenticator"


def test_what_is_not_known_has_no_name() -> None:
    assert bytes(16) == models.NONE
    assert models.model(models.NONE) == ""
    assert models.model(b"") == ""
    assert models.model(bytes.fromhex("2fc0579f811347eab116bb5a8db9202b")) == ""


def test_an_aaguid_is_written_in_groups() -> None:
    assert models.text(bytes(range(16))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_each_aaguid_is_well_formed_and_of_one_model() -> None:
    aaguids = [aaguid for each in models._MODELS.values() for aaguid in each.split()]
    assert len(set(aaguids)) == len(aaguids)
    for aaguid in aaguids:
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", aaguid)
