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
    from .asking import pins
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

    ways = configuration.pin_prompts
    if isinstance(question, PassphraseRequired):
        ways = ("host",)
    elif isinstance(request, SignRequest) and request.asked_by is not None:
        # The host would have another process go on, which would ask for the passphrase anew.
        ways = own_ways(configuration)
    for way in ways:
        if way == "host":
            if remedy is None:
                _trace(operation, "host: the program that asked is to ask for the PIN")
                return False
            _trace(operation, "host: it asks nobody for a PIN")
            continue
        from .asking import pins

        asked = pins.Question(describe(request), question.address or "", _problem(question), configuration.timeout)
        try:
            request.pin = ask_in_way(way, asked, "PIN", configuration, operation)
        except pins.CannotAsk as reason:
            unable.append(f"{way}: {reason}")
            continue
        return True
    if unable:
        operation.tell(f"nobody can be asked for the PIN ({'; '.join(unable)})")
    if remedy is not None:
        question.is_question = False
        question.remedy = remedy
    return False


def ask_in_way(way: str, question: pins.Question, what: str, configuration: Configuration, operation: Operation) -> str:
    """Return what a person enters who is asked in one of our own ways, and give the operation its time once more.

    what: a PIN or a passphrase, in a word.

    Raises pins.CannotAsk if nobody can be asked that way, and Interrupted if nobody answers.
    """
    from .asking import pins

    operation.restart()
    try:
        answer = pins.ask(way, question, operation, trusts_environment=configuration.trusts_environment)
    except pins.CannotAsk as reason:
        # One that the person's ^C has ended as well is no reason to go on.
        if operation.is_interrupted():
            raise operation.reason() from None
        _trace(operation, f"{way}: {reason}")
        raise
    _trace(operation, f"{way}: {'a' if answer else 'no'} {what} was entered")
    if not answer:
        raise operation.reason() if operation.is_set() else Interrupted(f"no {what} was entered", "try again")
    operation.restart()
    return answer


def _trace(operation: Operation, sentence: str) -> None:
    if operation.trace is not None:
        operation.trace(f"PinPrompt {sentence}")


def _problem(question: PinRequired) -> str:
    """Return what a person must know before they enter a PIN, "" for nothing."""
    from .client.pin import tries_left

    if question.retries is None or (question.is_question and question.retries > _FEW_TRIES):
        return "" if question.is_question else question.happened
    last = ": the last one" if question.retries == 1 else ""
    wrong = "" if question.is_question else "wrong PIN, "
    return f"{wrong}{tries_left(question.retries)}{last}"
