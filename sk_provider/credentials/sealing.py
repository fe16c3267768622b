"""Key handles sealed under a passphrase: their format, which is written into people's key files and permanent.

    "sealpysk" (8) | version 1 (1) | KDF 1 (1) | log2 N (1) | r (1) | p (1) | layout (1) | length (2) | salt (16) |
    what the layout leaves in clear | what it seals, XOR key stream
    length: of the key handle, big-endian
    key stream: scrypt (RFC 7914) of the passphrase, UTF-8 in Normalization Form C, with as salt three SSH strings (RFC
    4251 §5): all from the mark to the salt, the application, and the algorithm as OpenSSH calls it

There is no tag and no padding: every passphrase opens a sealed key handle to some key handle, and only the
authenticator knows which is its own. So that nothing else tells, what anyone can guess of a key handle is no part of
what is sealed: a layout says where authenticators of a kind put it. Such bytes are left out where they follow from the
layout and the application, and left in clear elsewhere.

The key stream comes from scrypt itself, whose last step is made for output of any length (PBKDF2 of one round): a
cipher under a derived key would add a nonce, a choice and an import, and keep nothing better.
"""

from __future__ import annotations

from sk_provider.api import SEALED_MARK
from sk_provider.ctap import sha256
from sk_provider.errors import InvalidRequest, Unsupported

from .openssh_key import TYPES, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

MARK: Final = SEALED_MARK
VERSION: Final = 1
_KDF_SCRYPT: Final = 1
_SALT_LENGTH: Final = 16
_HEADER_LENGTH: Final = len(MARK) + 8 + _SALT_LENGTH

MAX_KEY_HANDLE: Final = 1023
"""Bytes of the longest one that CTAP allows by default (CTAP 2.1 §6.4, maxCredentialIdLength)."""

_MAX_MEMORY: Final = 256 << 20
"""Bytes."""
_MAX_WORK: Final = 1 << 22
"""N · r · p, eight times that of COST."""


class Cost:
    """The parameters of scrypt (RFC 7914 §2): N is two to the power of log2_n."""

    __slots__ = ("log2_n", "p", "r")

    def __init__(self, log2_n: int, r: int, p: int) -> None:
        self.log2_n = log2_n
        self.r = r
        self.p = p

    @property
    def memory(self) -> int:
        """The bytes that it takes."""
        return 128 * self.r << self.log2_n

    def is_affordable(self, least: Cost) -> bool:
        """Return whether it is worth no less than another, and takes no more than a file's content may ask for."""
        if not (1 <= self.log2_n <= 24 and 1 <= self.r <= 32 and 1 <= self.p <= 32):
            return False
        if self.log2_n >= 16 * self.r:
            return False  # which is none of scrypt's (RFC 7914 §6)
        return least.memory <= self.memory <= _MAX_MEMORY and self.p * self.r << self.log2_n <= _MAX_WORK


COST: Final = Cost(16, 8, 1)
"""64 MiB. Of new ones, and the least that is opened: with less, whoever has made up a sealed key handle could learn the
passphrase that was entered for it from what the authenticator is asked for then, where they see that, too."""


class _Clear:
    """Bytes that stay in clear."""

    def __init__(self, length: int) -> None:
        self.length = length


class _Sealed:
    """Bytes that nobody can guess."""

    def __init__(self, length: int) -> None:
        self.length = length


if TYPE_CHECKING:
    _Parts = list[bytes | _Clear | _Sealed]


class Layout:
    """How authenticators of a kind put their key handles together.

    number: what sealed key handles call it, permanent; name: in words; is_certain: whether nobody is known to tell
    what is sealed of one from random bytes; parts: returns the parts, in order, of a key handle of so many bytes for
    an application with this SHA-256: those that follow from that are bytes. Raises ValueError if none has this length.
    """

    def __init__(
        self, number: int, name: str, parts: Callable[[int, bytes], _Parts], *, is_certain: bool = True
    ) -> None:
        self.number = number
        self.name = name
        self.is_certain = is_certain
        self._parts = parts

    def cut(self, key_handle: bytes, application: str) -> tuple[bytes, bytes] | None:
        """Return what stays in clear of a key handle, and what is to be sealed; None if it is of another layout."""
        clear = sealed = b""
        try:
            parts = self._parts(len(key_handle), sha256(application.encode()))
        except ValueError:
            return None
        for part in parts:
            if isinstance(part, bytes):
                if not key_handle.startswith(part):
                    return None
                key_handle = key_handle[len(part) :]
                continue
            if isinstance(part, _Clear):
                clear += key_handle[: part.length]
            else:
                sealed += key_handle[: part.length]
            key_handle = key_handle[part.length :]
        return clear, sealed

    def lengths(self, length: int) -> tuple[int, int]:
        """Return how many bytes of a key handle of this length stay in clear, and how many are sealed.

        Raises ValueError if none has this length.
        """
        parts = self._parts(length, bytes(32))
        return (
            sum(part.length for part in parts if isinstance(part, _Clear)),
            sum(part.length for part in parts if isinstance(part, _Sealed)),
        )

    def put_back(self, length: int, clear: bytes, unsealed: bytes, application: str) -> bytes:
        """Return the key handle of which cut() has returned these, or would have."""
        whole = b""
        for part in self._parts(length, sha256(application.encode())):
            if isinstance(part, bytes):
                whole += part
            elif isinstance(part, _Clear):
                whole, clear = whole + clear[: part.length], clear[part.length :]
            else:
                whole, unsealed = whole + unsealed[: part.length], unsealed[part.length :]
        return whole


