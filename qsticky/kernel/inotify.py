"""The kernel's inotify, which tells what happens to files; there is nothing for it in Python."""

import ctypes
import errno
import io
import os
from struct import Struct
from typing import NamedTuple

# linux/inotify.h: `struct inotify_event` (watch, mask, cookie, length of the name, which is padded
# with zeros), and bits of a mask.
_EVENT = Struct("=iIII")
MODIFY, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x40, 0x80, 0x100, 0x200

_BUFFER = 65536  # bytes, for some thousand events at once

_LIMITS = {  # by what the kernel says of them, one would look for a full disk
    errno.EMFILE: "inotify instance limit reached (fs.inotify.max_user_instances)",
    errno.ENOSPC: "inotify watch limit reached (fs.inotify.max_user_watches)",
}

_libc = ctypes.CDLL(None, use_errno=True)
_init = _libc.inotify_init1
_init.argtypes = [ctypes.c_int]
_add_watch = _libc.inotify_add_watch
_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
_remove_watch = _libc.inotify_rm_watch
_remove_watch.argtypes = [ctypes.c_int, ctypes.c_int]


class Event(NamedTuple):
    """Something happened to the name in a watched folder, or without a name, to what is watched.

    The latter also when the watch ended: it was removed, or what it watched deleted or unmounted.
    """

    watch: int
    name: bytes = b""


DROPPED = Event(-1)  # there were more than the kernel keeps


class Inotify(io.FileIO):
    """A queue of events, which `poll` waits for. Raises OSError where the kernel has no more."""

    def __init__(self) -> None:
        super().__init__(_checked(_init(os.O_NONBLOCK | os.O_CLOEXEC), None))

    def add(self, path: str, mask: int) -> int:
        """Watch a file or folder; return the watch's number. Raises OSError.

        What is watched already keeps its number.
        """
        return _checked(_add_watch(self.fileno(), os.fsencode(path), mask), path)

    def remove(self, watch: int) -> None:
        """End a watch, unless it ended by itself."""
        _remove_watch(self.fileno(), watch)

    def events(self) -> list[Event]:
        """Return what happened since the last call; does not wait."""
        data = self.read(_BUFFER) or b""
        events, at = [], 0
        while at < len(data):
            watch, _, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            events.append(Event(watch, data[at - length : at].rstrip(b"\0")))
        return events


def _checked(result: int, path: str | None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, _LIMITS.get(number) or os.strerror(number), path)
    return result
