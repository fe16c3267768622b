"""Why a server cannot begin, or cannot go on."""

from __future__ import annotations


class ServeError(Exception):
    """What happened, as a sentence for the person who started the server."""
