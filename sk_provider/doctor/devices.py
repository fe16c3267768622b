"""Permission for security keys that are plugged in, the PC/SC service where cards are used, and the TPM."""

from __future__ import annotations

import os
import sys

from sk_provider import third_party, transports
from sk_provider.client import description
from sk_provider.errors import SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.transports import pcsc, tpm, usb

from . import configuration
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Account

SUBJECT = "devices"

_USB_DEVICES = "/sys/bus/usb/devices"
_SMART_CARD = "0b"
"""The class of an interface of a card reader (USB Device Class: Smart Card CCID)."""
_RULES = (
    "/usr/lib/udev/rules.d/60-fido-id.rules",
    "/lib/udev/rules.d/60-fido-id.rules",
    "/usr/lib/udev/rules.d/60-libfido2-1.rules",
    "/lib/udev/rules.d/60-libfido2-1.rules",
    "/usr/lib/udev/rules.d/70-u2f.rules",
    "/etc/udev/rules.d/70-u2f.rules",
)
"""What gives whoever sits at the machine the permission, by systemd, by Debian, and by Yubico."""


def check(_account: Account) -> Iterator[Finding]:
    """Look at what is plugged in, without opening it, at what cards want, and at TPMs."""
    yield from _check_usb()
    yield from _check_cards()
    yield from _check_tpm()


def _check_usb() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    found = usb.discover("")
    if not found:
        yield Finding(SUBJECT, "no security key is plugged in by USB")
    for path in found:
        name = usb.name(path) or "a security key"
        if os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            yield Finding(SUBJECT, f"you may open {path} ({name})")
        elif not os.path.exists(path):
            yield Finding(
                SUBJECT,
                f"{name} is plugged in, but {path} does not exist, as in a container that was not given the device",
                f"start the container with the device (docker run --device {path})",
            )
        elif any(map(os.path.exists, _RULES)):
            yield Finding(
                SUBJECT,
                f"you may not open {path} ({name}): only who is logged in at this machine's own screen may",
                f"plug it in again while you are logged in there, or run: sudo setfacl -m u:$USER:rw {path}",
            )
        else:
            yield Finding(
                SUBJECT,
                f"you may not open {path} ({name}), and no udev rules for security keys are installed",
                "install them (Debian: sudo apt-get install udev), and plug it in again",
            )


def _check_cards() -> Iterator[Finding]:
    is_configured = any(address.startswith("nfc:") for address in configuration.loaded().all_devices())
    if not is_configured and not _has_reader():
        return
    remedies = []
    if _has_pyscard():
        yield Finding(SUBJECT, "pyscard, which cards need, is installed")
    else:
        remedy = third_party.by_apt("smartcard", "python3-pyscard") or f"run: {third_party.by_pip('pyscard')}"
        remedies.append(("cards need the Python package pyscard, which is not installed", remedy))
    if os.path.exists(transports.FALLBACK_SOCKET):
        yield Finding(SUBJECT, f"the PC/SC service listens at {transports.FALLBACK_SOCKET}")
        if _has_pyscard():
            try:
                pcsc.Context().release()
            except SecurityKeyError as error:
                remedies.append((error.happened, error.remedy))
    else:
        remedies.append(
            (
                "cards need the PC/SC service, pcscd, which does not run",
                "install it (Debian: sudo apt-get install pcscd)",
            )
        )
    for seen, remedy in remedies:
        # A USB key that is a card reader as well needs neither.
        yield Finding(
            SUBJECT,
            f"{seen}{'' if is_configured else ' (only if you use cards)'}",
            remedy if is_configured else None,
        )


def _check_tpm() -> Iterator[Finding]:
    """Look at the machine's TPM and at those that are named, which waits for nobody: may one be locked, or cleared?"""
    settings = configuration.loaded()
    named = [address for address in settings.all_devices() if address.startswith("tpm:")]
    found = description.look(list(dict.fromkeys(["tpm:", *named])), settings, Operation(settings.timeout))
    for each in found:
        is_used = each.address in named or os.path.lexists(tpm.store_path(each.address.partition(":")[2]))
        private = [each.address.partition(":")[2]]
        if each.problem is None:
            yield Finding(SUBJECT, f"{each.address} can be used", private=private)
        elif each.status == description.NOT_MADE:
            yield Finding(SUBJECT, f"{each.address} can be used, and has no key of yours", private=private)
        elif is_used:
            yield Finding(SUBJECT, f"{each.address}: {each.problem}", each.remedy, private=private)
        elif each.status != description.NOT_THERE:
            yield Finding(SUBJECT, f"{each.problem} (only if you want keys in the TPM)")


def _has_reader() -> bool:
    """Return whether a card reader is plugged in, as many security keys are as well."""
    try:
        names = os.listdir(_USB_DEVICES)
    except OSError:
        return False
    for name in names:
        try:
            with open(f"{_USB_DEVICES}/{name}/bInterfaceClass") as file:
                if file.read(8).strip() == _SMART_CARD:
                    return True
        except (OSError, ValueError):
            continue
    return False


def _has_pyscard() -> bool:
    from importlib.util import find_spec

    return find_spec("smartcard") is not None
