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
    """Deselect what is not safe with a real authenticator, or what needs one that is not there."""
    wanted = _is_safe if config.getoption("--token") is not None else _needs_none
    deselected = [item for item in items if not wanted(item)]
    if deselected:
        items[:] = [item for item in items if wanted(item)]
        config.hook.pytest_deselected(items=deselected)


def _is_safe(item: Any) -> bool:
    from .conformance import SafeConformance, TransportConformance

    fixtures = getattr(item, "fixturenames", ())
    if _FIXTURE in fixtures:
        return True
    case = getattr(getattr(item, "cls", None), item.originalname, None) if hasattr(item, "originalname") else None
    if case is None or not issubclass(item.cls, SafeConformance):
        return False
    return "token" not in fixtures and item.originalname not in vars(TransportConformance)


def _needs_none(item: Any) -> bool:
    return _FIXTURE not in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def token_in_hand(request: pytest.FixtureRequest) -> str:
    """Return the address that --token names."""
    address: str = request.config.getoption("--token")
    return address
