"""Writes log lines to a descriptor, and has nobody wait who writes one."""

import os
import select
import threading
from collections import deque
from collections.abc import Callable

_MOST_QUEUED = 1024 * 1024


class LogWriter:
    """A queue of at most 1 MiB of lines, which a thread of its own writes in their order.

    While nobody reads, newer lines are dropped, each with a call of `dropped`; `notice` makes the
    line that stands in the place of so many. So are those that can't be written, and all of them
    where `descriptor` is None. It is what `logging` calls a stream.
    """

    def __init__(
        self,
        descriptor: int | None,
        dropped: Callable[[], None],
        notice: Callable[[int], str],
    ) -> None:
        self._descriptor = descriptor
        self._dropped = dropped
        self._notice = notice
        self._changed = threading.Condition()
        self._queue: deque[bytes | int] = deque()  # a number is one of lines that were dropped
        self._queued = 0  # bytes, with those that are being written; a number counts as one
        self._closed = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> None:
        """Queue a line, or drop it."""
        line = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._queued + len(line) <= _MOST_QUEUED:
                self._queue.append(line)
                self._queued += len(line)
            else:
                self._drop()
            self._changed.notify_all()

    def flush(self) -> None:
        """Do nothing: `logging` calls this after each line."""

    def drain(self, timeout: float) -> None:
        """Wait until all is written, but no more than so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queued, timeout)

    def close(self) -> None:
        """Let the thread end once all is written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _drop(self) -> None:
        self._dropped()
        if self._queue and isinstance(self._queue[-1], int):
            self._queue[-1] += 1
        else:
            self._queue.append(1)
            self._queued += 1

    def _run(self) -> None:
        missing = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                item = self._queue.popleft()
            line, missed = (b"", item) if isinstance(item, int) else (item, 0)
            missing += missed
            try:
                notice = self._notice(missing).encode() if missing else b""
                self._put(notice + line)
                missing = 0
            except OSError:
                if line:
                    missing += 1
                    self._dropped()
            with self._changed:
                self._queued -= len(line) or 1
                self._changed.notify_all()

    def _put(self, data: bytes) -> None:
        """Write all of it. Raises OSError, as where nobody can read any more."""
        if self._descriptor is None:
            raise BrokenPipeError
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # another program has made a shared stdout so
                select.select([], [self._descriptor], [])
