"""Stores of the software authenticator with a PIN and so many resident keys."""

from __future__ import annotations

import shutil
from pathlib import Path

from fido2.ctap2 import ClientPin, Ctap2

from sk_provider.authenticator.engine import Authenticator
from sk_provider.authenticator.presence import GRANTED
from sk_provider.authenticator.store import Store
from sk_provider.transports.soft import SoftChannel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.openssh import Reader

_RP_ID = "ssh:"
_CLIENT_DATA_HASH = bytes(32)


def _open(path: Path) -> Ctap2:
    token = Authenticator(
        Store.create(str(path)), lambda *_: GRANTED, power_cycle=b"bench", reset_allowed=lambda: False
    )
    return Ctap2(SoftChannel(token))  # type: ignore[arg-type]  # it needs no more than a channel has


def make_store(path: Path, pin: str) -> Ctap2:
    """Make a store with a PIN and return its authenticator."""
    ctap2 = _open(path)
    ClientPin(ctap2).set_pin(pin)
    return ctap2


def make_stores(path: Path, pin: str, counts: Sequence[int]) -> dict[int, Path]:
    """Make a store for each of these numbers, in rising order, that holds so many resident keys for ssh."""
    ctap2 = make_store(path, pin)
    client_pin = ClientPin(ctap2)
    stores = {}
    for number in range(1, max(counts) + 1):
        token = client_pin.get_pin_token(pin, ClientPin.PERMISSION.MAKE_CREDENTIAL, _RP_ID)
        ctap2.make_credential(
            _CLIENT_DATA_HASH,
            {"id": _RP_ID},
            {"id": number.to_bytes(32, "big"), "name": "openssh", "displayName": "openssh"},
            [{"type": "public-key", "alg": -8}],
            extensions={"credProtect": 2},
            options={"rk": True},
            pin_uv_param=client_pin.protocol.authenticate(token, _CLIENT_DATA_HASH),
            pin_uv_protocol=client_pin.protocol.VERSION,
        )
        if number in counts:
            stores[number] = path.with_name(f"{path.name}-{number}")
            shutil.copytree(path, stores[number])
    return stores


def count_loaded(reply: Reader) -> int:
    """Return how many keys are in a helper's reply: three strings each, key, comment and user ID."""
    count = 0
    while reply.rest():
        for _ in ("key", "comment", "user ID"):
            reply.string()
        count += 1
    return count
