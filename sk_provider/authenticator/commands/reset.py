"""authenticatorReset (CTAP 2.1 section 6.6)."""

from __future__ import annotations

from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.authenticator.engine import Authenticator


def reset(token: Authenticator, _parameters: dict[Any, Any]) -> None:
    """Invalidate all credentials and remove the PIN; the signature counter goes on."""
    if token.reset_allowed is None or not token.reset_allowed():
        raise StatusError(status.NOT_ALLOWED)
    token.ask("reset", timed_out=status.USER_ACTION_TIMEOUT)
    with token.transaction() as state:
        state.clear()
        token.close()  # even if writing fails, which may have taken effect all the same
