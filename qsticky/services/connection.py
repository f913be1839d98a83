"""Requests over a kept connection, sent by a thread of their own, with a deadline."""

import errno
import queue
import threading
import time
import weakref
from collections.abc import Callable

from qsticky.services.line import Line, Request, Response, Stage


class Connection:
    """Sends requests one after the other, on one thread, over a connection that is kept.

    See `Line` for `url`, `verify` and `ipv4_only`. A request has `timeout` seconds for the whole of
    it, from the name's resolution to the last byte; with `patience`, only for connecting, and then
    so many seconds from sending on. Redirects are not followed, proxies and credentials of the
    environment (`HTTP_PROXY`, `.netrc`) are ignored, and cookies are the caller's to keep.
    """

    def __init__(
        self,
        url: str,
        verify: bool | str,
        *,
        timeout: float,
        patience: float | None = None,
        ipv4_only: bool = False,
    ) -> None:
        self._timeout = timeout
        self._patience = patience
        self._line = Line(
            url,
            verify,
            ipv4_only=ipv4_only,
            timeout=timeout,
            patience=timeout if patience is None else patience,
        )
        self._jobs = queue.SimpleQueue[Callable[[], None] | None]()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._jobs.put, None)

    def send(self, request: Request, limit: int) -> Response:
        """Send a request, and return the answer of at most `limit` bytes.

        Raises whatever its thread came upon, and TimeoutError; after either the connection must be
        closed.
        """
        # On a thread, for nothing else bounds a name's resolution, or several addresses tried in
        # turn. One that is left behind ends by itself.
        outcome = queue.SimpleQueue[Response | BaseException]()
        line = self._line

        def job() -> None:
            try:
                outcome.put(line.exchange(request, limit))
            except BaseException as error:  # noqa: BLE001 - the caller's to judge, whatever it is
                outcome.put(error)

        self._run(job)
        try:
            result = outcome.get(timeout=self._timeout)
        except queue.Empty:
            until = 0.0 if self._patience is None else line.established_at + self._patience
            try:
                result = outcome.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise TimeoutError from None
        if isinstance(result, Response):
            return result
        raise result

    def close(self) -> Stage:
        """End whatever it waits for, and its thread; returns how far it had come."""
        self._end()
        return self._line.end()

    def _run(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            work = (self._jobs, self._line)
            self._thread = threading.Thread(target=_work, args=work, name="request", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # as the kernel says it
                raise OSError(errno.EAGAIN, str(error)) from None
        self._jobs.put(job)


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None], line: Line) -> None:
    """Do the jobs that come, until there is None."""
    while job := jobs.get():
        job()
        del job  # it holds the last answer
    line.free()
