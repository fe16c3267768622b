"""pysk keys: the resident keys of an authenticator, listed, shown, exported, renamed and deleted."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

import click

from .output import json_option, print_json, print_table
from .pin import read_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fido2.ctap2 import CredentialManagement

    from sk_provider.api import ResidentKey
    from sk_provider.client.resident_credentials import ResidentCredential
    from sk_provider.client.token import Token
    from sk_provider.credentials.directory.record import Record
    from sk_provider.operation import Operation

_COLUMNS = ("Key", "Type", "Protection", "Fingerprint", "Application", "User", "Name")
_WIDE = 140
"""Columns of a terminal that has room for all of a key."""
_WIDE_ONLY = ("Fingerprint", "User")
_NOTHING = "-"


@click.group()
def keys() -> None:
    """List, show, export, rename and delete resident keys.

    The authenticator's PIN is asked for. KEY is the first word of a line of `pysk keys list`, or a fingerprint as
    `ssh-keygen -l` prints it; the beginning of either will do if no other key's begins so.
    """


@keys.command("list")
@click.argument("address", required=False)
@click.option("--all", "all_applications", is_flag=True, help="Also list keys of other applications than ssh.")
@json_option
def list_keys(address: str | None, *, all_applications: bool, as_json: bool) -> None:
    """Print the resident keys.

    Each line has KEY, type, protection, fingerprint, application, user and name; "-" where something is not known. The
    user is the one that `ssh-keygen -O user=` was given, the name is what `pysk keys rename` changes. An application
    that ends in "..." is longer than what the authenticator remembers of it. A terminal of less than 140 columns gets
    neither fingerprints nor users.

    \b
    The protection is one of these:
      verify-required  each signature wants the PIN, or a fingerprint
      key-file-or-pin  who has the key file signs with a touch; nobody finds the key without the PIN
      none             who has the authenticator finds the key without the PIN, and signs with a touch

    --json prints a list of objects with the members key, type, protection, fingerprint, application,
    application_is_whole, user, name, display_name, key_handle (in hex) and public_key (a line for authorized_keys),
    which are null where something is not known.
    """  # noqa: D301 - click lets lines be where it finds this character
    with management_of(address) as (management, token, operation):
        found = listed(management, token, operation, all_applications=all_applications)
    if as_json:
        print_json([_members(credential) for credential in found])
    else:
        import shutil

        is_narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < _WIDE
        columns = [column for column in _COLUMNS if not is_narrow or column not in _WIDE_ONLY]
        print_table(columns, [_row(credential, columns) for credential in found])


@keys.command()
@click.argument("arguments", metavar="[ADDRESS] KEY", nargs=-1, required=True)
@json_option
def show(arguments: tuple[str, ...], *, as_json: bool) -> None:
    """Print all that is known of a resident key.

    The last line is its public key, as in a .pub file, to be pasted into authorized_keys. --json prints an object like
    those of `pysk keys list --json`.
    """
    from sk_provider.client.resident_credentials import find

    address, wanted = _address_and_key(arguments)
    with management_of(address) as (management, token, operation):
        credential = find(listed(management, token, operation, all_applications=True), wanted, token)
    if as_json:
        print_json(_members(credential))
        return
    for name, value in _texts(credential).items():
        if name != "public_key":
            click.echo(f"{name.replace('_', ' ')}: {value}")
        elif value != _NOTHING:
            click.echo(value)


@keys.command()
@click.argument("address", required=False)
@click.option("--output", metavar="FOLDER", default=".", help="Write the files into FOLDER, not the current one.")
@click.option("--key", metavar="KEY", help="Export this key only, of whatever application.")
@click.option("--yes", is_flag=True, help="Replace files without asking.")
def export(address: str | None, output: str, key: str | None, *, yes: bool) -> None:
    """Write the resident keys to the files that `ssh-keygen -K` writes.

    Each key gets a private-key file and a .pub file, named id_ed25519_sk_rk or id_ecdsa_sk_rk, the application without
    "ssh:", and the user. Where that is no name that a file can have, as for an application with a slash, what is wrong
    is replaced by "_" and the name ends with KEY; so does the name of a second key that would be the same. A file that
    is there already is replaced only if you agree. If anything fails, no new file is left. The
    file of a key made with verify-required says so, also where that of `ssh-keygen -K` does not: with an authenticator
    that takes a fingerprint.

    The files have no passphrase. To give one to a file:

    \b
        ssh-keygen -p -f FILE
    """  # noqa: D301
    from sk_provider.client.refusal import command
    from sk_provider.client.resident_credentials import find
    from sk_provider.credentials import key_file
    from sk_provider.errors import Unsupported
    from sk_provider.reporting import printable

    from .reset import confirm

    key_file.check_folder(output)
    with management_of(address) as (management, token, operation):
        found = listed(management, token, operation, all_applications=key is not None)
        if key is not None:
            found = [find(found, key, token)]
        named = _named(found, operation)
    if not named:
        if key is not None:
            raise Unsupported(
                f"{key} is no key that ssh can use", f"give another one, as listed by: {command('keys list', token)}"
            )
        click.echo("no keys to export", err=True)
    replaced = []
    for name, _ in named:
        paths = [path for path in (f"{output}/{name}", f"{output}/{name}.pub") if os.path.lexists(path)]
        if paths and not yes:
            confirm(printable(f"Overwrite {' and '.join(paths)}?"))
        replaced += paths
    for path in key_file.write_all(output, named, replaced):
        click.echo(printable(path.removeprefix("./")))


@keys.command()
@click.argument("arguments", metavar="[ADDRESS] KEY NAME", nargs=-1, required=True)
@click.option("--display-name", metavar="TEXT", help="Set the display name to TEXT.")
def rename(arguments: tuple[str, ...], *, display_name: str | None) -> None:
    """Change the name that the authenticator keeps with a resident key.

    The name only helps people to tell keys apart in lists. The key, its fingerprint, its files and its user stay as
    they are, and so do the names of the files that `ssh-keygen -K` writes, which come from the user. If the display
    name is the same as the name, as ssh-keygen makes them, both are changed.
    """
    from sk_provider.client import resident_credentials

    if len(arguments) < 2:
        raise click.UsageError("give a key, and its new name")
    name = arguments[-1]
    address, wanted = _address_and_key(arguments[:-1])
    for each in (name, *([display_name] if display_name is not None else [])):
        resident_credentials.check_name(each)
    with management_of(address, renames=True) as (management, token, operation):
        found = listed(management, token, operation, all_applications=True)
        credential = resident_credentials.find(found, wanted, token)
        if display_name is None:
            is_same = credential.display_name == credential.user_name
            display_name = name if is_same else credential.display_name
        resident_credentials.rename(management, credential, name, display_name, token, operation)
    click.echo("key renamed", err=True)


@keys.command()
@click.argument("arguments", metavar="[ADDRESS] KEY", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(arguments: tuple[str, ...], *, yes: bool) -> None:
    """Delete a resident key from the authenticator, for good.

    Every account, host and repository that accepts its public key will refuse it, and its key files are of no use.
    """
    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.resident_credentials import find

    from .reset import confirm

    address, wanted = _address_and_key(arguments)
    with management_of(address) as (management, token, operation):
        credential = find(listed(management, token, operation, all_applications=True), wanted, token)
        if not yes:
            _tell_what_dies(credential)
            confirm("Delete it?")
        operation.restart()
        with errors_translated(token):
            management.delete_cred({"type": "public-key", "id": credential.key_handle})  # type: ignore[arg-type]  # as it takes
    click.echo("key deleted", err=True)


@contextmanager
def management_of(
    address: str | None, *, renames: bool = False
) -> Iterator[tuple[CredentialManagement, Token, Operation]]:
    """Yield python-fido2's client of an authenticator's credentialManagement, for which a PIN may be asked for.

    renames: whether names are to be changed, which some cannot.
    """
    from sk_provider import config
    from sk_provider.client import selection
    from sk_provider.client.pin import normalize
    from sk_provider.client.resident_credentials import check_renames, open_management
    from sk_provider.errors import PinRequired
    from sk_provider.operation import Operation

    configuration = config.load()
    operation = Operation(configuration.timeout)
    token = selection.open_for_management(address, configuration, operation)
    try:
        client = token.open_client(operation)
        if renames:
            check_renames(client)
        try:
            management = open_management(client, None, token, operation)
        except PinRequired:
            pin = normalize(read_secret("PIN"))
            operation.restart()
            management = open_management(client, pin, token, operation)
        yield management, token, operation
    finally:
        token.close()


def listed(
    management: CredentialManagement, token: Token, operation: Operation, *, all_applications: bool
) -> list[ResidentCredential]:
    """Return the resident keys, of other applications than ssh's only if all_applications."""
    from sk_provider.api import APPLICATION_PREFIX
    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.resident_credentials import credentials

    prefix = "" if all_applications else APPLICATION_PREFIX
    with errors_translated(token):
        return list(credentials(management, lambda rp_id, _: rp_id.startswith(prefix), operation.tell))


