"""The signals that end the daemon: blocked in every thread, and waited for in one.

No handler runs, so nothing can be interrupted halfway, and none is lost: one that comes while the
daemon is still starting waits for it. As a container's first process it would otherwise be ignored.
Nothing but `signal` is imported here, so that they are blocked as early as can be.
"""

import os
import signal

_ENDING = (signal.SIGTERM, signal.SIGINT)


def block() -> None:
    """Have the signals wait; to be called before any thread is started, as threads inherit it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def reap_orphans() -> None:
    """Have the kernel clear ended children away, instead of keeping them for a `wait`.

    A container's first process inherits those whose parent ended, as with `docker exec`.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def wait() -> str:
    """Wait for one of the signals, and return its name."""
    return signal.Signals(signal.sigwait(_ENDING)).name


def wake_main_thread() -> None:
    """Make the main thread's `wait` return, as if SIGTERM had come: all others have it blocked."""
    os.kill(os.getpid(), signal.SIGTERM)
