"""The authenticator against a model of what CTAP 2.1 says about retries, tokens and their timers, settings, slots."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from typing import Any

import pytest
from fido2.ctap import CtapError
from fido2.ctap1 import ApduError, Ctap1
from fido2.ctap2 import Config, CredentialManagement
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.soft_token import (
    CLIENT_DATA_HASH,
    FUZZ_EXAMPLES,
    Device,
    Permission,
    Person,
    credential_id,
    descriptor,
)

from sk_provider.authenticator.presence import DENIED, GRANTED
from sk_provider.authenticator.state import EMPTY_LARGE_BLOBS
from sk_provider.authenticator.store import Store
from sk_provider.ctap import status

pytestmark = pytest.mark.slow

# What goes on in most cases comes more often, so that sequences get far.
OFTEN = st.sampled_from([True, True, True, False])
SELDOM = st.sampled_from([False, False, False, True])
RP_IDS = st.sampled_from(["ssh:", "ssh:", "ssh:", "ssh:b"])
USERS = st.sampled_from([b"1", b"2", b"3"])
PINS = st.sampled_from(["1234", "pässwört", "000000"])
PERMISSIONS = st.sampled_from([Permission(n) for n in (0x03, 0x13, 0x13, 0x01, 0x02, 0x04)])

SW_SUCCESS = 0x9000
SW_CONDITIONS_NOT_SATISFIED = 0x6985
SW_WRONG_DATA = 0x6A80
SW_COMMAND_NOT_ALLOWED = 0x6986


class PinUvAuthToken:
    """The token in use, as the model knows it."""

    def __init__(self, value: bytes, permissions: Permission, rp_id: str, now: float, present: bool) -> None:
        self.value = value
        self.permissions = permissions
        self.rp_id = rp_id
        self.issued = now
        self.present = present
        self.verified = True
        self.used = False

    def lives(self, now: float) -> bool:
        return now - self.issued <= (600 if self.used else 30)

    def permits(self, permission: Permission, rp_id: str, now: float) -> bool:
        return bool(self.lives(now) and self.verified and self.permissions & permission and self.rp_id == rp_id)

    def shows_presence(self, now: float) -> bool:
        return self.present and now - self.issued <= 30

    def spend(self) -> None:
        self.present = self.verified = False
        self.permissions &= Permission.LARGE_BLOB_WRITE


class Token(RuleBasedStateMachine):
    """What a token must remember, and forget, over any sequence of commands."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.person = Person()
        self.counter = 0
        self.forget_everything()

    def forget_everything(self) -> None:
        self.pin: str | None = None
        self.retries = 8
        self.uv_retries = 3
        self.wrong_in_a_row = 0
        self.min_pin_length = 4
        self.must_change_pin = False
        self.always_uv = False
        self.large_blobs = EMPTY_LARGE_BLOBS
        self.residents: dict[tuple[str, bytes], bytes] = {}
        self.handles: dict[bytes, str] = {}
        self.token: PinUvAuthToken | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(profile=st.sampled_from(["small", "uv"]), pin=OFTEN)
    def plug_in(self, profile: str, pin: bool) -> None:
        self.device = Device(Store.create(f"{self.folder}/store"), self.person, profile)
        self.uv = self.device.profile.uv
        if pin:
            self.set_pin("1234")

    @rule(long=SELDOM, seconds=st.sampled_from([20, 31, 580, 601]))
    def wait(self, long: bool, seconds: int) -> None:
        self.device.now += seconds if long else 1

    @rule(cut=SELDOM, reset=SELDOM)
    def cycle_power(self, cut: bool, reset: bool) -> None:
        if not cut and self.wrong_in_a_row < 3:
            return
        self.device.power_up()
        self.wrong_in_a_row = 0
        self.token = None
        if reset:
            assert self.device.request(7)[0] == status.SUCCESS
            self.forget_everything()

    def perform(self, call: Any, *arguments: Any, **options: Any) -> tuple[int, Any]:
        try:
            return status.SUCCESS, call(*arguments, **options)
        except CtapError as error:
            return int(error.code), None

    def count(self, counter: int) -> None:
        assert counter > self.counter
        self.counter = counter

    @property
    def is_protected(self) -> bool:
        return self.uv or self.pin is not None

    # PINs, and tokens in exchange for them or for a finger

    @rule(pin=PINS)
    def set_pin(self, pin: str) -> None:
        code, _ = self.perform(self.device.set_pin, pin)
        if self.pin is not None:
            assert code == status.PIN_AUTH_INVALID
        elif len(pin) < self.min_pin_length:
            assert code == status.PIN_POLICY_VIOLATION
        else:
            assert code == status.SUCCESS
            self.pin, self.token = pin, None

    def expect_pin(self, pin: str) -> int:
        """Tell how trying a PIN must end, and count it."""
        if self.pin is None:
            return status.PIN_NOT_SET
        if self.retries == 0:
            return status.PIN_BLOCKED
        if self.wrong_in_a_row == 3:
            return status.PIN_AUTH_BLOCKED
        if pin == self.pin:
            self.retries, self.uv_retries, self.wrong_in_a_row = 8, 3, 0
            return status.SUCCESS
        self.retries -= 1
        self.wrong_in_a_row += 1
        if self.retries == 0:
            return status.PIN_BLOCKED
        return status.PIN_AUTH_BLOCKED if self.wrong_in_a_row == 3 else status.PIN_INVALID

    @rule(right=OFTEN, new=PINS)
    def change_pin(self, right: bool, new: str) -> None:
        old = self.pin if right and self.pin else "wrong"
        expected = self.expect_pin(old)
        refused = len(new) < self.min_pin_length or (self.must_change_pin and new == self.pin)
        if expected == status.SUCCESS and refused:
            expected = status.PIN_POLICY_VIOLATION
        assert self.perform(self.device.client_pin().change_pin, old, new)[0] == expected
        if expected == status.SUCCESS:
            self.pin, self.must_change_pin, self.token = new, False, None

    @rule(right=OFTEN, rp_id=RP_IDS, permissions=PERMISSIONS)
    def get_token(self, right: bool, rp_id: str, permissions: Permission) -> None:
        pin = self.pin if right and self.pin else "wrong"
        expected = self.expect_pin(pin)
        if expected == status.SUCCESS and self.must_change_pin:
            expected = status.PIN_POLICY_VIOLATION
        code, token = self.perform(self.device.pin_token, permissions, rp_id, pin)
        assert code == expected
        if code == status.SUCCESS:
            self.token = PinUvAuthToken(token, permissions, rp_id, self.device.now, present=False)

    @precondition(lambda self: self.uv)
    @rule(rp_id=RP_IDS, permissions=PERMISSIONS, recognised=OFTEN)
    def get_token_using_uv(self, rp_id: str, permissions: Permission, recognised: bool) -> None:
        self.person.answer = GRANTED if recognised else DENIED
        code, token = self.perform(self.device.client_pin().get_uv_token, permissions, rp_id)
        self.person.answer = GRANTED
        if self.uv_retries and recognised:
            assert code == status.SUCCESS
            self.uv_retries = 3
            self.token = PinUvAuthToken(token, permissions, rp_id, self.device.now, present=True)
        else:
            self.uv_retries = max(self.uv_retries - 1, 0)
            assert code == (status.UV_INVALID if self.uv_retries else status.UV_BLOCKED)

    # Credentials

    def arguments(self, token: PinUvAuthToken | None) -> dict[str, Any]:
        return self.device.auth(token.value) if token is not None else {}

    def expect_built_in_uv(self, recognised: bool, blocked: int) -> int:
        """Tell how asking for a finger as often as there are retries must end."""
        self.uv_retries = 3 if recognised and self.uv_retries else 0
        return status.SUCCESS if self.uv_retries else blocked

    def expect_permission(self, permission: Permission, rp_id: str) -> int:
        """Tell whether the token in use permits something, which begins its use."""
        assert self.token is not None
        if not self.token.permits(permission, rp_id, self.device.now):
            return status.PIN_AUTH_INVALID
        self.token.used = True
        return status.SUCCESS

    def expect_touch(self, token: PinUvAuthToken | None, touched: bool) -> int:
        """Tell how establishing presence must end, which spends the token in use, be it named or not."""
        if not touched and not (token is not None and token.shows_presence(self.device.now)):
            return status.OPERATION_DENIED
        if self.token is not None:
            self.token.spend()
        return status.SUCCESS

    def expect_make(self, rp_id: str, token: PinUvAuthToken | None, resident: bool, touched: bool) -> int:
        if self.always_uv and token is None:
            if not self.uv:
                return status.PUAT_REQUIRED
            expected = self.expect_built_in_uv(touched, status.PIN_BLOCKED)
            return self.expect_touch(None, True) if expected == status.SUCCESS else expected
        if self.is_protected and resident and token is None:
            return status.PUAT_REQUIRED if self.pin else status.OPERATION_DENIED
        if token is not None and self.expect_permission(Permission.MAKE_CREDENTIAL, rp_id):
            return status.PIN_AUTH_INVALID
        return self.expect_touch(token, touched)

    @rule(rp_id=RP_IDS, user=USERS, resident=st.booleans(), use_token=OFTEN, touched=OFTEN)
    def make(self, rp_id: str, user: bytes, resident: bool, use_token: bool, touched: bool) -> None:
        token = self.token if use_token else None
        expected = self.expect_make(rp_id, token, resident, touched)
        full = len(self.residents) == self.device.profile.max_resident and (rp_id, user) not in self.residents
        if expected == status.SUCCESS and resident and full:
            expected = status.KEY_STORE_FULL
        self.person.answer = GRANTED if touched else DENIED
        options = {"rk": resident}
        code, made = self.perform(self.device.make, rp_id, user, options=options, **self.arguments(token))
        self.person.answer = GRANTED
        assert code == expected
        if code == status.SUCCESS:
            assert made.auth_data.is_user_verified() == (token is not None or self.always_uv)
            self.count(made.auth_data.counter)
            if resident:
                self.residents[rp_id, user] = credential_id(made)
            else:
                self.handles[credential_id(made)] = rp_id

    def expect_get(self, rp_id: str, token: PinUvAuthToken | None, silent: bool, found: bool) -> int:
        built_in = not silent and self.always_uv and token is None
        if built_in:
            blocked = status.PUAT_REQUIRED if self.pin else status.PIN_BLOCKED
            expected = self.expect_built_in_uv(True, blocked) if self.uv else status.PUAT_REQUIRED
            if expected != status.SUCCESS:
                return expected
        elif token is not None and self.expect_permission(Permission.GET_ASSERTION, rp_id):
            return status.PIN_AUTH_INVALID
        if not found:
            return status.NO_CREDENTIALS
        return status.SUCCESS if silent else self.expect_touch(token, True)

    @property
    def known(self) -> dict[bytes, str]:
        return dict(self.handles) | {handle: rp for (rp, _), handle in self.residents.items()}

    @precondition(lambda self: self.known)
    @rule(data=st.data(), silent=st.booleans(), use_token=OFTEN, rp_id=RP_IDS)
    def get(self, data: st.DataObject, silent: bool, use_token: bool, rp_id: str) -> None:
        handle = data.draw(st.sampled_from(list(self.known)))
        token = self.token if use_token else None
        expected = self.expect_get(rp_id, token, silent, self.known[handle] == rp_id)
        options = {"up": not silent}
        code, assertion = self.perform(self.device.get, handle, rp_id=rp_id, options=options, **self.arguments(token))
        assert code == expected
        if code == status.SUCCESS:
            verified = token is not None or (self.always_uv and not silent)
            assert assertion.auth_data.is_user_verified() == verified
            assert assertion.auth_data.is_user_present() != silent
            self.count(assertion.auth_data.counter)

    @rule(rp_id=RP_IDS)
    def find(self, rp_id: str) -> None:
        handles = [handle for (rp, _), handle in self.residents.items() if rp == rp_id]
        expected = self.expect_get(rp_id, None, silent=False, found=bool(handles))
        code, assertion = self.perform(self.device.get, rp_id=rp_id)
        assert code == expected
        if code == status.SUCCESS:
            more = (assertion.number_of_credentials or 1) - 1
            found = [assertion, *(self.device.get_next() for _ in range(more))]
            assert sorted(a.credential["id"] for a in found) == sorted(handles)
            for each in found:
                self.count(each.auth_data.counter)

    # U2F

    def send(self, call: Any, *arguments: bytes) -> tuple[int, Any]:
        try:
            return SW_SUCCESS, call(*arguments)
        except ApduError as error:
            return error.code, None

    @rule(rp_id=RP_IDS, touched=OFTEN)
    def register(self, rp_id: str, touched: bool) -> None:
        self.person.answer = GRANTED if touched else DENIED
        application = hashlib.sha256(rp_id.encode()).digest()
        code, registration = self.send(Ctap1(self.device).register, CLIENT_DATA_HASH, application)
        self.person.answer = GRANTED
        if self.always_uv:
            assert code == SW_COMMAND_NOT_ALLOWED
        elif not touched:
            assert code == SW_CONDITIONS_NOT_SATISFIED
        else:
            assert code == SW_SUCCESS
            self.handles[registration.key_handle] = rp_id

    @precondition(lambda self: self.known)
    @rule(data=st.data(), rp_id=RP_IDS)
    def authenticate(self, data: st.DataObject, rp_id: str) -> None:
        handle = data.draw(st.sampled_from(list(self.known)))
        application = hashlib.sha256(rp_id.encode()).digest()
        code, signature = self.send(Ctap1(self.device).authenticate, CLIENT_DATA_HASH, application, handle)
        if self.always_uv:
            assert code == SW_COMMAND_NOT_ALLOWED
        elif self.known[handle] != rp_id:
            assert code == SW_WRONG_DATA
        else:
            assert code == SW_SUCCESS
            self.count(signature.counter)

    # What is managed

    @property
    def pin_gives_a_token(self) -> bool:
        return bool(self.pin and self.retries and self.wrong_in_a_row < 3 and not self.must_change_pin)

    def token_for(self, permission: Permission) -> bytes:
        assert self.pin is not None
        assert self.expect_pin(self.pin) == status.SUCCESS
        self.token = None  # the next that is told of it is another's
        return self.device.pin_token(permission, pin=self.pin)

    @precondition(lambda self: self.residents and self.pin_gives_a_token)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.residents)))
        token = self.token_for(Permission.CREDENTIAL_MGMT)
        manager = CredentialManagement(self.device.ctap2, self.device.pin_protocol, token)
        manager.delete_cred(descriptor(self.residents.pop(key)))

    def config(self) -> Config:
        if not self.is_protected:
            return Config(self.device.ctap2)
        token = self.token_for(Permission.AUTHENTICATOR_CFG)
        return Config(self.device.ctap2, self.device.pin_protocol, token)

    @precondition(lambda self: self.pin_gives_a_token or not self.is_protected)
    @rule(toggle=SELDOM, length=st.integers(3, 8), force=SELDOM)
    def configure(self, toggle: bool, length: int, force: bool) -> None:
        if toggle:
            self.config().toggle_always_uv()
            self.always_uv = not self.always_uv
            return
        code, _ = self.perform(self.config().set_min_pin_length, length, force_change_pin=force)
        if self.always_uv and not self.is_protected:
            assert code == status.PUAT_REQUIRED
        elif length < self.min_pin_length:
            assert code == status.PIN_POLICY_VIOLATION
        elif force and self.pin is None:
            assert code == status.PIN_NOT_SET
        else:
            assert code == status.SUCCESS
            self.min_pin_length = length
            self.must_change_pin = force or (self.pin is not None and len(self.pin) < length)

    @rule(content=st.binary(min_size=1, max_size=100), use_token=OFTEN)
    def write_large_blobs(self, content: bytes, use_token: bool) -> None:
        array = content + hashlib.sha256(content).digest()[:16]
        request: dict[int, Any] = {2: array, 3: 0, 4: len(array)}
        token = self.token if use_token else None
        if token is not None:
            message = b"\xff" * 32 + b"\x0c" + bytes(5) + hashlib.sha256(array).digest()
            auth = self.device.auth(token.value, message)
            request |= {5: auth["pin_uv_param"], 6: auth["pin_uv_protocol"]}
        code, _ = self.device.request(0x0C, request)
        if token is None and (self.is_protected or self.always_uv):
            assert code == status.PUAT_REQUIRED
        elif token is not None and not (
            token.lives(self.device.now) and token.permissions & Permission.LARGE_BLOB_WRITE
        ):
            assert code == status.PIN_AUTH_INVALID
        else:
            assert code == status.SUCCESS
            self.large_blobs = array
            if token is not None:
                token.used = True

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        state = self.device.store.read()
        assert bool(state.pin) == (self.pin is not None)
        assert (state.pin_retries, state.uv_retries) == (self.retries, self.uv_retries)
        assert (state.min_pin_length, state.force_pin_change) == (self.min_pin_length, self.must_change_pin)
        assert bool(state.always_uv) == self.always_uv
        assert state.large_blobs == self.large_blobs
        assert set(state.credentials) == set(self.residents.values())
        assert state.counter == self.counter
        assert self.device.request(6, {2: 1})[1] == {3: self.retries, 4: self.wrong_in_a_row == 3}


TestToken = Token.TestCase
TestToken.settings = settings(max_examples=FUZZ_EXAMPLES, stateful_step_count=60, deadline=None)
