"""The Python half of the C boundary: C structs become requests, responses become memory that the host may free."""

from __future__ import annotations

import _thread
import posix
import sys

from . import bytecode, config
from .api import (
    MAJOR_AUTHDATA,
    MAJOR_OVERWRITE_QUESTION,
    MAJOR_RAW_MESSAGE,
    MAJOR_USER_ID,
    EnrollRequest,
    ResidentRequest,
    SignRequest,
)
from .ctap import sha256
from .errors import (
    ERR_GENERAL,
    NO_DESCRIPTOR,
    CredentialExists,
    InvalidRequest,
    PinRequired,
    SecurityKeyError,
    defect,
    no_more_files,
)
from .operation import Operation
from .reporting import Reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from typing_extensions import Self

    from .api import EnrollResponse, ResidentKey, SignResponse
    from .config import Configuration

    Request = TypeVar("Request", EnrollRequest, SignRequest, ResidentRequest)
    Response = TypeVar("Response")

_KNOWN_OPTIONS = ("device", "user")

_PACKAGES = ("cryptography", "fido2")
_PACKAGES_MEMORY = 40 << 20
"""More than both take until they have done what is asked, 32 MiB; without it, cryptography ends the process."""


def attach(ffi: Any, lib: Any, api_major: int, notes: list[str]) -> None:
    """Become the implementation of a library's Python calls; ffi and lib: CFFI's view of it.

    api_major: what the library answers to sk_api_version(); notes: what is to be logged at the end of a call, once,
    which others add to.
    """
    boundary = _Boundary(ffi, lib, api_major, notes)
    for name, function in (
        ("pysk_enroll", boundary.enroll),
        ("pysk_sign", boundary.sign),
        ("pysk_load_resident_keys", boundary.load_resident_keys),
    ):
        ffi.def_extern(name, error=ERR_GENERAL, onerror=boundary.report_defect)(function)
    sys.meta_path.insert(0, _ImportWatch(lib))
    if lib.pysk_owns_python():
        # Python would print it with its values. What is _thread's now is threading's once that is imported.
        sys.unraisablehook = _thread._excepthook = boundary.report_beside  # noqa: SLF001


class _ImportWatch:
    """Stands before Python's finders (importlib.abc) because of what some modules do to the host."""

    def __init__(self, lib: Any) -> None:
        self._lib = lib

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        """Find nothing. To import signal takes SIGINT from the host, unless it is done with care.

        Raises MemoryError if there is not enough for the other packages.
        """
        if name == "signal":
            self._lib.pysk_import_signal()
        if name in _PACKAGES and not self._lib.pysk_has_memory(_PACKAGES_MEMORY):
            raise MemoryError


