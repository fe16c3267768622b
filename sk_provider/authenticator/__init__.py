"""A software FIDO authenticator: a token of its own, of which the client knows no more than of any other.

A call comes in by the engine, which hands it to the command that answers it (commands/) with the power-up that it is
for. Commands read and change the store's state, ask for a person's presence, and have the keeper make and open keys.
"""
