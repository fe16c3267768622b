"""Records of credentials that exist nowhere, and what no directory may have in one."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import strategies as st

from sk_provider.api import ALGORITHM_ECDSA, ALGORITHM_ED25519, FLAG_USER_PRESENCE
from sk_provider.credentials.directory.record import Record, RecordRefused, checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

POINT = (
    ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
)
ED25519 = (
    Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
)

HOSTILE_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "\n",
            "a\nb",
            'x",command="id" y',
            "\x1b[2J",
            "\u2028",
            "\u202e",
            "\udc80",
            "ssh:../../x",
            "ssh://../x",
            "ssh:a\\b",
            " ssh:",
            "ssh:\0",
            "",
            "x" * 5000,
        ]
    ),
)
"""What somebody might put where a name or a comment is read."""


def record(
    user: str = "alice",
    application: str = "ssh:",
    algorithm: int = ALGORITHM_ED25519,
    key_handle: bytes = b"key handle",
    flags: int = FLAG_USER_PRESENCE,
    comment: str = "",
) -> Record:
    """Return a record that was checked."""
    public_key = POINT if algorithm == ALGORITHM_ECDSA else ED25519
    return checked(user, application, algorithm, public_key, key_handle, flags, comment)


def lines_of(make: Callable[[], Record]) -> list[str]:
    """Return what a person, a terminal or sshd gets to see of what may be refused: each is to be one line."""
    try:
        made = make()
    except RecordRefused as error:
        return [str(error)]
    return [made.user, made.application, made.comment, made.public_line(), made.authorized_keys_line()]
