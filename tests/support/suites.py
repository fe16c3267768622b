"""What is about security keys in the test suites of other projects that are run with libpysk.so."""

from __future__ import annotations

OPENSSH_SCRIPTS = (
    "keytype", "sshsig", "agent", "keygen-change", "keygen-comment", "keygen-convert", "krl", "limit-keytype",
    "keyscan", "knownhosts-command", "hostkey-agent", "hostkey-rotate", "cert-hostkey", "cert-userkey",
)  # fmt: skip
"""Those of OpenSSH's scripts that load a provider; the others use no sk key, or one as a mere file."""

LIBSSH_PROGRAMS = {
    "torture_pki_sk": "*", "torture_pki_sshsig": "*", "torture_auth": "torture_auth_pubkey_types_sk_*",
    "pkd_hello_i1": "*_sk_*",
}  # fmt: skip
"""Each of libssh's test programs, and which of its tests."""
