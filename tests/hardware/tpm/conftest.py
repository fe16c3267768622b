"""These tests run in a virtual machine that has a TPM 2.0, and so /dev/tpmrm0, the kernel's resource manager."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from support import vm
from support.elsewhere import Place
from support.openssh import Person
from support.swtpm import of_a_machine

# With what a TPM adds, the ACPI tables are longer than the room that QEMU leaves behind an initrd, which spoils them.
TOLD = "acpi=off tpm_tis.force=1 tpm_tis.interrupts=0"
TIMEOUT = 900  # seconds for the boot and all tests


def run(command: list[str], shared: Path) -> subprocess.CompletedProcess[str]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pysk-tpm-") as folder, of_a_machine(Path(folder)) as devices:
        return vm.run(command, shared, TIMEOUT - 60, devices, TOLD)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Place(Path(__file__).parent, run, timeout=TIMEOUT))


@pytest.fixture
def person(person: Person) -> Person:
    """Somebody who has configured no authenticator."""
    person.config.write_text("Presence auto\n")
    return person
