"""The public keys that were seen with certainty, in a small file: so that of several tokens none can lie about a key.

The file begins with a line that says what it is, and has a line for each key, the newest last: the SHA-256 of
application and key handle, sk-api's number of the algorithm, and the public key, in hexadecimal. Nothing in it is
secret. Whatever is wrong with it means that nothing is known; a file that is not one of these is left alone.
"""

from __future__ import annotations

import posix

from sk_provider.ctap import sha256

_HEADER = "# libpysk: public keys of security keys, version 1"
_MAX_KEYS = 500
_MAX_SIZE = 200_000
"""Bytes, more than so many keys take."""


def recall(path: str | None, application: str, key_handle: bytes) -> tuple[int, bytes] | None:
    """Return sk-api's number of the algorithm, and the public key as sk-api has it; None if they are not known.

    path: the file's, None where nothing is remembered.
    """
    if path is None:
        return None
    name = _name(application, key_handle)
    for line in reversed(_read(path) or ()):
        words = line.split()
        if len(words) == 3 and words[0] == name:
            try:
                return int(words[1]), bytes.fromhex(words[2])
            except ValueError:
                return None
    return None


def remember(
    path: str | None, keys: list[tuple[str, bytes, int, bytes]], forgotten: tuple[str, bytes] | None = None
) -> None:
    """Add keys, by application, key handle, algorithm and public key, and forget the oldest if there are too many.

    forgotten: the application and key handle of one that goes. Nothing is raised: what is not remembered is not known.
    """
    if path is None or not keys:
        return
    try:
        _add(
            path,
            [f"{_name(application, handle)} {algorithm} {key.hex()}" for application, handle, algorithm, key in keys],
            _name(*forgotten) if forgotten is not None else None,
        )
    except Exception:  # noqa: BLE001 - the keys are made, and must not be lost to whatever is wrong with the file
        return


def _add(path: str, added: list[str], forgotten: str | None) -> None:
    from . import whole_file  # which who recalls a key does not want

    folder = path.rpartition("/")[0] or "/"
    whole_file.make_folders(folder)
    lock = whole_file.lock(folder)
    try:
        lines = _read(path)
        if lines is None:
            return
        kept = [line for line in lines if line not in added and line.partition(" ")[0] != forgotten] + added
        if kept != lines:
            whole_file.replace(path, "\n".join([_HEADER, *kept[-_MAX_KEYS:], ""]).encode())
    finally:
        posix.close(lock)


def _name(application: str, key_handle: bytes) -> str:
    return sha256(sha256(application.encode("utf-8", "surrogateescape")) + key_handle).hex()


def _read(path: str) -> list[str] | None:
    """Return the lines of the keys, [] if there is no file or nothing in it, and None if it is none of only ours."""
    flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
    try:
        descriptor = posix.open(path, flags)
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        return None
    try:
        status = posix.fstat(descriptor)
        if status.st_mode & 0o170022 != 0o100000 or status.st_uid != posix.geteuid():
            return None
        content = posix.read(descriptor, _MAX_SIZE)
    except OSError:
        return None
    finally:
        posix.close(descriptor)
    try:
        header, *lines = content.decode("ascii").split("\n")
    except UnicodeDecodeError:
        return None
    return [line for line in lines if line] if header == _HEADER or not content else None
