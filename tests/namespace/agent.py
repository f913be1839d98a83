"""Holds a network namespace, and opens sockets and tun devices in it for the tests.

A descriptor belongs to the namespace in which it was made, whoever uses it; so the tests stay
one ordinary process. Started by `netns.py` with one end of a socket pair as its argument.
"""

import errno
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Callable

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000


def _socket(family: int, kind: int, protocol: int) -> int:
    return socket.socket(family, kind, protocol).detach()


def _tun(name: str) -> int:
    """Make a tun device, which lives as long as its descriptor is open."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        request = struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


_DUTIES: dict[str, Callable[..., int]] = {"socket": _socket, "tun": _tun}


def _serve(tests: socket.socket) -> None:
    """Answer each request with 0 and the descriptor, or with the number of the error."""
    while request := tests.recv(1000):
        duty, *arguments = json.loads(request)
        try:
            descriptor = _DUTIES[duty](*arguments)
        except OSError as error:
            tests.send(struct.pack("=i", error.errno or errno.EIO))
        else:
            socket.send_fds(tests, [struct.pack("=i", 0)], [descriptor])
            os.close(descriptor)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as _tests:
        _serve(_tests)
