"""Several authenticators that may serve an operation: asked at the same time, and one of them chosen."""

from __future__ import annotations

import _thread
import time

from sk_provider import transports
from sk_provider.ctap import status
from sk_provider.ctap.status import StatusError
from sk_provider.errors import (
    AuthenticatorError,
    CredentialNotFound,
    DeviceNotFound,
    Interrupted,
    PinRequired,
    SecurityKeyError,
    TimedOut,
    TransportDefect,
    Unsupported,
)
from sk_provider.operation import Operation

from . import discovery
from .token import PROBE_PATIENCE, probe_patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sk_provider.api import SignRequest
    from sk_provider.config import Configuration

    from .discovery import Found
    from .token import Token

    Item = TypeVar("Item")

_MOMENT = 1.0
"""Seconds in which all have said that they wait for no touch, if they do."""
_TICK = 0.05

# What an authenticator says when it is silently asked for a key; a proof makes it certain.
CERTAINLY_HOLDS = 3
HOLDS = 2
MAYBE = 1
NOT = 0
_ANSWERS = {
    CERTAINLY_HOLDS: "holds the key, as its signature proves",
    HOLDS: "says that it holds the key",
    MAYBE: "may hold the key",
    NOT: "does not hold the key",
}


def open_holder(
    found: list[Found], request: SignRequest, configuration: Configuration, operation: Operation, *, has_more: bool
) -> Token:
    """Open the one that holds the request's key; has_more: whether discovery.discover_more() may find others.

    Raises as selection.open_for_signature() does.
    """
    candidates = _Candidates(configuration, operation)
    try:
        token = candidates.find_holder(found, request)
        if token is None and not candidates.holders and has_more:
            token = candidates.find_holder(discovery.discover_more(), request)
        if token is None:
            token = _choose(candidates, request, operation)
    except BaseException:
        candidates.close_all_but(None)
        raise
    candidates.close_all_but(token)
    _tell_defects(candidates.failures, operation)
    token.public_key = candidates.known
    return token


def open_chosen(
    found: list[Found],
    configuration: Configuration,
    operation: Operation,
    *,
    has_more: bool,
    may_create: bool,
    sends_pin: bool,
) -> Token:
    """Open the only one that can be opened, or the touched one; has_more: as for open_holder().

    may_create: see transport_api.Transport; sends_pin: whether a PIN goes out. Raises as
    selection.open_for_enrollment() does.
    """
    candidates = _Candidates(configuration, operation)
    try:
        candidates.open(found, may_create=may_create)
        if not candidates.tokens and has_more:
            candidates.open(discovery.discover_more(), may_create=may_create)
        if not candidates.tokens:
            raise candidates.first_error()
        if len(candidates.tokens) == 1 and not candidates.failures:
            token = candidates.tokens[0]
            if operation.trace is not None:
                operation.trace(f"chosen: {token.address}, the only one that could be opened")
        else:
            what = "are connected"
            token = _choose_by_touch(candidates.tokens, candidates.failures, operation, what, sends_pin=sends_pin)
    except BaseException:
        candidates.close_all_but(None)
        raise
    candidates.close_all_but(token)
    _tell_defects(candidates.failures, operation)
    return token


class _Race(Operation):
    """An operation on several authenticators at the same time: once one of them has won, the others give up."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.timeout, tell=operation.tell)
        self.trace = operation.trace
        self._operation = operation
        self.winner: Token | None = None

    def is_set(self) -> bool:
        """See Operation."""
        return self.winner is not None or self._operation.is_set()

    def reason(self) -> SecurityKeyError:
        """See Operation."""
        if self.winner is not None:
            return Interrupted("another authenticator was used", "no action is needed")
        return self._operation.reason()

    def await_person(self, who: str, call: Callable[[], str]) -> None:
        """See Operation."""
        self._operation.await_person(who, call)

    def person_came(self, who: str) -> None:
        """See Operation."""
        self._operation.person_came(who)

    def wait_for_others(self, since: float) -> None:
        """See Operation."""
        if self.winner is not None:
            raise self.reason()
        self._operation.wait_for_others(since)


class _Opening(_Race):
    """The opening of several: once one is open, another package's transport does not hold it up for long."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation)
        self._ends: float | None = None
        self.is_over = False

    def note_opened(self) -> None:
        """Note that one is open."""
        if self._ends is None:
            self._ends = time.monotonic() + PROBE_PATIENCE

    def _is_late(self) -> bool:
        return not self.is_over and self._ends is not None and time.monotonic() >= self._ends

    def is_set(self) -> bool:
        """See Operation."""
        return self._is_late() or super().is_set()

    def reason(self) -> SecurityKeyError:
        """See Operation."""
        if self._is_late() and not self._operation.is_set():
            return TimedOut(f"it was not open within {PROBE_PATIENCE} seconds", "try again, or use another one")
        return super().reason()

    def wait_for_others(self, since: float) -> None:
        """See Operation."""
        if self._is_late():
            raise self.reason()
        super().wait_for_others(since)


