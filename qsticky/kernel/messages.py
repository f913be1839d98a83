"""Netlink's messages: how they are sent to the kernel, and taken apart."""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from struct import Struct
from typing import TypeVar

# linux/netlink.h: every message is a `struct nlmsghdr` (length, type, flags, sequence number,
# port), then a structure of its type's own, then attributes, each after a `struct nlattr`
# (length, type). Messages and attributes are padded to 4 bytes.
_MESSAGE = Struct("=IHHII")
_ATTRIBUTE = Struct("=HH")
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_DUMP = 0x1, 0x10, 0x300
_STATUS = Struct("=i")  # what NLMSG_ERROR and NLMSG_DONE begin with: 0, or -errno

_TIMEOUT = 1.0  # seconds for each wait; the kernel needs microseconds
_BUFFER = 65536  # bytes; the kernel sends at most 32 KiB at once
_ATTEMPTS = 5  # to read a list that changes meanwhile

MOST_ANSWERS = 20_000  # kept of one list: anybody may open connections, each some 300 bytes here

_T = TypeVar("_T")


def open_socket(protocol: int, groups: int = 0) -> socket.socket:
    """Open a socket to the kernel that hears what it tells the groups, with a bound on each wait.

    Raises OSError where the kernel refuses it.
    """
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        kernel.settimeout(_TIMEOUT)
        kernel.bind((0, groups))
        kernel.connect((0, 0))
    except OSError:
        kernel.close()
        raise
    return kernel


def ask(
    protocol: int, kind: int, body: bytes, read: Callable[[bytes], _T], *, dump: bool = True
) -> list[_T]:
    """Send one request; return what `read` makes of each answer, which it gets without the header.

    With `dump` the answers are a list's, of which the first MOST_ANSWERS are kept, else there is
    one. Raises OSError: for what the kernel refuses, what it sends that is no netlink message, and
    a TimeoutError for silence.
    """
    flags = _NLM_F_REQUEST | (_NLM_F_DUMP if dump else 0)
    for _ in range(_ATTEMPTS):
        with open_socket(protocol) as kernel:
            kernel.send(_MESSAGE.pack(_MESSAGE.size + len(body), kind, flags, 0, 0) + body)
            try:
                answers = _answers(kernel, read, dump)
            except struct.error as error:
                raise OSError(errno.EBADMSG, f"no netlink message came: {error}") from None
        if answers is not None:
            return answers
    raise OSError(errno.EAGAIN, "the kernel's answer kept changing while it was read")


def _answers(kernel: socket.socket, read: Callable[[bytes], _T], dump: bool) -> list[_T] | None:
    """Read what the kernel sends, up to its last message; None if it changed meanwhile."""
    answers: list[_T] = []
    interrupted = False
    while dump or not answers:
        for (kind, flags, *_), body in _records(_MESSAGE, kernel.recv(_BUFFER), 0):
            interrupted |= bool(flags & _NLM_F_DUMP_INTR)
            if kind not in (_NLMSG_ERROR, _NLMSG_DONE):
                if len(answers) < MOST_ANSWERS:
                    answers.append(read(body))
                continue
            # sock_diag without its tcp_diag says so in NLMSG_DONE, after no answers.
            (status,) = _STATUS.unpack_from(body)
            if status:
                raise OSError(-status, os.strerror(-status))
            return None if interrupted else answers
    return answers


def attribute(kind: int, value: bytes) -> bytes:
    """Make an attribute to end a request with."""
    header = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind)
    return header + value + bytes(-len(value) % 4)


def attributes(body: bytes, after: Struct) -> dict[int, bytes]:
    """Read the attributes in a message, by their type; they come after a structure."""
    return {kind: value for (kind,), value in _records(_ATTRIBUTE, body, after.size)}


def _records(header: Struct, data: bytes, at: int) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Split messages or attributes: each one's header without the length, and its content."""
    while at < len(data):
        length, *fields = header.unpack_from(data, at)
        if not header.size <= length <= len(data) - at:
            raise struct.error("a length that can't be")
        yield tuple(fields), data[at + header.size : at + length]
        at += length + -length % 4
