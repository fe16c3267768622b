"""What a signature is for, as far as the message says that is signed. A message is untrusted, and may say anything."""

from __future__ import annotations

from sk_provider.reporting import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

UNKNOWN: Final = "unknown"
LOGIN: Final = "login"
FILE: Final = "file"
CERTIFICATE: Final = "certificate"
REVOCATION_LIST: Final = "revocation-list"
HOST_KEY: Final = "host-key"

_SSHSIG_MAGIC = b"SSHSIG"
_KRL_MAGIC = b"SSHKRL\n\0"
_USERAUTH_REQUEST = 50
_PUBLICKEY = b"publickey"
_HOSTBOUND = b"publickey-hostbound-v00@openssh.com"
_CERTIFICATE_SUFFIX = b"-cert-v01@openssh.com"
_PROVING_HOST_KEY = b"hostkeys-prove-00@openssh.com"

_MAX_SHOWN = 64
"""Characters of a name that somebody else has chosen."""
_OF_NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+/=:@[]%$"
"""What a name has in it that is shown as it is."""


class Purpose:
    """kind: LOGIN for a user authentication request, FILE for an sshsig signature, CERTIFICATE, REVOCATION_LIST,
    HOST_KEY where an sshd proves that it has its host key, else UNKNOWN.

    namespace: of FILE, as in `ssh-keygen -Y sign -n`; user: the name at the server, of LOGIN; host_key: the server's
    key, as in a .pub file, decoded, of HOST_KEY, and of LOGIN if the client binds its request to it (OpenSSH 8.9).
    What is not known is None.
    """

    __slots__ = ("host_key", "kind", "namespace", "user")

    def __init__(
        self, kind: str, *, namespace: str | None = None, user: str | None = None, host_key: bytes | None = None
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.user = user
        self.host_key = host_key

    def describe(self, host_name: str | None = None) -> str:
        """Return it in words, safe to be shown; host_name: what the user calls the server, else its fingerprint is."""
        if self.kind == LOGIN:
            where = host_name or (fingerprint(self.host_key) if self.host_key is not None else "")
            return f"login as {shown(self.user or '')}" + (f" at {shown(where)}" if where else "")
        if self.kind == FILE:
            if self.namespace in ("git", "file"):
                return f"{self.namespace} signature"
            return f"signature for {shown(self.namespace or '')}"
        words = {CERTIFICATE: "certificate", REVOCATION_LIST: "key revocation list", HOST_KEY: "proof of a host key"}
        return words.get(self.kind, "signature")


def of_message(untrusted_message: bytes) -> Purpose:
    """Return what a message, as a host gives it to be signed, is for. It is UNKNOWN if any part is not as it should be.

    RFC 4252 §7; OpenSSH's PROTOCOL, PROTOCOL.sshsig, PROTOCOL.certkeys and PROTOCOL.krl.
    """
    try:
        return _parse(untrusted_message)
    except ValueError:
        return Purpose(UNKNOWN)


def fingerprint(public_key: bytes) -> str:
    """Return a key's fingerprint as ssh-keygen prints it; public_key: as in a .pub file, decoded."""
    from base64 import b64encode

    from sk_provider.ctap import sha256

    return "SHA256:" + b64encode(sha256(public_key)).rstrip(b"=").decode()


def _parse(message: bytes) -> Purpose:
    if message.startswith(_SSHSIG_MAGIC):
        fields = _Fields(message[len(_SSHSIG_MAGIC) :])
        namespace = fields.text()
        for _ in ("reserved", "hash algorithm", "hash"):
            fields.string()
        fields.end()
        return Purpose(FILE, namespace=namespace)
    if message.startswith(_KRL_MAGIC):
        return Purpose(REVOCATION_LIST)
    fields = _Fields(message)
    first = fields.string()
    if first.endswith(_CERTIFICATE_SUFFIX):
        return Purpose(CERTIFICATE)
    if first == _PROVING_HOST_KEY:
        fields.string()
        host_key = fields.string()
        fields.end()
        return Purpose(HOST_KEY, host_key=host_key)
    return _login(fields)


def _login(fields: _Fields) -> Purpose:
    if fields.byte() != _USERAUTH_REQUEST:
        raise ValueError
    user = fields.text()
    fields.string()
    method = fields.string()
    if method not in (_PUBLICKEY, _HOSTBOUND) or fields.byte() != 1:
        raise ValueError
    for _ in ("algorithm", "public key"):
        fields.string()
    host_key = fields.string() if method == _HOSTBOUND else None
    fields.end()
    return Purpose(LOGIN, user=user, host_key=host_key)


class _Fields:
    """The fields of a message, one after the other (RFC 4251 §5). Raises ValueError for what is not there."""

    def __init__(self, message: bytes) -> None:
        self._rest = message

    def byte(self) -> int:
        return self._take(1)[0]

    def string(self) -> bytes:
        return self._take(int.from_bytes(self._take(4), "big"))

    def text(self) -> str:
        return self.string().decode()

    def end(self) -> None:
        if self._rest:
            raise ValueError

    def _take(self, length: int) -> bytes:
        taken, self._rest = self._rest[:length], self._rest[length:]
        if len(taken) < length:
            raise ValueError
        return taken


def shown(name: str) -> str:
    """Return a name that somebody else has chosen as it is safe to be shown within a sentence.

    One that could be taken for more than a name, such as "root at home", is put in quotation marks, and so is the
    beginning of one that is too long, before an ellipsis.
    """
    safe = printable(name)
    if safe and len(safe) <= _MAX_SHOWN and all(character in _OF_NAMES for character in safe):
        return safe
    beginning = safe if len(safe) <= _MAX_SHOWN else safe[: _MAX_SHOWN - 3]
    escaped = beginning.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"{"" if beginning == safe else "..."}'
