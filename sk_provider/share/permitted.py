"""What of a request may pass to a shared authenticator: the applications of ssh, and the members that ssh uses."""

from __future__ import annotations

from sk_provider.api import APPLICATION_PREFIX
from sk_provider.ctap import cbor, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# The members of each request that pass, and their types: §6.1, §6.2, §6.5, §6.8
MAKE_CREDENTIAL = {1: bytes, 2: dict, 3: dict, 4: list, 5: list, 6: dict, 7: dict, 8: bytes, 9: int}
GET_ASSERTION = {1: str, 2: bytes, 3: list, 4: dict, 5: dict, 6: bytes, 7: int}
CLIENT_PIN = {1: int, 2: int, 3: dict, 6: bytes, 9: int, 10: str}
CREDENTIAL_MANAGEMENT = {1: int, 2: dict, 3: int, 4: bytes}
_OPTIONS = ("rk", "up", "uv")

_MAX_SHOWN = 100
"""Characters of an application's name that a person can take in."""


class Refused(Exception):
    """The request is none that may pass. status: what the client is answered, CTAP 2.1 §8.2."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(what)
        self.status = status


def only(parameters: dict[object, object], members: Mapping[int, type]) -> dict[int, object]:
    """Return these members of a request. Raises Refused if one is of another type."""
    for member, kind in members.items():
        if member in parameters and not isinstance(parameters[member], kind):
            raise Refused("a request with a member of the wrong type", status.CBOR_UNEXPECTED_TYPE)
    return {member: parameters[member] for member in members if member in parameters}


def options(untrusted_options: object) -> dict[object, object]:
    """Return a request's options. Raises Refused if there are others than CTAP's."""
    options = untrusted_options if isinstance(untrusted_options, dict) else {}
    if any(name not in _OPTIONS or not isinstance(value, bool) for name, value in options.items()):
        raise Refused("options that ssh does not use", status.INVALID_OPTION)
    return options


def decode(untrusted_data: bytes) -> dict[object, object]:
    """Return a request's members, {} for nothing. Raises Refused if it is no CBOR map."""
    if not untrusted_data:
        return {}
    try:
        decoded = cbor.decode(untrusted_data)
    except cbor.CborError:
        raise Refused("a request that is not CBOR", status.INVALID_CBOR) from None
    if not isinstance(decoded, dict):
        raise Refused("a request that is not a CBOR map", status.INVALID_CBOR)
    return decoded


def application(untrusted_rp_id: object) -> str:
    """Return a request's RP ID. Raises Refused if it is not ssh's, or cannot be shown clearly."""
    if not isinstance(untrusted_rp_id, str) or not untrusted_rp_id.startswith(APPLICATION_PREFIX):
        named = " ".join(ascii(untrusted_rp_id).split())[:_MAX_SHOWN]
        raise Refused(f"a key for {named}, which is not ssh's", status.NOT_ALLOWED)
    if not can_be_shown(untrusted_rp_id):
        raise Refused("a key for an application that cannot be shown clearly", status.NOT_ALLOWED)
    return untrusted_rp_id


def shown(rp_id: str) -> str:
    """Return an application as the person is told it, in ASCII: other characters can look like none, or like others."""
    return rp_id.encode("unicode_escape").decode()


def can_be_shown(rp_id: str) -> bool:
    """Return whether an application, as it is told, cannot look like another line."""
    return len(shown(rp_id)) <= _MAX_SHOWN and "  " not in rp_id
