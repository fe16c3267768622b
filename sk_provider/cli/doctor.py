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
@click.option("--host", metavar="NAME", help="Check ssh's settings for this host.")
@click.option("--bundle", metavar="FILE", help="Write the findings, without what is private, to a new file.")
@json_option
def doctor(host: str | None, bundle: str | None, as_json: bool) -> None:
    """Find out what keeps ssh and git from using security keys.

    Where something must be done, it says what. Checked are the programs of OpenSSH and their releases, the library and
    who can change it, the agent, what ssh is told to load, git's settings where it signs with ssh keys, devices,
    pysk_config, the key files in ~/.ssh, and Python with its packages. Each check stands alone. No authenticator but a
    TPM is opened, and nothing is changed, except that a LogFile gets a line: ssh-keygen tries the library with a
    device that is none. ssh reads its own settings (ssh -G), and so runs what `Match exec` in them names.

    Each line is a finding; where something must be done, it begins with an exclamation mark and ends in what to do. The
    last line is `nothing to do`, and the exit status 0, where that is so; otherwise the exit status is 1.

    --bundle writes the same lines to a new file that only its owner may read, as part of a bug report. Names of users
    and hosts, home directories and the values of most settings are replaced there, and no key, key handle, PIN or
    password is in it. Read it before you send it.

    --json prints a list of objects with these members: subject, seen, and remedy, which is null where nothing is to be
    done.
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
