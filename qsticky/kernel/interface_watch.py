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
        self._index: int | None = None  # messages about addresses carry this and no name
        self._kernel: socket.socket
        self._thread: WatchThread | None = None

    def start(self) -> None:
        """Begin to watch. Raises OSError where the kernel refuses netlink."""
        self._kernel = netlink.open_monitor()
        try:
            self._look()  # after joining the groups, so that no change falls in between
        except OSError:
            self._kernel.close()
            raise
        self._kernel.setblocking(False)
        self._thread = WatchThread("interface-watch", self._kernel, self._readable)

    def stop(self) -> None:
        """End watching: when this returns, `changed()` is not called any more."""
        if self._thread:
            self._thread.stop()
            self._thread = None

    def _readable(self) -> None:
        """Read all that the kernel has to tell, and call back if some of it is about it."""
        concerned = lost = False
        while True:
            try:
                data = self._kernel.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True  # and more is, until all that the kernel still has is read
                continue
            for index, name in netlink.changes(data):
                concerned |= self._is_about_it(index, name)
                self._note(index, name)
        if lost:
            self._look()
        if concerned or lost:
            self._changed()

    def _is_about_it(self, index: int, name: str | None) -> bool:
        return index == self._index or name == self._name

    def _note(self, index: int, name: str | None) -> None:
        """Follow the name to another interface, and away from one that was renamed."""
        if name == self._name:
            self._index = index
        elif name is not None and index == self._index:
            self._index = None

    def _look(self) -> None:
        self._index = netlink.link_index(self._name)
