"""How a person is reached: on the terminal, or through SSH_ASKPASS."""
