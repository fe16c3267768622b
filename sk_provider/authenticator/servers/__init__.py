"""The ways in which a software authenticator is offered to the programs of its machine, each under an address.

uhid:                    a USB HID device that the kernel makes from /dev/uhid
udp:127.0.0.1:8111       CTAPHID reports in datagrams
unix:/path               CTAPHID reports on a stream socket
vpcd:127.0.0.1:35963     a card in vsmartcard's virtual reader
"""