class _Boundary:
    """One library's calls: several builds of it may share this module in one process."""

    def __init__(self, ffi: Any, lib: Any, api_major: int, notes: list[str]) -> None:
        self._ffi = ffi
        self._lib = lib
        self._api_major = api_major
        self._notes = notes
        advice = bytecode.advice(ffi.string(lib.pysk_site_packages()).decode("utf-8", "surrogateescape"))
        if advice:
            notes.append(advice)

    def enroll(
        self,
        algorithm: int,
        challenge: Any,
        challenge_length: int,
        application: Any,
        flags: int,
        pin: Any,
        options: Any,
        response: Any,
    ) -> int:
        """Serve sk_enroll(); the arguments are sk-api.h's."""

        def run(configuration: Configuration, operation: Operation) -> None:
            known = self._options(options)
            request = EnrollRequest(
                algorithm,
                bytes(self._buffer(challenge, challenge_length, "challenge")),
                self._application(application),
                flags,
                self._pin(pin),
                known.get("device") or None,
                known.get("user"),
            )
            from .enroll import enroll

            enrolled = self._perform(enroll, request, configuration, operation)
            with _Allocations(self._ffi, self._lib, self._api_major) as allocations:
                response[0] = allocations.enroll_response(enrolled)

        return self._carry_out(run)

    def sign(
        self,
        algorithm: int,
        data: Any,
        data_length: int,
        application: Any,
        key_handle: Any,
        key_handle_length: int,
        flags: int,
        pin: Any,
        options: Any,
        response: Any,
    ) -> int:
        """Serve sk_sign(); the arguments are sk-api.h's."""

        def run(configuration: Configuration, operation: Operation) -> None:
            known = self._options(options)
            request = SignRequest(
                algorithm,
                self._message_digest(data, data_length),
                self._application(application),
                bytes(self._buffer(key_handle, key_handle_length, "key handle")),
                flags,
                self._pin(pin),
                known.get("device") or None,
                self._message(data, data_length),
            )
            from .sign import sign

            signed = self._perform(sign, request, configuration, operation)
            with _Allocations(self._ffi, self._lib, self._api_major) as allocations:
                response[0] = allocations.sign_response(signed)

        return self._carry_out(run)

    def load_resident_keys(self, pin: Any, options: Any, keys: Any, count: Any) -> int:
        """Serve sk_load_resident_keys(); the arguments are sk-api.h's."""

        def run(configuration: Configuration, operation: Operation) -> None:
            request = ResidentRequest(self._pin(pin), self._options(options).get("device") or None)
            from .resident import load_resident_keys

            found = self._perform(load_resident_keys, request, configuration, operation)
            if found:
                with _Allocations(self._ffi, self._lib, self._api_major) as allocations:
                    keys[0] = allocations.resident_keys(found)
                count[0] = len(found)

        return self._carry_out(run)

    def _carry_out(self, run: Callable[[Configuration, Operation], None]) -> int:
        """Return 0, or the code of the failure, which has then been reported."""
        reporter = self._reporter()
        try:
            configuration = config.load(trusts_environment=not self._lib.pysk_is_privileged())
            reporter.log_file = configuration.log_file
            self._lib.pysk_watch_interrupts()
            if configuration.log_level == config.LOG_LEVEL_TRACE:
                run = self._traced(run, reporter)
            run(configuration, Operation(configuration.timeout, self._lib.pysk_interrupted, reporter.tell))
        except SecurityKeyError as error:
            if self._api_major < MAJOR_OVERWRITE_QUESTION and isinstance(error, CredentialExists):
                # These hosts do not ask, so the person must learn it from us.
                error.is_question = False
            reporter.report(error if error.is_question or _can_open_files() else no_more_files())
            return error.code
        except BaseException as error:  # noqa: BLE001 - no host can do anything with it
            reporter.report(defect(error))
            return ERR_GENERAL
        finally:
            self._end_what_others_began()
            self._lib.pysk_unwatch_interrupts()
            self._log_notes(reporter)
        return 0

    def _traced(
        self, run: Callable[[Configuration, Operation], None], reporter: Reporter
    ) -> Callable[[Configuration, Operation], None]:
        """Return what carries out an operation and writes its trace to the log file."""

        def run_traced(configuration: Configuration, operation: Operation) -> None:
            from . import third_party
            from .trace import log_trace

            trace = log_trace(configuration, reporter.tell)
            operation.trace = third_party.trace = trace

            def tell(sentence: str) -> bool:
                trace(f"the person is told: {sentence}")
                return reporter.tell(sentence)

            operation.tell = tell
            trace(f"sk-api {self._api_major >> 16} is asked by {_host()}")
            try:
                run(configuration, operation)
            except SecurityKeyError as error:
                trace(f"ends with code {error.code}{', which is a question' if error.is_question else ''}: {error}")
                raise
            finally:
                third_party.trace = None
            trace("done")

        return run_traced

    def _end_what_others_began(self) -> None:
        """End the child processes that another package has left, where nobody else can have any."""
        third_party = sys.modules.get(f"{__package__}.third_party")
        if third_party is not None and third_party.was_loaded and self._lib.pysk_is_helper():
            try:
                third_party.end_children(())
            except Exception:  # noqa: BLE001, S110 - the host has its response by now
                pass

    def _log_notes(self, reporter: Reporter) -> None:
        """Log each note once; that this fails, as for want of memory, changes nothing for the host."""
        try:
            notes = self._notes[:]
            del self._notes[: len(notes)]
            for note in notes:
                reporter.log(note)
        except Exception:  # noqa: BLE001, S110 - the host has its response by now
            pass

    def _perform(
        self,
        carry_out: Callable[[Request, Configuration, Operation], Response],
        request: Request,
        configuration: Configuration,
        operation: Operation,
    ) -> Response:
        """Carry out an operation, anew with each PIN that a person is asked for here and not by the host."""
        if request.device:
            configuration.permit(request.device)

        def with_pins() -> Response:
            while True:
                try:
                    return carry_out(request, configuration, operation)
                except PinRequired as question:
                    from .pin_prompts import answer

                    if not answer(question, request, configuration, operation, self._api_major):
                        raise

        def notify(calls: list[str]) -> Callable[[], None] | None:
            from .touch_notices import show

            return show(calls, request, configuration, operation, self._api_major)

        def describe() -> str:
            from .policy import describe

            return describe(request)

        operation.notify = notify
        operation.describe = describe
        try:
            if configuration.audit_log is None:
                return with_pins()
            from .audit import recorded

            return recorded(with_pins, request, configuration, operation, self._lib.pysk_log_record)
        finally:
            # What refers to itself in a circle would stay in a host that goes on, with the PIN.
            operation.notify = operation.describe = operation.token = None

    def report_defect(self, _exception: type[BaseException], value: BaseException, _traceback: Any) -> int:
        """Report what CFFI itself has raised, or let through from the report of something else."""
        self._reporter().report(defect(value))
        return ERR_GENERAL

    def report_beside(self, failure: Any) -> None:
        """Report what was raised where nobody waits for it, such as in a thread that another package has started.

        failure: see sys.unraisablehook() and threading.excepthook().
        """
        from .third_party import blame_beside

        error = blame_beside(failure)
        if error is not None:
            self._reporter().tell(str(error))

    def _reporter(self) -> Reporter:
        """Return what writes by the library's own ways, which block no host and leave its settings of the log alone."""
        return Reporter(self._lib.pysk_write_stderr, self._lib.pysk_log)

    def _buffer(self, pointer: Any, length: int, what: str) -> Any:
        """Return the host's bytes without a copy: they are valid during the call."""
        if pointer == self._ffi.NULL:
            if length:
                raise InvalidRequest(f"the host passed no {what}", "report this as a bug of the program that asked")
            return b""
        return self._ffi.buffer(pointer, length)

    def _message_digest(self, data: Any, length: int) -> bytes:
        """Return what is to be signed. OpenSSH 8.2 passed the digest, its successors the message."""
        untrusted_message = self._buffer(data, length, "message")
        if self._api_major >= MAJOR_RAW_MESSAGE:
            return sha256(untrusted_message)
        if length != 32:
            raise InvalidRequest("the host passed no digest", "use the library for its OpenSSH: see pysk path")
        return bytes(untrusted_message)

    def _message(self, data: Any, length: int) -> Callable[[], bytes] | None:
        """Return what reads the message, where the host gives it. Few operations want more than its digest."""
        if self._api_major < MAJOR_RAW_MESSAGE:
            return None
        return lambda: bytes(self._buffer(data, length, "message"))

    def _text(self, pointer: Any, what: str) -> str:
        try:
            text: str = self._ffi.string(pointer).decode()
        except UnicodeDecodeError:
            raise InvalidRequest(
                f"the {what} is not UTF-8 text", "correct it, or the terminal's character set"
            ) from None
        return text

    def _application(self, pointer: Any) -> str:
        if pointer == self._ffi.NULL:
            raise InvalidRequest("the host passed no application", "report this as a bug of the program that asked")
        return self._text(pointer, "application")

    def _pin(self, pointer: Any) -> str | None:
        return None if pointer == self._ffi.NULL else self._text(pointer, "PIN") or None

    def _options(self, array: Any) -> dict[str, str]:
        """Return the options that we know; others are no concern of ours unless the host insists on them."""
        known: dict[str, str] = {}
        index = 0
        while array != self._ffi.NULL and array[index] != self._ffi.NULL:
            option = array[index]
            index += 1
            name = "" if option.name == self._ffi.NULL else self._ffi.string(option.name).decode(errors="replace")
            if name in _KNOWN_OPTIONS and option.value != self._ffi.NULL:
                known[name] = self._text(option.value, f"option {name}")
            elif option.required:
                raise InvalidRequest(f"the option {name} is not known here", "leave it out")
        return known


