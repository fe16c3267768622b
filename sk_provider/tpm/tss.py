"""The TPM 2.0 as tpm2-pytss reaches it: what is asked of it, in bytes, and what its errors mean.

Every object is below the storage primary key of the owner's hierarchy, by the ECC template of the TCG's provisioning
guidance: the persistent one, where it is that, or one that is made on demand. All that is secret on the way to the TPM
is encrypted and authenticated by a session that is salted and bound to that key, which a store knows by its name.
"""

from __future__ import annotations

import _thread
import errno
import os
import posix
import time

from sk_provider.errors import (
    AuthenticatorError,
    ConfigurationError,
    DeviceNotFound,
    PinBlocked,
    SecurityKeyError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from sk_provider.transport_api import Event

    Result = TypeVar("Result")

PERSISTENT_PRIMARY = 0x81000001
"""Where a storage primary key is kept that all programs share."""

PATIENCE = 30.0
"""Seconds in which the TPM must have carried out what it is asked: slow ones take some for a key."""
_PATIENCE_FOR_ROOM = 3.0
"""Seconds in which others must have made room in a TPM without a resource manager."""
_GRACE = 2.0
"""Seconds that a command may go on for once waiting makes no sense any more."""
_TICK = 0.1

_COUNTER_INDICES = (0x01800000, 0x01BFFFFF)
"""The NV indices that are the owner's (TCG Registry of Reserved TPM 2.0 Handles and Localities)."""
_TRIES_TO_DEFINE = 4
_TRIES_TO_CONNECT = 3
"""To a device that another program lets go between the TSS's attempt and ours."""

# Response codes, without the number of the handle, parameter or session (TPM 2.0 Part 2, §6.6.3).
_RC_AUTH_FAIL = 0x08E
_RC_BAD_AUTH = 0x0A2
_RC_HANDLE = 0x08B
_RC_INTEGRITY = 0x09F
_RC_NV_DEFINED = 0x14C
_RC_INITIALIZE = 0x100
_RC_LOCKOUT = 0x921
_OUT_OF_ROOM = (0x902, 0x903, 0x904, 0x905, 0x906)
_REFERENCES = range(0x910, 0x91F)

_LAYERS_OF_TPM = (0x00, 0x0B, 0x0C)
"""Who answers: the TPM, or its resource manager for it."""
_LAYER_OF_TCTI = 0x0A

_PT_PERMANENT = 0x200
_PT_LOCKOUT_COUNTER, _PT_MAX_AUTH_FAIL, _PT_LOCKOUT_INTERVAL, _PT_LOCKOUT_RECOVERY = 0x20E, 0x20F, 0x210, 0x211
_IN_LOCKOUT = 1 << 9

_NO_OBJECT = 0x7FFFFFFF
"""What the TSS calls no object."""

_LOG = "TSS2_LOG"
_LOG_NOTHING = "all+NONE"


# What is found at PERSISTENT_PRIMARY and does not serve.
_NONE, _ANOTHER_KEY, _ANOTHER_PRIMARY = range(3)


class WrongAuthorization(Exception):
    """What is asked takes another authorization."""


class OtherTpm(Exception):
    """What is to be loaded is below another primary key: of another TPM, or of this one before it was cleared."""


class _Taken(Exception):
    """Another program has the TPM's device, which none but one can have."""


class Tpm:
    """A TPM, by its TCTI: connected to when it is first needed, until close() or idle()."""

    def __init__(self, tcti: str, event: Event, *, is_shared: bool) -> None:
        """Name a TPM.

        tcti: the configuration of the TSS's transport, such as device:/dev/tpmrm0.
        event: ends all waiting for the TPM once it is set.
        is_shared: whether others can use the TPM while this is connected to it, for there is a resource manager.
        """
        self._tcti = tcti
        kind, _, rest = tcti.partition(":")
        self._device = rest if kind == "device" else None
        self._event = event
        self._is_shared = is_shared
        self._connection: _Connection | None = None
        self._is_stuck = False

    def primary_name(self) -> bytes:
        """Return the name of the storage primary key, 34 bytes."""
        return self._run(lambda connection: connection.primary(None)[1])

    def create_key(self, primary_name: bytes, authorization: bytes) -> bytes:
        """Make a P-256 key that signs by ECDSA with SHA-256, and return it wrapped: TPM2B_PUBLIC and TPM2B_PRIVATE."""
        return self._run(lambda connection: connection.create(primary_name, authorization, None, is_guarded=False))

    def point(self, wrapped: bytes) -> tuple[bytes, bytes]:
        """Return the coordinates of a wrapped key's public point, 32 bytes each, without asking the TPM."""
        pytss = _pytss()
        public, _ = pytss.TPM2B_PUBLIC.unmarshal(wrapped)
        point = public.publicArea.unique.ecc
        return bytes(point.x).rjust(32, b"\0"), bytes(point.y).rjust(32, b"\0")

    def sign(self, primary_name: bytes, wrapped: bytes, authorization: bytes, digest: bytes) -> bytes:
        """Return a signature of a SHA-256 by a wrapped key, the DER of r and s.

        Raises OtherTpm and WrongAuthorization.
        """
        return self._run(lambda connection: connection.sign(primary_name, wrapped, authorization, digest))

    def seal(self, primary_name: bytes, data: bytes, authorization: bytes, *, is_guarded: bool) -> bytes:
        """Have the TPM seal data (at most 128 bytes), and return that wrapped, as create_key() does.

        is_guarded: whether wrong authorizations count towards the TPM's lockout.
        """
        return self._run(lambda connection: connection.create(primary_name, authorization, data, is_guarded=is_guarded))

    def unseal(self, primary_name: bytes, wrapped: bytes, authorization: bytes) -> bytes:
        """Return the data that was sealed.

        Raises OtherTpm, WrongAuthorization, and PinBlocked if it is guarded and the TPM in lockout.
        """
        return self._run(lambda connection: connection.unseal(primary_name, wrapped, authorization))

    def tries_left(self) -> int:
        """Return how many wrong authorizations do not lock the TPM.

        Raises PinBlocked if it is locked, or would be after one more.
        """
        return self._run(lambda connection: connection.tries_left())

    def define_counter(self, primary_name: bytes, authorization: bytes) -> tuple[int, int] | None:
        """Make a counter in NV memory, and return its index and value; None if the TPM has no room or forbids it."""
        return self._run(lambda connection: connection.define_counter(primary_name, authorization))

    def increment(self, primary_name: bytes, index: int, authorization: bytes) -> int | None:
        """Increment a counter in NV memory, and return its value; None if it is not there, or somebody else's."""
        return self._run(lambda connection: connection.increment(primary_name, index, authorization))

    def undefine_counter(self, index: int) -> None:
        """Delete a counter from NV memory, as its owner."""
        self._run(lambda connection: connection.undefine_counter(index))

    def idle(self) -> None:
        """Let others have the TPM, if they cannot while this is connected to it."""
        if not self._is_shared:
            self.close()

    def close(self) -> None:
        """Let the TPM go, even if it fails: what it was wanted for is done or has failed. May be called repeatedly."""
        try:
            if self._connection is not None and not self._is_stuck:
                self._run(lambda _: self._let_go())
        except (SecurityKeyError, RuntimeError):
            # It does not answer, which whatever is asked of it next says, or there is no thread to be had.
            if not self._is_stuck:
                self._connection = None

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, function: Callable[[_Connection], Result]) -> Result:
        """Return what a function that speaks with the TPM returns, once others let it go.

        Raises SecurityKeyError, which ends the connection, and what Event.wait_for_others() raises.
        """
        taken_since = time.monotonic()
        while True:
            try:
                return self._run_now(function)
            except _Taken:
                self._event.wait_for_others(taken_since)
            time.sleep(_TICK)

    def _run_now(self, function: Callable[[_Connection], Result]) -> Result:
        """Return what a function that speaks with the TPM returns. It runs in a thread: what the TSS does may not end.

        Raises _Taken, and SecurityKeyError, which ends the connection.
        """
        if self._is_stuck:
            raise self._silent()
        pytss = _pytss()
        results: list[Result] = []
        errors: list[BaseException] = []
        done = _thread.allocate_lock()
        done.acquire()
        silence = _Silence()

        def run() -> None:
            try:
                results.append(self._speak(pytss, function))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                errors.append(error)
            silence.end()
            done.release()
            if self._is_stuck:
                # It has come too late: whoever was to close the connection has left it to this.
                self._let_go()

        silence.begin()
        try:
            _thread.start_new_thread(run, ())
            self._wait(done)
        finally:
            # Also where it may never end: the host's environment is the host's again.
            silence.end()
        if errors:
            # What is raised here and kept here as well would refer to itself, and stay.
            raise errors.pop()
        return results[0]

    def _wait(self, done: _thread.LockType) -> None:
        """Wait until the TPM has done what it was asked for.

        Raises AuthenticatorError, or what the event says, if it does not; then it is never asked again.
        """
        ends = time.monotonic() + PATIENCE
        is_over = False
        while not done.acquire(timeout=_TICK):
            if not is_over and self._event.is_set():
                is_over = True
                ends = min(ends, time.monotonic() + _GRACE)
            if time.monotonic() >= ends:
                self._is_stuck = True
                raise self._event.reason() if is_over else self._silent()

    def _silent(self) -> AuthenticatorError:
        return AuthenticatorError("the TPM does not answer", "restart the machine, or what serves the TPM")

    def _speak(self, pytss: Any, function: Callable[[_Connection], Result]) -> Result:
        ends = time.monotonic() + _PATIENCE_FOR_ROOM
        while True:
            try:
                if self._connection is None:
                    self._connection = self._connect(pytss)
                return function(self._connection)
            except pytss.TSS2_Exception as error:
                connection, self._connection = self._connection, None
                if connection is not None:
                    connection.close()  # which may be what others wait for to have room
                is_full = _code(error.rc) in _OUT_OF_ROOM
                if not is_full or time.monotonic() >= ends or self._event.is_set():
                    raise self._error_of(error.rc, was_connected=connection is not None) from None
            time.sleep(_TICK * (os.urandom(1)[0] + 1) / 256)  # and not all of them at the same time again

    def _connect(self, pytss: Any) -> _Connection:
        """Return a new connection. Raises _Taken if another program has the device, and pytss.TSS2_Exception."""
        tries = _TRIES_TO_CONNECT
        while True:
            tries -= 1
            try:
                return _Connection(pytss, self._tcti)
            except pytss.TSS2_Exception as error:
                if self._device is None or error.rc >> 16 != _LAYER_OF_TCTI:
                    raise
                # The TSS does not tell why.
                if _is_taken(self._device):
                    raise _Taken from None
                if not tries:
                    raise

    def _error_of(self, rc: int, *, was_connected: bool) -> SecurityKeyError:
        code = _code(rc)
        if rc >> 16 == _LAYER_OF_TCTI:
            if was_connected:
                return AuthenticatorError("the TPM has gone, or what serves it", "try again when it is back")
            return DeviceNotFound(f"no TPM answers at tpm:{self._tcti}", "start it, or correct the address")
        if code == _RC_LOCKOUT:
            return _locked("the TPM is locked, for there were too many wrong PINs or passwords", 0)
        if code in _OUT_OF_ROOM:
            return AuthenticatorError(
                "the TPM has no room for another key or session", "try again, or end what else uses the TPM"
            )
        if code == _RC_INITIALIZE:
            return AuthenticatorError("the TPM was not started up", "restart the machine, or what serves the TPM")
        if code in _REFERENCES:
            return AuthenticatorError("the TPM was restarted meanwhile", "try again")
        return AuthenticatorError(
            f"the TPM refuses what is asked of it (error 0x{rc:x})", "try again, or restart the machine"
        )


