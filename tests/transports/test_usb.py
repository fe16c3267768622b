"""What the USB transport does with device files, which any file stands for that can be locked."""

from __future__ import annotations

import fcntl
import tempfile
import threading
import time

from sk_provider.operation import Operation
from sk_provider.transports import usb

A_TOUCH_S = 6  # that another login waits for


def test_a_token_is_waited_for_as_long_as_another_program_waits_for_its_touch() -> None:
    with tempfile.NamedTemporaryFile() as held, open(held.name) as device:
        fcntl.flock(held, fcntl.LOCK_EX)
        release = threading.Timer(A_TOUCH_S, lambda: fcntl.flock(held, fcntl.LOCK_UN))
        release.start()
        started = time.monotonic()
        try:
            usb._lock(device.fileno(), held.name, Operation(60))
        finally:
            release.join()
        assert time.monotonic() - started >= A_TOUCH_S - 1
