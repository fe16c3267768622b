"""A software FIDO authenticator: a token of its own, of which the client knows no more than of any other."""
