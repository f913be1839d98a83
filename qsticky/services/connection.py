"""A kept connection to one service, on a thread of its own, with a deadline."""

import errno
import http.client
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple, TypeVar

import requests

from qsticky.services.bounded_answer import UnfitAnswerError, too_long
from qsticky.services.line import Adapter, Line, Stage

_E = TypeVar("_E", bound=BaseException)

_CHUNK = 64 * 1024
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Response(NamedTuple):
    """A whole answer, not yet judged."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the status is any 2xx."""
        return 200 <= self.status < 300


class Connection:
    """Sends requests one after the other, on one thread, over a connection that is kept.

    `verify` is whether, or with which CA bundle, a certificate is verified; with `ipv4_only` no
    IPv6 address is connected to. Redirects are not followed; proxies, CA bundles and credentials
    of the environment (`HTTP_PROXY`, `REQUESTS_CA_BUNDLE`, `.netrc`) are ignored, and cookies are
    the caller's to keep.
    """

    def __init__(self, verify: bool | str, *, ipv4_only: bool = False) -> None:
        self._line = line = Line()
        self._session = session = _Session()
        session.trust_env = False
        session.verify = verify
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter(line, ipv4_only=ipv4_only))
        self._jobs = queue.SimpleQueue[Callable[[], None] | None]()
        self._thread: threading.Thread | None = None
        self._end = weakref.finalize(self, self._jobs.put, None)

    def send(
        self,
        request: requests.PreparedRequest,
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
        session, line = self._session, self._line
        line.limit = limit
        timeouts = (timeout, timeout if patience is None else patience)

        def job() -> None:
            try:
                outcome.put(_exchange(session, line, request, timeouts))
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
            work = (self._jobs, self._session)
            self._thread = threading.Thread(target=_work, args=work, name="request", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # as the kernel says it
                raise OSError(errno.EAGAIN, str(error)) from None
        self._jobs.put(job)


def _work(jobs: queue.SimpleQueue[Callable[[], None] | None], session: requests.Session) -> None:
    """Do the jobs that come, until there is None."""
    with session:
        while job := jobs.get():
            job()
            del job  # it holds the last answer


def _exchange(
    session: requests.Session,
    line: "Line",
    request: requests.PreparedRequest,
    timeouts: tuple[float, float],
) -> Response:
    line.kept = True
    try:
        return _send(session, line.limit, request, timeouts)
    except requests.ConnectionError as error:
        if line.closed or not line.kept or find(error, *_CLOSED) is None:
            raise
    # A kept connection that the service closed just now (qBittorrent does after 8 s).
    return _send(session, line.limit, request, timeouts)


def _send(
    session: requests.Session,
    limit: int,
    request: requests.PreparedRequest,
    timeouts: tuple[float, float],
) -> Response:
    with session.send(request, stream=True, timeout=timeouts, allow_redirects=False) as answer:
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise UnfitAnswerError("answered in a Content-Encoding that it was not asked for")
        body = bytearray()
        for part in answer.raw.stream(_CHUNK, decode_content=False):
            body += part
            if len(body) > limit:
                raise too_long(limit)
        cookies = {cookie.name: cookie.value or "" for cookie in answer.cookies}
        return Response(answer.status_code, bytes(body), answer.headers, cookies)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error with all that it wraps: requests and urllib3 nest the first cause deeply."""
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


class _Session(requests.Session):
    """Sees no redirect: `requests` reads the whole body of one, whatever its size, beforehand."""

    def get_redirect_target(self, _: requests.Response) -> None:
        return None
