"""The memory of responses, of which nothing may be left after a failure, and what failures are told as."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cffi
import pytest

from sk_provider import config, embed
from sk_provider.api import (
    MAJOR_AUTHDATA,
    MAJOR_OVERWRITE_QUESTION,
    MAJOR_USER_ID,
    EnrollResponse,
    ResidentKey,
    SignResponse,
)
from sk_provider.asking import hosts
from sk_provider.config import Configuration
from sk_provider.embed import _Allocations, _Boundary
from sk_provider.errors import ConfigurationError, CredentialExists, DeviceNotFound, PinRequired, Unsupported, defect
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Build = Callable[[_Allocations], object]

SK_API = Path(__file__).resolve().parents[2] / "cbuild/sk-api.h"


class Memory:
    """The C library's, and which of it is held; the allocation after so many as are allowed fails."""

    def __init__(self, ffi: Any, allowed: int | None = None) -> None:
        self._ffi = ffi
        self._libc = ffi.dlopen(None)
        self._allowed = allowed
        self.held: list[Any] = []

    def calloc(self, count: int, size: int) -> Any:
        if self._allowed is not None and len(self.held) >= self._allowed:
            return self._ffi.NULL
        self.held.append(self._libc.calloc(count, size))
        return self.held[-1]

    def free(self, pointer: Any) -> None:
        self.held.remove(pointer)  # which fails for what is not held
        self._libc.free(pointer)


@pytest.fixture(params=[0x00040000, 0x00050000, 0x00070000, 0x00090000, 0x000A0000], ids=hex)
def major(request: pytest.FixtureRequest) -> int:
    chosen: int = request.param
    return chosen


