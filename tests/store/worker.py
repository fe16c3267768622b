"""Uses a store as one of many processes: prints, after each change, what must be found there from then on.

worker.py STORE NUMBER [COUNT]: makes discoverable credentials for users "NUMBER-0", "NUMBER-1" and so on, COUNT of them
or until it is killed, and signs with each; deletes every fourth one again.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

from sk_provider.authenticator.engine import Authenticator
from sk_provider.authenticator.presence import GRANTED
from sk_provider.authenticator.store import Store
from sk_provider.ctap.cbor import decode, encode


def main() -> None:
    path, number, *count = sys.argv[1:]
    store = Store.create(path)
    say("store", store.store_id.hex())
    token = Authenticator(store, lambda _request, _event: GRANTED)
    for serial in itertools.count() if not count else range(int(count[0])):
        user = f"{number}-{serial}".encode()
        request: dict[int, Any] = {
            1: bytes(32),
            2: {"id": "ssh:"},
            3: {"id": user},
            4: [{"type": "public-key", "alg": -8}],
            7: {"rk": True},
        }
        made = call(token, 1, request)
        credential_id = made[2][55 : 55 + int.from_bytes(made[2][53:55], "big")]
        say("made", int.from_bytes(made[2][33:37], "big"), credential_id.hex())
        request = {1: "ssh:", 2: bytes(32), 3: [{"type": "public-key", "id": credential_id}]}
        signed = call(token, 2, request)
        say("signed", int.from_bytes(signed[2][33:37], "big"), credential_id.hex())
        if serial % 4 == 3:
            say("deleting", 0, credential_id.hex())
            with store.transaction() as state:
                del state.credentials[credential_id]


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def call(token: Authenticator, command: int, parameters: dict[int, Any]) -> dict[int, bytes]:
    answer = token.call(0x10, bytes([command]) + encode(parameters))
    if answer[0]:
        raise SystemExit(f"status {answer[0]:#x}")
    result: dict[int, bytes] = decode(answer[1:])
    return result


if __name__ == "__main__":
    main()
