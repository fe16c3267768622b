"""A directory that is a web server with a document for each user: https://keys.example/%u.json

`%u` is the user's name. The document is JSON:

    {
        "user": "alice",
        "keys": [
            {
                "public_key": "sk-ssh-ed25519@openssh.com AAAAGn…",
                "key_handle": "AZ3x…==",
                "options": ["verify-required"],
                "comment": "the blue token"
            }
        ]
    }

A public key is two fields of a .pub file, of which the application is part; a key handle, also called credential ID, is
in base64. What a key wants beyond a touch, or less than that, are options as in authorized_keys: `verify-required`,
`no-touch-required`. They may be left out, as may the comment. Other members are ignored.

What is answered is cached with its ETag. It is used where the server cannot be asked, for KeyDirectoryMaxAge, and
forgotten when the server has another document, or none (404, 410), or gives it to us no more (401, 403).
"""

from __future__ import annotations

import time

from sk_provider.credentials import openssh_key
from sk_provider.errors import ConfigurationError, DirectoryError

from . import cache
from .in_time import in_time
from .record import RecordRefused, checked, flags_of, from_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from http.client import HTTPSConnection

    from .record import Record
    from .settings import Settings

MAX_SIZE = 1 << 20
"""Bytes of the largest document that is read."""

_USER = "%u"
_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_SUCH_USER = (404, 410)
_REFUSED = (401, 403)
_MAX_TAG = 1024

_SHARE = 0.7
"""Of the deadline, what the server may take of it: the cached answer must be told before that."""


class _Response:
    """status: of HTTP; tag: the ETag or ""; location: where a redirect leads, or ""; content: the body."""

    def __init__(self, status: int, tag: str, location: str, content: bytes) -> None:
        self.status = status
        self.tag = tag
        self.location = location
        self.content = content


class _Place:
    """Where a document is: on which host and port, and what is asked for there."""

    def __init__(self, url: str) -> None:
        """Take a URL apart. Raises ValueError if it is none of HTTPS that we would ask."""
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or not url.isascii():
            raise ValueError
        self.host = parts.hostname
        self.port = parts.port or 443
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not self.target.isprintable() or " " in self.target:
            raise ValueError


def look_up(url: str, user: str, settings: Settings, tell: Callable[[str], object]) -> list[Record]:
    """See Kind."""
    place = _place_of(url, user)
    folder = settings.cache if settings.max_age else None
    cached = cache.recall(folder, url, user, settings.max_age)
    try:
        response = _ask(place, cached.tag if cached else "", settings)
        if response.status in _NO_SUCH_USER:
            cache.forget(folder, url, user)
            return []
        if response.status in _REFUSED:
            cache.forget(folder, url, user)
            raise _Refused(
                f"{place.host} does not give {user}'s keys to this machine (status {response.status})",
                "check there who may read them",
            )
        answer = _answer(place, response, cached)
        records, left_out = _records(answer.content, user, place.host)
    except _Refused:
        raise
    except DirectoryError as error:
        if cached is None:
            raise
        records, left_out = _records(cached.content, user, place.host)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(cached.asked_at))
        tell(f"{error.happened}, so its answer of {when} is used; {error.remedy}")
    else:
        cache.remember(folder, url, user, answer)
    for refused in left_out:
        tell(f"{place.host}: {refused.happened}, and is left out; {refused.remedy}")
    return records


class _Refused(DirectoryError):
    """The server has answered, and no earlier answer of it may take the place of this one."""


def _place_of(url: str, user: str) -> _Place:
    """Return where a user's document is, whose name can be no more than a part of a path.

    Raises ConfigurationError if the URL is not such a template, and DirectoryError if there is no such user's name.
    """
    from urllib.parse import quote, urlsplit

    if not user.strip(".") or "/" in user or "\\" in user or not user.isprintable():
        raise DirectoryError(f'"{user}" is not the name of a user in {url}', "use another name")
    try:
        if _USER not in url or _USER in urlsplit(url).netloc:
            raise ValueError
        return _Place(url.replace(_USER, quote(user, safe="")))
    except ValueError:
        raise ConfigurationError(
            f"{url} is not the URL of a key directory", "write one such as https://keys.example/%u.json"
        ) from None


def _answer(place: _Place, response: _Response, cached: cache.Answer | None) -> cache.Answer:
    """Return what the server has, which may be what it had before. Raises DirectoryError if it has answered neither."""
    now = time.time()
    if response.status == 200:
        return cache.Answer(response.content, response.tag, now)
    if response.status == 304 and cached is not None:
        return cache.Answer(cached.content, cached.tag, now)
    raise DirectoryError(f"{place.host} answered with status {response.status}", "try again, or look at its log")


def _ask(place: _Place, tag: str, settings: Settings) -> _Response:
    """Return the server's answer, and follow it where it leads on the same server.

    Raises DirectoryError if there is none in time, or none that can be used.
    """
    context = _trusted(settings.ca)
    seconds = settings.deadline * _SHARE

    def ask() -> _Response:
        where = place
        for _ in range(_MAX_REDIRECTS + 1):
            response = _request(where, tag, context, seconds)
            if response.status not in _REDIRECTS:
                return response
            where = _redirected(where, response.location)
        raise _leads_elsewhere(place)

    try:
        # What resolves names, and a server that sends a byte now and then, know no time limit that could be set.
        return in_time(ask, seconds)
    except Exception as error:  # noqa: BLE001 - whatever the server makes the library raise
        raise _error(error, place, settings) from None