def _host() -> str:
    """Return the program that this process runs."""
    try:
        return posix.readlink("/proc/self/exe")
    except OSError:
        return "an unknown program"


def _can_open_files() -> bool:
    """Return False where whatever failed may have done so for want of a file descriptor, whatever it was told."""
    try:
        posix.close(posix.open("/", posix.O_RDONLY | posix.O_CLOEXEC))
    except OSError as error:
        return error.errno not in NO_DESCRIPTOR
    return True


class _Allocations:
    """Builds a response from the C library's memory, which the host frees; after any exception in its ``with`` block
    nothing of it is left.
    """

    def __init__(self, ffi: Any, lib: Any, api_major: int) -> None:
        self._ffi = ffi
        self._lib = lib
        self._api_major = api_major
        self._made: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception: object, value: object, traceback: object) -> None:
        if exception is not None:
            for made in self._made:
                self._lib.free(made)

    def _allocate(self, count: int, size: int) -> Any:
        pointer = self._lib.calloc(count, size)
        if pointer == self._ffi.NULL:
            raise MemoryError
        self._made.append(pointer)
        return pointer

    def _struct(self, name: str, count: int = 1) -> Any:
        return self._ffi.cast(f"{name} *", self._allocate(count, self._ffi.sizeof(name)))

    def _bytes(self, content: bytes) -> tuple[Any, int]:
        """Return pointer and length, NULL and 0 for nothing."""
        if not content:
            return self._ffi.NULL, 0
        pointer = self._allocate(len(content), 1)
        self._ffi.memmove(pointer, content, len(content))
        return self._ffi.cast("uint8_t *", pointer), len(content)

    def enroll_response(self, response: EnrollResponse) -> Any:
        struct = self._struct("struct sk_enroll_response")
        if self._api_major >= MAJOR_USER_ID:
            struct.flags = response.flags
        struct.public_key, struct.public_key_len = self._bytes(response.public_key)
        struct.key_handle, struct.key_handle_len = self._bytes(response.key_handle)
        struct.signature, struct.signature_len = self._bytes(response.signature)
        struct.attestation_cert, struct.attestation_cert_len = self._bytes(response.attestation_certificate)
        if self._api_major >= MAJOR_AUTHDATA:
            struct.authdata, struct.authdata_len = self._bytes(response.authenticator_data)
        return struct

    def sign_response(self, response: SignResponse) -> Any:
        struct = self._struct("struct sk_sign_response")
        struct.flags = response.flags
        struct.counter = response.counter
        struct.sig_r, struct.sig_r_len = self._bytes(response.sig_r)
        struct.sig_s, struct.sig_s_len = self._bytes(response.sig_s)
        return struct

    def resident_keys(self, keys: list[ResidentKey]) -> Any:
        array = self._ffi.cast("struct sk_resident_key **", self._allocate(len(keys), self._ffi.sizeof("void *")))
        for index, key in enumerate(keys):
            struct = self._struct("struct sk_resident_key")
            array[index] = struct
            struct.alg = key.algorithm
            struct.application = self._ffi.cast("char *", self._bytes(key.application.encode() + b"\0")[0])
            if self._api_major >= MAJOR_AUTHDATA:
                struct.flags = key.flags
            if self._api_major >= MAJOR_USER_ID:
                struct.user_id, struct.user_id_len = self._bytes(key.user_id)
                struct.key.flags = key.flags
            struct.key.public_key, struct.key.public_key_len = self._bytes(key.public_key)
            struct.key.key_handle, struct.key.key_handle_len = self._bytes(key.key_handle)
        return array
