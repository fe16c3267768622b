"""The authenticator whose keys are in a TPM: its address, its answers, and what ends its waiting."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from fido2.attestation import PackedAttestation
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin, Ctap2
from support.swtpm import Manager, Swtpm, failure

from sk_provider import config
from sk_provider.authenticator.state import PIN_RETRIES
from sk_provider.config import Configuration
from sk_provider.ctap import status
from sk_provider.errors import (
    AuthenticatorError,
    ConfigurationError,
    CredentialNotFound,
    DeviceNotFound,
    PinBlocked,
    SecurityKeyError,
    StoreUnusable,
    TimedOut,
)
from sk_provider.operation import Operation
from sk_provider.tpm import tss
from sk_provider.transports import tpm as transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sk_provider.transports.soft import SoftChannel

pytestmark = pytest.mark.slow

HASH = bytes(32)
PIN = "1234"
# TPM 2.0 Part 2, §6.5.2
LOAD, SIGN, UNSEAL, READ_PUBLIC = 0x157, 0x15D, 0x15E, 0x173
NV_DEFINE_SPACE, NV_INCREMENT, FLUSH_CONTEXT = 0x12A, 0x134, 0x165
# §6.6.3: of the first handle, and of the TPM
NO_INDEX, OUT_OF_SESSIONS = 0x18B, 0x903


@pytest.fixture(scope="module")
def tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with Swtpm(tmp_path_factory.mktemp("tpm")) as tpm:
        yield tpm


@pytest.fixture
def location(manager: Manager, tmp_path: Path) -> str:
    return f"{manager.tcti}@{tmp_path}/store"


def opened(location: str, *, seconds: int = 30, may_create: bool = True, may_reset: bool = False) -> SoftChannel:
    configuration = Configuration()
    configuration.presence = "auto"
    return transport.open(location, configuration, Operation(seconds), may_create=may_create, may_reset=may_reset)


def client(channel: SoftChannel) -> Ctap2:
    return Ctap2(channel)  # type: ignore[arg-type]  # it needs no more than a channel has


def make(ctap2: Ctap2, **arguments: Any) -> Any:
    return ctap2.make_credential(
        HASH, {"id": "ssh:"}, {"id": b"user", "name": "user"}, [{"type": "public-key", "alg": -7}], **arguments
    )


def get(ctap2: Ctap2, made: Any, **arguments: Any) -> Any:
    listed: Any = [{"type": "public-key", "id": made.auth_data.credential_data.credential_id}]
    return ctap2.get_assertion("ssh:", HASH, listed, **arguments)


def by_pin(ctap2: Ctap2, pin: str, permission: ClientPin.PERMISSION) -> dict[str, Any]:
    client_pin = ClientPin(ctap2)
    token = client_pin.get_pin_token(pin, permission, "ssh:")
    return {
        "pin_uv_param": client_pin.protocol.authenticate(token, HASH),
        "pin_uv_protocol": client_pin.protocol.VERSION,
    }


def test_a_key_attests_itself_and_its_signatures_verify(location: str) -> None:
    channel = opened(location)
    ctap2 = client(channel)
    assert ctap2.info.versions == ["FIDO_2_0", "FIDO_2_1"]
    assert ctap2.info.algorithms == [{"alg": -7, "type": "public-key"}]
    assert ctap2.info.transports == ["internal"]
    made = make(ctap2)
    assert "x5c" not in made.att_stmt
    PackedAttestation().verify(made.att_stmt, made.auth_data, HASH)
    assertion = get(ctap2, made)
    assertion.verify(HASH, made.auth_data.credential_data.public_key)
    assert assertion.auth_data.counter > made.auth_data.counter
    channel.close()


def test_a_key_handle_tells_nothing_of_the_key(location: str) -> None:
    made = make(client(opened(location)))
    data = made.auth_data.credential_data
    x, y = data.public_key[-2], data.public_key[-3]
    for part in (x[:8], y[:8]):
        assert part not in data.credential_id
    assert len(data.credential_id) <= 640


def test_a_key_that_wants_its_user_verified_is_not_signed_with_without_the_pin(location: str, tmp_path: Path) -> None:
    channel = opened(location)
    ctap2 = client(channel)
    ClientPin(ctap2).set_pin(PIN)
    made = make(ctap2, extensions={"credProtect": 3})
    with pytest.raises(CtapError) as caught:
        get(ctap2, made)
    assert caught.value.code == status.NO_CREDENTIALS
    get(ctap2, made, **by_pin(ctap2, PIN, ClientPin.PERMISSION.GET_ASSERTION)).verify(
        HASH, made.auth_data.credential_data.public_key
    )
    channel.close()
    # Whoever has the store, and takes the checks away, still has nothing that the TPM would take.
    from sk_provider.authenticator.store import Store
    from sk_provider.ctap import sha256
    from sk_provider.ctap.status import StatusError
    from sk_provider.tpm.keeper import TpmKeepers
    from sk_provider.tpm.state import TpmState

    keepers = TpmKeepers(tss.Tpm(transport.tcti_of(location), Operation(30), is_shared=False), str(tmp_path), "reset")
    state = Store.open(f"{tmp_path}/store", TpmState).read()
    key = keepers(state).open(made.auth_data.credential_data.credential_id, sha256(b"ssh:"))
    assert key is not None
    with pytest.raises(StatusError):
        key.sign(b"message")
    with pytest.raises(StatusError):
        _ = key.cred_random_uv
    key.cred_protect = 1
    with pytest.raises(SecurityKeyError, match="is damaged"):
        key.sign(b"message")
    keepers.forget()


def test_hmac_secret_differs_with_verification_and_stays_through_another_pin(location: str) -> None:
    channel = opened(location)
    ctap2 = client(channel)
    ClientPin(ctap2).set_pin(PIN)
    made = make(ctap2, extensions={"hmac-secret": True})

    def secret(**arguments: Any) -> bytes:
        client_pin = ClientPin(ctap2)
        agreement, shared = client_pin._get_shared_secret()  # type: ignore[no-untyped-call]
        salt = client_pin.protocol.encrypt(shared, bytes(32))
        extension = {
            1: agreement, 2: salt, 3: client_pin.protocol.authenticate(shared, salt), 4: client_pin.protocol.VERSION
        }  # fmt: skip
        found = get(ctap2, made, extensions={"hmac-secret": extension}, **arguments)
        return client_pin.protocol.decrypt(shared, found.auth_data.extensions["hmac-secret"])

    without = secret()
    verified = secret(**by_pin(ctap2, PIN, ClientPin.PERMISSION.GET_ASSERTION))
    ClientPin(ctap2).change_pin(PIN, "another")
    assert secret() == without
    assert secret(**by_pin(ctap2, "another", ClientPin.PERMISSION.GET_ASSERTION)) == verified != without
    channel.close()


def test_a_reset_forgets_keys_and_pin_and_the_counter_goes_on(location: str) -> None:
    channel = opened(location)
    ctap2 = client(channel)
    ClientPin(ctap2).set_pin(PIN)
    made = make(ctap2)
    channel.close()
    channel = opened(location)
    with pytest.raises(CtapError) as caught:
        client(channel).reset()
    assert caught.value.code == status.NOT_ALLOWED
    channel.close()
    channel = opened(location, may_reset=True)
    client(channel).reset()
    channel.close()
    channel = opened(location)
    ctap2 = client(channel)
    assert not ctap2.info.options["clientPin"]
    with pytest.raises(CtapError) as caught:
        get(ctap2, made)
    assert caught.value.code == status.NO_CREDENTIALS
    assert make(ctap2).auth_data.counter > made.auth_data.counter
    channel.close()


def test_a_counter_that_somebody_deleted_is_made_anew_and_never_goes_back(
    location: str, tpm: Swtpm, tmp_path: Path
) -> None:
    from tpm2_pytss.constants import ESYS_TR

    from sk_provider.authenticator.store import Store
    from sk_provider.tpm.state import TpmState

    channel = opened(location)
    ctap2 = client(channel)
    made = make(ctap2)
    before = [get(ctap2, made).auth_data.counter for _ in range(3)][-1]
    channel.close()
    state = Store.open(f"{tmp_path}/store", TpmState).read()
    assert isinstance(state, TpmState)
    with tpm.esapi() as esapi:
        esapi.nv_undefine_space(esapi.tr_from_tpmpublic(state.counter_index), ESYS_TR.OWNER)
    channel = opened(location)
    assert get(client(channel), made).auth_data.counter > before
    channel.close()


NV_INCREMENT = 0x134


@pytest.mark.parametrize(("code", "more"), [(0x101, 0), (0x902, 1)], ids=["refused", "no room for a moment"])
def test_a_counter_that_does_not_count_is_not_left_in_the_tpm(
    location: str, manager: Manager, tpm: Swtpm, code: int, more: int
) -> None:
    before = indices(tpm)
    refused: list[bytes] = []

    def refuse_first(command: bytes) -> bytes | None:
        if int.from_bytes(command[6:10], "big") != NV_INCREMENT or refused:
            return None
        refused.append(command)
        return failure(code)

    manager.answer = refuse_first
    try:
        opened(location).close()
    except AuthenticatorError:
        assert not more
    assert refused
    assert len(indices(tpm)) == len(before) + more


def test_a_counter_that_no_store_knows_of_is_not_left_in_the_tpm(
    location: str, manager: Manager, tpm: Swtpm, tmp_path: Path
) -> None:
    before = indices(tpm)
    # What a store is written to first.
    in_the_way = tmp_path / "store" / "state.new"
    in_the_way.mkdir(parents=True)
    with pytest.raises(StoreUnusable, match="cannot be written: File exists"):
        opened(location)
    assert indices(tpm) == before
    in_the_way.rmdir()
    channel = opened(location)
    made = make(client(channel))
    (counter,) = set(indices(tpm)) - set(before)
    in_the_way.mkdir()

    def lose(_: bytes) -> None:
        manager.answer = lambda _: None
        delete(tpm, counter)

    manager.answer = lose
    with pytest.raises(StoreUnusable, match="cannot be written: File exists"):
        get(client(channel), made)
    assert indices(tpm) == before
    in_the_way.rmdir()
    get(client(channel), made)
    assert len(indices(tpm)) == len(before) + 1
    channel.close()


def test_a_reset_leaves_no_counter_in_the_tpm_that_the_store_does_not_know_of(
    location: str, manager: Manager, tpm: Swtpm, tmp_path: Path
) -> None:
    before = indices(tpm)
    fail(manager, NV_DEFINE_SPACE)
    opened(location).close()
    manager.answer = lambda _: None
    in_the_way = tmp_path / "store" / "state.new"
    in_the_way.mkdir()
    channel = opened(location, may_reset=True)
    with pytest.raises(StoreUnusable, match="cannot be written: File exists"):
        client(channel).reset()
    assert indices(tpm) == before
    in_the_way.rmdir()
    client(channel).reset()
    assert len(indices(tpm)) == len(before) + 1
    channel.close()


def test_a_tpm_that_is_cleared_at_any_command_of_a_reset_is_told_and_a_second_one_succeeds(
    location: str, manager: Manager, tpm: Swtpm, tmp_path: Path
) -> None:
    opened(location).close()
    state = tmp_path / "store" / "state"
    told: list[str] = []
    number = total = 1
    while number <= total:
        channel = opened(location, may_reset=True)
        content, manager.commands = state.read_bytes(), 0

        def clear(_: bytes, number: int = number) -> bytes | None:
            """Have it connected to anew, and cleared by then."""
            if manager.commands != number:
                return None
            tpm.clear()
            return failure(OUT_OF_SESSIONS)

        manager.answer = clear
        try:
            client(channel).reset()
        except SecurityKeyError as error:
            told.append(str(error))
            assert state.read_bytes() == content
        total = manager.commands
        number += 1
        manager.answer = lambda _: None
        client(channel).reset()
        channel.close()
    assert {each.partition(";")[0] for each in told} <= {
        "the TPM was cleared meanwhile",
        "the TPM was restarted meanwhile",
    }
    assert len(told) > 1


def delete(tpm: Swtpm, index: int) -> None:
    """Have the TPM's owner delete what is defined in its NV memory."""
    from tpm2_pytss.constants import ESYS_TR

    with tpm.esapi() as esapi:
        esapi.nv_undefine_space(esapi.tr_from_tpmpublic(index), ESYS_TR.OWNER)


