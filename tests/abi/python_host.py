"""A host that is a Python program itself: it enrolls and signs through ctypes, from several threads at once.

python_host.py LOADER LIBRARY [two], where LOADER is CDLL (Python's lock is let go of for a call) or PyDLL (it is kept),
and two means that the program has made a second interpreter. It prints lines of JSON as the host in C does.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import signal
import sys
import threading
from typing import Any

Event = dict[str, Any]

THREADS = 4
APPLICATION = b"ssh:"
MESSAGE = b"a message to sign"


class EnrollResponse(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint8),
        ("public_key", ctypes.POINTER(ctypes.c_uint8)),
        ("public_key_len", ctypes.c_size_t),
        ("key_handle", ctypes.POINTER(ctypes.c_uint8)),
        ("key_handle_len", ctypes.c_size_t),
        ("signature", ctypes.POINTER(ctypes.c_uint8)),
        ("signature_len", ctypes.c_size_t),
        ("attestation_cert", ctypes.POINTER(ctypes.c_uint8)),
        ("attestation_cert_len", ctypes.c_size_t),
        ("authdata", ctypes.POINTER(ctypes.c_uint8)),
        ("authdata_len", ctypes.c_size_t),
    )


class SignResponse(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint8),
        ("counter", ctypes.c_uint32),
        ("sig_r", ctypes.POINTER(ctypes.c_uint8)),
        ("sig_r_len", ctypes.c_size_t),
        ("sig_s", ctypes.POINTER(ctypes.c_uint8)),
        ("sig_s_len", ctypes.c_size_t),
    )


def hexadecimal(pointer: Any, length: int) -> str | None:
    return bytes(pointer[:length]).hex() if pointer else None


def enroll(library: ctypes.CDLL, algorithm: int) -> Event:
    response = ctypes.POINTER(EnrollResponse)()
    rc = library.sk_enroll(
        ctypes.c_uint32(algorithm), b"c" * 32, ctypes.c_size_t(32), APPLICATION, ctypes.c_uint8(1), None, None,
        ctypes.byref(response),
    )  # fmt: skip
    event: Event = {"label": "enroll", "call": "enroll", "alg": algorithm, "rc": rc, "cleared": not response}
    if rc == 0:
        event["public_key"] = hexadecimal(response[0].public_key, response[0].public_key_len)
        event["key_handle"] = hexadecimal(response[0].key_handle, response[0].key_handle_len)
    return event


def sign(library: ctypes.CDLL, algorithm: int, handle: bytes) -> Event:
    response = ctypes.POINTER(SignResponse)()
    rc = library.sk_sign(
        ctypes.c_uint32(algorithm), MESSAGE, ctypes.c_size_t(len(MESSAGE)), APPLICATION, handle,
        ctypes.c_size_t(len(handle)), ctypes.c_uint8(1), None, None, ctypes.byref(response),
    )  # fmt: skip
    event: Event = {"label": "sign", "call": "sign", "alg": algorithm, "rc": rc, "cleared": not response}
    if rc == 0:
        event["handle"] = handle.hex()
        event["flags"] = response[0].flags
        event["counter"] = response[0].counter
        event["sig_r"] = hexadecimal(response[0].sig_r, response[0].sig_r_len)
        event["sig_s"] = hexadecimal(response[0].sig_s, response[0].sig_s_len)
    return event


def use(library: ctypes.CDLL, algorithm: int, events: list[Event]) -> None:
    enrolled = enroll(library, algorithm)
    events.append(enrolled)
    handle = bytes.fromhex(enrolled["key_handle"]) if enrolled["rc"] == 0 else b"not a key handle"
    events.append(sign(library, algorithm, handle))


def make_interpreter() -> None:
    name = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    importlib.import_module(name).create()


def main() -> None:
    if sys.argv[3:] == ["two"]:
        make_interpreter()
    library = getattr(ctypes, sys.argv[1])(sys.argv[2])
    standard_streams = sys.stdin, sys.stdout, sys.stderr
    handler = signal.getsignal(signal.SIGINT)
    events: list[Event] = []
    threads = [threading.Thread(target=use, args=(library, n % 2, events)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    use(library, 1, events)
    streams_changed = (sys.stdin, sys.stdout, sys.stderr) != standard_streams
    signals_changed = signal.getsignal(signal.SIGINT) is not handler
    events.append({
        "label": "end", "call": "end", "streams_changed": streams_changed, "signals_changed": signals_changed
    })  # fmt: skip
    for event in events:
        sys.stdout.write(json.dumps(event) + "\n")


main()
