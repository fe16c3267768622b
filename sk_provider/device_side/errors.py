"""Why a server cannot begin, or cannot go on."""

from __future__ import annotations

from sk_provider.errors import SecurityKeyError


class ServeError(SecurityKeyError):
    """What happened, and what the person who started the server can do about it."""
