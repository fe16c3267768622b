"""Changes to an input whose events are canonical CBOR that leave them so, as changed bytes hardly ever are."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from fuzz.engine import ANSWER, AUTH_MEMBERS, CTAP2, MARK_AUTH, MARK_HANDLE, MARK_RESIDENT, POWER_CYCLE, TIME, TOKEN
from fuzz.events import join, split

from sk_provider.ctap.cbor import CborError, decode, encode

COMMANDS = (*AUTH_MEMBERS, 0x04, 0x07, 0x08, 0x0B)
VALUES: list[Any] = [
    *range(-9, 14), 23, 24, 32, 63, 64, 255, 256, 1024, 4096, 7545, 7609, 2**31, 2**32, 2**63, 2**64 - 1, -25, -(2**64),
    *(bytes(length) for length in (0, 1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 255, 1024)),
    MARK_AUTH, MARK_HANDLE, MARK_RESIDENT, b"1", b"2",
    "", "ssh:", "ssh:b", "public-key", "id", "type", "alg", "name", "displayName", "icon", "\u20ac" * 22, "e\u0301",
    "rk", "up", "uv", "credProtect", "credBlob", "hmac-secret", "largeBlobKey", "minPinLength", "x" * 300,
    True, False, None, {}, [], {"rk": True}, {"up": False}, {"uv": True}, {"type": "public-key", "id": MARK_RESIDENT},
]  # fmt: skip


def mutate(data: bytes, max_size: int, seed: int, mutate_bytes: Callable[[bytes, int], bytes]) -> bytes:
    """Change one event of an input, or which there are; one time in four let mutate_bytes change any bytes."""
    random = Random(seed)
    events = split(data[2:])
    if not events or random.random() < 0.25:
        return mutate_bytes(data, max_size)
    index = random.randrange(len(events))
    kind, content = events[index]
    choice = random.randrange(12)
    if choice == 0:
        del events[index]
    elif choice == 1:
        events.insert(random.randrange(len(events) + 1), events[index])
    elif choice == 2:
        events.insert(index, (random.choice((ANSWER, TIME, POWER_CYCLE, TOKEN)), random.randbytes(2)))
    elif choice == 3:
        events.insert(index, (CTAP2, bytes((random.choice(COMMANDS),)) + content[1:]))
    elif kind != CTAP2:
        events[index] = (kind, mutate_bytes(content, 100) if content else random.randbytes(2))
    else:
        try:
            changed = encode(change(random, decode(content[1:], canonical=True) if content[1:] else {}))
        except CborError:
            changed = mutate_bytes(content[1:], 200)
        events[index] = (kind, content[:1] + changed)
    mutated = data[:2] + join(events)
    return mutated if len(mutated) <= max_size else data


def change(random: Random, value: Any) -> Any:
    """Change something in a value, most often far inside."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        item = value[key]
        choice = random.randrange(8)
        if choice == 0:
            return {other: value[other] for other in value if other != key}
        if choice == 1:
            return value | {random.choice([v for v in VALUES if isinstance(v, (int, str))]): random.choice(VALUES)}
        return value | {key: change(random, item)}
    if isinstance(value, list) and value and random.random() < 0.9:
        index = random.randrange(len(value))
        if random.randrange(4) == 0:
            return value[:index] + value[index + 1 :]
        if random.randrange(4) == 0:
            return [*value, value[index]]
        return [*value[:index], change(random, value[index]), *value[index + 1 :]]
    if isinstance(value, bytes) and value and random.random() < 0.5:
        place = random.randrange(len(value))
        return random.choice(
            (value[:place], value + value[place:], value[:place] + random.randbytes(1) + value[place + 1 :])
        )
    if type(value) is int and random.random() < 0.5:
        return value + random.choice((-1, 1))
    return random.choice(VALUES)
