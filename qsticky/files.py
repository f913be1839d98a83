"""Opens and reads files that others write."""

import io
import os
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

_HALFWAY = 0.05  # seconds that a writer may take between two parts of a file
_TRIES = 20


def open_at_once(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to read its bytes; raises OSError.

    A FIFO in its place does not hold the reader until somebody writes.
    """
    return open(path, "rb", opener=_nonblocking)


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def settled(read: Callable[[], _T], known: _T) -> _T:
    """Read what may be in the middle of a change: anew until it is the same twice, 50 ms apart.

    It takes no longer than `read` does while that returns what is `known`; for a file that doesn't
    come to rest within a second that is also what counts. Raises what `read` does.
    """
    before = read()
    if before == known:
        return known
    for _ in range(_TRIES):
        time.sleep(_HALFWAY)
        now = read()
        if now == before:
            return now
        before = now
    return known