def indices(tpm: Swtpm) -> list[int]:
    """Return what is defined in the TPM's NV memory."""
    from tpm2_pytss.constants import TPM2_CAP

    with tpm.esapi() as esapi:
        _, capability = esapi.get_capability(TPM2_CAP.HANDLES, 0x01000000, 254)
        return [int(each) for each in capability.data.handles]


def test_a_tpm_that_does_not_answer_is_given_up(
    location: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(location).close()
    monkeypatch.setattr(tss, "PATIENCE", 0.5)
    hang(manager, 3)
    with pytest.raises(AuthenticatorError, match="the TPM does not answer"):
        opened(location)


def test_waiting_for_a_tpm_ends_with_the_operation(
    location: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(location).close()
    monkeypatch.setattr(tss, "_GRACE", 0.2)
    hang(manager, 3)
    with pytest.raises(TimedOut):
        opened(location, seconds=1)


def hang(manager: Manager, seconds: float) -> None:
    def wait(_: bytes) -> bytes:
        time.sleep(seconds)
        return failure(0x101)

    manager.answer = wait


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_tpm_that_was_cleared_when_it_is_to_count_is_told(
    location: str, tpm: Swtpm, manager: Manager, *, is_lost: bool
) -> None:
    channel = opened(location)
    made = make(client(channel))
    # A counter that is lost is made anew. A TPM that has no room is connected to anew: then it was cleared.
    answers = [NO_INDEX, OUT_OF_SESSIONS] if is_lost else [OUT_OF_SESSIONS]

    def answer(sent: bytes) -> bytes | None:
        if sent[6:10] != NV_INCREMENT.to_bytes(4, "big") or not answers:
            return None
        if len(answers) == 1:
            tpm.clear()
        return failure(answers.pop(0))

    manager.answer = answer
    with pytest.raises(StoreUnusable, match="or was cleared since"):
        get(client(channel), made)
    channel.close()


def test_a_tpm_that_hangs_when_it_is_let_go_spoils_nothing(
    location: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = opened(location)
    monkeypatch.setattr(tss, "PATIENCE", 0.5)

    def wait(sent: bytes) -> None:
        if sent[6:11] == FLUSH_CONTEXT.to_bytes(4, "big") + b"\x02":  # of a session
            time.sleep(1)

    manager.answer = wait
    make(client(channel))
    channel.close()


def test_a_session_that_the_tpm_fails_to_forget_keeps_no_key_there(location: str, manager: Manager) -> None:
    channel = opened(location)
    flushed: list[int] = []

    def refuse(sent: bytes) -> bytes | None:
        if sent[6:10] != FLUSH_CONTEXT.to_bytes(4, "big"):
            return None
        flushed.append(sent[10])
        return failure(0x101)

    manager.answer = refuse
    make(client(channel))
    channel.close()
    assert flushed[-2:] == [0x02, 0x80]  # the types of handles, of an HMAC session and of a transient object


def test_a_tpm_that_vanishes_at_any_command_is_told_and_nothing_is_lost(location: str, manager: Manager) -> None:
    channel = opened(location)
    made = make(client(channel))
    channel.close()
    manager.commands = 0
    channel = opened(location)
    get(client(channel), made)
    total = manager.commands
    channel.close()
    assert total > 5
    told = []
    for number in range(1, total + 1):

        def vanish(_: bytes, number: int = number) -> None:
            if manager.commands >= number:
                raise OSError

        manager.commands = 0
        manager.answer = vanish
        refused = []
        try:
            channel = opened(location)
            try:
                get(client(channel), made)
            finally:
                channel.close()
        except SecurityKeyError as error:
            refused.append(str(error))
        # That something cannot be forgotten any more, for it is gone, is no failure.
        told.append(refused)
    assert all("TPM" in each for refused in told for each in refused)
    assert sum(map(len, told)) > total / 2
    manager.answer = lambda _: None
    channel = opened(location)
    get(client(channel), made).verify(HASH, made.auth_data.credential_data.public_key)
    channel.close()


def fail(manager: Manager, command: int) -> None:
    manager.answer = lambda sent: failure(0x101) if sent[6:10] == command.to_bytes(4, "big") else None


def test_a_pin_that_the_tpm_failed_to_try_costs_nothing(location: str, manager: Manager, tmp_path: Path) -> None:
    from sk_provider.authenticator.store import Store
    from sk_provider.tpm.state import TpmState

    channel = opened(location)
    client_pin = ClientPin(client(channel))
    client_pin.set_pin(PIN)
    for command in (LOAD, UNSEAL):
        fail(manager, command)
        with pytest.raises(AuthenticatorError, match="the TPM refuses"):
            client_pin.get_pin_token(PIN)
        state = Store.open(f"{tmp_path}/store", TpmState).read()
        assert (state.pin_retries, state.pin_wrong_in_a_row) == (PIN_RETRIES, 0)
    manager.answer = lambda _: None
    with pytest.raises(CtapError):
        client_pin.get_pin_token("9999")
    state = Store.open(f"{tmp_path}/store", TpmState).read()
    assert (state.pin_retries, state.pin_wrong_in_a_row) == (PIN_RETRIES - 1, 1)
    channel.close()


def test_a_resident_key_stays_if_the_tpm_fails_to_replace_it(location: str, manager: Manager) -> None:
    channel = opened(location)
    ctap2 = client(channel)
    made = make(ctap2, options={"rk": True})
    fail(manager, SIGN)
    with pytest.raises(AuthenticatorError, match="the TPM refuses"):
        make(ctap2, options={"rk": True})
    manager.answer = lambda _: None
    get(ctap2, made).verify(HASH, made.auth_data.credential_data.public_key)
    channel.close()


def test_no_session_is_salted_to_another_key_than_the_one_that_the_store_knows(tmp_path: Path) -> None:
    from tpm2_pytss import TPM2B_ECC_PARAMETER, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE
    from tpm2_pytss.constants import ESYS_TR

    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    others = 0x81000002
    with Swtpm(tmp_path / "tpm") as tpm, Manager(tpm) as manager:
        with tpm.esapi() as esapi:
            for handle, unique in ((tss.PERSISTENT_PRIMARY, bytes(32)), (others, b"another")):
                template = TPM2B_PUBLIC.parse("ecc256:aes128cfb", objectAttributes=attributes)
                point = template.publicArea.unique.ecc
                point.x, point.y = TPM2B_ECC_PARAMETER(unique), TPM2B_ECC_PARAMETER(unique)
                key, *_ = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), template, ESYS_TR.OWNER)
                esapi.evict_control(ESYS_TR.OWNER, key, handle)
                esapi.flush_context(key)
        asked: list[bytes] = []

        def substitute(sent: bytes) -> bytes | None:
            """Answer with the other key when the persistent one's public half is first asked for."""
            if sent[6:10] != READ_PUBLIC.to_bytes(4, "big"):
                return None
            asked.append(sent)
            return tpm.send(sent[:10] + others.to_bytes(4, "big")) if len(asked) == 1 else None

        manager.answer = substitute
        location = f"{manager.tcti}@{tmp_path}/store"
        for _ in ("a new store", "one that is there"):
            asked.clear()
            channel = opened(location)
            make(client(channel))
            channel.close()
            assert asked


def test_the_environment_of_the_host_is_what_it_was(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "all+ERROR"):
        if before is None:
            monkeypatch.delenv("TSS2_LOG", raising=False)
        else:
            monkeypatch.setenv("TSS2_LOG", before)
        opened(location).close()
        found = subprocess.run(["printenv", "TSS2_LOG"], capture_output=True, text=True, check=False).stdout.strip()
        assert (found or None) == before


OPENING = """
import sys
from sk_provider.config import Configuration
from sk_provider.errors import SecurityKeyError
from sk_provider.operation import Operation
from sk_provider.transports import tpm
for location in sys.argv[1:]:
    try:
        tpm.open(location, Configuration(), Operation(30), may_create=False)
    except SecurityKeyError as error:
        print(error.happened)
"""


def test_nothing_of_the_tss_is_on_stderr(location: str, manager: Manager) -> None:
    opened(location).close()
    manager.answer = lambda _: failure(0x101)
    nowhere = f"swtpm:host=127.0.0.1,port=1@{location.partition('@')[2]}"
    # In a process of its own: what the TSS has once been told to say it goes on to say.
    done = subprocess.run(
        [sys.executable, "-c", OPENING, location, nowhere], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == [
        "the TPM refuses what is asked of it (error 0x101)",
        "no TPM answers at tpm:swtpm:host=127.0.0.1,port=1",
    ]
    assert done.stderr == ""


def test_a_key_handle_is_signed_by_the_store_that_made_it(location: str, tmp_path: Path) -> None:
    channel = opened(location)
    made = make(client(channel)).auth_data.credential_data.credential_id
    channel.close()
    configuration, operation = Configuration(), Operation(30)
    held = transport.open_holder(made, [location], configuration, operation)
    assert held is not None
    assert held[0] == location
    held[1].close()
    elsewhere = f"{location.partition('@')[0]}@{tmp_path}/none"
    with pytest.raises(CredentialNotFound, match="neither this machine's"):
        transport.open_holder(made, [elsewhere], configuration, operation)


@pytest.mark.parametrize("tcti", ["cmd:sh", "/tmp/library.so.0", "libtpms:", "pcap:x", "device", "device:/dev/sda",
                                  "device:/dev/tpm/../sda", "swtpm:" + 100 * "x"])  # fmt: skip
def test_what_would_run_or_open_something_else_is_no_address(tcti: str) -> None:
    if tcti.startswith("/"):
        assert transport.tcti_of(tcti) == "device:/dev/tpmrm0"  # a store's path
        tcti = f"libtss2{tcti}"
    for call in (transport.tcti_of, transport.store_path, transport.discover):
        with pytest.raises(ConfigurationError, match="is not a TPM's"):
            call(tcti)


def test_each_tcti_has_a_store_of_its_own_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (config, transport):
        monkeypatch.setattr(module, "home_directory", lambda: str(tmp_path))
    folder = f"{tmp_path}/.local/share/pysk"
    assert transport.store_path("") == transport.store_path("device:/dev/tpmrm0") == f"{folder}/tpm"
    assert transport.store_path("device:/dev/tpm0") == f"{folder}/tpm-device%3A%2Fdev%2Ftpm0"
    assert transport.store_path("~/store") == transport.store_path("device:/dev/tpm0@~/store") == f"{tmp_path}/store"
    with pytest.raises(ConfigurationError, match="has no absolute path"):
        transport.store_path("device:/dev/tpm0@store")


def test_wrong_pins_end_before_lockout_and_the_tries_that_are_left_are_told(tmp_path: Path) -> None:
    with Swtpm(tmp_path / "tpm") as tpm, Manager(tpm) as manager:
        location = f"{manager.tcti}@{tmp_path}/store"
        channel = opened(location)
        client_pin = ClientPin(client(channel))
        client_pin.set_pin(PIN)
        assert client_pin.get_pin_retries()[0] == 2
        with pytest.raises(CtapError) as caught:
            client_pin.get_pin_token("9999")
        assert caught.value.code == status.PIN_INVALID
        assert client_pin.get_pin_retries()[0] == 1
        client_pin.get_pin_token(PIN)
        with pytest.raises(CtapError):
            client_pin.get_pin_token("9999")
        for pin in ("9999", PIN):
            with pytest.raises(PinBlocked, match="one more wrong PIN would lock the TPM"):
                client_pin.get_pin_token(pin)
        channel.close()


def test_a_tpm_of_an_older_version_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_SYSFS", str(tmp_path))
    location = f"device:/dev/tpmrm9@{tmp_path}/store"
    with pytest.raises(DeviceNotFound, match=r"there is no TPM 2\.0 at /dev/tpmrm9; switch it on"):
        opened(location)
    (tmp_path / "tpm_version_major").write_text("1\n")
    with pytest.raises(AuthenticatorError, match=r"the machine's TPM is of version 1\.2, which"):
        opened(location)
    assert not (tmp_path / "store" / "state").exists()


def test_without_tpm2_pytss_it_is_named(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(location).close()
    monkeypatch.setitem(sys.modules, "tpm2_pytss", None)
    with pytest.raises(ConfigurationError, match=r"keys in a TPM need .* tpm2-pytss.*; .*pip install tpm2-pytss$"):
        opened(location)
