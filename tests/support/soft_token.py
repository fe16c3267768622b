"""A software authenticator as python-fido2 sees a device, in the test's own process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2 import AssertionResponse, AttestationResponse, ClientPin, Config, CredentialManagement, Ctap2
from fido2.ctap2.pin import PinProtocol, PinProtocolV1, PinProtocolV2

from sk_provider.authenticator.engine import Authenticator
from sk_provider.authenticator.keeper import Keepers
from sk_provider.authenticator.presence import GRANTED, PresenceRequest
from sk_provider.authenticator.profiles import profile
from sk_provider.authenticator.store import Store
from sk_provider.ctap.cbor import decode, encode

RP_ID = "ssh:"
PIN = "1234"
ES256 = -7
EDDSA = -8
CLIENT_DATA_HASH = bytes(range(32))

# How many requests hypothesis makes up for each test of the authenticator: few, unless an hour's run asks for more.
FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))

Permission = ClientPin.PERMISSION


def refusal(call: Callable[..., object], *args: Any, **kwargs: Any) -> int:
    """The status with which a token refuses what python-fido2 asks for."""
    with pytest.raises(CtapError) as caught:
        call(*args, **kwargs)
    return int(caught.value.code)


class Person:
    """Answers each request for presence alike, and remembers them.

    meanwhile: what happens while the person is awaited.
    """

    def __init__(self) -> None:
        self.answer = GRANTED
        self.requests: list[PresenceRequest] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def __call__(self, request: PresenceRequest, event: object) -> int:
        self.requests.append(request)
        self.meanwhile()
        return self.answer

    @property
    def actions(self) -> list[str]:
        return [request.action for request in self.requests]


class Device(CtapDevice):
    """A token as python-fido2 sees it, which can be powered down and up, and with the calls that most tests make."""

    capabilities = 0  # until it is powered up

    def __init__(
        self,
        store: Store,
        person: Person,
        name: str = "fido2.1",
        make_keepers: Callable[[], Keepers] | None = None,
    ) -> None:
        self.store = store
        self._make_keepers = make_keepers
        self.person = person
        self.profile = profile(name)
        self.cycles = 0
        self.now = 1000.0
        self.reset_allowed = True
        self.power_up()

    def power_up(self) -> None:
        self.cycles += 1
        self.authenticator = Authenticator(
            self.store,
            self.person,
            self.profile,
            b"cycle %d" % self.cycles,
            lambda: self.reset_allowed,
            self._make_keepers and self._make_keepers(),
        )
        self.authenticator.power_up.clock = lambda: self.now
        self.capabilities = self.authenticator.capabilities

    def beside(self) -> Device:
        """Return what another process has of the same store, and another person there."""
        return Device(self.store, Person(), make_keepers=self._make_keepers)

    def forget_all(self) -> None:
        """Have the store begin anew, as by a reset that another process carries out."""
        power_up = self.beside().authenticator.power_up
        with self.store.transaction() as state:
            power_up.keeper(state).clear()
        power_up.keepers.idle()

    def call(self, cmd: int, data: bytes = b"", event: Any = None, on_keepalive: Any = None) -> bytes:
        try:
            return self.authenticator.call(cmd, data, event, on_keepalive)
        finally:
            # Another object of the test's is another process, which may want the TPM.
            self.authenticator.power_up.keepers.idle()

    def close(self) -> None:
        self.authenticator.close()

    @classmethod
    def list_devices(cls) -> Any:
        raise NotImplementedError

    @property
    def ctap2(self) -> Ctap2:
        return Ctap2(self)

    def request(self, command: int, parameters: object = None) -> tuple[int, Any]:
        """Send a request as it is, and return the status and what was answered."""
        data = bytes((command,)) + (b"" if parameters is None else encode(parameters))  # type: ignore[arg-type]
        answer = self.call(0x10, data)
        return answer[0], decode(answer[1:], canonical=True) if len(answer) > 1 else None

    @property
    def pin_protocol(self) -> PinProtocol:
        return PinProtocolV2() if 2 in self.profile.pin_protocols else PinProtocolV1()

    def client_pin(self, protocol: PinProtocol | None = None) -> ClientPin:
        return ClientPin(self.ctap2, protocol or self.pin_protocol)

    def agree(self, protocol: Any) -> tuple[dict[int, Any], bytes]:
        """A platform's key agreement key for the token, and the secret that they share."""
        key, secret = protocol.encapsulate(self.request(6, {1: protocol.VERSION, 2: 2})[1][1])
        return dict(key), secret

    def set_pin(self, pin: str = PIN) -> None:
        self.client_pin().set_pin(pin)

    def pin_token(self, permissions: Permission, rp_id: str | None = None, pin: str = PIN) -> bytes:
        return self.client_pin().get_pin_token(pin, permissions, rp_id)

    def auth(self, token: bytes, message: bytes = CLIENT_DATA_HASH) -> dict[str, Any]:
        """The arguments by which python-fido2's commands are authenticated."""
        return {
            "pin_uv_param": self.pin_protocol.authenticate(token, message),
            "pin_uv_protocol": self.pin_protocol.VERSION,
        }

    def make(
        self,
        rp_id: str = RP_ID,
        user_id: bytes = b"user",
        algorithm: int = ES256,
        *,
        verified: bool = False,
        **arguments: Any,
    ) -> AttestationResponse:
        if verified:
            arguments |= self.auth(self.pin_token(Permission.MAKE_CREDENTIAL, rp_id))
        return self.ctap2.make_credential(
            CLIENT_DATA_HASH,
            {"id": rp_id, "name": "an RP"},
            {"id": user_id, "name": f"name of {user_id.hex()}", "displayName": "A User"},
            [{"type": "public-key", "alg": algorithm}],
            **arguments,
        )

    def make_resident(self, rp_id: str = RP_ID, user_id: bytes = b"user", **arguments: Any) -> AttestationResponse:
        return self.make(rp_id, user_id, options={"rk": True}, verified=True, **arguments)

    def get(
        self, *credential_ids: bytes, rp_id: str = RP_ID, verified: bool = False, **arguments: Any
    ) -> AssertionResponse:
        if verified:
            arguments |= self.auth(self.pin_token(Permission.GET_ASSERTION, rp_id))
        allow_list = [descriptor(credential_id) for credential_id in credential_ids]
        self._asked = self.ctap2
        return self._asked.get_assertion(rp_id, CLIENT_DATA_HASH, allow_list or None, **arguments)

    def get_next(self) -> AssertionResponse:
        """Ask for the next assertion with nothing, such as a getInfo, in between."""
        return self._asked.get_next_assertion()

    def credential_management(self, rp_id: str | None = None) -> CredentialManagement:
        token = self.pin_token(Permission.CREDENTIAL_MGMT, rp_id)
        return CredentialManagement(self.ctap2, self.pin_protocol, token)

    def config(self) -> Config:
        return Config(self.ctap2, self.pin_protocol, self.pin_token(Permission.AUTHENTICATOR_CFG))


def credential_id(made: AttestationResponse) -> bytes:
    assert made.auth_data.credential_data is not None
    return made.auth_data.credential_data.credential_id


def descriptor(credential_id: bytes) -> Any:
    return {"type": "public-key", "id": credential_id}
