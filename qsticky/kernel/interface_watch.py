"""Watches an interface, and calls back when it changed."""

import errno
import socket
from collections.abc import Callable

from qsticky.kernel import netlink
from qsticky.kernel.watch_thread import WatchThread

_BUFFER = 65536  # bytes; the kernel sends at most 32 KiB at once


class InterfaceWatch:
    """Calls `changed()` when the interface of that name comes, goes or changes.

    That is when it gets or loses an address, or its link goes up or down; a call too many does
    no harm. `changed()` is called on the watch's own thread, which sleeps in between.
    """

    def __init__(self, name: str, changed: Callable[[], None]) -> None:
        self._name = name
        self._changed = changed
        self._kernel: socket.socket
        self._thread: WatchThread

    def start(self) -> None:
        """Begin to watch. Raises OSError where the kernel refuses netlink."""
        self._kernel = netlink.open_monitor()
        self._kernel.setblocking(False)
        self._thread = WatchThread("interface-watch", self._kernel, self._readable)

    def stop(self) -> None:
        """End watching: when this returns, `changed()` is not called any more."""
        self._thread.stop()

    def _readable(self) -> None:
        """Read all that the kernel has to tell, and call back if some of it is about it."""
        concerned = False
        while True:
            try:
                data = self._kernel.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                concerned = True  # some is lost, and more is, until all that it has is read
            else:
                concerned |= any(self._is_about_it(*change) for change in netlink.changes(data))
        if concerned:
            self._changed()

    def _is_about_it(self, index: int, name: str | None) -> bool:
        """Messages about addresses have no name in them."""
        try:
            return name == self._name if name else index == netlink.link_index(self._name)
        except OSError:
            return True
