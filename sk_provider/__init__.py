"""A FIDO SecurityKeyProvider for OpenSSH."""

__version__ = "0.1.0"
