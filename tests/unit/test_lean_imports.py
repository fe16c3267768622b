"""What a signature without a PIN makes Python import: it is what a person waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sk_provider

SITE_PACKAGES = Path(sk_provider.__file__).resolve().parents[1]

# What they may take of the standard library.
ALLOWED = {"__future__", "_socket", "time"}

LEAN = """
import sys
sys.path.append(sys.argv[1])
before = set(sys.modules)
from sk_provider import config, embed, operation, sign
from sk_provider.client import selection
from sk_provider.ctap import hid, requests
from sk_provider.transports import udp, unix, usb
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def test_the_lean_path_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LEAN, SITE_PACKAGES], capture_output=True, text=True, check=True, timeout=60
    )
    imported = set(done.stdout.split())
    assert {"sk_provider.sign", "sk_provider.ctap.hid", "sk_provider.transports.usb"} <= imported
    assert {name for name in imported if name.partition(".")[0] != "sk_provider"} <= ALLOWED
    assert not [name for name in imported if "trace" in name]
