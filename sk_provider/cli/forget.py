"""pysk forget: the remembered PINs and passphrases."""

from __future__ import annotations

import click


@click.command()
def forget() -> None:
    """Forget all PINs and passphrases that are remembered.

    Only those are that a line RememberPin in pysk_config asks for, until the time that it names is over.
    """
    from sk_provider.asking import keyring
    from sk_provider.client.remembered_pin import PREFIX
    from sk_provider.sealed_keys import PREFIX as PREFIX_OF_PASSPHRASES

    pins, passphrases = keyring.forget(PREFIX), keyring.forget(PREFIX_OF_PASSPHRASES)
    counted = f"{pins} PIN{'' if pins == 1 else 's'}"
    if passphrases:
        counted += f" and {passphrases} passphrase{'' if passphrases == 1 else 's'}"
    click.echo(f"{counted} forgotten", err=True)
