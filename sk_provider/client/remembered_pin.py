"""A PIN that was right, remembered for a while for the key that it was right for (pysk_config's RememberPin)."""

from __future__ import annotations

import json

from sk_provider.asking import keyring
from sk_provider.ctap import requests, sha256
from sk_provider.ctap.status import StatusError
from sk_provider.errors import SecurityKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.api import SignRequest
    from sk_provider.operation import Operation

    from .token import Token

PREFIX = "pysk:pin:"
"""What the names of PINs in the keyring begin with."""


def recall(request: SignRequest, token: Token, operation: Operation) -> str | None:
    """Return the PIN that was right for the request's key, None if there is none that may be used.

    It is used on the authenticator that it was right on, as far as its address and AAGUID tell, where no other is
    connected, and as long as all its tries are left: one that is wrong now spends no more than one of them.

    Raises SecurityKeyError if the authenticator does not answer.
    """
    pin, decision = _usable(request, token, operation)
    _trace(decision, operation)
    return pin


def _usable(request: SignRequest, token: Token, operation: Operation) -> tuple[str | None, str]:
    """Return what recall() does, and why."""
    kept = keyring.recall(_name(request))
    if kept is None:
        return None, "none is remembered for this key"
    if not token.is_the_only_one:
        return None, "the remembered PIN is not used, as other authenticators are connected"
    try:
        remembered = json.loads(kept)
        pin, where = remembered["pin"], remembered["where"]
        is_usable = isinstance(pin, str) and where == _where(token, operation)
    except (ValueError, LookupError, TypeError, StatusError):
        is_usable = False
    if not is_usable:
        return None, "the remembered PIN is not used, as it is another authenticator's, or not all its tries are left"
    return pin, "the remembered PIN is used"


def remember(request: SignRequest, seconds: int, token: Token, operation: Operation) -> None:
    """Remember the request's PIN, which was right just now. That it cannot be done is told, and changes nothing."""
    try:
        kept = json.dumps({"pin": request.pin, "where": _where(token, operation)})
        keyring.keep(_name(request), kept.encode(), seconds)
        _trace(f"the PIN is remembered for {seconds} s", operation)
    except (SecurityKeyError, StatusError):
        operation.tell("the PIN is not remembered, as the authenticator does not say which model it is; enter it again")
    except OSError as error:
        operation.tell(
            f"the PIN is not remembered, as the kernel keeps no keys here ({error.strerror}); "
            "remove RememberPin from pysk_config, or enter it each time"
        )


def forget(request: SignRequest, operation: Operation) -> None:
    """Forget what was remembered for the request's key."""
    keyring.forget(_name(request))
    _trace("the remembered PIN is wrong, and forgotten", operation)


def _trace(sentence: str, operation: Operation) -> None:
    if operation.trace is not None:
        operation.trace(f"RememberPin: {sentence}")


def _where(token: Token, operation: Operation) -> list[object]:
    """Return what an authenticator is known by, and how many tries it has left."""
    retries, needs_power_cycle = requests.get_pin_retries(token, operation)
    return [token.address, token.get_info(operation).aaguid.hex(), retries, needs_power_cycle]


def _name(request: SignRequest) -> str:
    return PREFIX + sha256(sha256(request.application.encode()) + request.host_key_handle).hex()
