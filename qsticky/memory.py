"""Has the C library keep no more memory than is needed, so that 64 MiB are enough.

By itself glibc makes a heap for each few threads, and raises the size from which it gives memory
back to the largest that it was ever asked for: after 40 clients with TLS, 80 to 202 MiB stayed.
"""

import contextlib

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # glibc's malloc.h


def spare() -> None:
    """Set it so, before threads are started; a C library without `mallopt`, as musl, needs none."""
    # No ctypes, no handle of this process, no such function.
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 128 * 1024)
        mallopt(_M_ARENA_MAX, 2)
