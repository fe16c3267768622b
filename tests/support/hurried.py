"""What the cases of sk_provider.testing have besides where they are run on transports of CTAPHID reports here."""

from __future__ import annotations

import pytest

from sk_provider.ctap import hid


class Hurried:
    """Waits less for what does not come. What is done about silence is the same for all of these transports."""

    silence = 0.3
    patience = 1

    @pytest.fixture(autouse=True)
    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hid, "SILENCE", self.silence)
