"""Opens files that others write."""

import io
import os


def open_at_once(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to read its bytes; raises OSError.

    A FIFO in its place does not hold the reader until somebody writes.
    """
    return open(path, "rb", opener=_nonblocking)


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
