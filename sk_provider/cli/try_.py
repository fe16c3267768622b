"""pysk try: whether an authenticator enrolls and signs, and how long that takes."""

from __future__ import annotations

import click

from .output import json_option, print_json
from .pin import read_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.client.description import Description
    from sk_provider.trial import Step


@click.command("try")
@click.argument("address", required=False)
@json_option
def try_(address: str | None, *, as_json: bool) -> None:
    """Enroll a key of each type that an authenticator has, sign with it and verify the signature, and keep nothing.

    The keys are not resident. Each step is printed with the milliseconds that it took; the time in which the
    authenticator waits for a touch counts, that in which a PIN is entered does not. A PIN is asked for only if the
    authenticator wants one. Where several are connected, the one that is touched is tried, as when enrolling.

    --json prints an object with these members: address and name of the authenticator, steps (a list of objects with
    key_type, step, milliseconds), succeeded, problem, remedy; null is what is not known or does not apply. The steps
    are open (which has no key_type), enroll, sign and verify.
    """
    from sk_provider import config
    from sk_provider.errors import Interrupted, SecurityKeyError
    from sk_provider.operation import Operation
    from sk_provider.reporting import printable
    from sk_provider.trial import Trial

    configuration = config.load()
    trial = Trial(configuration, Operation(configuration.timeout), ask_for_pin=_ask_for_pin, announce=_announce)
    steps: list[Step] = []
    failure: SecurityKeyError | None = None
    try:
        for step in trial.run(address):
            steps.append(step)
            if as_json:
                continue
            if step.key_type is None and trial.description is not None:
                click.echo(printable(f"{trial.description.address}  {trial.description.name}"))
            click.echo(f"{step.key_type or '-':<12}{step.name:<8}{step.milliseconds:10.1f} ms")
    except SecurityKeyError as error:
        failure = error
    except KeyboardInterrupt:
        failure = Interrupted("the trial was interrupted", "nothing of it is kept")
    if as_json:
        print_json(_report(trial.description, steps, failure))
    if failure is not None:
        raise failure


def _ask_for_pin() -> str:
    from sk_provider.client.pin import normalize

    return normalize(read_secret("PIN"))


def _announce(key_type: str, step: str) -> None:
    what = "a key is made" if step == "enroll" else "it signs"
    click.echo(f"{key_type}: {what}; touch the authenticator if it waits for that", err=True)


def _report(description: Description | None, steps: list[Step], failure: Any) -> dict[str, Any]:
    return {
        "address": description and description.address,
        "name": description and description.name,
        "steps": [
            {"key_type": step.key_type, "step": step.name, "milliseconds": round(step.milliseconds, 3)}
            for step in steps
        ],
        "succeeded": failure is None,
        "problem": failure and failure.happened,
        "remedy": failure and failure.remedy,
    }