def at_once(function: Callable[[Item], None], items: list[Item], operation: Operation) -> list[BaseException | None]:
    """Call function with every item at once, and return what each raised, in order.

    Whatever ends the wait for them, such as Ctrl-C, calls the operation off, so that they end first.
    """
    errors: list[BaseException | None] = [None] * len(items)
    running: list[_thread.LockType] = []

    def run(index: int, item: Item, lock: _thread.LockType) -> None:
        try:
            function(item)
        except BaseException as error:  # noqa: BLE001 - the caller of at_once() raises it
            errors[index] = error
        finally:
            lock.release()

    def join() -> None:
        for lock in running:
            with lock:
                pass

    try:
        for index, item in enumerate(items):
            lock = _thread.allocate_lock()
            lock.acquire()
            _thread.start_new_thread(run, (index, item, lock))
            running.append(lock)
        join()
    except BaseException:
        operation.call_off()
        join()
        raise
    return errors


class _Candidates:
    """The authenticators that may serve an operation.

    tokens: those that could be opened; holders: those of them that say that they hold the key; maybe: those that may;
    failures: why others, which may hold it as well, could not be asked; known: sk-api's algorithm and the public key
    that proves a claim, None if they are not known, or if there is but one, which needs no proof.
    """

    def __init__(self, configuration: Configuration, operation: Operation) -> None:
        self._configuration = configuration
        self._operation = operation
        self._absences: list[BaseException] = []
        self._found = 0
        self.tokens: list[Token] = []
        self.holders: list[Token] = []
        self.maybe: list[Token] = []
        self.failures: list[BaseException] = []
        self.known: tuple[int, bytes] | None = None

    def open(self, found: list[Found], *, may_create: bool) -> None:
        """Open all that can be opened: a dead one or a forbidden one does not hide the others."""
        opened: dict[Found, Token] = {}

        opening = _Opening(self._operation)

        def open_one(each: Found) -> None:
            operation = self._operation if each.scheme in transports.SCHEMES else opening
            opened[each] = each.open(self._configuration, operation, may_create=may_create)
            opening.note_opened()

        self._found += len(found)
        try:
            outcomes = at_once(open_one, found, self._operation)
        finally:
            # From now on only the operation ends what was opened.
            opening.is_over = True
            # In the order in which they were found, not opened: so the same is told every time.
            self.tokens += [opened[each] for each in found if each in opened]
        self._note_errors(found, outcomes)

    def find_holder(self, found: list[Found], request: SignRequest) -> Token | None:
        """Ask all at once, and return the one that holds the key, None if it is not known which one does.

        Without a PIN it is the first that says so. A PIN goes to none of several that may hold the key, or that do not
        answer, unless its public key is known and proves it: whatever says so may lie.
        """
        self._found += len(found)
        if found and self._found > 1:
            from sk_provider.credentials import known_keys

            self.known = known_keys.recall(self._configuration.known_keys, request.application, request.host_key_handle)
            if self._operation.trace is not None:
                knowledge = "known, and proves who holds it" if self.known else "not known"
                self._operation.trace(f"of several authenticators one holds the key, whose public key is {knowledge}")
        race = _Race(self._operation)
        enough = HOLDS if request.pin is None else CERTAINLY_HOLDS
        answers: dict[Found, tuple[Token, int]] = {}

        def ask(each: Found) -> None:
            token = each.open(self._configuration, race, may_create=False)
            self.tokens.append(token)
            answer = ask_silently(token, request, self.known, race)
            if race.trace is not None:
                race.trace(f"{token.address} {_ANSWERS[answer]}")
            if answer >= enough and race.winner is None:
                race.winner = token
            answers[each] = token, answer

        self._note_errors(found, at_once(ask, found, self._operation))
        # In the order in which they were found, not in that of their answers: so the same is told every time.
        for token, answer in [answers[each] for each in found if each in answers]:
            if answer >= HOLDS:
                self.holders.append(token)
            elif answer == MAYBE:
                self.maybe.append(token)
        # From now on only the operation ends what was opened for the race.
        holder, race.winner = race.winner, None
        if holder is not None and race.trace is not None:
            race.trace(f"chosen: {holder.address}, the first that {_ANSWERS[enough]}")
        return holder

    def _note_errors(self, found: list[Found], outcomes: list[BaseException | None]) -> None:
        if self._operation.is_set():
            raise self._operation.reason()
        for each, outcome in zip(found, outcomes, strict=True):
            if outcome is not None and self._operation.trace is not None:
                why = outcome.happened if isinstance(outcome, SecurityKeyError) else type(outcome).__name__
                self._operation.trace(f"{each.address} is left out: {why}")
            if isinstance(outcome, (DeviceNotFound, Unsupported)):
                # What is not there after all, or is no authenticator, holds no key.
                self._absences.append(outcome)
            elif outcome is not None:
                self.failures.append(_error_to_tell(outcome, each.address))

    def first_error(self) -> BaseException:
        """Return what to raise where nothing could be opened."""
        return [*self.failures, *self._absences][0]

    def close_all_but(self, kept: Token | None) -> None:
        """Close what was opened; kept: the one that serves."""
        if kept is not None:
            kept.is_the_only_one = self._found == 1
        for token in self.tokens:
            if token is not kept:
                token.close()


