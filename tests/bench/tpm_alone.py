"""tpm_alone.py TCTI FILE: have a TPM sign 32 zero bytes by tpm2-pytss and nothing else.

The storage primary key is made, the key in the file loaded below it, and made if the file is not there. Printed are the
key's public point, and r and s of the signature, in hex.
"""

from __future__ import annotations

import sys

from tpm2_pytss.constants import TPM2_ALG, TPM2_RH, TPM2_ST, TPMA_OBJECT
from tpm2_pytss.ESAPI import ESAPI
from tpm2_pytss.types import (
    TPM2B_DIGEST,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMT_TK_HASHCHECK,
)

ATTRIBUTES = (
    TPMA_OBJECT.FIXEDTPM
    | TPMA_OBJECT.FIXEDPARENT
    | TPMA_OBJECT.USERWITHAUTH
    | TPMA_OBJECT.SENSITIVEDATAORIGIN
    | TPMA_OBJECT.NODA
)
PRIMARY = ATTRIBUTES | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.DECRYPT
KEY = ATTRIBUTES | TPMA_OBJECT.SIGN_ENCRYPT


def main() -> None:
    tcti, path = sys.argv[1:]
    with ESAPI(tcti) as esapi:
        primary, *_ = esapi.create_primary(
            TPM2B_SENSITIVE_CREATE(), TPM2B_PUBLIC.parse("ecc:aes128cfb", objectAttributes=PRIMARY)
        )
        try:
            with open(path, "rb") as file:
                wrapped = file.read()
        except FileNotFoundError:
            private, public, *_ = esapi.create(
                primary, TPM2B_SENSITIVE_CREATE(), TPM2B_PUBLIC.parse("ecc:ecdsa-sha256", objectAttributes=KEY)
            )
            wrapped = public.marshal() + private.marshal()
            with open(path, "wb") as file:
                file.write(wrapped)
        public, length = TPM2B_PUBLIC.unmarshal(wrapped)
        private, _ = TPM2B_PRIVATE.unmarshal(wrapped[length:])
        key = esapi.load(primary, private, public)
        signature = esapi.sign(
            key,
            TPM2B_DIGEST(bytes(32)),
            TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL),
            TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL),
        )
        for handle in (key, primary):
            esapi.flush_context(handle)
    point, ecdsa = public.publicArea.unique.ecc, signature.signature.ecdsa
    parts = (point.x, point.y, ecdsa.signatureR, ecdsa.signatureS)
    sys.stdout.write(" ".join(bytes(part).hex() for part in parts) + "\n")


if __name__ == "__main__":
    main()
