"""pysk doctor: what keeps security keys from being used, and what to do about it."""

from __future__ import annotations

import os

import click

from sk_provider.reporting import printable

from .output import json_option, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.doctor import Finding


@click.command()
@click.option("--host", metavar="NAME", help="Look at ssh's settings for this host.")
@click.option("--bundle", metavar="FILE", help="Write what was seen, without what is private, for a bug report.")
@json_option
def doctor(host: str | None, bundle: str | None, as_json: bool) -> None:
    """Look at ssh, its agent, git, pysk_config and what is plugged in, and tell what to do.

    Nothing is changed, no authenticator is touched and no PIN is asked for. A line that begins with an exclamation mark
    ends in what is to be done. The status is 1 where there is something to do.
    """
    from sk_provider import doctor
    from sk_provider.doctor import report

    if bundle is not None and os.path.lexists(bundle):
        raise click.ClickException(f"{bundle} exists; name a file that does not")
    account = doctor.account(host)
    findings = list(doctor.examine(account))
    if as_json:
        print_json([{"subject": each.subject, "seen": each.seen, "remedy": each.remedy} for each in findings])
    else:
        for each in findings:
            _print(each)
    number = sum(each.remedy is not None for each in findings)
    if bundle is not None:
        try:
            report.write(bundle, findings, account)
        except OSError as error:
            raise click.ClickException(f"{bundle} cannot be written ({error.strerror}); name another file") from None
        click.echo(f"pysk: {printable(bundle)} is written; read it before you send it to anybody", err=True)
    if number:
        raise click.exceptions.Exit(1)
    if not as_json:
        click.echo("nothing to do")


def _print(finding: Finding) -> None:
    line = printable(f"{finding.subject}: {finding.seen}")
    if finding.remedy is None:
        click.echo(f"  {line}")
    else:
        click.secho(f"! {line}; {printable(finding.remedy)}", fg="red")
