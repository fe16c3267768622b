"""Somebody who asks the doctor, and a copy of the package that may be damaged."""

from __future__ import annotations

import compileall

import pytest
from support.doctor import Account
from support.provider_tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def account(tmp_path: Path, provider: Path) -> Account:
    folder = tmp_path / "account"
    folder.mkdir()
    return Account(folder, provider)


@pytest.fixture
def tree(tmp_path: Path, account: Account) -> Tree:
    """Return a copy of the package, of those who run the tests alone, that the account uses."""
    tree = Tree(tmp_path / "packages")
    compileall.compile_dir(tree.package, quiet=1)
    account.use(tree)
    account.provider = tree.library
    account.environment["SSH_SK_PROVIDER"] = str(tree.library)
    account.configure_ssh(f"SecurityKeyProvider {tree.library}")
    return tree
