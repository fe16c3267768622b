"""pysk keys: the resident keys of an authenticator, listed and deleted."""

from __future__ import annotations

from contextlib import contextmanager

import click

from .pin import read_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fido2.ctap2 import CredentialManagement

    from sk_provider.client.resident_credentials import ResidentCredential
    from sk_provider.client.token import Token
    from sk_provider.operation import Operation


@click.group()
def keys() -> None:
    """List or delete the resident keys of an authenticator.

    A KEY is what `pysk keys list` prints first in its line.
    """


@keys.command("list")
@click.argument("address", required=False)
@click.option("--all", "all_applications", is_flag=True, help="Also those of other applications than ssh's.")
def list_keys(address: str | None, *, all_applications: bool) -> None:
    """Print the resident keys, one on each line: KEY, type, application, user.

    Of an application that ends in "..." the authenticator keeps no more than the beginning.
    """
    with management_of(address) as (management, token, operation):
        for credential in listed(management, token, operation, all_applications=all_applications):
            click.echo(_line(credential))


@keys.command()
@click.argument("arguments", metavar="[ADDRESS] KEY", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
def delete(arguments: tuple[str, ...], *, yes: bool) -> None:
    """Delete a resident key. Whatever it opens will not open to it any more."""
    from sk_provider.client.fido2_client import errors_translated
    from sk_provider.client.refusal import command
    from sk_provider.credentials import key_handle
    from sk_provider.errors import CredentialNotFound

    from .reset import confirm

    *addresses, wanted = arguments
    if len(addresses) > 1:
        raise click.UsageError("give an authenticator's address, or none, and then a key")
    with management_of(addresses[0] if addresses else None) as (management, token, operation):
        for credential in listed(management, token, operation, all_applications=True):
            if key_handle.digest(credential.key_handle) == wanted.lower():
                break
        else:
            raise CredentialNotFound(
                f"the authenticator has no resident key {wanted}", f"see: {command('keys list --all', token)}"
            )
        if not yes:
            confirm(f"Delete the key {_line(credential)}?")
        operation.restart()
        with errors_translated(token):
            management.delete_cred({"type": "public-key", "id": credential.key_handle})  # type: ignore[arg-type]  # as it takes
    click.echo("key deleted", err=True)


@contextmanager
def management_of(address: str | None) -> Iterator[tuple[CredentialManagement, Token, Operation]]:
    """Yield python-fido2's client of an authenticator's credentialManagement, for which a PIN may be asked for."""
    from sk_provider import config
    from sk_provider.client import selection
    from sk_provider.client.pin import normalize
    from sk_provider.client.resident_credentials import open_management
    from sk_provider.errors import PinRequired
    from sk_provider.operation import Operation

    configuration = config.load()
    operation = Operation(configuration.timeout)
    token = selection.open_for_management(address, configuration, operation)
    try:
        client = token.open_client(operation)
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


def _line(credential: ResidentCredential) -> str:
    from sk_provider.credentials import key_handle
    from sk_provider.ctap import EDDSA, ES256
    from sk_provider.reporting import printable

    names = {ES256: "ecdsa-sk", EDDSA: "ed25519-sk"}
    # ssh-keygen pads a user's name with zeros, and gives none another name than its own.
    user = credential.user_id.rstrip(b"\0").decode(errors="replace") or credential.user_name or "-"
    kind = "-" if credential.algorithm is None else names.get(credential.algorithm, "-")
    application = credential.rp_id if credential.is_rp_id_whole else f"{credential.rp_id}..."
    words = (key_handle.digest(credential.key_handle), kind, application, user)
    return printable("  ".join(words))
