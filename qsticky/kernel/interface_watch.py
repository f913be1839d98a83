"""Watches an interface, and calls back when it changed."""

import contextlib
import errno
import socket
from collections.abc import Callable

from qsticky.kernel import netlink
from qsticky.kernel.netlink import Interface
from qsticky.kernel.watch_thread import WatchThread

_BUFFER = 65536  # bytes; the kernel sends at most 32 KiB at once


class InterfaceWatch:
    """Calls `changed()` when the interface of that name comes, goes or changes.

    That is when it gets or loses an address, or its link goes up or down. `changed()` is called on
    the watch's own thread, which sleeps until the kernel tells that anything changed of any.
    """

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self._name = name
        self._changed = changed
        self._last: Interface | None = None
        self._kernel: socket.socket
        self._thread: WatchThread

    def start(self) -> None:
        """Begin to watch. Raises OSError where the kernel refuses netlink."""
        self._kernel = netlink.open_monitor()
        self._kernel.setblocking(False)
        self._last = self._found()
        self._thread = WatchThread("interface-watch", self._kernel, self._readable)

    def stop(self) -> None:
        """End watching: when this returns, `changed()` is not called any more."""
        self._thread.stop()

    def _readable(self) -> None:
        """Read past all that the kernel has to tell, and see what became of it."""
        while True:
            try:
                self._kernel.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # there was more than it keeps
                    raise
        before, self._last = self._last, self._found()
        if self._last != before:
            self._changed()

    def _found(self) -> Interface | None:
        with contextlib.suppress(OSError):
            return netlink.interface(self._name)
        return None