def _unknown(length: int, _rp_id_hash: bytes) -> _Parts:
    return [_Sealed(length)]


def _soft(length: int, _rp_id_hash: bytes) -> _Parts:
    """See authenticator.key_handle: mark and version, the store's id, and what AES-GCM has made, with its nonce."""
    if length != 146:
        raise ValueError
    return [b"pysk\x01", _Clear(16), _Sealed(125)]


def _solo(length: int, rp_id_hash: bytes) -> _Parts:
    """Both have a tag and a nonce (16 each), 2 bytes, SHA-256 of the RP ID, and 4 bytes.

    CanoKey's 2 bytes are flags, and Solo's are random; the 4 bytes are CanoKey's algorithm, and Solo's counter. Older
    firmware leaves out the 2 bytes, and CanoKey's first one the 4 as well.
    """
    if length not in (64, 68, 70):
        raise ValueError
    return [_Sealed(32), *([_Clear(2)] if length == 70 else []), rp_id_hash, *([_Clear(4)] if length > 64 else [])]


def _pico_fido(length: int, _rp_id_hash: bytes) -> _Parts:
    """Version, nonce (12), what ChaCha20-Poly1305 has made, and in newer ones another tag.

    Where the chip keeps no key of its own, that tag's is made of the board's serial number, which USB tells everybody.
    """
    if length < 4 + 12 + 16 + 16:
        raise ValueError
    return [b"\xf1\xd0\x02", _Clear(1), _Sealed(length - 4)]


def _opensk(length: int, _rp_id_hash: bytes) -> _Parts:
    """Version, initialization vector (16), what AES-CBC has made (192), and HMAC-SHA256."""
    if length != 241:
        raise ValueError
    return [b"\x01", _Sealed(240)]


def _trussed(length: int, _rp_id_hash: bytes) -> _Parts:
    """CBOR, a map: what ChaCha8-Poly1305 has made, its nonce (12) and its tag (16)."""
    ciphertext = length - 36
    if 24 <= ciphertext < 256:
        header = b"\x58" + bytes((ciphertext,))
    else:
        ciphertext -= 1
        if not 256 <= ciphertext <= MAX_KEY_HANDLE:
            raise ValueError
        header = b"\x59" + ciphertext.to_bytes(2, "big")
    return [b"\xa3\x00" + header, _Sealed(ciphertext), b"\x01\x4c", _Sealed(12), b"\x02\x50", _Sealed(16)]


def _tpm(length: int, _rp_id_hash: bytes) -> _Parts:
    """See tpm.key_handle: mark and version, the store's id, and what AES-GCM has made, with its nonce."""
    if not 21 + 12 + 16 < length <= MAX_KEY_HANDLE:
        raise ValueError
    return [b"ptpm\x01", _Clear(16), _Sealed(length - 21)]


UNKNOWN: Final = Layout(0, "unknown", _unknown, is_certain=False)
_LAYOUTS: Final = (
    Layout(1, "libpysk's software authenticator", _soft),
    Layout(2, "Solo or CanoKey", _solo),
    Layout(3, "Pico FIDO", _pico_fido, is_certain=False),
    Layout(4, "OpenSK", _opensk),
    Layout(5, "Nitrokey 3 or Solo 2", _trussed),
    Layout(6, "libpysk's keys in a TPM", _tpm),
    UNKNOWN,
)
"""The first that a key handle fits is its own. The numbers are permanent."""


class SealedKeyHandle:
    """A sealed key handle whose form is right, and whose key stream may be derived.

    layout: of the key handle; key_stream_length: how many bytes open it.
    """

    def __init__(
        self, header: bytes, cost: Cost, layout: Layout, length: int, body: bytes, application: str, algorithm: int
    ) -> None:
        self.layout = layout
        clear_length, self.key_stream_length = layout.lengths(length)
        if len(body) != clear_length + self.key_stream_length:
            raise ValueError
        self._header = header
        self._cost = cost
        self._length = length
        self._clear, self._sealed = body[:clear_length], body[clear_length:]
        self._application = application
        self._algorithm = algorithm

    def key_stream(self, passphrase: str) -> bytes:
        """Return what opens it, if the passphrase is right. Raises Unsupported where Python has no scrypt."""
        return _key_stream(
            passphrase, self._header, self._cost, self._application, self._algorithm, self.key_stream_length
        )

    def open(self, key_stream: bytes) -> bytes:
        """Return the key handle, or another one if the key stream is another one's."""
        unsealed = _xor(self._sealed, key_stream)
        return self.layout.put_back(self._length, self._clear, unsealed, self._application)