def _address_and_key(arguments: tuple[str, ...]) -> tuple[str | None, str]:
    *addresses, wanted = arguments
    if len(addresses) > 1:
        raise click.UsageError("give an authenticator's address, or none, and then a key")
    return (addresses[0] if addresses else None), wanted


def _members(credential: ResidentCredential) -> dict[str, Any]:
    """Return what is known of a key, as JSON has it."""
    from sk_provider.credentials import key_file, openssh_key
    from sk_provider.ctap import EDDSA, ES256
    from sk_provider.reporting import printable

    # ssh-keygen pads a user's id with zeros.
    user_id = credential.user_id.rstrip(b"\0")
    blob = credential.public_blob()
    algorithm = credential.algorithm
    return {
        "key": credential.handle_digest(),
        "type": {ES256: "ecdsa-sk", EDDSA: "ed25519-sk"}.get(algorithm) if algorithm is not None else None,
        "protection": credential.protection,
        "fingerprint": credential.fingerprint(),
        "application": credential.rp_id,
        "application_is_whole": credential.is_rp_id_whole,
        "user": key_file.legible(user_id) if user_id else None,
        "name": credential.user_name,
        "display_name": credential.display_name,
        "key_handle": credential.key_handle.hex(),
        "public_key": None if blob is None else openssh_key.public_line(blob, printable(credential.rp_id)),
    }


