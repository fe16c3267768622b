"""pysk share: the laptop's end of an authenticator that another machine uses through ssh -R."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("arguments", metavar="[ADDRESS] unix:PATH", nargs=-1, required=True)
def share(arguments: tuple[str, ...]) -> None:
    """Let another machine use an authenticator, for ssh only.

    Listens on the Unix socket PATH, which ssh -R forwards. Keys whose application starts with ssh: can be enrolled,
    used and listed; everything else is refused. Each request is printed here, and waits for a touch unless the
    authenticator needs none. Clients take turns. On the other machine, `Device unix:PATH` in pysk_config(5) names the
    authenticator.

    \b
        pysk share usb: unix:$HOME/.ssh/key.sock
        ssh -R /home/me/.ssh/key.sock:$HOME/.ssh/key.sock server
    """  # noqa: D301 - click lets lines be where it finds this character
    from functools import partial

    from sk_provider import config
    from sk_provider.device_side.loop import Loop
    from sk_provider.reporting import write_in_time
    from sk_provider.share.server import SharedAuthenticator, SharingServer

    *addresses, target = arguments
    scheme, _, path = target.partition(":")
    if scheme != "unix" or not path.startswith("/") or len(addresses) > 1:
        raise click.UsageError("give the address of an authenticator, or none, and then unix:/PATH")
    show = partial(write_in_time, sys.stdout.fileno())
    loop = Loop()
    loop.stop_on_signals()
    try:
        shared = SharedAuthenticator(addresses[0] if addresses else None, config.load(), show, loop)
        try:
            server = SharingServer(path, shared, loop)
            try:
                click.echo(f"sharing {server.name}")
                loop.run([server])
            finally:
                server.close()
        finally:
            shared.close()
    finally:
        loop.close()
