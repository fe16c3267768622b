"""The USB transport of other systems than Linux, with python-fido2's back end for the one that runs the tests."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import closing

import pytest
from support.serve import serve, wait_until

from sk_provider.ctap import hid, requests
from sk_provider.errors import AuthenticatorError, DeviceNotFound
from sk_provider.operation import Operation
from sk_provider.transports import usb_portable


def test_a_token_that_is_plugged_in_is_found_and_answers() -> None:
    assert usb_portable.discover(None) == []
    with pytest.raises(DeviceNotFound):
        usb_portable.open("", Operation(30))
    with serve("uhid:") as served:
        (path,) = usb_portable.discover(None)
        assert path == served.names[0]
        assert usb_portable.discover((0x1050, 0x0407)) == []
        operation = Operation(30)
        with closing(usb_portable.open(path, operation)) as channel:
            assert requests.get_info(channel, operation).options["rk"] is True
    wait_until(lambda: not usb_portable.discover(None), "the unplugging")


def test_a_token_that_does_not_answer_is_given_up_in_time() -> None:
    with serve("uhid:", fault="stuck") as served:
        operation = Operation(60)
        with closing(usb_portable.open(served.names[0], operation)) as channel:
            assert requests.get_info(channel, operation).options["rk"] is True
            served.process.send_signal(signal.SIGSTOP)  # no keep-alives either
            started = time.monotonic()
            with pytest.raises(AuthenticatorError, match="does not answer"):
                requests.get_info(channel, operation)
            assert hid.SILENCE <= time.monotonic() - started < 2 * hid.SILENCE
    wait_until(lambda: not usb_portable.discover(None), "the unplugging")


def test_a_token_that_is_pulled_out_is_told() -> None:
    with serve("uhid:", fault="stuck") as served:
        operation = Operation(60)
        with closing(usb_portable.open(served.names[0], operation)) as channel:
            threading.Timer(1, served.process.kill).start()
            with pytest.raises(AuthenticatorError, match="was unplugged"):
                requests.get_assertion(channel, "ssh:", requests.NO_CLIENT_DATA, b"key", operation, up=False)
    wait_until(lambda: not usb_portable.discover(None), "the unplugging")
