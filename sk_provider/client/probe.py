"""The time that an authenticator has to answer what nobody need come for."""

from __future__ import annotations

from sk_provider.operation import Operation, busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.errors import SecurityKeyError


class Probe(Operation):
    """A part of an operation that has so many seconds in all, with those in which others have the authenticator.

    has_waited: whether others had it.
    """

    def __init__(self, operation: Operation, seconds: int) -> None:
        super().__init__(seconds, operation.is_set, operation.tell)
        self.trace = operation.trace
        self._operation = operation
        self.has_waited = False

    def reason(self) -> SecurityKeyError:
        """See Operation."""
        return busy() if self.has_waited and not self._operation.is_set() else super().reason()

    def wait_for_others(self, since: float) -> None:
        """See Operation. The operation takes the longer for it, this part does not."""
        self.has_waited = True
        self._operation.wait_for_others(since)
        if self.is_set():
            raise self.reason()
