"""pysk doctor: what keeps security keys from being used, and what to do about it."""

from __future__ import annotations

import click

from sk_provider.reporting import printable

from .output import json_option, print_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.doctor import Finding


@click.command()
@click.option("--host", metavar="NAME", help="Look at ssh's settings for this host.")
@json_option
def doctor(host: str | None, as_json: bool) -> None:
    """Look at ssh, its agent, git, pysk_config and what is plugged in, and tell what to do.

    Nothing is changed, no authenticator is touched and no PIN is asked for. A line that begins with an exclamation mark
    ends in what is to be done. The status is 1 where there is something to do.
    """
    from sk_provider import doctor

    findings = list(doctor.examine(doctor.account(host)))
    if as_json:
        print_json([{"subject": each.subject, "seen": each.seen, "remedy": each.remedy} for each in findings])
    else:
        for each in findings:
            _print(each)
    number = sum(each.remedy is not None for each in findings)
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
