"""Keys whose handles are sealed under a passphrase: when a person is asked for it, and what a wrong one is told as."""

from __future__ import annotations

from contextlib import contextmanager

from .api import FLAG_USER_VERIFICATION
from .asking import keyring, pins
from .client import candidates
from .config import PIN_PROMPTS
from .credentials import sealing
from .ctap import sha256
from .errors import CredentialNotFound, Interrupted, InvalidRequest, Unsupported
from .policy import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .api import EnrollRequest, EnrollResponse, SignRequest
    from .client.token import Token
    from .config import Configuration
    from .operation import Operation

PREFIX = "pysk:passphrase:"
"""What the names of key streams in the keyring begin with."""

_MAX_ATTEMPTS = 3
"""To enter the same passphrase twice."""


def seal(response: EnrollResponse, request: EnrollRequest, configuration: Configuration, operation: Operation) -> None:
    """Seal a new key's handle under a passphrase that a person enters twice.

    The attestation goes, as it repeats the key handle in clear.

    Raises Unsupported if nobody can be asked, Interrupted if nobody answers, and InvalidRequest if they answer
    differently.
    """
    problem = ""
    for _ in range(_MAX_ATTEMPTS):
        passphrase = _ask("Passphrase for the new key", problem, request, configuration, operation)
        if _ask("Same passphrase again", "", request, configuration, operation) == passphrase:
            break
        problem = "the two passphrases differ"
    else:
        raise InvalidRequest("the two passphrases differ", "enroll the key again")
    response.key_handle = sealing.seal(response.key_handle, request.application, request.algorithm, passphrase)
    response.signature = response.attestation_certificate = response.authenticator_data = b""


def unseal(
    request: SignRequest,
    configuration: Configuration,
    operation: Operation,
    raise_pin_question: Callable[[SignRequest, Configuration, Operation], None],
) -> None:
    """Open the request's key handle by a passphrase that a person enters, or that is remembered.

    raise_pin_question: raises PinRequired if the key wants a PIN whichever handle it has.

    Raises InvalidRequest and Unsupported as sealing.parse() does, and as seal() otherwise.
    """
    sealed = sealing.parse(request.host_key_handle, request.application, request.algorithm)
    if operation.trace is not None:
        operation.trace(f"the key handle is sealed under a passphrase; its layout: {sealed.layout.name}")
    key_stream = keyring.recall(_name(request)) if configuration.remember_pin else None
    if key_stream is None or len(key_stream) != sealed.key_stream_length:
        if request.pin is None and request.flags & FLAG_USER_VERIFICATION and configuration.pin_prompts[0] == "host":
            # The host has another process go on once it has the PIN, which would ask for the passphrase anew.
            request.key_handle = sealed.open(bytes(sealed.key_stream_length))
            raise_pin_question(request, configuration, operation)
        passphrase = _ask("Passphrase", "", request, configuration, operation)
        key_stream = sealed.key_stream(passphrase)
    request.key_handle = sealed.open(key_stream)
    request.key_stream = key_stream


@contextmanager
def passphrase_judged(request: SignRequest, configuration: Configuration, operation: Operation) -> Iterator[None]:
    """Remember the passphrase, if that is wanted, once it was right; if the key is not found, tell both reasons."""
    is_remembered = bool(configuration.remember_pin) and keyring.recall(_name(request)) == request.key_stream
    try:
        yield
    except CredentialNotFound as error:
        # What is remembered was right.
        if is_remembered:
            raise
        raise CredentialNotFound(
            f"the passphrase is wrong, or {error.happened}", f"try again, or {error.remedy}"
        ) from None
    if configuration.remember_pin and not is_remembered and request.key_stream is not None:
        try:
            keyring.keep(_name(request), request.key_stream, configuration.remember_pin)
        except OSError as error:
            operation.tell(
                f"the passphrase is not remembered, as the kernel keeps no keys here ({error.strerror}); "
                "remove RememberPin from pysk_config, or enter it each time"
            )


def refuse_if_not_held(request: SignRequest, token: Token, operation: Operation) -> None:
    """Raise CredentialNotFound if the authenticator says, before a PIN or a touch, that it does not hold the key."""
    if candidates.ask_silently(token, request, None, operation) == candidates.NOT:
        raise CredentialNotFound("the authenticator does not hold this key", "connect the one that it was enrolled on")


def _ask(
    wanted: str,
    problem: str,
    request: EnrollRequest | SignRequest,
    configuration: Configuration,
    operation: Operation,
) -> str:
    """Return what a person enters, in one of the ways that a PIN is asked for by us. Raises as seal() does."""
    unable: list[str] = []
    question = pins.Question(describe(request), "", problem, configuration.timeout, wanted)
    ways = [way for way in configuration.pin_prompts if way != "host"] or PIN_PROMPTS[1:]
    for way in ways:
        operation.restart()
        try:
            answer = pins.ask(way, question, operation, trusts_environment=configuration.trusts_environment)
        except pins.CannotAsk as reason:
            # One that the person's ^C has ended as well is no reason to go on.
            if operation.is_interrupted():
                raise operation.reason() from None
            unable.append(f"{way}: {reason}")
            continue
        if not answer:
            raise operation.reason() if operation.is_set() else Interrupted("no passphrase was entered", "try again")
        operation.restart()
        return answer
    raise Unsupported(
        f"this key wants a passphrase, and nobody can be asked for it ({'; '.join(unable)})",
        "use it on a terminal, or where SSH_ASKPASS and DISPLAY are set, or install pinentry",
    )


def _name(request: SignRequest) -> str:
    return PREFIX + sha256(sha256(request.application.encode()) + request.host_key_handle).hex()
