"""The parsers of untrusted bytes: by name, the function that takes an input and asserts what must hold."""

from __future__ import annotations

from collections.abc import Callable

from fuzz import client, devices, engine, provider

TARGETS: dict[str, Callable[[bytes], None]] = {
    "engine": engine.run,
    "ctaphid": devices.run_ctaphid,
    "iso7816": devices.run_iso7816,
    "client-cbor": client.run_cbor,
    "client-get-assertion": client.run_get_assertion,
    "client-hid": client.run_hid,
    "provider": provider.run,
}