def _tell_defects(errors: list[BaseException | None] | list[BaseException], operation: Operation) -> None:
    """Tell of other packages' transports that failed beside the one that serves."""
    for error in errors:
        if isinstance(error, TransportDefect):
            operation.tell(str(error))


def _error_to_tell(failure: BaseException, address: str) -> BaseException:
    """Return the error for what ended the asking of one authenticator of several, which it names by its address."""
    if isinstance(failure, TimedOut):
        return CredentialNotFound(
            f"{address} does not answer, and no other authenticator is known to hold this key",
            "unplug it, plug it in and try again, or connect the one that the key was enrolled on",
        )
    if isinstance(failure, SecurityKeyError) and address not in failure.happened:
        failure.happened = f"{address}: {failure.happened}"
    return failure


def _choose(candidates: _Candidates, request: SignRequest, operation: Operation) -> Token:
    """Return the one to use where none is known to hold the key.

    Raises CredentialNotFound, or why the one that may hold it could not be asked; the rest as in open_for_signature().
    """
    from sk_provider.api import FLAG_USER_VERIFICATION

    claimants = [*candidates.holders, *candidates.maybe]
    if not claimants:
        if candidates.failures or not candidates.tokens:
            raise candidates.first_error()
        nobody = "no connected authenticator holds this key"
        if any(token.speaks_ctap2 for token in candidates.tokens) and request.pin is None:
            from . import refusal

            raise refusal.hidden_key_error(f"{nobody}, or one hides it")
        raise CredentialNotFound(nobody, "connect the one that it was enrolled on")
    spends_tries = request.pin is not None or bool(request.flags & FLAG_USER_VERIFICATION)
    if len(claimants) == 1 and not (candidates.failures and spends_tries):
        if operation.trace is not None:
            operation.trace(f"chosen: {claimants[0].address}, the only one that may hold the key")
        return claimants[0]
    if request.pin is None:
        errors = _errors_without_pin(claimants, request, operation)
        if len(errors) == len(claimants):
            # The host asks for a PIN and calls again: the touch that chooses one is wanted only then.
            question = next((error for error in errors if isinstance(error, PinRequired)), None)
            raise question or [*candidates.failures, *errors][0]
    what = f"may hold the key for {request.application}"
    return _choose_by_touch(claimants, candidates.failures, operation, what, sends_pin=spends_tries)


