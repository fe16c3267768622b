"""What is done where an operation wants a PIN: the host asks for it, or we do, as pysk_config orders (PinPrompt)."""

from __future__ import annotations

from .api import SignRequest
from .asking import hosts
from .config import PIN_PROMPTS
from .errors import Interrupted, PassphraseRequired
from .policy import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api import EnrollRequest, ResidentRequest
    from .config import Configuration
    from .errors import PinRequired
    from .operation import Operation

_FEW_TRIES = 3


def own_ways(configuration: Configuration) -> tuple[str, ...]:
    """Return the ways in which we ask for what no host can, see config.PIN_PROMPTS: a sealed key handle's passphrase.

    They are those that pysk_config names, or else all.
    """
    return tuple(way for way in configuration.pin_prompts if way != "host") or PIN_PROMPTS[1:]


def answer(
    question: PinRequired,
    request: EnrollRequest | SignRequest | ResidentRequest,
    configuration: Configuration,
    operation: Operation,
    api_major: int,
) -> bool:
    """Give the request the PIN that a person enters, and the operation its time once more.

    api_major: of the host's API. Return False if the question is the host's to ask, or nobody can be asked. (It is not
    raised from here: with what it refers to, the PIN too, it would then refer to itself, and stay.)

    Raises Interrupted if nobody answers.
    """
    unable: list[str] = []
    is_signing = isinstance(request, SignRequest)
    remedy = hosts.remedy_for_a_pin(api_major) if is_signing and request.pin is None else None

    def trace(sentence: str) -> None:
        if operation.trace is not None:
            operation.trace(f"PinPrompt {sentence}")

    ways = configuration.pin_prompts
    if isinstance(question, PassphraseRequired):
        ways = ("host",)
    elif isinstance(request, SignRequest) and request.asked_by is not None:
        # The host would have another process go on, which would ask for the passphrase anew.
        ways = own_ways(configuration)
    for way in ways:
        if way == "host":
            if remedy is None:
                trace("host: the program that asked is to ask for the PIN")
                return False
            trace("host: it asks nobody for a PIN")
            continue
        from .asking import pins

        asked = pins.Question(describe(request), question.address or "", _problem(question), configuration.timeout)
        operation.restart()
        try:
            pin = pins.ask(way, asked, operation, trusts_environment=configuration.trusts_environment)
        except pins.CannotAsk as reason:
            # One that the person's ^C has ended as well is no reason to go on.
            if operation.is_interrupted():
                raise operation.reason() from None
            trace(f"{way}: {reason}")
            unable.append(f"{way}: {reason}")
            continue
        trace(f"{way}: {'a PIN was entered' if pin else 'no PIN was entered'}")
        if not pin:
            raise operation.reason() if operation.is_set() else Interrupted("no PIN was entered", "try again")
        operation.restart()
        request.pin = pin
        return True
    if unable:
        operation.tell(f"nobody can be asked for the PIN ({'; '.join(unable)})")
    if remedy is not None:
        question.is_question = False
        question.remedy = remedy
    return False


def _problem(question: PinRequired) -> str:
    """Return what a person must know before they enter a PIN, "" for nothing."""
    from .client.pin import tries_left

    if question.retries is None or (question.is_question and question.retries > _FEW_TRIES):
        return "" if question.is_question else question.happened
    last = ": the last one" if question.retries == 1 else ""
    wrong = "" if question.is_question else "wrong PIN, "
    return f"{wrong}{tries_left(question.retries)}{last}"
