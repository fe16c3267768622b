"""authenticatorSelection (CTAP 2.1 §6.9)."""

from __future__ import annotations

from sk_provider.ctap import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp


def selection(power_up: PowerUp, _parameters: dict[Any, Any]) -> None:
    """Wait for a touch, which tells that this is the authenticator that is meant."""
    power_up.ask("select", timed_out=status.USER_ACTION_TIMEOUT)
