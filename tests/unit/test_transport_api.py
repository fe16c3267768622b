"""The interface for other packages' transports: what they may import stays, and help() shows the contract."""

from __future__ import annotations

import fcntl
import inspect
import pydoc
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import manual_page

import sk_provider
from sk_provider import config, errors, operation, transport_api, transports
from sk_provider.ctap import framing, hid

PAGE = Path(sk_provider.__file__).parent / "manual/pysk_transport.7"

# What may be imported with version 1. What is changed or taken away here wants a new version; names may be added.
STABLE = {
    hid.HidChannel: "(reports: Reports, event: Event, remedy: str = 'unplug it, plug it in and try again') -> None",
    config.expand_home: "(path: str) -> str",
    framing.split_message: "(channel: int, command: int, data: bytes) -> list[bytes]",
    operation.Operation.is_set: "(self) -> bool",
    operation.Operation.reason: "(self) -> SecurityKeyError",
    operation.Operation.wait_for_others: "(self, since: float) -> None",
    transport_api.Transport.discover: "(self, location: str) -> list[str]",
    transport_api.Transport.open: (
        "(self, location: str, configuration: Configuration, operation: Operation, *, may_create: bool) -> Channel"
    ),
    transport_api.Channel.call: (
        "(self, cmd: int, data: bytes = b'', event: Event | None = None, "
        "on_keepalive: Callable[[int], None] | None = None) -> bytes"
    ),
    transport_api.Channel.close: "(self) -> None",
    transport_api.Reports.send: "(self, report: bytes) -> None",
    transport_api.Reports.receive: "(self, seconds: float) -> bytes | None",
    transport_api.Reports.close: "(self) -> None",
    transport_api.KnowsNames.name: "(self, location: str) -> str",
    transport_api.RecognizesKeyHandles.open_holder: (
        "(self, key_handle: bytes, locations: list[str], configuration: Configuration, operation: Operation)"
        " -> tuple[str, Channel] | None"
    ),
    errors.SecurityKeyError: "(happened: str, remedy: str) -> None",
}
ERRORS = {
    "AuthenticatorError": "SecurityKeyError",
    "ConfigurationError": "SecurityKeyError",
    "CredentialExists": "SecurityKeyError",
    "CredentialNotFound": "DeviceNotFound",
    "DeviceNotFound": "SecurityKeyError",
    "Interrupted": "SecurityKeyError",
    "InvalidRequest": "SecurityKeyError",
    "PinBlocked": "SecurityKeyError",
    "PinInvalid": "PinRequired",
    "PinNotSet": "SecurityKeyError",
    "PinRequired": "SecurityKeyError",
    "PresenceDenied": "SecurityKeyError",
    "TimedOut": "SecurityKeyError",
    "UnknownCommand": "AuthenticatorError",
    "Unsupported": "SecurityKeyError",
}
NUMBERS = {
    "REPORT_SIZE": 64, "INIT_DATA_SIZE": 57, "CONTINUATION_DATA_SIZE": 59, "MAX_MESSAGE_SIZE": 7609,
    "BROADCAST_CHANNEL": 0xFFFFFFFF, "INIT_PACKET": 0x80,
    "PING": 0x01, "MSG": 0x03, "LOCK": 0x04, "INIT": 0x06, "WINK": 0x08, "CBOR": 0x10, "CANCEL": 0x11,
    "KEEPALIVE": 0x3B, "ERROR": 0x3F,
    "ERR_INVALID_CMD": 0x01, "ERR_INVALID_PAR": 0x02, "ERR_INVALID_LEN": 0x03, "ERR_INVALID_SEQ": 0x04,
    "ERR_MSG_TIMEOUT": 0x05, "ERR_CHANNEL_BUSY": 0x06, "ERR_INVALID_CHANNEL": 0x0B,
    "CAPABILITY_WINK": 0x01, "CAPABILITY_CBOR": 0x04, "CAPABILITY_NMSG": 0x08,
    "STATUS_PROCESSING": 1, "STATUS_UPNEEDED": 2,
}  # fmt: skip


@pytest.mark.parametrize("stable", STABLE, ids=lambda each: each.__qualname__)
def test_what_may_be_imported_is_called_as_it_was(stable: type) -> None:
    # Python writes the annotations, which are strings here, with quotation marks around them.
    shown = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(stable)))
    assert shown == STABLE[stable]


def test_the_errors_that_may_be_raised_are_what_they_were() -> None:
    assert {name: getattr(errors, name).__base__.__name__ for name in ERRORS} == ERRORS


def test_the_numbers_of_the_framing_are_what_they_were() -> None:
    assert {name: getattr(framing, name) for name in NUMBERS} == NUMBERS


def test_an_operation_is_an_event_that_tells() -> None:
    told: list[str] = []
    operation.Operation(1, tell=told.append).tell("wake the bird")
    assert told == ["wake the bird"]


def test_the_page_and_help_name_what_may_be_imported() -> None:
    named = re.findall(r"^    (sk_provider\.\S+) +(.*)$", transport_api.__doc__ or "", re.MULTILINE)
    assert [module for module, _ in named] == [
        "sk_provider.transport_api",
        "sk_provider.errors",
        "sk_provider.ctap.hid",
        "sk_provider.ctap.framing",
        "sk_provider.config",
    ]
    page = PAGE.read_text()
    for module, _ in named:
        assert module in page


def test_the_lock_of_the_page_waits_for_others(tmp_path: Path) -> None:
    (block,) = [lines for lines in manual_page.blocks(PAGE.read_text()) if "fcntl.flock" in "".join(lines)]
    path = tmp_path / "line"
    path.touch()
    with path.open() as theirs, path.open() as ours:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        waits: list[float] = []

        class Other:
            def wait_for_others(self, since: float) -> None:
                waits.append(since)
                if len(waits) == 2:
                    fcntl.flock(theirs, fcntl.LOCK_UN)

        exec("\n".join(block), {"time": time, "fcntl": fcntl, "line": ours, "operation": Other()})
        assert len(waits) == 2
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_help_shows_the_contract() -> None:
    shown = pydoc.plain(pydoc.render_doc(transport_api))
    for name in ("Event", "Channel", "Reports", "Transport", "StatesVersion"):
        assert f"class {name}(" in shown
        members = [each for each in vars(getattr(transport_api, name)).values() if inspect.isfunction(each)]
        assert all(each.__doc__ for each in members)
    # Of what Python has for every class there is nothing to read.
    assert "typing" not in shown
    assert "_abc" not in shown


IMPORTS = """
import sys
sys.path.append(sys.argv[1])
before = set(sys.modules)
from sk_provider import errors, transport_api
from sk_provider.ctap import framing, hid
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def test_the_interface_costs_no_import_of_typing() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORTS, str(Path(sk_provider.__file__).parents[1])],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    imported = {name for name in done.stdout.split() if name.partition(".")[0] != "sk_provider"}
    assert imported <= {"__future__", "time"}


@pytest.mark.parametrize("scheme", transports.SCHEMES)
def test_our_own_transports_are_called_as_the_interface_has_it(scheme: str) -> None:
    transport = transports.load(scheme, own_only=True)
    for name in ("discover", "open"):
        wanted = list(inspect.signature(getattr(transport_api.Transport, name)).parameters.values())[1:]
        ours = list(inspect.signature(getattr(transport, name)).parameters.values())[: len(wanted)]
        assert ours == wanted
