"""A kept connection to one service, on a thread of its own, with a deadline."""

import errno
import http.client
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import urllib3

from qsticky.services.bounded_answer import UnfitAnswerError, too_long
from qsticky.services.line import Line, Stage, follow

_E = TypeVar("_E", bound=BaseException)

_CHUNK = 64 * 1024
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Request(NamedTuple):
    """A whole request, as it is sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


class Response(NamedTuple):
    """A whole answer, not yet judged."""

    status: int
    body: bytes
    headers: urllib3.HTTPHeaderDict

    @property
    def ok(self) -> bool:
        """Whether the status is any 2xx."""
        return 200 <= self.status < 300

    @property
    def cookies(self) -> dict[str, str]:
        """Those that it sets, but for their attributes; one that it empties is none."""
        cookies = {}
        for line in self.headers.getlist("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if value.strip():
                cookies[name.strip()] = value.strip()
        return cookies


class Connection:
    """Sends requests one after the other, on one thread, over a connection that is kept.

    `verify` is whether, or with which CA bundle instead of the system's, a certificate is verified;
    with `ipv4_only` no IPv6 address is connected to. Redirects are not followed, proxies and
    credentials of the environment (`HTTP_PROXY`, `.netrc`) are ignored, and cookies are the
    caller's to keep.
    """

    def __init__(self, verify: bool | str, *, ipv4_only: bool = False) -> None:
        self._line = Line()
        ca = verify if isinstance(verify, str) else None
        folder = ca is not None and os.path.isdir(ca)
        self._pools = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            source_address=("0.0.0.0", 0) if ipv4_only else None,  # no IPv6 socket can be bound to
            cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
            ca_certs=None if folder else ca,
            ca_cert_dir=ca if folder else None,
        )
        follow(self._line, self._pools)
        self._jobs = queue.SimpleQueue[Callable[[], None] | None]()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._jobs.put, None)

    def send(
        self,
        request: Request,
        *,
        limit: int,
        timeout: float,
        patience: float | None = None,
    ) -> Response:
        """Send a request, and return the answer of at most `limit` bytes.

        It has `timeout` seconds for the whole of it, from the name's resolution to the last byte;
        with `patience`, only for connecting, and then so many seconds from sending on. Raises
        whatever its thread came upon, and TimeoutError; after either the connection must be closed.
        """
        # On a thread, for nothing else bounds a name's resolution, or several addresses tried in
        # turn. One that is left behind ends by itself.
        outcome = queue.SimpleQueue[Response | BaseException]()
        pools, line = self._pools, self._line
        line.limit = limit
        to_read = timeout if patience is None else patience
        timeouts = urllib3.Timeout(connect=timeout, read=to_read)

        def job() -> None:
            try:
                outcome.put(_exchange(pools, line, request, timeouts))
            except BaseException as error:  # noqa: BLE001 - the caller's to judge, whatever it is
                outcome.put(error)

        self._run(job)
        try:
            result = outcome.get(timeout=timeout)
        except queue.Empty:
            left = 0.0 if patience is None else line.established_at + patience - time.monotonic()
            try:
                result = outcome.get(timeout=max(0.0, left))
            except queue.Empty:
                raise TimeoutError from None
        if isinstance(result, Response):
            return result
        raise result

    def close(self) -> Stage:
        """End whatever it waits for, and its thread; returns how far it had come."""
        self._end()
        return self._line.close()

    def _run(self, job: Callable[[], None]) -> None:
        if self._thread is None:
            work = (self._jobs, self._pools, self._line)
            self._thread = threading.Thread(target=_work, args=work, name="request", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # as the kernel says it
                raise OSError(errno.EAGAIN, str(error)) from None
        self._jobs.put(job)


def _work(
    jobs: queue.SimpleQueue[Callable[[], None] | None], pools: urllib3.PoolManager, line: Line
) -> None:
    """Do the jobs that come, until there is None."""
    while job := jobs.get():
        job()
        del job  # it holds the last answer
    pools.clear()
    line.forget()


def _exchange(
    pools: urllib3.PoolManager, line: Line, request: Request, timeouts: urllib3.Timeout
) -> Response:
    line.kept = True
    try:
        return _send(pools, line.limit, request, timeouts)
    except urllib3.exceptions.ProtocolError as error:
        if line.closed or not line.kept or find(error, *_CLOSED) is None:
            raise
    # A kept connection that the service closed just now (qBittorrent does after 8 s).
    return _send(pools, line.limit, request, timeouts)


def _send(
    pools: urllib3.PoolManager, limit: int, request: Request, timeouts: urllib3.Timeout
) -> Response:
    with pools.urlopen(
        request.method,
        request.url,
        redirect=False,
        headers=request.headers,
        body=request.body,
        retries=False,
        timeout=timeouts,
        preload_content=False,
    ) as answer:
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnfitAnswerError("answered in a Content-Encoding that it was not asked for")
        body = bytearray()
        for part in answer.stream(_CHUNK, decode_content=False):
            body += part
            if len(body) > limit:
                raise too_long(limit)
        return Response(answer.status, bytes(body), answer.headers)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error with all that it wraps: urllib3 nests the first cause deeply."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        nested = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting.extend(part for part in nested if isinstance(part, BaseException))


def find(error: BaseException, *kinds: type[_E]) -> _E | None:
    """Find the first of these kinds in an error and all that it wraps."""
    return next((found for found in chain(error) if isinstance(found, kinds)), None)
