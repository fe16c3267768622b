"""What pysk_config says of directories, in a form that another process can be given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sk_provider.config import Configuration


class Settings:
    """deadline: the seconds that a directory may take; max_age: for how many seconds a cached answer is good where its
    server cannot be asked; ca: the path of the certificates by which servers are verified, None for the system's;
    cache: the path of the folder of such answers, None for none; ldap: by config.LDAP_KEYWORDS, what is said of LDAP
    servers.
    """

    __slots__ = ("ca", "cache", "deadline", "ldap", "max_age")

    def __init__(
        self,
        deadline: float,
        max_age: int,
        *,
        ca: str | None = None,
        cache: str | None = None,
        ldap: Mapping[str, str] | None = None,
    ) -> None:
        self.deadline = deadline
        self.max_age = max_age
        self.ca = ca
        self.cache = cache
        self.ldap = ldap or {}


def of(configuration: Configuration) -> Settings:
    """Return the settings that a configuration has."""
    return Settings(
        configuration.directory_timeout,
        configuration.directory_max_age,
        ca=configuration.directory_ca,
        cache=configuration.directory_cache,
        ldap=configuration.ldap,
    )
