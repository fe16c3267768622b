"""What a signature without a PIN makes Python import: it is what a person waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sk_provider

SITE_PACKAGES = Path(sk_provider.__file__).resolve().parents[1]

HEAVY = {
    "abc",
    "cryptography",
    "dataclasses",
    "enum",
    "fido2",
    "functools",
    "importlib.metadata",
    "inspect",
    "json",
    "logging",
    "os",
    "pathlib",
    "re",
    "subprocess",
    "threading",
    "typing",
}

LEAN = """
import sys
sys.path.append(sys.argv[1])
before = set(sys.modules)
from sk_provider import config, embed, operation, selection, sign, transports
from sk_provider.ctap import commands
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def test_the_lean_path_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LEAN, SITE_PACKAGES], capture_output=True, text=True, check=True, timeout=60
    )
    imported = set(done.stdout.split())
    assert "sk_provider.sign" in imported
    assert not imported & HEAVY
    assert {name for name in imported if not name.startswith("sk_provider")} <= {"__future__", "time"}