def _errors_without_pin(tokens: list[Token], request: SignRequest, operation: Operation) -> list[BaseException]:
    """Return the errors of those of the authenticators that want a PIN for the key, or that fail.

    One that fails, or takes its time, hides none that would take the PIN.
    """
    from sk_provider.api import FLAG_USER_VERIFICATION

    from . import refusal

    if not request.flags & FLAG_USER_VERIFICATION:
        return []
    wanting: dict[Token, BaseException] = {}

    def ask(token: Token) -> None:
        patience = probe_patience(operation)
        try:
            info = token.get_info(patience)
        except StatusError:
            return
        if info.options.get("clientPin") is True and info.options.get("uv") is not True:
            wanting[token] = refusal.verification_question_or_error(info, token, patience)

    failures = at_once(ask, tokens, operation)
    if operation.is_set():
        raise operation.reason()
    return [wanting[token] for token in tokens if token in wanting] + [
        _error_to_tell(error, token.address) for token, error in zip(tokens, failures, strict=True) if error is not None
    ]


def ask_silently(token: Token, request: SignRequest, known: tuple[int, bytes] | None, operation: Operation) -> int:
    """Ask silently whether the authenticator holds the key; raises SecurityKeyError if there is no usable answer.

    Nobody need come, so an authenticator that takes its time does not hold up the one with the key.
    """
    from sk_provider.api import FLAG_USER_VERIFICATION

    try:
        proof = token.probe(request.application, request.key_handle, operation)
    except StatusError as error:
        if error.code in (status.NO_CREDENTIALS, status.INVALID_CREDENTIAL):
            # A key that wants verification for every use (credProtect 3) is hidden without it.
            return MAYBE if request.flags & FLAG_USER_VERIFICATION else NOT
        return MAYBE
    if isinstance(proof, bool):
        return HOLDS if proof else NOT
    message, signature = proof
    if known is not None:
        from sk_provider.credentials.signature import verifies

        return CERTAINLY_HOLDS if verifies(*known, message, signature) else NOT
    if not signature:
        raise AuthenticatorError("the authenticator's answer has no signature", "use another authenticator")
    return HOLDS


def _choose_by_touch(
    tokens: list[Token], failures: list[BaseException], operation: Operation, what: str, *, sends_pin: bool
) -> Token:
    """Return the authenticator that a person touches; what: is said of those that can be.

    failures: why others cannot be touched; what the call for a touch has told is taken out of it.

    One that wants no touch is none that was chosen: it may serve only if it is alone and gets no PIN.

    Raises what ended the wait, or the first authenticator's error if none can wait for a touch.
    """
    if failures and isinstance(failures[0], SecurityKeyError):
        operation.tell(f"{failures[0].happened}; to use another authenticator, touch it")
        del failures[0]
    else:
        names = ", ".join(sorted(token.describe() for token in tokens))
        operation.tell(f"{len(tokens)} authenticators {what} ({names}); touch the one to use")
    race = _Race(operation)
    may_be_untouched = len(tokens) == 1 and not sends_pin
    untouchable: list[Token] = []

    def wait(token: Token) -> None:
        if token.wait_for_touch(race) or may_be_untouched:
            if race.winner is None:
                race.winner = token
            return
        untouchable.append(token)
        # Of several, the first tells for all that say so within a moment; where no other is left, the error does.
        if len(untouchable) == 1:
            moment_ends = time.monotonic() + _MOMENT
            while len(untouchable) < len(tokens) and not race.is_set():
                if time.monotonic() >= moment_ends:
                    operation.tell(str(_untouchable_error(untouchable)))
                    break
                time.sleep(_TICK)

    errors = at_once(wait, tokens, operation)
    if race.winner is not None:
        _tell_defects(errors, operation)
        if operation.trace is not None:
            operation.trace(f"chosen: {race.winner.address}, which was touched")
        return race.winner
    if operation.is_set():
        raise operation.reason()
    raise next((error for error in errors if error is not None), _untouchable_error(untouchable))


def _untouchable_error(tokens: list[Token]) -> Unsupported:
    """Return the error for authenticators that wait for no touch, such as a card that lies on its reader."""
    names = " and ".join(sorted(token.address for token in tokens))
    wait = "waits" if len(tokens) == 1 else "wait"
    return Unsupported(
        f"{names} {wait} for no touch, and cannot be chosen by touch",
        "name one with Device in pysk_config, or connect only the one to use",
    )
