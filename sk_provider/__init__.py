"""A FIDO SecurityKeyProvider for OpenSSH.

A signature passes through these rooms, from above to below and back once:

    embed         C structs become a request, and the response memory that the host may free; the majors of sk-api
    sign, enroll, resident (with directory_keys)
                  the policies: what is decided, in that order; they know neither C nor a transport
    client        which authenticator serves (discovery, selection, and candidates where there are several); which of
                  FIDO's protocols it speaks (token); what is said to it, and what its answers mean (refusal)
    transports    one module for each way to reach an authenticator, bytes in, bytes out; only these open devices
    credentials   what is known of a key outside of its authenticator; directory: where that is looked up
    ctap          what both ends of a transport speak: numbers, CBOR, framing, APDUs, and the requests of a signature

All of them stand on the same ground, in this order: errors (what failed, its sentence, and the host's code), reporting
(where sentences go), api (the vocabulary of sk-api), operation (how long is waited, and for whom), config
(pysk_config), peers (whose a port is), third_party (what other packages bring), and transport_api (what a transport is,
for other packages too).

A module imports only from rooms below its own, and a room's modules not in a circle; a test holds that. What a
signature without a PIN needs imports next to nothing of the standard library, for whoever signs waits for it; all else
imports python-fido2 and cryptography where it uses them.

Beside the way of a signature:

    authenticator the software authenticator: a token, which knows nothing of the client
    asking        how a person is reached
    device_side   CTAP as a device speaks it, for whatever answers commands
    virtual_key   the software authenticator plugged in: pysk serve
    share         what another machine may ask of an authenticator, and whose turn it is: pysk share
    cli           the command pysk
"""

__version__ = "0.1.0"
