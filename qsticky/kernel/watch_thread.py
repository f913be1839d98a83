"""The thread of a watch, which sleeps until the kernel has something to tell."""

import io
import select
import socket
import threading
from collections.abc import Callable

Source = socket.socket | io.FileIO  # what the kernel tells by


class WatchThread:
    """Calls `readable()` whenever there is something to read, until it is stopped."""

    def __init__(self, name: str, source: Source, readable: Callable[[], None]) -> None:
        """Start it. Raises OSError for want of descriptors. `source` is closed in the end."""
        stopping, self._stopper = socket.socketpair()
        self._thread = threading.Thread(
            target=_run, args=(source, stopping, readable), name=name, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it: when this returns, nothing is called any more."""
        self._stopper.close()
        self._thread.join()


def _run(source: Source, stopping: socket.socket, readable: Callable[[], None]) -> None:
    try:
        ready = select.poll()
        ready.register(source, select.POLLIN)
        ready.register(stopping, select.POLLIN)
        while all(descriptor != stopping.fileno() for descriptor, _ in ready.poll()):
            readable()
    finally:
        source.close()
        stopping.close()