@functools.cache
def make_ffi(major: int) -> Any:
    command = ["gcc", "-E", "-P", "-DPYSK_CDEF", f"-DPYSK_API_MAJOR={major:#010x}", str(SK_API)]
    ffi = cffi.FFI()
    ffi.cdef(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    ffi.cdef("void *calloc(size_t, size_t); void free(void *);")
    return ffi


@pytest.fixture
def ffi(major: int) -> Any:
    return make_ffi(major)


def enroll_response(certificate: Any = b"certificate") -> Build:
    response = EnrollResponse(1, b"public key", b"key handle", b"signature", certificate, b"data")
    return lambda allocations: allocations.enroll_response(response)


def sign_response(counter: int = 1, sig_s: Any = b"s") -> Build:
    response = SignResponse(1, counter, b"r", sig_s)
    return lambda allocations: allocations.sign_response(response)


def resident_keys(algorithm: int = 1, application: str = "ssh:", key_handle: Any = b"key handle") -> Build:
    keys = [
        ResidentKey(1, "ssh:", 0, b"key handle", b"public key", b"user"),
        ResidentKey(algorithm, application, 0, key_handle, b"public key", b"user"),
    ]
    return lambda allocations: allocations.resident_keys(keys)


@pytest.mark.parametrize("build", [enroll_response(), sign_response(), resident_keys()])
def test_a_whole_response_is_the_hosts(ffi: Any, major: int, build: Build) -> None:
    memory = Memory(ffi)
    with _Allocations(ffi, memory, major) as allocations:
        assert build(allocations) in memory.held
    assert len(memory.held) >= 3


@pytest.mark.parametrize(
    ("build", "exception"),
    [
        (enroll_response(certificate="text"), TypeError),
        (sign_response(counter=1 << 32), OverflowError),
        (sign_response(sig_s="text"), TypeError),
        (resident_keys(algorithm=-1), OverflowError),
        (resident_keys(application="ssh:\udc80"), UnicodeEncodeError),
        (resident_keys(key_handle="text"), TypeError),
    ],
)
def test_of_a_response_that_cannot_be_told_nothing_is_left(
    ffi: Any, major: int, build: Build, exception: type[Exception]
) -> None:
    memory = Memory(ffi)
    with pytest.raises(exception), _Allocations(ffi, memory, major) as allocations:
        build(allocations)
    assert memory.held == []


@pytest.mark.parametrize("build", [enroll_response(), sign_response(), resident_keys()])
@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_of_a_response_that_there_is_no_memory_for_nothing_is_left(
    ffi: Any, major: int, build: Build, allowed: int
) -> None:
    memory = Memory(ffi, allowed)
    with pytest.raises(MemoryError), _Allocations(ffi, memory, major) as allocations:
        build(allocations)
    assert memory.held == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_no_more_files_are_no_bug_of_ours(number: int) -> None:
    assert "ulimit -n" in str(defect(OSError(number, os.strerror(number))))
    assert "as a bug" in str(defect(OSError(errno.EIO, os.strerror(errno.EIO))))


def content(ffi: Any, pointer: Any, length: int) -> bytes | None:
    """Return what a pointer of a response points to, None for NULL."""
    if pointer == ffi.NULL:
        assert length == 0
        return None
    return bytes(ffi.buffer(pointer, length))


def test_every_member_of_a_new_key_is_told(ffi: Any, major: int) -> None:
    response = EnrollResponse(0x21, b"public key", b"key handle", b"signature", b"", b"data")
    with _Allocations(ffi, Memory(ffi), major) as allocations:
        told = allocations.enroll_response(response)
    assert content(ffi, told.public_key, told.public_key_len) == b"public key"
    assert content(ffi, told.key_handle, told.key_handle_len) == b"key handle"
    assert content(ffi, told.signature, told.signature_len) == b"signature"
    assert content(ffi, told.attestation_cert, told.attestation_cert_len) is None
    assert major < MAJOR_AUTHDATA or content(ffi, told.authdata, told.authdata_len) == b"data"
    assert major < MAJOR_USER_ID or told.flags == 0x21


def test_every_member_of_a_signature_is_told(ffi: Any, major: int) -> None:
    with _Allocations(ffi, Memory(ffi), major) as allocations:
        told = allocations.sign_response(SignResponse(5, 0xFFFFFFFF, b"r", b""))
    assert (told.flags, told.counter) == (5, 0xFFFFFFFF)
    assert content(ffi, told.sig_r, told.sig_r_len) == b"r"
    assert content(ffi, told.sig_s, told.sig_s_len) is None


def test_every_member_of_a_resident_key_is_told(ffi: Any, major: int) -> None:
    keys = [ResidentKey(number, f"ssh:{number}", 4, b"handle", b"public", b"user%d" % number) for number in (1, 0)]
    with _Allocations(ffi, Memory(ffi), major) as allocations:
        array = allocations.resident_keys(keys)
    for index, number in enumerate((1, 0)):
        told = array[index]
        assert told.alg == number
        assert ffi.string(told.application) == b"ssh:%d" % number
        assert content(ffi, told.key.public_key, told.key.public_key_len) == b"public"
        assert content(ffi, told.key.key_handle, told.key.key_handle_len) == b"handle"
        assert major < MAJOR_AUTHDATA or told.flags == 4
        if major >= MAJOR_USER_ID:
            assert told.key.flags == 4
            assert content(ffi, told.user_id, told.user_id_len) == b"user%d" % number


class Host:
    """Calls the boundary as the library does for a host, and notes what the library is told."""

    def __init__(self, ffi: Any, major: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ffi = ffi
        self.major = major
        self.memory = Memory(ffi)
        self.configuration = Configuration()
        self.trusted: list[bool] = []
        self.is_privileged = 0
        self.interrupted = 0
        self.watched: list[str] = []
        self.said: list[bytes] = []
        self.logged: list[bytes] = []
        self.log_error: Exception | None = None
        self.notes: list[str] = []
        self.operation: Operation | None = None
        self.asked: Any = None
        self._kept: list[Any] = []
        self.site_packages = self.text(str(folder))
        self.boundary = _Boundary(ffi, self.lib(), major, self.notes)
        monkeypatch.setattr(config, "load", self._load)

    def lib(self) -> Any:
        return SimpleNamespace(
            calloc=self.memory.calloc,
            free=self.memory.free,
            pysk_site_packages=lambda: self.site_packages,
            pysk_is_privileged=lambda: self.is_privileged,
            pysk_watch_interrupts=lambda: self.watched.append("watch"),
            pysk_unwatch_interrupts=lambda: self.watched.append("unwatch"),
            pysk_interrupted=lambda: self.interrupted,
            pysk_is_helper=lambda: 0,
            pysk_owns_python=lambda: 0,
            pysk_write_stderr=self._say,
            pysk_log=self._log,
        )

    def _say(self, line: bytes) -> int:
        self.said.append(line)
        return 1

    def _log(self, line: bytes) -> None:
        if self.log_error is not None:
            raise self.log_error
        self.logged.append(line)

    def _load(self, *, trusts_environment: bool) -> Configuration:
        self.trusted.append(trusts_environment)
        return self.configuration

    def text(self, text: str | bytes | None) -> Any:
        if text is None:
            return self.ffi.NULL
        self._kept.append(self.ffi.new("char[]", text.encode() if isinstance(text, str) else text))
        return self._kept[-1]

    def data(self, content: bytes) -> Any:
        self._kept.append(self.ffi.new("uint8_t[]", content))
        return self._kept[-1]

    def options(self, *options: tuple[str | None, str | bytes | None, int]) -> Any:
        structs = []
        for name, value, required in options:
            struct = self.ffi.new("struct sk_option *")
            struct.name, struct.value, struct.required = self.text(name), self.text(value), required
            structs.append(struct)
        self._kept += [structs, self.ffi.new("struct sk_option *[]", [*structs, self.ffi.NULL])]
        return self._kept[-1]

    def note(self, answer: Any) -> Any:
        """Return what stands for a policy: it notes what it is asked, and answers, or raises what it is given."""

        def policy(request: Any, configuration: Configuration, operation: Operation) -> Any:
            assert configuration is self.configuration
            self.asked, self.operation = request, operation
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return policy


@pytest.fixture
def host(ffi: Any, major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(ffi, major, tmp_path, monkeypatch)


SIGNED = SignResponse(1, 7, b"r", b"s")


class Caller:
    """Asks a host's boundary for operations, with what most hosts pass unless something else is said."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self._monkeypatch = monkeypatch

    def enroll(self, answer: Any = None, **changes: Any) -> tuple[int, Any]:
        made = answer or EnrollResponse(1, b"public key", b"key handle", b"signature", b"", b"data")
        self._monkeypatch.setattr("sk_provider.enroll.enroll", self.host.note(made))
        response = self.host.ffi.new("struct sk_enroll_response **")
        arguments = {
            "algorithm": 1,
            "challenge": self.host.data(b"challenge"),
            "challenge_length": 9,
            "application": self.host.text("ssh:"),
            "flags": 0x21,
            "pin": self.host.text("1234"),
            "options": self.host.ffi.NULL,
        }
        return self.host.boundary.enroll(**(arguments | changes), response=response), response[0]

    def sign(self, answer: Any = SIGNED, **changes: Any) -> tuple[int, Any]:
        self._monkeypatch.setattr("sk_provider.sign.sign", self.host.note(answer))
        response = self.host.ffi.new("struct sk_sign_response **")
        arguments = {
            "algorithm": 0,
            "data": self.host.data(bytes(range(32))),
            "data_length": 32,
            "application": self.host.text("ssh:"),
            "key_handle": self.host.data(b"key handle"),
            "key_handle_length": 10,
            "flags": 5,
            "pin": self.host.ffi.NULL,
            "options": self.host.ffi.NULL,
        }
        return self.host.boundary.sign(**(arguments | changes), response=response), response[0]

    def list(self, answer: Any, **changes: Any) -> tuple[int, Any, int]:
        self._monkeypatch.setattr("sk_provider.resident.load_resident_keys", self.host.note(answer))
        keys = self.host.ffi.new("struct sk_resident_key ***")
        count = self.host.ffi.new("size_t *")
        arguments = {"pin": self.host.text("1234"), "options": self.host.ffi.NULL}
        status = self.host.boundary.load_resident_keys(**(arguments | changes), keys=keys, count=count)
        return status, keys[0], count[0]

    def refusal(self, **changes: Any) -> str:
        """Return the only line that a failed signature prints."""
        self.host.said.clear()
        status, response = self.sign(**changes)
        assert status == -1
        assert response == self.host.ffi.NULL
        (line,) = self.host.said
        return line.decode()


@pytest.fixture
def caller(host: Host, monkeypatch: pytest.MonkeyPatch) -> Caller:
    return Caller(host, monkeypatch)


def test_what_a_host_asks_for_a_new_key_is_read_and_answered(host: Host, caller: Caller) -> None:
    options = host.options(("user", "alice", 0), ("device", "soft:", 1))
    status, response = caller.enroll(options=options)
    assert status == 0
    assert bytes(host.ffi.buffer(response.key_handle, response.key_handle_len)) == b"key handle"
    asked = host.asked
    assert (asked.algorithm, asked.challenge, asked.application, asked.flags) == (1, b"challenge", "ssh:", 0x21)
    assert (asked.pin, asked.device, asked.user) == ("1234", "soft:", "alice")
    assert caller.enroll()[0] == 0
    assert (host.asked.device, host.asked.user) == (None, None)
    assert host.watched == ["watch", "unwatch"] * 2
    assert (host.said, host.logged, host.trusted) == ([], [], [True, True])


def test_what_a_host_asks_for_a_signature_is_read_and_answered(host: Host, caller: Caller, major: int) -> None:
    status, response = caller.sign(options=host.options(("device", "soft:", 0)))
    assert (status, response.counter) == (0, 7)
    asked = host.asked
    assert (asked.algorithm, asked.application, asked.key_handle, asked.flags) == (0, "ssh:", b"key handle", 5)
    assert (asked.pin, asked.device) == (None, "soft:")
    message = bytes(range(32))
    assert asked.message_digest == (message if major < 0x00050000 else hashlib.sha256(message).digest())
    assert (asked.read_message and asked.read_message()) == (None if major < 0x00050000 else message)


def test_only_the_oldest_hosts_pass_a_digest(host: Host, caller: Caller, major: int) -> None:
    longer = {"data": host.data(bytes(33)), "data_length": 33}
    if major >= 0x00050000:
        assert caller.sign(**longer)[0] == 0
        assert host.asked.message_digest == hashlib.sha256(bytes(33)).digest()
        assert caller.sign(data=host.ffi.NULL, data_length=0)[0] == 0
        assert host.asked.message_digest == hashlib.sha256(b"").digest()
        return
    assert caller.refusal(**longer) == (
        "libpysk: the host passed no digest; use the library for its OpenSSH: see pysk path\n"
    )


def test_what_a_host_asks_for_resident_keys_is_read_and_answered(host: Host, caller: Caller) -> None:
    keys = [ResidentKey(1, "ssh:", 0, b"key handle", b"public key", b"user") for _ in range(3)]
    status, array, count = caller.list(keys, options=host.options(("device", "soft:", 0)))
    assert (status, count) == (0, 3)
    assert host.ffi.string(array[2].application) == b"ssh:"
    assert (host.asked.pin, host.asked.device) == ("1234", "soft:")
    assert caller.list([]) == (0, host.ffi.NULL, 0)
    assert caller.list(keys, pin=host.ffi.NULL)[0] == 0
    assert host.asked.pin is None


def test_an_empty_pin_is_none(host: Host, caller: Caller) -> None:
    caller.sign(pin=host.text(""))
    assert host.asked.pin is None
    caller.sign(pin=host.text("1"))
    assert host.asked.pin == "1"


def test_what_a_host_must_pass_is_missed(host: Host, caller: Caller, major: int) -> None:
    null = host.ffi.NULL
    bug = "report this as a bug of the program that asked"
    assert caller.refusal(application=null) == f"libpysk: the host passed no application; {bug}\n"
    assert caller.refusal(key_handle=null) == f"libpysk: the host passed no key handle; {bug}\n"
    assert caller.refusal(data=null) == f"libpysk: the host passed no message; {bug}\n"
    host.said.clear()
    assert caller.enroll(challenge=null)[0] == -1
    assert host.said == [f"libpysk: the host passed no challenge; {bug}\n".encode()]
    assert caller.enroll(challenge=null, challenge_length=0)[0] == 0
    assert host.asked.challenge == b""


def test_what_is_no_text_is_told_without_what_it_is(host: Host, caller: Caller) -> None:
    remedy = "correct it, or the terminal's character set"
    for name in ("application", "pin"):
        what = "PIN" if name == "pin" else name
        assert (
            caller.refusal(**{name: host.text(b"secret\xff")}) == f"libpysk: the {what} is not UTF-8 text; {remedy}\n"
        )
    options = host.options(("device", b"secret\xff", 0))
    assert caller.refusal(options=options) == f"libpysk: the option device is not UTF-8 text; {remedy}\n"


def test_an_option_that_is_not_known_is_passed_over_unless_the_host_insists(host: Host, caller: Caller) -> None:
    others = (("verbose", "1", 0), (None, "x", 0), ("user", None, 0), ("device", "soft:", 1))
    assert caller.enroll(options=host.options(*others))[0] == 0
    assert (host.asked.device, host.asked.user) == ("soft:", None)
    for name, value in (("verbose", "1"), ("user", None)):
        options = host.options(("device", "soft:", 0), (name, value, 1))
        assert caller.refusal(options=options) == f"libpysk: the option {name} is not known here; leave it out\n"
    assert (
        caller.refusal(options=host.options((None, None, 1)))
        == "libpysk: the option  is not known here; leave it out\n"
    )


def test_a_failure_is_told_and_has_its_code(host: Host, caller: Caller) -> None:
    for error in (DeviceNotFound("it is gone", "bring it back"), Unsupported("it cannot", "use another")):
        host.said.clear()
        status, response = caller.sign(error)
        assert (status, response) == (error.code, host.ffi.NULL)
        assert host.said == [f"libpysk: {error}\n".encode()]
    assert host.watched == ["watch", "unwatch"] * 2


def test_settings_that_cannot_be_used_are_told(host: Host, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, trusts_environment: bool) -> Configuration:
        raise ConfigurationError(f"it is bad ({trusts_environment})", "mend it")

    monkeypatch.setattr(config, "load", refuse)
    assert caller.refusal() == "libpysk: it is bad (True); mend it\n"
    assert host.watched == ["unwatch"]


def test_a_privileged_host_does_not_trust_the_environment(host: Host, caller: Caller) -> None:
    host.is_privileged = 1
    caller.sign()
    assert host.trusted == [False]


def test_the_operation_is_the_settings_and_the_hosts(host: Host, caller: Caller, tmp_path: Path) -> None:
    host.configuration.timeout = 7
    caller.sign()
    assert host.operation is not None
    assert host.operation.timeout == 7
    assert not host.operation.is_set()
    host.interrupted = 1
    assert host.operation.is_set()
    host.operation.tell("touch it")
    assert host.said == [b"libpysk: touch it\n"]
    host.configuration.log_file = str(tmp_path / "log")
    caller.sign(DeviceNotFound("it is gone", "bring it back"))
    assert "it is gone; bring it back" in (tmp_path / "log").read_text()


def test_a_question_of_the_hosts_is_told_only_where_the_host_does_not_ask(
    host: Host, caller: Caller, major: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedies: list[int] = []

    def remedy_for_a_pin(api_major: int) -> str | None:
        remedies.append(api_major)
        return "use a newer OpenSSH" if api_major < MAJOR_AUTHDATA else None

    monkeypatch.setattr(hosts, "remedy_for_a_pin", remedy_for_a_pin)
    assert caller.enroll(PinRequired("it wants its PIN", "enter it"))[0] == -3
    assert (host.said, remedies) == ([], [])
    assert caller.sign(PinRequired("it wants its PIN", "enter it"))[0] == -3
    assert remedies == [major]
    told = [b"libpysk: it wants its PIN; use a newer OpenSSH\n"] if major < MAJOR_AUTHDATA else []
    assert host.said == told
    host.said.clear()
    assert caller.sign(PinRequired("it wants its PIN", "enter it"), pin=host.text("1234"))[0] == -3
    assert (host.said, remedies) == ([], [major])
    assert caller.enroll(CredentialExists("it has one", "choose another"))[0] == -5
    assert host.said == ([b"libpysk: it has one; choose another\n"] if major < MAJOR_OVERWRITE_QUESTION else [])


@pytest.mark.parametrize("error", [RuntimeError("a secret"), KeyboardInterrupt(), SystemExit(1)])
def test_what_should_not_be_raised_is_told_without_what_it_says(
    host: Host, caller: Caller, error: BaseException
) -> None:
    line = caller.refusal(answer=error)
    assert line.startswith(f"libpysk: unexpected {type(error).__name__} in ")
    assert line.endswith("; please report this as a bug of libpysk\n")
    assert "secret" not in line
    assert host.watched == ["watch", "unwatch"]


def test_what_cffi_raises_is_told(host: Host) -> None:
    error = OverflowError("a secret")
    assert host.boundary.report_defect(OverflowError, error, None) == -1
    assert host.said == [b"libpysk: unexpected OverflowError; please report this as a bug of libpysk\n"]


def test_each_note_is_logged_once_and_that_may_fail(host: Host, caller: Caller) -> None:
    host.notes.extend(["first", "second"])
    caller.sign()
    assert host.logged == [b"first", b"second"]
    assert host.notes == []
    caller.sign()
    assert len(host.logged) == 2
    host.notes.append("third")
    host.log_error = MemoryError()
    assert caller.sign()[0] == 0
    host.notes.append("fourth")
    assert caller.sign(DeviceNotFound("it is gone", "bring it back"))[0] == -4


def test_packages_without_bytecode_are_noted(host: Host, tmp_path: Path) -> None:
    assert host.notes == []
    (tmp_path / "fido2").mkdir()
    (tmp_path / "fido2" / "__init__.py").touch()
    notes: list[str] = []
    _Boundary(host.ffi, host.lib(), host.major, notes)
    (note,) = notes
    assert note.startswith("fido2 installed without compiled bytecode")


def test_nothing_of_a_response_is_left_where_there_is_no_memory_for_it(host: Host, caller: Caller) -> None:
    host.memory._allowed = 2
    assert caller.refusal() == (
        "libpysk: there is not enough memory; end some programs, or raise this one's limit (ulimit -v), and try again\n"
    )
    assert host.memory.held == []
    keys = [ResidentKey(1, "ssh:", 0, b"key handle", b"public key", b"user")]
    assert caller.list(keys)[1:] == (host.ffi.NULL, 0)
    assert caller.enroll()[1] == host.ffi.NULL
    assert host.memory.held == []


def test_the_boundary_serves_a_librarys_calls(host: Host, major: int, monkeypatch: pytest.MonkeyPatch) -> None:
    defined: dict[str, tuple[Any, dict[str, Any]]] = {}

    def def_extern(name: str, **arguments: Any) -> Callable[[Any], None]:
        return lambda function: defined.update({name: (function, arguments)})

    finders: list[Any] = [object()]
    monkeypatch.setattr(sys, "meta_path", finders)
    notes: list[str] = []
    ffi = SimpleNamespace(def_extern=def_extern, string=host.ffi.string)
    embed.attach(ffi, host.lib(), major, notes)
    assert {name: function.__name__ for name, (function, _) in defined.items()} == {
        "pysk_enroll": "enroll",
        "pysk_sign": "sign",
        "pysk_load_resident_keys": "load_resident_keys",
    }
    for function, arguments in defined.values():
        assert arguments == {"error": -1, "onerror": function.__self__.report_defect}
    assert len(finders) == 2
    assert isinstance(finders[0], embed._ImportWatch)


def test_imports_that_harm_a_host_are_watched() -> None:
    called: list[object] = []
    has_memory = [1]

    def pysk_has_memory(size: int) -> int:
        called.append(size)
        return has_memory[0]

    watch: Any = embed._ImportWatch(
        SimpleNamespace(pysk_import_signal=lambda: called.append("signal"), pysk_has_memory=pysk_has_memory)
    )
    for name in ("json", "signals", "fido2.ctap"):
        assert watch.find_spec(name) is None
    assert called == []
    watch.find_spec("signal")
    assert called == ["signal"]
    for name in ("cryptography", "fido2"):
        assert watch.find_spec(name) is None
    assert called == ["signal", 40 << 20, 40 << 20]
    has_memory[0] = 0
    with pytest.raises(MemoryError):
        watch.find_spec("fido2")
    assert watch.find_spec("json") is None


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "there is not enough memory; end some programs, or raise this one's limit (ulimit -v)"),
        (
            RuntimeError("can't start new thread"),
            "this process cannot start a thread; end some programs, or raise this one's limits (ulimit -u, ulimit -v)",
        ),
        (RuntimeError("another"), "unexpected RuntimeError; please report this"),
        (ValueError("can't start new thread"), "unexpected ValueError; please report this"),
        (OSError(errno.EMFILE, ""), "this process can open no more files; end some programs"),
        (OSError(errno.ENFILE, ""), "this process can open no more files; end some programs"),
        (OSError(errno.EINVAL, ""), "unexpected OSError; please report this"),
        (OSError(errno.ENOTTY, ""), "unexpected OSError; please report this"),
        (
            ModuleNotFoundError("a secret", name="fido2"),
            "the Python package fido2 is missing; reinstall libpysk",
        ),
    ],
)
def test_a_defect_is_told_by_what_helps(error: BaseException, sentence: str) -> None:
    assert str(defect(error)).startswith(sentence)


def test_a_defect_is_told_by_where_it_was_raised() -> None:
    def inner() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError) as caught:
        inner()
    line = inner.__code__.co_firstlineno + 1
    assert str(defect(caught.value)) == (
        f"unexpected RuntimeError in test_embed.py line {line}; please report this as a bug of libpysk"
    )
