"""Which tests run one after the other, where two processes run tests beside each other."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# Folders whose tests run all at once in a place that is made for them, such as a virtual machine.
PLACES = ("tests/hardware/hidraw/", "tests/hardware/pcsc/", "tests/hardware/tpm/")


def place_of(nodeid: str) -> str | None:
    """Return the folder of a test's place, if it has one."""
    return next((place for place in PLACES if nodeid.startswith(place)), None)


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Gives a process the tests of a file, or of a place."""

    def _split_scope(self, nodeid: str) -> str:
        return place_of(nodeid) or str(super()._split_scope(nodeid))
