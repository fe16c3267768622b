"""What pysk_config says of directories, in a form that another process can be given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sk_provider.config import Configuration


class Settings:
    """deadline: the seconds that a directory may take; max_age: for how many seconds a cached answer is good where its
    server cannot be asked.
    """

    __slots__ = ("deadline", "max_age")

    def __init__(self, deadline: float, max_age: int) -> None:
        self.deadline = deadline
        self.max_age = max_age


def of(configuration: Configuration) -> Settings:
    """Return the settings that a configuration has."""
    return Settings(configuration.directory_timeout, configuration.directory_max_age)
