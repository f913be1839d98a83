"""One HTTP conversation with one service: every request ends in an answer or a typed error."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from qsticky import __version__
from qsticky.errors import ErrorKind, ServiceError
from qsticky.services import bounded_json
from qsticky.services.connection import Connection
from qsticky.services.failures import (
    Service,
    explain,
    has_ca,
    invalid_response,
    unexpected_status,
    unsendable,
    unverifiable,
)
from qsticky.services.line import Request, Response, Stage

__all__ = ["Exchange", "HttpClient", "Observer", "Response", "Service", "unobserved"]

_T = TypeVar("_T")

LARGEST_ANSWER = 1024 * 1024
_HEADERS = {"User-Agent": f"qsticky/{__version__}"}
_IN_NO_HEADER = re.compile(rb"[\r\n\0]")


class Exchange(NamedTuple):
    """One request as its observers see it: the seconds it took, and how it failed if it did."""

    service: str
    operation: str
    seconds: float
    error: ErrorKind | None


Observer = Callable[[Exchange], None]


def unobserved(exchange: Exchange) -> None:
    """Observe nothing, where there is no daemon whose metrics and log it would be for."""


class HttpClient:
    """Sends requests to one service, one at a time, keeping its connection where that is kept.

    Every request has `timeout` seconds for the whole of it, from the name's resolution to the
    last byte. Redirects are not followed, the environment's proxies and credentials are ignored,
    and cookies are the caller's to keep.
    """

    def __init__(self, service: Service, timeout: float, observe: Observer) -> None:
        self.service = service
        self.timeout = timeout
        self._observe = observe
        self._connection = self._connect()

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        *,
        operation: str | None = None,
        headers: Mapping[str, bytes] | None = None,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, str] | None = None,
        limit: int = LARGEST_ANSWER,
        patience: float | None = None,
    ) -> Iterator[Response]:
        """Send one request, and judge its answer of at most `limit` bytes in a `with`.

        It carries a `form`, or a `document` as JSON. With `patience` it goes over a connection of
        its own, is never sent twice, and has so many seconds from sending on. Raises
        `ServiceError`, or lets through the one that the judgement raises; the observer is told of
        each request once, under `operation`, which is the path unless given.
        """
        started = time.monotonic()
        seconds: float | None = None
        failure: ErrorKind | None = None
        try:
            request = self._request(method, path, headers or {}, form, document)
            response = self._answer(request, limit, patience)
            seconds = time.monotonic() - started
            yield response
        except ServiceError as error:
            failure = error.kind
            raise
        finally:
            if seconds is None:
                seconds = time.monotonic() - started
            self._observe(Exchange(self.service.label, operation or path, seconds, failure))

    def error(self, kind: ErrorKind, problem: str) -> ServiceError:
        """Make the error of an answer that this service would not give."""
        return invalid_response(self.service, kind, problem)

    def unexpected_status(self, answer: Response, to: str = "") -> ServiceError:
        """Make the error of a status that this service would not answer, to a request."""
        return unexpected_status(self.service, answer, to)

    def json_object(self, response: Response) -> dict[str, object]:
        """Parse an answer that must be a JSON object, within the bounds of `bounded_json`.

        Raises `ServiceError` for anything else.
        """
        return self._json(response, dict, "object")

    def json_array(self, response: Response) -> list[object]:
        """Parse an answer that must be a JSON array, likewise."""
        return self._json(response, list, "array")

    def _json(self, response: Response, kind: type[_T], name: str) -> _T:
        try:
            parsed = bounded_json.parse(response.body)
        except ValueError:
            parsed = None
        if not isinstance(parsed, kind):
            problem = f"answered with something that is not a JSON {name}"
            raise self.error(ErrorKind.INVALID_RESPONSE, problem)
        return parsed

    def _connect(self, patience: float | None = None) -> Connection:
        service = self.service
        return Connection(
            service.url,
            service.verify,
            timeout=self.timeout,
            patience=patience,
            ipv4_only=service.ipv4_only,
        )

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, bytes],
        form: Mapping[str, str] | None,
        document: Mapping[str, str] | None,
    ) -> Request:
        if any(_IN_NO_HEADER.search(value) for value in headers.values()):
            raise unsendable(self.service)
        sent = _HEADERS | {name: value.strip().decode("latin-1") for name, value in headers.items()}
        body = None
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        elif document is not None:
            sent["Content-Type"] = "application/json"
            body = json.dumps(document).encode()
        return Request(method, path, sent, body)

    def _answer(self, request: Request, limit: int, patience: float | None) -> Response:
        if not has_ca(self.service):
            raise unverifiable(self.service)
        connection = self._connection if patience is None else self._connect(patience)
        try:
            return connection.send(request, limit)
        except Exception as error:
            stage = connection.close()
            if connection is self._connection:
                self._connection = self._connect()
            waited = patience if patience and stage is Stage.ESTABLISHED else self.timeout
            explained = explain(error, self.service, stage, waited)
            if explained is None:
                raise
        finally:
            if connection is not self._connection:
                connection.close()
        # Out here, for an error that is kept would keep its context, and with it half an answer.
        raise explained
