"""pysk path: where the library is that ssh is to load."""

from __future__ import annotations

import os

import click

import sk_provider
from sk_provider import bytecode, library


@click.command()
@click.option(
    "--api", type=click.Choice([str(api) for api in library.FIRST_RELEASES]), help="Major version of the API."
)
def path(api: str | None) -> None:
    """Print the absolute path of the library.

    It is the one for the ssh on PATH. With --api it is the one for OpenSSH 9.1 and later (10), 8.9 and 9.0 (9), 8.4 to
    8.8 (7), 8.3 (5) or 8.2 (4).
    """
    found = library.path_of(int(api) if api else _api_of(library.release_of("ssh")))
    if not os.path.exists(found):
        raise click.ClickException(f"{found} does not exist; reinstall libpysk")
    try:
        library.load(found)
    except library.LoadFailed as failure:
        raise click.ClickException(f"{found} cannot be loaded ({failure.reason}); {failure.remedy}") from None
    advice = bytecode.advice(os.path.dirname(os.path.dirname(os.path.realpath(sk_provider.__file__))))
    if advice:
        click.echo(f"pysk: {advice}", err=True)
    click.echo(found)


def _api_of(release: tuple[int, int] | None) -> int:
    api = library.api_of(release)
    if api is None:
        raise click.ClickException(
            f"OpenSSH {'.'.join(map(str, release or ()))} has no security keys; upgrade to 8.2 or newer"
        )
    return api