class _Connection:
    """A connection to a TPM, and what it has for it there. Its methods raise pytss.TSS2_Exception as well."""

    def __init__(self, pytss: Any, tcti: str) -> None:
        self._pytss = pytss
        self._esapi = pytss.ESAPI(tcti)
        try:
            # The one source file of the TSS that else reads the environment only when the TPM fails does it now: nobody
            # may be waiting by then.
            self._esapi.tr_get_name(pytss.ESYS_TR(_NO_OBJECT))
        except pytss.TSS2_Exception:
            pass
        self._primary: tuple[Any, bytes] | None = None
        self._is_transient = False
        self._persistent_key = _NONE
        self._session: Any = None

    def close(self) -> None:
        if self._session is not None:
            self.flush(self._session)
        if self._primary is not None and self._is_transient:
            self.flush(self._primary[0])
        self._esapi.close()

    def primary(self, name: bytes | None) -> tuple[Any, bytes]:
        """Return the storage primary key, and its name. Raises OtherTpm if there is none of the name that is given."""
        if self._primary is None:
            self._primary = self._persistent(name)
            self._is_transient = self._primary is None
            if self._primary is None:
                self._primary = self._create_primary()
        if name is not None and self._primary[1] != name:
            raise OtherTpm
        return self._primary

    def _create_primary(self) -> tuple[Any, bytes]:
        pytss = self._pytss
        try:
            handle, public, *_ = self._esapi.create_primary(
                pytss.TPM2B_SENSITIVE_CREATE(), pytss.TPM2B_PUBLIC(self._primary_template()), pytss.ESYS_TR.OWNER
            )
        except pytss.TSS2_Exception as error:
            if _code(error.rc) not in (_RC_AUTH_FAIL, _RC_BAD_AUTH):
                raise
            if self._persistent_key == _ANOTHER_PRIMARY:
                raise OtherTpm from None
            happened = (
                "the TPM's owner has set a password, and no ECC storage primary key of the standard template is at "
                f"0x{PERSISTENT_PRIMARY:x}"
            )
            if self._persistent_key == _ANOTHER_KEY:
                raise AuthenticatorError(
                    f"{happened}, but another key",
                    "have the owner remove the password, by tpm2_changeauth, or use another authenticator",
                ) from None
            raise AuthenticatorError(
                happened, "have the owner make one there, by tpm2_createprimary and tpm2_evictcontrol"
            ) from None
        return handle, bytes(public.get_name())

    def _persistent(self, name: bytes | None) -> tuple[Any, bytes] | None:
        """Return the persistent storage primary key, if it is there and of this name, or else of the right template."""
        pytss = self._pytss
        try:
            handle = self._esapi.tr_from_tpmpublic(PERSISTENT_PRIMARY)
        except pytss.TSS2_Exception as error:
            if _code(error.rc) != _RC_HANDLE:
                raise
            return None
        # Of what sessions with the handle are salted to: whatever is read again may be answered by somebody else.
        found = bytes(self._esapi.tr_get_name(handle))
        if found == name:
            return handle, found
        public, *_ = self._esapi.read_public(handle)
        is_standard = public.publicArea.type == pytss.TPM2_ALG.ECC and bytes(public.get_name()) == found
        if is_standard:
            template = self._primary_template()
            template.unique = public.publicArea.unique
            is_standard = template.marshal() == public.publicArea.marshal()
        if name is None and is_standard:
            return handle, found
        self._persistent_key = _ANOTHER_PRIMARY if is_standard else _ANOTHER_KEY
        return None

    def session(self, name: bytes) -> tuple[Any, Any]:
        """Return the storage primary key of a name, and a session that encrypts what goes to and fro."""
        primary, _ = self.primary(name)
        if self._session is None:
            pytss = self._pytss
            self._session = self._esapi.start_auth_session(
                tpm_key=primary,
                bind=primary,
                session_type=pytss.TPM2_SE.HMAC,
                symmetric=pytss.TPMT_SYM_DEF(
                    algorithm=pytss.TPM2_ALG.AES,
                    keyBits=pytss.TPMU_SYM_KEY_BITS(aes=128),
                    mode=pytss.TPMU_SYM_MODE(aes=pytss.TPM2_ALG.CFB),
                ),
                auth_hash=pytss.TPM2_ALG.SHA256,
            )
            attributes = pytss.TPMA_SESSION
            self._esapi.trsess_set_attributes(
                self._session, attributes.DECRYPT | attributes.ENCRYPT | attributes.CONTINUESESSION
            )
        return primary, self._session

    def create(self, name: bytes, authorization: bytes, data: bytes | None, *, is_guarded: bool) -> bytes:
        """Make a key, or seal data if there is some."""
        primary, session = self.session(name)
        pytss = self._pytss
        sensitive = pytss.TPMS_SENSITIVE_CREATE(userAuth=pytss.TPM2B_AUTH(authorization))
        if data is not None:
            sensitive.data = pytss.TPM2B_SENSITIVE_DATA(data)
        template = self._key_template() if data is None else self._data_template(is_guarded=is_guarded)
        private, public, *_ = self._esapi.create(
            primary, pytss.TPM2B_SENSITIVE_CREATE(sensitive), pytss.TPM2B_PUBLIC(template), session1=session
        )
        return bytes(public.marshal() + private.marshal())

    def sign(self, name: bytes, wrapped: bytes, authorization: bytes, digest: bytes) -> bytes:
        pytss = self._pytss
        with _Loaded(self, name, wrapped, authorization) as (key, session):
            try:
                signature = self._esapi.sign(
                    key,
                    pytss.TPM2B_DIGEST(digest),
                    pytss.TPMT_SIG_SCHEME(scheme=pytss.TPM2_ALG.NULL),
                    pytss.TPMT_TK_HASHCHECK(tag=pytss.TPM2_ST.HASHCHECK, hierarchy=pytss.TPM2_RH.NULL),
                    session1=session,
                )
            except pytss.TSS2_Exception as error:
                raise _refusal(error) from None
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        ecdsa = signature.signature.ecdsa
        return encode_dss_signature(
            int.from_bytes(bytes(ecdsa.signatureR), "big"), int.from_bytes(bytes(ecdsa.signatureS), "big")
        )

    def unseal(self, name: bytes, wrapped: bytes, authorization: bytes) -> bytes:
        with _Loaded(self, name, wrapped, authorization) as (sealed, session):
            try:
                return bytes(self._esapi.unseal(sealed, session1=session))
            except self._pytss.TSS2_Exception as error:
                raise _refusal(error) from None

    def load(self, name: bytes, wrapped: bytes, authorization: bytes) -> tuple[Any, Any]:
        """Load a wrapped object, and return it with a session."""
        primary, session = self.session(name)
        pytss = self._pytss
        try:
            public, length = pytss.TPM2B_PUBLIC.unmarshal(wrapped)
            private, _ = pytss.TPM2B_PRIVATE.unmarshal(wrapped[length:])
            loaded = self._esapi.load(primary, private, public, session1=session)
        except pytss.TSS2_Exception as error:
            if _code(error.rc) == _RC_INTEGRITY:
                raise OtherTpm from None
            raise
        self._esapi.tr_set_auth(loaded, pytss.TPM2B_AUTH(authorization))
        return loaded, session

    def flush(self, loaded: Any) -> None:
        try:
            self._esapi.flush_context(loaded)
        except self._pytss.TSS2_Exception:
            return  # it is gone, and what it was wanted for is done or has failed before

    def tries_left(self) -> int:
        values = self._properties(_PT_PERMANENT, 1) | self._properties(_PT_LOCKOUT_COUNTER, 4)
        interval = values.get(_PT_LOCKOUT_INTERVAL, 0)
        if values.get(_PT_PERMANENT, 0) & _IN_LOCKOUT:
            raise _locked("the TPM is locked, for there were too many wrong PINs or passwords", interval)
        left = values.get(_PT_MAX_AUTH_FAIL, 0) - values.get(_PT_LOCKOUT_COUNTER, 0) - 1
        if left <= 0:
            raise _locked("one more wrong PIN would lock the TPM for all that uses it", interval)
        return left

    def _properties(self, first: int, count: int) -> dict[int, int]:
        _, capability = self._esapi.get_capability(self._pytss.TPM2_CAP.TPM_PROPERTIES, first, count)
        return {int(each.property): int(each.value) for each in capability.data.tpmProperties}

    def define_counter(self, name: bytes, authorization: bytes) -> tuple[int, int] | None:
        _, session = self.session(name)
        pytss = self._pytss
        first, last = _COUNTER_INDICES
        attributes = pytss.TPMA_NV
        for _ in range(_TRIES_TO_DEFINE):
            index = first + int.from_bytes(os.urandom(4), "big") % (last - first + 1)
            public = pytss.TPMS_NV_PUBLIC(
                nvIndex=index,
                nameAlg=pytss.TPM2_ALG.SHA256,
                # Orderly: kept in RAM while the TPM has power, for the memory wears out.
                attributes=attributes.AUTHREAD
                | attributes.AUTHWRITE
                | attributes.NO_DA
                | attributes.ORDERLY
                | pytss.TPM2_NT.COUNTER << attributes.TPM2_NT_SHIFT,
                dataSize=8,
            )
            try:
                defined = self._esapi.nv_define_space(
                    pytss.TPM2B_AUTH(authorization), pytss.TPM2B_NV_PUBLIC(public), session1=session
                )
            except pytss.TSS2_Exception as error:
                if not _is_of_tpm(error.rc):
                    raise
                if _code(error.rc) == _RC_NV_DEFINED:
                    continue
                return None
            value = None
            try:
                value = self.increment(name, index, authorization)
            finally:
                if value is None:
                    # Nobody would know of it, and there is little such memory.
                    self._undefine(defined)
            return None if value is None else (index, value)
        return None

    def _undefine(self, defined: Any) -> None:
        pytss = self._pytss
        try:
            self._esapi.nv_undefine_space(defined, pytss.ESYS_TR.OWNER)
        except pytss.TSS2_Exception:
            return  # why it is wanted is told

    def undefine_counter(self, index: int) -> None:
        self._undefine(self._esapi.tr_from_tpmpublic(index))

    def increment(self, name: bytes, index: int, authorization: bytes) -> int | None:
        _, session = self.session(name)
        pytss = self._pytss
        try:
            counter = self._esapi.tr_from_tpmpublic(index)
            self._esapi.tr_set_auth(counter, pytss.TPM2B_AUTH(authorization))
            self._esapi.nv_increment(counter, counter, session1=session)
            value = bytes(self._esapi.nv_read(counter, 8, 0, counter, session1=session))
        except pytss.TSS2_Exception as error:
            if _code(error.rc) not in (_RC_HANDLE, _RC_AUTH_FAIL, _RC_BAD_AUTH):
                raise
            return None
        return int.from_bytes(value, "big")

    def _primary_template(self) -> Any:
        pytss = self._pytss
        attributes = pytss.TPMA_OBJECT
        template = self._template(
            pytss.TPM2_ALG.ECC,
            attributes.SENSITIVEDATAORIGIN | attributes.NODA | attributes.RESTRICTED | attributes.DECRYPT,
        )
        detail = template.parameters.eccDetail
        detail.symmetric.algorithm = pytss.TPM2_ALG.AES
        detail.symmetric.keyBits.aes = 128
        detail.symmetric.mode.aes = pytss.TPM2_ALG.CFB
        detail.scheme.scheme = pytss.TPM2_ALG.NULL
        detail.curveID = pytss.TPM2_ECC.NIST_P256
        detail.kdf.scheme = pytss.TPM2_ALG.NULL
        template.unique.ecc.x = template.unique.ecc.y = pytss.TPM2B_ECC_PARAMETER(bytes(32))
        return template

    def _key_template(self) -> Any:
        pytss = self._pytss
        attributes = pytss.TPMA_OBJECT
        template = self._template(
            pytss.TPM2_ALG.ECC, attributes.SENSITIVEDATAORIGIN | attributes.NODA | attributes.SIGN_ENCRYPT
        )
        detail = template.parameters.eccDetail
        detail.symmetric.algorithm = pytss.TPM2_ALG.NULL
        detail.scheme.scheme = pytss.TPM2_ALG.ECDSA
        detail.scheme.details.ecdsa.hashAlg = pytss.TPM2_ALG.SHA256
        detail.curveID = pytss.TPM2_ECC.NIST_P256
        detail.kdf.scheme = pytss.TPM2_ALG.NULL
        return template

    def _data_template(self, *, is_guarded: bool) -> Any:
        pytss = self._pytss
        template = self._template(pytss.TPM2_ALG.KEYEDHASH, 0 if is_guarded else pytss.TPMA_OBJECT.NODA)
        template.parameters.keyedHashDetail.scheme.scheme = pytss.TPM2_ALG.NULL
        return template

    def _template(self, kind: int, attributes: int) -> Any:
        pytss = self._pytss
        common = pytss.TPMA_OBJECT.FIXEDTPM | pytss.TPMA_OBJECT.FIXEDPARENT | pytss.TPMA_OBJECT.USERWITHAUTH
        return pytss.TPMT_PUBLIC(type=kind, nameAlg=pytss.TPM2_ALG.SHA256, objectAttributes=common | attributes)


