"""Which package it is that the tests try: the installed one, whatever else lies beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sk_provider

FILE = "import sk_provider; print(sk_provider.__file__)"


def test_the_tests_and_the_pythons_that_they_start_import_the_installed_package() -> None:
    assert Path(sk_provider.__file__).is_relative_to(sys.prefix)
    done = subprocess.run([sys.executable, "-c", FILE], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{sk_provider.__file__}\n"