def _texts(credential: ResidentCredential) -> dict[str, str]:
    """Return what is known of a key, as a person reads it."""
    from sk_provider.reporting import printable

    members = _members(credential)
    if not members.pop("application_is_whole"):
        members["application"] += "..."
    return {name: printable(value) if value else _NOTHING for name, value in members.items()}


def _row(credential: ResidentCredential, columns: list[str]) -> list[str]:
    texts = _texts(credential)
    return [texts[column.lower()] for column in columns]


def _tell_what_dies(credential: ResidentCredential) -> None:
    texts = _texts(credential)
    name = texts["fingerprint"] if credential.fingerprint() else texts["key"]
    click.echo(
        f"The {texts['type']} key {name} for {texts['application']} (user {texts['user']}, name {texts['name']}) "
        "will be deleted. Every account, host and repository that accepts its public key will refuse it, and its key "
        "files will be of no use. This cannot be undone.",
        err=True,
    )


def _named(credentials: list[ResidentCredential], operation: Operation) -> list[tuple[str, Record]]:
    """Return what is written to files, and their names, no two of which are the same."""
    from sk_provider.api import FLAG_RESIDENT_KEY, FLAG_USER_PRESENCE
    from sk_provider.credentials import key_file
    from sk_provider.credentials.directory.record import Record
    from sk_provider.reporting import printable

    named: dict[str, Record] = {}
    for key in keys_of(credentials, operation):
        record = Record(
            "",
            key.application,
            key.algorithm,
            key.public_key,
            key.key_handle,
            FLAG_USER_PRESENCE | FLAG_RESIDENT_KEY | key.flags,
            printable(key.application),
        )
        name = key_file.name_of_download(record, key.user_id)
        named[f"{name}_{record.handle_digest()}" if name in named else name] = record
    return list(named.items())


def keys_of(credentials: list[ResidentCredential], operation: Operation) -> Iterator[ResidentKey]:
    """Yield the keys that ssh can use, without those whose application is not known whole, which are told.

    One that was made with verify-required has that flag.
    """
    from sk_provider.resident import to_key

    for credential in credentials:
        if not credential.is_rp_id_whole:
            operation.tell(
                f"the authenticator knows only the beginning of an application, {credential.rp_id}, whose keys are "
                "left out; use the key files made at enrollment"
            )
            continue
        # Not only where the host has to ask for it: one that verifies its person itself hides the key without the flag.
        key = to_key(credential, operation, asks_for_pin=True)
        if key is not None:
            yield key
