"""The record of operations: what a line says, and what happens where none can be written."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sk_provider import audit
from sk_provider.api import ALGORITHM_ED25519, EnrollRequest, EnrollResponse, ResidentRequest, SignRequest, SignResponse
from sk_provider.config import Configuration
from sk_provider.errors import ConfigurationError, PinInvalid, UnknownCommand
from sk_provider.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

GIT = b"SSHSIG" + b"".join(len(each).to_bytes(4, "big") + each for each in (b"git", b"", b"sha512", bytes(64)))
AAGUID = bytes(range(16))
SIGNED = SignResponse(0x05, 7, b"r", b"s")
ENROLLED = EnrollResponse(0x21, b"public key", b"new key", b"", b"", b"")


class Reached:
    address = 'unix:/a "token"\n'
    aaguid = AAGUID


def signing(application: str = "ssh:work", message: bytes = GIT) -> SignRequest:
    return SignRequest(ALGORITHM_ED25519, bytes(32), application, b"key", 5, "1234", None, lambda: message)


def login(user: bytes, host_key: bytes) -> bytes:
    method, rest = b"publickey-hostbound-v00@openssh.com", (b"algorithm", b"public key", host_key)
    fields = [bytes(32), user, b"ssh-connection", method, *rest]
    first, *others = [len(each).to_bytes(4, "big") + each for each in fields]
    return first + b"\x32" + b"".join(others[:3]) + b"\1" + b"".join(others[3:])


def record(
    request: Any, outcome: Any, path: str, *, is_required: bool = False, reaches: bool = True
) -> tuple[Any, list[str], list[str]]:
    """Return what an operation came to, what was told of it, and what was written to the system's log."""
    configuration = Configuration()
    configuration.audit_log, configuration.is_audit_required = path, is_required
    told: list[str] = []
    logged: list[bytes] = []
    operation = Operation(60, tell=told.append)

    def carry_out() -> Any:
        operation.token = Reached() if reaches else None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    try:
        response = audit.recorded(carry_out, request, configuration, operation, logged.append)
    except (ConfigurationError, PinInvalid, UnknownCommand, MemoryError) as error:
        response = error
    return response, told, [line.decode() for line in logged]


TIME = r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} "
DEVICE = r'device="unix:/a \"token\"?" aaguid=000102030405060708090a0b0c0d0e0f '


@pytest.mark.parametrize(
    ("request_", "outcome", "line"),
    [
        (
            signing(),
            SIGNED,
            'operation=sign purpose="git signature" application="ssh:work" key=2c70e12b7a0646f9 '
            + DEVICE
            + "flags=0x05 counter=7 outcome=ok",
        ),
        (
            signing("ssh:\x1b\n" + "é" * 1000),
            PinInvalid("wrong", "again"),
            f'operation=sign purpose="git signature" application="ssh:??{"é" * 250}" key=2c70e12b7a0646f9 '
            + DEVICE
            + "flags=- counter=- outcome=pin-invalid",
        ),
        (
            signing(message=b""),
            MemoryError(),
            'operation=sign purpose="signature" application="ssh:work" key=2c70e12b7a0646f9 '
            + DEVICE
            + "flags=- counter=- outcome=memory-error",
        ),
        (
            EnrollRequest(1, bytes(32), "ssh:", 0x21, None, None, None),
            ENROLLED,
            'operation=enroll purpose=- application="ssh:" key=812d43bf64caed9e '
            + DEVICE
            + "flags=0x21 counter=- outcome=ok",
        ),
        (
            ResidentRequest("1234", None),
            [],
            "operation=list purpose=- application=- key=- " + DEVICE + "flags=- counter=- outcome=ok",
        ),
    ],
    ids=["sign", "wrong PIN", "defect", "enroll", "list"],
)
def test_an_operation_is_a_line(tmp_path: Path, request_: Any, outcome: Any, line: str) -> None:
    log = tmp_path / "log"
    response, told, _ = record(request_, outcome, str(log))
    assert (response, told) == (outcome, [])
    (written,) = log.read_text().splitlines()
    assert re.match(TIME, written)
    assert re.sub(TIME, "", written) == line
    assert "1234" not in written
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_systems_log_has_the_same_line(tmp_path: Path) -> None:
    response, _, logged = record(signing(), SIGNED, "syslog")
    assert response is SIGNED
    assert [re.sub(TIME, "", line)[:41] for line in logged] == ['operation=sign purpose="git signature" ap']


def test_a_name_in_what_is_signed_adds_nothing_to_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    names = (b'root" at home application="x', b"root\noperation=list", b'"' * 300, b"root at home")
    for user in names:
        record(signing(message=login(user, b"host key")), SIGNED, str(log))
    line = r'time=\S+ operation=sign purpose="((?:[^"\\]|\\["\\])*)" application="ssh:work" key=.*outcome=ok'
    written = [re.fullmatch(line, each) for each in log.read_text().splitlines()]
    told = [re.sub(r"\\(.)", r"\1", match[1]).partition(" at SHA256:")[0] for match in written if match is not None]
    assert told == [
        r'login as "root\" at home application=\"x"',
        'login as "root?operation=list"',
        'login as "' + 61 * r"\"" + '"...',
        'login as "root at home"',
    ]


def test_what_has_reached_no_authenticator_is_not_recorded(tmp_path: Path) -> None:
    log = tmp_path / "log"
    record(signing(), UnknownCommand("no", "no"), str(log), reaches=False)
    assert not log.exists()


@pytest.mark.parametrize("is_required", [False, True])
def test_a_log_that_cannot_be_written_is_told_and_stops_only_what_must_be_recorded(
    tmp_path: Path, is_required: bool
) -> None:
    log = tmp_path / "nothing" / "log"
    response, told, _ = record(signing(), SIGNED, str(log), is_required=is_required)
    if is_required:
        assert isinstance(response, ConfigurationError)
        assert str(response).startswith(f"the audit log {log} cannot be written; ")
        assert told == []
    else:
        assert response is SIGNED
        assert told == [f"the audit log {log} cannot be written; make room, or correct its owner and mode"]


FULL = """
import resource, sys, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.path[:0] = {path!r}
from test_audit import SIGNED, record, signing
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
response, told, _ = record(signing(), SIGNED, {log!r}, is_required={is_required})
print(response is SIGNED, len(told))
"""


@pytest.mark.parametrize("is_required", [False, True])
def test_a_full_disk_is_told_once(tmp_path: Path, is_required: bool) -> None:
    assert resource.RLIMIT_FSIZE
    code = FULL.format(path=[str(Path(__file__).parent)], log=str(tmp_path / "log"), is_required=is_required)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(not is_required), str(int(not is_required))]
    assert os.path.getsize(tmp_path / "log") == 0


def test_what_must_be_recorded_is_not_done_where_it_cannot_be(tmp_path: Path) -> None:
    configuration = Configuration()
    configuration.audit_log, configuration.is_audit_required = str(tmp_path / "nothing" / "log"), True
    done: list[bool] = []
    with pytest.raises(ConfigurationError, match="cannot be written"):
        audit.recorded(lambda: done.append(True), signing(), configuration, Operation(60), lambda _: None)
    assert not done
