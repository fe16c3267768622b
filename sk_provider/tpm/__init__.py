"""The keeper of keys that live in a TPM 2.0, for the software authenticator."""
