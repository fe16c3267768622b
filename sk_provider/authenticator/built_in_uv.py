"""Built-in user verification, as of a fingerprint (CTAP 2.1 §6.5.3), with a person's answer for the finger."""

from __future__ import annotations

from sk_provider.ctap.status import StatusError

from .presence import DENIED, GRANTED, REFUSALS
from .state import UV_RETRIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .power_up import PowerUp

# maxUvAttemptsForInternalRetries
INTERNAL_RETRIES = 3


def verify_user(
    power_up: PowerUp,
    rp_id: str,
    refusal: int,
    *,
    blocked: int,
    attempts: int = INTERNAL_RETRIES,
) -> None:
    """Verify the user, which establishes presence too: performBuiltInUv.

    refusal: the status if the user is not recognised.
    blocked: the status if no retry is left.
    attempts: how often the user may try.

    Raises StatusError: one of these, USER_ACTION_TIMEOUT or KEEPALIVE_CANCEL.
    """
    for _ in range(attempts):
        if power_up.store.read().uv_retries == 0:
            raise StatusError(blocked)
        answer = power_up.request("verify", rp_id)
        if answer not in (GRANTED, DENIED):
            raise StatusError(REFUSALS[answer])
        with power_up.transaction() as state:
            state.uv_retries = UV_RETRIES if answer == GRANTED else max(state.uv_retries - 1, 0)
        if answer == GRANTED:
            return
        if state.uv_retries == 0:
            raise StatusError(blocked)
    raise StatusError(refusal)
