"""The commands that the authenticator answers, one module each."""