def _request(place: _Place, tag: str, context: ssl.SSLContext, seconds: float) -> _Response:
    """Ask once. Raises DirectoryError if the answer is too long, and whatever the library raises."""
    from http.client import HTTPSConnection

    connection = HTTPSConnection(place.host, place.port, timeout=seconds, context=context)
    try:
        return _response(connection, place, tag)
    finally:
        connection.close()


def _response(connection: HTTPSConnection, place: _Place, tag: str) -> _Response:
    headers = {"Accept": "application/json", "User-Agent": "libpysk"}
    if tag:
        headers["If-None-Match"] = tag
    connection.request("GET", place.target, headers=headers)
    response = connection.getresponse()
    content = response.read(MAX_SIZE + 1) if response.status == 200 else b""
    if len(content) > MAX_SIZE:
        raise DirectoryError(f"{place.host} answered with more than {MAX_SIZE >> 20} MB", "shorten that document")
    untrusted_tag = response.getheader("ETag", "")
    is_sound = untrusted_tag.isascii() and untrusted_tag.isprintable() and len(untrusted_tag) <= _MAX_TAG
    return _Response(response.status, untrusted_tag if is_sound else "", response.getheader("Location", ""), content)


def _redirected(place: _Place, untrusted_location: str) -> _Place:
    """Return where a redirect leads. Raises DirectoryError if that is not the same server."""
    from urllib.parse import urljoin

    host = f"[{place.host}]" if ":" in place.host else place.host
    try:
        there = _Place(urljoin(f"https://{host}:{place.port}{place.target}", untrusted_location))
    except ValueError:
        raise _leads_elsewhere(place) from None
    if (there.host, there.port) != (place.host, place.port):
        raise _leads_elsewhere(place)
    return there


def _leads_elsewhere(place: _Place) -> DirectoryError:
    return DirectoryError(f"{place.host} redirects to another server", "write the new URL into KeyDirectory")


def _trusted(ca: str | None) -> ssl.SSLContext:
    """Return a context for servers that have a certificate of the system's authorities, or of those in a file.

    Where the system has them is what OpenSSL was built with: variables of the environment could name others.
    """
    import os
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca is not None:
            context.load_verify_locations(cafile=ca)
            return context
        paths = ssl.get_default_verify_paths()
        if os.path.isfile(paths.openssl_cafile):
            context.load_verify_locations(cafile=paths.openssl_cafile)
        if os.path.isdir(paths.openssl_capath):
            context.load_verify_locations(capath=paths.openssl_capath)
    except OSError as error:
        # An error of OpenSSL is one of these.
        raise ConfigurationError(
            f"{ca} cannot be read as certificates ({error.strerror or error})", "correct KeyDirectoryCA"
        ) from None
    return context


def _error(error: Exception, place: _Place, settings: Settings) -> DirectoryError:
    """Return what is told of a failure to get an answer."""
    import ssl

    if isinstance(error, DirectoryError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return DirectoryError(
            f"the certificate of {place.host} is not trusted ({error.verify_message})",
            "correct it, or name a file of certificate authorities with KeyDirectoryCA",
        )
    if isinstance(error, TimeoutError):
        unit = "second" if settings.deadline == 1 else "seconds"
        return DirectoryError(
            f"{place.host} did not answer within {settings.deadline:g} {unit}", "try again, or check that it is running"
        )
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "SSL").replace("_", " ").lower()
        return DirectoryError(
            f"no TLS connection to {place.host} can be made ({reason})", "check the host and port in KeyDirectory"
        )
    if isinstance(error, OSError):
        return DirectoryError(
            f"{place.host} cannot be reached ({error.strerror or type(error).__name__})", "check that it is running"
        )
    return DirectoryError(f"{place.host} does not answer like a web server ({type(error).__name__})", "look at its log")


def _records(untrusted_content: bytes, user: str, host: str) -> tuple[list[Record], list[RecordRefused]]:
    """Return the records of a document, and why others are left out.

    Raises DirectoryError if it is no document of the user's.
    """
    import json

    try:
        # Numbers are nothing in it, and one of a million digits would take its time as an integer.
        untrusted = json.loads(untrusted_content, parse_int=float)
        untrusted_user, untrusted_keys = untrusted["user"], untrusted["keys"]
        if not isinstance(untrusted_keys, list):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DirectoryError(
            f"{host} did not answer with a list of keys", "see pysk_config(5) for the format"
        ) from None
    if untrusted_user != user:
        raise DirectoryError(f"{host} answered with keys of another user than {user}", "correct that document")
    records, left_out = [], []
    for untrusted_key in untrusted_keys:
        try:
            records.append(_record(untrusted_key, user))
        except RecordRefused as error:
            left_out.append(error)
    return records, left_out


def _record(untrusted: object, user: str) -> Record:
    """Return the record of a member of a list of keys. Raises RecordRefused if it is none."""
    if not isinstance(untrusted, dict):
        raise RecordRefused("a key is not a JSON object", "correct that document")
    try:
        type_name, public_key, *_ = untrusted["public_key"].split()
        algorithm, key, application = openssh_key.parse_public_blob(from_base64(public_key))
        if openssh_key.TYPES[algorithm] != type_name:
            raise ValueError
    except (KeyError, AttributeError, ValueError):
        raise RecordRefused(
            "a key has no public key of a security key", "copy the type and the key from a .pub file"
        ) from None
    try:
        handle = from_base64(untrusted["key_handle"])
    except (KeyError, AttributeError, ValueError):
        raise RecordRefused("a key handle is not base64", "correct that key's record") from None
    options = untrusted.get("options", [])
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise RecordRefused("the options of a key are not a list of words", "correct that key's record")
    return checked(user, application, algorithm, key, handle, flags_of(options), untrusted.get("comment", ""))
