"""Watches an interface, and calls back when it changed."""

import errno
import select
import socket
import threading
from collections.abc import Callable

from qsticky.kernel import netlink

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
        self._running: tuple[threading.Thread, socket.socket] | None = None

    def start(self) -> None:
        """Begin to watch. Raises OSError where the kernel refuses netlink."""
        kernel = netlink.open_monitor()
        try:
            self._look()  # after joining the groups, so that no change falls in between
            stopping, stopper = socket.socketpair()
        except OSError:
            kernel.close()
            raise
        thread = threading.Thread(
            target=self._watch, args=(kernel, stopping), name="interface-watch", daemon=True
        )
        thread.start()
        self._running = thread, stopper

    def stop(self) -> None:
        """End watching: when this returns, `changed()` is not called any more."""
        if self._running:
            thread, stopper = self._running
            self._running = None
            stopper.close()
            thread.join()

    def _watch(self, kernel: socket.socket, stopping: socket.socket) -> None:
        kernel.setblocking(False)
        with kernel, stopping:
            ready = select.poll()
            ready.register(kernel, select.POLLIN)
            ready.register(stopping, select.POLLIN)
            while all(descriptor != stopping.fileno() for descriptor, _ in ready.poll()):
                if self._is_concerned(kernel):
                    self._changed()

    def _is_concerned(self, kernel: socket.socket) -> bool:
        """Read all that the kernel has to tell: whether some of it is about the interface."""
        concerned = lost = False
        while True:
            try:
                data = kernel.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True  # and more is, until all that the kernel still has is read
                continue
            for index, name in netlink.changes(data):
                concerned |= self._is_about_it(index, name)
        if lost:
            self._look()
        return concerned or lost

    def _is_about_it(self, index: int, name: str | None) -> bool:
        if name is None:
            return index == self._index
        named, known = name == self._name, index == self._index
        if named:
            self._index = index
        elif known:  # it was renamed
            self._index = None
        return named or known

    def _look(self) -> None:
        self._index = netlink.link_index(self._name)
