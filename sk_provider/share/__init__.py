"""An authenticator that another machine uses: what may be asked of it, and whose turn it is."""