class _Loaded:
    """A wrapped object while it is loaded, in a with statement, whose value is the object and a session."""

    def __init__(self, connection: _Connection, name: bytes, wrapped: bytes, authorization: bytes) -> None:
        self._connection = connection
        self._arguments = name, wrapped, authorization
        self._object: Any = None

    def __enter__(self) -> tuple[Any, Any]:
        self._object, session = self._connection.load(*self._arguments)
        return self._object, session

    def __exit__(self, *_: object) -> None:
        self._connection.flush(self._object)


class _Silence:
    """What keeps the TSS's own lines from stderr while it is asked for something; there may be several at a time.

    Each of its source files reads the environment when it has something to write for the first time, so the variable
    must be there meanwhile; afterwards the host's environment is what it was.
    """

    _lock = _thread.allocate_lock()
    _begun: set[_Silence] = set()  # noqa: RUF012 - shared, as the environment is
    _before: str | None = None

    def begin(self) -> None:
        with self._lock:
            if not self._begun:
                _Silence._before = os.environ.get(_LOG)
                os.putenv(_LOG, _LOG_NOTHING)
            self._begun.add(self)

    def end(self) -> None:
        """May be called repeatedly."""
        with self._lock:
            if self not in self._begun:
                return
            self._begun.remove(self)
            if self._begun:
                return
            if self._before is None:
                os.unsetenv(_LOG)
            else:
                os.putenv(_LOG, self._before)


