"""What is requested of a directory and what comes of it, and both as bytes, for a process that asks it: see child."""

from __future__ import annotations

import json

from sk_provider.errors import DirectoryError

from .record import RecordRefused, checked
from .settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .record import Record

LOOK_UP = "look up"
ADD = "add"
REMOVE = "remove"
REPLACE = "replace"
CHECK = "check"

MAX_ANSWER = 4 << 20
"""Bytes, of more keys than anybody has."""


class Request:
    """What is to be done: LOOK_UP or REMOVE for a user, ADD a record, REPLACE others by one, or CHECK before any of it.

    own_only: see load(); handle_digest: of the key handle of what is to be removed or replaced, "" for neither.
    """

    def __init__(
        self,
        action: str,
        url: str,
        settings: Settings,
        *,
        own_only: bool,
        user: str = "",
        record: Record | None = None,
        handle_digest: str = "",
    ) -> None:
        self.action = action
        self.url = url
        self.settings = settings
        self.own_only = own_only
        self.user = user
        self.record = record
        self.handle_digest = handle_digest


class Answer:
    """records: what was found; left_out: of how many records nothing can be used; told: a sentence about the first of
    them, or ""; removed: whether anything was, or was replaced; failure: why nothing could be done, as an error's two
    halves, or None.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.records: list[Record] = []
        self.left_out = 0
        self.told = ""
        self.removed = False
        self.failure: tuple[str, str] | None = None

    def leave_out(self, sentence: str) -> None:
        """Count a record that cannot be used, for the reason in the sentence."""
        self.left_out += 1
        self.told = self.told or sentence

    def error(self) -> DirectoryError | None:
        """Return what to raise, None if there is no failure."""
        return None if self.failure is None else DirectoryError(*self.failure)


def too_late(request: Request) -> DirectoryError:
    """Return what to raise where a directory takes longer than the settings' deadline."""
    seconds = request.settings.deadline
    return DirectoryError(
        f"{request.url} has not answered within {seconds:g} second{'' if seconds == 1 else 's'}",
        "try again, or set KeyDirectoryTimeout in pysk_config",
    )


def request_to_bytes(request: Request) -> bytes:
    """Return a request for parse_request()."""
    members = {
        **vars(request),
        "settings": {name: getattr(request.settings, name) for name in Settings.__slots__},
        "record": None if request.record is None else _to_list(request.record),
    }
    return json.dumps(members).encode()


def parse_request(content: bytes) -> Request:
    """Return what request_to_bytes() has made bytes of."""
    members = json.loads(content)
    settings = Settings(**members.pop("settings"))
    record = members.pop("record")
    return Request(settings=settings, record=None if record is None else _from_list(record), **members)


def answer_to_bytes(answer: Answer) -> bytes:
    """Return an answer for parse_answer()."""
    return json.dumps({**vars(answer), "records": [_to_list(record) for record in answer.records]}).encode()


def parse_answer(untrusted_content: bytes) -> Answer:
    """Return an answer with those records that can be used.

    Raises ValueError if it is none.
    """
    answer = Answer()
    try:
        untrusted = json.loads(untrusted_content)
        answer.told = str(untrusted["told"])
        answer.left_out = int(untrusted["left_out"])
        answer.removed = bool(untrusted["removed"])
        if untrusted["failure"] is not None:
            happened, remedy = untrusted["failure"]
            answer.failure = str(happened), str(remedy)
        for record in untrusted["records"]:
            try:
                answer.records.append(_from_list(record))
            except RecordRefused as error:
                answer.leave_out(str(error))
    except (TypeError, KeyError, RecursionError, OverflowError):
        raise ValueError from None
    return answer


def _to_list(record: Record) -> list[str | int]:
    return [
        record.user,
        record.application,
        record.algorithm,
        record.public_key.hex(),
        record.key_handle.hex(),
        record.flags,
        record.comment,
    ]


def _from_list(untrusted: Any) -> Record:
    user, application, algorithm, public_key, key_handle, flags, comment = untrusted
    return checked(user, application, algorithm, bytes.fromhex(public_key), bytes.fromhex(key_handle), flags, comment)
