"""pysk try: whether an authenticator enrolls and signs, and how long that takes."""

from __future__ import annotations

import click

from .output import json_option, print_json
from .pin import read_secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sk_provider.client.description import Description
    from sk_provider.errors import SecurityKeyError
    from sk_provider.trial import Step


@click.command("try")
@click.argument("address", required=False)
@json_option
def try_(address: str | None, *, as_json: bool) -> None:
    """Test an authenticator: enroll a key, sign and verify.

    This is done with each type of key that the authenticator supports, and nothing is kept: the keys are not resident.
    Each step is printed with its time, which includes waiting for a touch but not entering a PIN. The PIN is asked for
    only if the authenticator requires it. If several authenticators are connected, touch the one to test. soft: can be
    tested before any key is made with it.

    --json prints an object with these members, null if not known: address, name, steps (a list of objects with
    key_type, step and milliseconds), succeeded, problem, remedy. A step is open (without a key_type), enroll, sign or
    verify.
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
        failure = Interrupted("the test was interrupted, and no key was kept", "start it again")
    if as_json:
        print_json(_report(trial.description, steps, failure))
    if failure is not None:
        raise failure


def _ask_for_pin() -> str:
    from sk_provider.client.pin import normalize

    return normalize(read_secret("PIN"))


def _announce(key_type: str, step: str) -> None:
    click.echo(f"{key_type}: {step}; touch the authenticator if it blinks", err=True)


def _report(description: Description | None, steps: list[Step], failure: SecurityKeyError | None) -> dict[str, Any]:
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
