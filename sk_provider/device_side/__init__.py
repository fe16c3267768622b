"""CTAP as a device speaks it, over all that carries it: for whatever answers commands, software or hardware."""
