"""A plugin for pytest, of which nothing is loaded unless somebody names it: the option --token ADDRESS.

With it only those tests run that are safe with a person's own authenticator: the cases of SafeConformance, and what
takes the fixture token_in_hand. Without it, the latter do not run. A conftest.py may name it for all tests below:

    pytest_plugins = ["sk_provider.testing.plugin"]
"""

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIXTURE = "token_in_hand"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --token."""
    parser.addoption(
        "--token",
        metavar="ADDRESS",
        help="run the tests that are safe with a real authenticator, and no others, with this one, such as usb:",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not safe with a real authenticator, or what needs one where there is none."""
    address = config.getoption("--token")
    selected: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    for item in items:
        runs = not _takes_one(item) if address is None else _takes_one(item) or _is_safe(item, address)
        (selected if runs else deselected).append(item)
    if deselected:
        items[:] = selected
        config.hook.pytest_deselected(items=deselected)


def _takes_one(item: pytest.Item) -> bool:
    return _FIXTURE in getattr(item, "fixturenames", ())


def _is_safe(item: Any, address: str) -> bool:
    """Return whether a test is one of the cases that are safe, of a transport that reaches an address."""
    from sk_provider.transports import split

    from .conformance import SafeConformance

    kind = getattr(item, "cls", None)
    if kind is None or not issubclass(kind, SafeConformance) or kind.scheme != split(address)[0]:
        return False
    inherited = getattr(SafeConformance, item.originalname, None)
    return inherited is not None and getattr(kind, item.originalname) is inherited


@pytest.fixture(scope="session")
def token_in_hand(request: pytest.FixtureRequest) -> str:
    """Return the address that --token names."""
    address: str = request.config.getoption("--token")
    return address
