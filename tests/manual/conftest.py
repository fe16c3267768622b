"""What `python -m sk_provider.cli.manual` writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, "-m", "sk_provider.cli.manual", folder], check=True, timeout=60)
    return folder
