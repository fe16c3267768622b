"""Several authenticators asked at the same time, one thread each."""

from __future__ import annotations

import _thread

from sk_provider.errors import Interrupted
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sk_provider.errors import SecurityKeyError

    from .token import Token

    Item = TypeVar("Item")


class Race(Operation):
    """An operation on several authenticators at the same time: once one of them has won, the others give up."""

    __slots__ = ("_operation", "winner")

    def __init__(self, operation: Operation) -> None:
        super().__init__(operation.timeout, tell=operation.tell)
        self._operation = operation
        self.winner: Token | None = None

    def is_set(self) -> bool:
        """See Operation."""
        return self.winner is not None or self._operation.is_set()

    def reason(self) -> SecurityKeyError:
        """See Operation."""
        if self.winner is not None:
            return Interrupted("another authenticator was used", "nothing is to be done")
        return self._operation.reason()


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
