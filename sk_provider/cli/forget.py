"""pysk forget: the remembered PINs."""

from __future__ import annotations

import click


@click.command()
def forget() -> None:
    """Forget all PINs that are remembered.

    Only those are that a line RememberPin in pysk_config asks for, until the time that it names is over.
    """
    from sk_provider.asking import keyring
    from sk_provider.client.remembered_pin import PREFIX

    count = keyring.forget(PREFIX)
    click.echo(f"{count} PIN{'' if count == 1 else 's'} forgotten", err=True)
