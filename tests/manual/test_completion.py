"""What bash, zsh and fish complete of a command that a person types."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.shells import SHELLS, Shell

PATIENCE_S = 60

# Runs pysk as a shell does that completes, and prints which files it opens, and to what it connects.
WATCHED = """
import sys
EVENTS = ("open", "socket.connect")
sys.addaudithook(lambda event, arguments: event in EVENTS and print(event, arguments, file=sys.stderr))
from sk_provider.transports import usb
usb._CLASS = sys.argv.pop(1)
from sk_provider.cli import main
main(prog_name="pysk")
"""
FIDO = bytes.fromhex("06d0f10901a1010920150026ff0075089540810209211500 26ff00750895409102c0")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, share: Path, tmp_path: Path) -> Shell:
    return Shell(request.param, share, tmp_path)


def test_commands_options_choices_addresses_and_files_are_completed(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "id_ed25519_sk").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "config").write_text("Device unix:/run/mine.sock\n")
    (tmp_path / "config").chmod(0o600)
    shell.environment["PYSK_CONFIG"] = str(tmp_path / "config")
    lines = {
        "pysk ke": "pysk keys",
        "pysk keys del": "pysk keys delete",
        "pysk keys list --al": "pysk keys list --all",
        "pysk path --api 1": "pysk path --api 10",
        "pysk serve --profile fido2.1-": "pysk serve --profile fido2.1-pre",
        "pysk serve --presence au": "pysk serve --presence auto",
        "pysk serve vpcd:1": "pysk serve vpcd:127.0.0.1:35963",
        "pysk serve stdio:m": "pysk serve stdio:messages",
        "pysk pin status so": "pysk pin status soft:",
        "pysk pin status udp:127.0": "pysk pin status udp:127.0.0.1:8111",
        "pysk reset unix:/run/mi": "pysk reset unix:/run/mine.sock",
        "pysk directory add --resident u": "pysk directory add --resident u",
        "pysk directory add --url x id_": "pysk directory add --url x id_ed25519_sk",
        "pysk directory export --output fol": "pysk directory export --output folder",
        "pysk nothing": "pysk nothing",
    }
    assert {line: shell.completed(line) for line in lines} == lines


def test_the_path_of_a_socket_is_completed(shell: Shell) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        (Path(folder) / "there").mkdir()
        (Path(folder) / ".hidden").mkdir()
        listener.bind(f"{folder}/there/key.sock")
        assert shell.completed(f"pysk reset unix:{folder}/") == f"pysk reset unix:{folder}/there"
        assert shell.completed(f"pysk reset unix:{folder}/there/k") == f"pysk reset unix:{folder}/there/key.sock"


def test_a_wrong_config_line_disturbs_no_completion(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Nonsense\n")
    (tmp_path / "config").chmod(0o600)
    shell.environment["PYSK_CONFIG"] = str(tmp_path / "config")
    assert shell.completed("pysk pin status so") == "pysk pin status soft:"


def test_connected_devices_are_offered_and_none_is_opened(tmp_path: Path) -> None:
    device = tmp_path / "hidraw7/device"
    device.mkdir(parents=True)
    (device / "report_descriptor").write_bytes(FIDO)
    (device / "uevent").write_text("HID_ID=0003:00001050:00000407\nHID_NAME=Maker\x1bToken\n")
    environment = {
        **os.environ, "_PYSK_COMPLETE": "fish_complete", "COMP_WORDS": "pysk keys list ", "COMP_CWORD": "",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, tmp_path],
        env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    offered = [line.partition("\t") for line in done.stdout.splitlines()]
    assert ("plain,/dev/hidraw7", "\t", "Maker?Token") in offered
    watched = [line for line in done.stderr.splitlines() if "/dev/" in line or line.startswith("socket.connect")]
    # A stream that is closed is opened there.
    assert [line for line in watched if os.devnull not in line] == []
    assert str(device / "report_descriptor") in done.stderr
