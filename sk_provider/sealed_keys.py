"""Keys whose handles are sealed under a passphrase: when a person is asked for it, and what a wrong one is told as."""

from __future__ import annotations

from contextlib import contextmanager

from .api import FLAG_USER_VERIFICATION
from .asking import keyring, pins
from .client import candidates
from .credentials import sealing
from .ctap import sha256
from .errors import CredentialNotFound, InvalidRequest, PassphraseRequired, PinRequired, Unsupported
from .pin_prompts import ask_in_way, own_ways
from .policy import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .api import EnrollRequest, EnrollResponse, SignRequest
    from .client.token import Token
    from .config import Configuration
    from .operation import Operation

PREFIX = "pysk:passphrase:"
"""What the names of key streams in the keyring begin with."""

_MAX_ATTEMPTS = 3
"""To enter the same passphrase twice."""

_REMEDY = "use it on a terminal, or where SSH_ASKPASS and DISPLAY are set, or install pinentry"


class _NobodyAskedError(Exception):
    """libpysk can ask nobody. The sentence says why, way by way."""


def refuse_if_nobody_can_be_asked(configuration: Configuration) -> None:
    """Raise Unsupported if seal() could ask nobody, as far as that can be told before a key is made."""
    unable: list[str] = []
    for way in own_ways(configuration):
        try:
            pins.check(way, trusts_environment=configuration.trusts_environment)
        except pins.CannotAsk as reason:
            unable.append(f"{way}: {reason}")
        else:
            return
    raise _nobody("this key wants a passphrase", _NobodyAskedError("; ".join(unable)))


def seal(response: EnrollResponse, request: EnrollRequest, configuration: Configuration, operation: Operation) -> None:
    """Seal a new key's handle under a passphrase that a person enters twice.

    The attestation goes, as it repeats the key handle in clear.

    Raises Unsupported if nobody can be asked, Interrupted if nobody answers, and InvalidRequest if they answer
    differently.
    """
    problem = ""
    for _ in range(_MAX_ATTEMPTS):
        try:
            passphrase, _ = _ask("Passphrase for the new key", problem, request, configuration, operation)
            again, _ = _ask("Same passphrase again", "", request, configuration, operation)
        except _NobodyAskedError as error:
            raise _nobody("this key wants a passphrase", error) from None
        if again == passphrase:
            break
        problem = "the two passphrases differ"
    else:
        raise InvalidRequest("the two passphrases differ", "enroll the key again")
    response.key_handle = sealing.seal(response.key_handle, request.application, request.algorithm, passphrase)
    response.signature = response.attestation_certificate = response.authenticator_data = b""


def unseal(request: SignRequest, configuration: Configuration, operation: Operation) -> None:
    """Open the request's key handle by a passphrase that a person enters, or that is remembered.

    Where libpysk can ask nobody, the PIN that the host has asked for is the passphrase, if the key wants none.

    Raises InvalidRequest and Unsupported as sealing.parse() does, PassphraseRequired if the host is to ask, and as
    seal() otherwise.
    """
    sealed = sealing.parse(request.host_key_handle, request.application, request.algorithm)
    if operation.trace is not None:
        operation.trace(f"the key handle is sealed under a passphrase; its layout: {sealed.layout.name}")
    key_stream = keyring.recall(_name(request)) if configuration.remember_pin else None
    if key_stream is None or len(key_stream) != sealed.key_stream_length:
        try:
            passphrase, request.asked_by = _ask("Passphrase", "", request, configuration, operation)
        except _NobodyAskedError as error:
            passphrase, request.asked_by = _asked_by_host(request, error), "host"
        key_stream = sealed.key_stream(passphrase)
    request.key_handle = sealed.open(key_stream)
    request.key_stream = key_stream


@contextmanager
def passphrase_judged(request: SignRequest, configuration: Configuration, operation: Operation) -> Iterator[None]:
    """Remember the passphrase, if that is wanted, once it was right; if the key is not found, tell both reasons.

    Raises Unsupported where a PIN is wanted, and the host has asked for the passphrase in its stead.
    """
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
    except PinRequired:
        if request.asked_by != "host":
            raise
        raise Unsupported(
            "the authenticator wants its PIN as well as the key's passphrase, and a program can ask for one", _REMEDY
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


def _asked_by_host(request: SignRequest, unable: _NobodyAskedError) -> str:
    """Return the passphrase that the host has asked for, as if for a PIN, and have the request have no PIN.

    Raises PassphraseRequired if it has not asked, and Unsupported if it asks for the PIN.
    """
    if request.flags & FLAG_USER_VERIFICATION:
        raise _nobody("this key wants a passphrase beside a PIN", unable)
    if request.pin is None:
        raise PassphraseRequired(
            f"this key wants a passphrase, and libpysk can ask nobody for it ({unable})",
            f"enter it if you are asked for a PIN, or {_REMEDY}",
        )
    passphrase, request.pin = request.pin, None
    return passphrase


def _nobody(wanted: str, unable: _NobodyAskedError) -> Unsupported:
    return Unsupported(f"{wanted}, and nobody can be asked for it ({unable})", _REMEDY)


def _ask(
    wanted: str,
    problem: str,
    request: EnrollRequest | SignRequest,
    configuration: Configuration,
    operation: Operation,
) -> tuple[str, str]:
    """Return what a person enters, and the way in which they were asked, one of those that a PIN is asked for by us.

    Raises _NobodyAskedError, and Interrupted if nobody answers.
    """
    unable: list[str] = []
    question = pins.Question(describe(request), "", problem, configuration.timeout, wanted)
    for way in own_ways(configuration):
        try:
            return ask_in_way(way, question, "passphrase", configuration, operation), way
        except pins.CannotAsk as reason:
            unable.append(f"{way}: {reason}")
    raise _NobodyAskedError("; ".join(unable))


def _name(request: SignRequest) -> str:
    return PREFIX + sha256(sha256(request.application.encode()) + request.host_key_handle).hex()
