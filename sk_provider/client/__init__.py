"""The client's side of an operation: which authenticator serves it, and what is said to it."""