def is_sealed(key_handle: bytes) -> bool:
    """Return whether a key handle bears the mark."""
    return key_handle.startswith(MARK)


def layout_of(key_handle: bytes, application: str) -> Layout:
    """Return the layout of a key handle that is not sealed."""
    return next(each for each in _LAYOUTS if each.cut(key_handle, application) is not None)


def seal(key_handle: bytes, application: str, algorithm: int, passphrase: str, *, cost: Cost = COST) -> bytes:
    """Return a key handle sealed under a passphrase; algorithm: sk-api's number; cost: other than COST for tests alone.

    Raises Unsupported if it is too long, or Python has no scrypt, and InvalidRequest if it is sealed.
    """
    from posix import urandom

    if is_sealed(key_handle):
        raise InvalidRequest("the key handle is sealed under a passphrase", "change that with: pysk seal --change")
    if len(key_handle) > MAX_KEY_HANDLE:
        raise Unsupported("the key handle is too long to be sealed", "use the key without a passphrase")
    layout = layout_of(key_handle, application)
    clear, plain = layout.cut(key_handle, application) or (b"", key_handle)
    header = (
        MARK
        + bytes((VERSION, _KDF_SCRYPT, cost.log2_n, cost.r, cost.p, layout.number))
        + len(key_handle).to_bytes(2, "big")
        + urandom(_SALT_LENGTH)
    )
    return header + clear + _xor(plain, _key_stream(passphrase, header, cost, application, algorithm, len(plain)))


def parse(untrusted: bytes, application: str, algorithm: int, *, least: Cost = COST) -> SealedKeyHandle:
    """Return what a sealed key handle holds; algorithm: sk-api's number; least: other than COST for tests alone.

    Raises InvalidRequest if it is damaged or asks for what is not to be spent on it, and Unsupported if its format is
    not known here.
    """
    if not is_sealed(untrusted):
        raise InvalidRequest("the key handle is not sealed", "seal it with: pysk seal")
    version, kdf = (untrusted[len(MARK) : len(MARK) + 2] + bytes(2))[:2]
    if len(untrusted) < _HEADER_LENGTH:
        raise _damaged()
    if version != VERSION or kdf != _KDF_SCRYPT:
        raise _newer()
    log2_n, r, p, number = untrusted[len(MARK) + 2 : len(MARK) + 6]
    cost = Cost(log2_n, r, p)
    if not cost.is_affordable(least):
        raise InvalidRequest(
            "the sealed key handle asks for more or less computing than any that libpysk has made",
            "use a copy of the key that you trust",
        )
    layout = next((each for each in _LAYOUTS if each.number == number), None)
    if layout is None:
        raise _newer()
    length = int.from_bytes(untrusted[len(MARK) + 6 : len(MARK) + 8], "big")
    if not 0 < length <= MAX_KEY_HANDLE or algorithm not in TYPES:
        raise _damaged()
    header, body = untrusted[:_HEADER_LENGTH], untrusted[_HEADER_LENGTH:]
    try:
        return SealedKeyHandle(header, cost, layout, length, body, application, algorithm)
    except ValueError:
        raise _damaged() from None


def resident_error(remedy: str) -> Unsupported:
    """Return the error where a resident key is to be sealed; remedy: what the person does."""
    return Unsupported(
        "a resident key cannot be sealed under a passphrase: its private key stays on the authenticator, so ssh-keygen "
        "-K would give it without the passphrase",
        remedy,
    )


def _damaged() -> InvalidRequest:
    return InvalidRequest("the sealed key handle is damaged or cut short", "use a copy of the key, or enroll another")


def _newer() -> Unsupported:
    return Unsupported("the key handle was sealed by a newer libpysk", "update libpysk")


def _key_stream(passphrase: str, header: bytes, cost: Cost, application: str, algorithm: int, length: int) -> bytes:
    import unicodedata

    try:
        from hashlib import scrypt
    except ImportError:
        raise Unsupported("this Python has no scrypt (hashlib)", "use one that is built with OpenSSL") from None
    normalized = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    salt = string(header) + string(application.encode()) + string(TYPES[algorithm].encode())
    try:
        return scrypt(
            normalized, salt=salt, n=1 << cost.log2_n, r=cost.r, p=cost.p, maxmem=2 * _MAX_MEMORY, dklen=length
        )
    except ValueError:
        # OpenSSL's word for it, once the parameters are in order.
        raise MemoryError from None


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
