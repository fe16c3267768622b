"""A host that has more rights than whoever started it: its environment is not believed, and nothing is quoted."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.openssh import provider_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a program that has its rights")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody can enter, as a test's own folder is not."""
    with tempfile.TemporaryDirectory(prefix="pysk-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def privileged(folder: Path) -> Path:
    """An ssh-keygen with the rights of root, which its helper inherits."""
    program = folder / "ssh-keygen"
    shutil.copy(str(shutil.which("ssh-keygen")), program)
    os.chmod(program, 0o4755)
    return program


def enroll(program: Path, library: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Have nobody enroll a key on a software authenticator."""
    store = f"device=soft:{program.parent}/store"
    return subprocess.run(
        [program, "-t", "ed25519-sk", "-w", library, "-O", store, "-N", "", "-f", program.with_name("id")],
        env={"PATH": "/usr/bin:/bin", **variables},
        user=NOBODY, group=NOBODY, extra_groups=[], stdin=subprocess.DEVNULL, start_new_session=True,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_no_line_of_a_file_is_quoted_that_the_caller_may_not_read(
    privileged: Path, library: Path, folder: Path
) -> None:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("a secret line\n")
    done = enroll(privileged, library, PYSK_CONFIG=str(secret))
    assert "secret" not in done.stderr + done.stdout
    (line,) = provider_lines(done.stderr)
    assert "nobody can be asked to confirm" in line  # as without the variable


def test_no_program_of_the_callers_is_run(privileged: Path, library: Path, folder: Path) -> None:
    ran = folder / "ran"
    askpass = folder / "askpass"
    askpass.write_text(f"#!/bin/sh\nid >{ran}\n")
    askpass.chmod(0o755)
    config = folder / "pysk_config"
    config.write_text("Presence ask\n")
    config.chmod(0o644)
    variables = {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    done = enroll(privileged, library, PYSK_CONFIG=str(config), **variables)
    assert "nobody can be asked to confirm" in done.stderr
    assert not ran.exists()


def test_a_system_wide_line_is_named_and_not_quoted() -> None:
    from sk_provider import config
    from sk_provider.errors import ConfigurationError

    with tempfile.NamedTemporaryFile("w") as file:
        file.write("\nnonsense secret\n")
        file.flush()
        configuration = config.Configuration()
        configuration.trusts_environment = False
        with pytest.raises(ConfigurationError) as caught:
            config._Reader(configuration, file.name, is_limited=False).read(Path(file.name).read_text())
    assert str(caught.value) == f"{file.name} line 2 cannot be used; correct the line"
