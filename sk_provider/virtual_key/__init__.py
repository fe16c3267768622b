"""The software authenticator plugged in, for the programs of this machine."""
