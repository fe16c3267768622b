"""pysk devices: which authenticators there are, what each can do for ssh, and why one cannot be used."""

from __future__ import annotations

import click

from .output import json_option, print_json, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.client.description import Description
    from sk_provider.config import Configuration

_COLUMNS = ("Address", "Model", "Status", "Keys", "Resident", "PIN")
_RULES_FILE = "/etc/udev/rules.d/70-security-key.rules"


@click.command()
@click.argument("address", required=False)
@json_option
@click.pass_context
def devices(context: click.Context, address: str | None, *, as_json: bool) -> None:
    """List the authenticators and what each can do for ssh.

    It looks at USB devices, card readers, the software authenticator, the machine's TPM and the addresses in the Device
    lines of pysk_config(5). No touch and no PIN is needed, and nothing is changed or created. Each line begins with the
    address for `ssh-keygen -O device=`. With an ADDRESS, everything that the authenticator there tells about itself is
    printed.

    \b
    The status is one of these:
      ready       it can be used
      busy        another program uses it
      forbidden   you are not permitted to open its device file, or to use card readers
      failed      it does not answer, or answers with an error
      unusable    its address is wrong, or it is not safe to use
      not-fido    a card that is not a security key
      not-there   nothing is connected at this address
      not-made    no key was made there yet, by the software authenticator or in the TPM
      no-card     no card is on this reader
      no-reader   no card reader is connected
      no-service  the PC/SC service (pcscd) is not running
      no-package  the Python package pyscard, or for a TPM tpm2-pytss, is not installed

    The exit status is 1 if an authenticator is busy, forbidden, failed or unusable, or if the one at ADDRESS is not
    ready. It is 0 otherwise, even if there is no authenticator.

    --json prints a list of objects with these members, null if not known: address, transport, status,
    problem, remedy, udev_rule, users (pid, program), name, product, aaguid, versions, extensions, transports, firmware,
    ed25519_sk, ecdsa_sk, resident_keys, resident_keys_left, verify_required, pin (set, not-set, must-be-changed,
    blocked, blocked-until-power-up or unsupported), pin_tries_left, pin_min_length, built_in_verification (set-up,
    not-set-up or none), always_verifies.
    """  # noqa: D301 - click lets lines be where it finds this character
    from dataclasses import asdict

    from sk_provider import config
    from sk_provider.client.description import ABSENT, NO_PACKAGE, READY, UNREADABLE, look
    from sk_provider.operation import Operation

    configuration = config.load()
    operation = Operation(configuration.timeout, tell=lambda _: None)
    found = look([] if address is None else [address], configuration, operation)
    if as_json:
        print_json([asdict(each) for each in found])
    elif address is not None:
        _print_details(found)
    elif found:
        print_table(_COLUMNS, [_row(each) for each in found])
    failed = [each for each in found if each.status in UNREADABLE or (address is not None and each.status != READY)]
    for each in found:
        if each in failed or each.status == NO_PACKAGE or (each.status == READY and each.problem):
            _tell(_sentence(each))
    if address is None and all(each.status in ABSENT for each in found):
        _tell(_nothing(configuration))
    if failed:
        context.exit(1)


def _tell(sentence: str) -> None:
    from sk_provider.reporting import printable

    click.echo(f"pysk: {printable(sentence)}", err=True)


def _sentence(description: Description) -> str:
    happened, remedy = description.problem or "", description.remedy or ""
    if description.address not in happened:
        happened = f"{description.address.removesuffix(':')}: {happened}"
    if description.users:
        users = ", ".join(f"{user.program or 'a program'}, process {user.pid}" for user in description.users)
        happened += f" ({users})"
    if description.udev_rule:
        remedy += f"; if they do not know it, write into {_RULES_FILE}: {description.udev_rule}"
    return f"{happened}; {remedy}"


def _nothing(configuration: Configuration) -> str:
    from sk_provider.client.description import EVERYWHERE

    places = ", ".join([*EVERYWHERE, *configuration.all_devices()])
    return (
        f"there is no authenticator at any of {places}{configuration.aside()}; plug one in, name another with Device "
        "in pysk_config, or make a software authenticator with: ssh-keygen -t ed25519-sk -O device=soft:"
    )


def _row(description: Description) -> tuple[str, ...]:
    return (
        description.address,
        description.name or "-",
        description.status,
        _keys(description),
        _resident_keys(description),
        _pin(description),
    )


def _keys(description: Description) -> str:
    told = (("ed25519-sk", description.ed25519_sk), ("ecdsa-sk", description.ecdsa_sk))
    names = [name for name, makes in told if makes]
    if description.ecdsa_sk and description.ed25519_sk is None:
        names.append("ed25519-sk?")
    return " ".join(names) or "-"


def _resident_keys(description: Description) -> str:
    if description.resident_keys is None:
        return "-"
    if not description.resident_keys:
        return "no"
    return "yes" if description.resident_keys_left is None else f"{description.resident_keys_left} left"


def _pin(description: Description) -> str:
    from sk_provider.client.description import PIN_UNSUPPORTED, UV_SET_UP

    if description.pin is None:
        return "-"
    words = ["none" if description.pin == PIN_UNSUPPORTED else description.pin.replace("-", " ")]
    if description.pin_tries_left:
        words.append("1 try left" if description.pin_tries_left == 1 else f"{description.pin_tries_left} tries left")
    if description.built_in_verification == UV_SET_UP:
        words.append("verifies by itself")
    if description.always_verifies:
        words.append("for every use")
    return ", ".join(words)


def _print_details(found: list[Description]) -> None:
    from sk_provider.reporting import printable

    for description in found:
        click.echo(printable(description.address))
        for label, value in _details(description):
            if value:
                click.echo(f"  {label:<17}{printable(value)}")


def _details(description: Description) -> list[tuple[str, str | None]]:
    from sk_provider.client.description import PIN_NOT_SET, READY, UV_SET_UP

    lines: list[tuple[str, str | None]] = [
        ("authenticator", description.name),
        ("calls itself", description.product if description.product != description.name else None),
        ("status", description.status),
    ]
    if description.status != READY:
        return lines
    resident = _resident_keys(description)
    if description.resident_keys and description.pin == PIN_NOT_SET and description.built_in_verification != UV_SET_UP:
        resident += ", once a PIN is set"
    shortest = f", at least {description.pin_min_length} characters" if description.pin_min_length else ""
    return [
        *lines,
        ("keys", _keys(description)),
        ("resident keys", resident),
        ("verify-required", "yes" if description.verify_required else "no"),
        ("PIN", _pin(description) + shortest),
        ("verifies itself", (description.built_in_verification or "").replace("-", " ")),
        ("versions", ", ".join(description.versions)),
        ("extensions", ", ".join(description.extensions)),
        ("transports", ", ".join(description.transports)),
        ("firmware", None if description.firmware is None else f"0x{description.firmware:x}"),
        ("AAGUID", description.aaguid),
    ]
