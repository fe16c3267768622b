"""The public key of a credential, as authenticators tell it (COSE, RFC 9053) and as sk-api has it."""

from __future__ import annotations

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519
from sk_provider.ctap import EDDSA, ES256
from sk_provider.errors import AuthenticatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

COSE_ALGORITHMS = {ALGORITHM_ECDSA: ES256, ALGORITHM_ED25519: EDDSA}
"""By sk-api's number of an algorithm, COSE's."""


def public_key_bytes(cose_key: Mapping[int, object], algorithm: int) -> bytes:
    """Return a COSE key as sk-api has it: 65 bytes of an uncompressed P-256 point, or 32 bytes of Ed25519.

    algorithm: COSE's. Raises AuthenticatorError if it is not a key of that algorithm.
    """
    x, y = cose_key.get(-2), cose_key.get(-3)
    if cose_key.get(3) == algorithm and isinstance(x, bytes) and len(x) == 32:
        if algorithm == EDDSA:
            return x
        if isinstance(y, bytes) and len(y) == 32:
            return b"\x04" + x + y
    raise AuthenticatorError("the authenticator's answer has a key of another type", "try again")