def _pytss() -> Any:
    """Return tpm2-pytss. Raises ConfigurationError if it, or one of its libraries, is not installed or too old."""
    import warnings

    try:
        with warnings.catch_warnings():
            # Of what newer releases of cryptography will have no more.
            warnings.simplefilter("ignore")
            import tpm2_pytss
    except TypeError:
        # The cryptography beside it is newer than it knows.
        raise ConfigurationError(
            "the Python package tpm2-pytss is too old", "install version 2.3 or newer, which Debian has since trixie"
        ) from None
    except (ImportError, NotImplementedError, RuntimeError):
        from sk_provider.third_party import by_apt, by_pip

        raise ConfigurationError(
            "keys in a TPM need the Python package tpm2-pytss, with libtss2",
            by_apt("tpm2_pytss", "python3-tpm2-pytss")
            or f"install libtss2-dev, and then the package with: {by_pip('tpm2-pytss')}",
        ) from None
    return tpm2_pytss


def _is_taken(device: str) -> bool:
    """Return whether another program has a device, which none but one can have."""
    try:
        posix.close(posix.open(device, posix.O_RDWR | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _is_of_tpm(rc: int) -> bool:
    return rc >> 16 in _LAYERS_OF_TPM


def _code(rc: int) -> int:
    """Return what the TPM, or its resource manager, has answered, without what it is about; 0 if somebody else has."""
    if not _is_of_tpm(rc):
        return 0
    return rc & 0x0BF if rc & 0x080 else rc & 0xFFF


def _refusal(error: Any) -> Exception:
    """Return WrongAuthorization if that is what the error means, or else the error."""
    return WrongAuthorization() if _code(error.rc) in (_RC_AUTH_FAIL, _RC_BAD_AUTH) else error


def _locked(happened: str, interval: int) -> PinBlocked:
    """interval: the seconds after which the TPM forgets one wrong try, 0 if that is not known."""
    wait = f"wait {-(-interval // 60)} minutes" if interval else "wait"
    return PinBlocked(happened, f"{wait}, or have the TPM's owner run: tpm2_dictionarylockout --clear-lockout")
