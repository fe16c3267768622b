"""The loop ends when it is told to, at whatever moment."""

from __future__ import annotations

import subprocess
import sys

# Like a signal that comes just before the wait begins, one that another thread gets does not interrupt the wait.
PROGRAM = """
import signal, threading, time
from sk_provider.device_side.loop import Loop

def send():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

loop = Loop()
loop.stop_on_signals()
threading.Thread(target=send).start()
loop.run([])
loop.close()
"""


def test_a_signal_that_does_not_interrupt_the_wait_ends_it_all_the_same() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], cwd="/", check=True, timeout=60)
