"""authenticatorReset (CTAP 2.1 §6.6)."""

from __future__ import annotations

from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.power_up import PowerUp


def reset(power_up: PowerUp, _parameters: dict[Any, Any]) -> None:
    """Invalidate all credentials and remove the PIN; the signature counter goes on."""
    if power_up.reset_allowed is None or not power_up.reset_allowed():
        raise StatusError(status.NOT_ALLOWED)
    power_up.ask("reset", timed_out=status.USER_ACTION_TIMEOUT)
    with power_up.transaction() as state:
        power_up.keeper(state).clear()
        power_up.forget()  # even if writing fails, which may have taken effect all the same
