"""The cases that are safe, tried with the authenticator that --token names, whichever transport it takes."""

from __future__ import annotations

import pytest

from sk_provider import transports

from .conformance import SafeConformance


class TestTokenInHand(SafeConformance):
    """A person's own authenticator."""

    @pytest.fixture
    def surroundings(self, token_in_hand: str) -> None:
        """Take the transport that the address names."""
        type(self).scheme = transports.split(token_in_hand)[0]
