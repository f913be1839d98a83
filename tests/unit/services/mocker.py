"""Answers in a service's place, just below what our clients send by: no socket is opened."""

import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self
from unittest import mock
from urllib.parse import parse_qs, urlsplit

from qsticky.services.line import Line

ANY = re.compile("")


class Request(NamedTuple):
    """A request as it was sent."""

    method: str
    url: str
    headers: dict[str, str]
    text: str

    @property
    def query(self) -> str:
        return urlsplit(self.url).query

    @property
    def qs(self) -> dict[str, list[str]]:
        return parse_qs(self.query)

    def json(self) -> Any:
        return json.loads(self.text)


class Context:
    """What an answer that is made for each request can set beside its text."""

    def __init__(self, status_code: int, headers: dict[str, str]) -> None:
        self.status_code = status_code
        self.headers = headers


class Route:
    """The answers to one method and address: one after the other, the last one for ever."""

    def __init__(self, method: object, url: object, answers: Sequence[dict[str, Any]]) -> None:
        self._method = method
        self._url = url
        self._answers = [*answers]
        self.request_history: list[Request] = []

    @property
    def call_count(self) -> int:
        return len(self.request_history)

    def matches(self, request: Request) -> bool:
        if self._method not in (ANY, request.method):
            return False
        if isinstance(self._url, re.Pattern):
            return self._url.match(request.url) is not None
        return self._url in (request.url, request.url.partition("?")[0])

    def is_at(self, address: str) -> bool:
        if isinstance(self._url, re.Pattern):
            return self._url.match(f"{address}/") is not None
        return str(self._url).startswith(f"{address}/")

    def answer(self, request: Request) -> bytes:
        self.request_history.append(request)
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if "exc" in given:
            raise given["exc"]
        context = Context(given.get("status_code", 200), {**given.get("headers", {})})
        content: bytes = given.get("content", b"")
        if "json" in given:
            content = json.dumps(given["json"]).encode()
        elif "text" in given:
            text = given["text"]
            content = (text(request, context) if callable(text) else text).encode()
        lines = [f"HTTP/1.1 {context.status_code} Any", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in context.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


class Socket(io.BytesIO):
    """Takes one request, and has its answer to be read."""

    def __init__(self, address: str, answer: Callable[[Request], bytes]) -> None:
        super().__init__()
        self._address = address
        self._answer = answer

    def sendall(self, data: bytes) -> None:
        self.write(data)

    def makefile(self, _: str) -> io.BufferedReader:
        head, _blank, body = self.getvalue().partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _version = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        request = Request(method, self._address + path, headers, body.decode())
        try:
            return io.BufferedReader(io.BytesIO(self._answer(request)))
        except OSError as error:
            return io.BufferedReader(Broken(error))


class Broken(io.RawIOBase):
    """Has an error in place of an answer."""

    def __init__(self, error: OSError) -> None:
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        raise self._error


class Mocker:
    """Answers what is registered, the last one first; `real_http` lets everything else through."""

    def __init__(self, *, real_http: bool = False) -> None:
        self._routes: list[Route] = []
        self._real = Line.connect if real_http else None
        self._patch = mock.patch.object(Line, "connect", self._connector())
        self.request_history: list[Request] = []

    @property
    def last_request(self) -> Request:
        return self.request_history[-1]

    def get(self, url: object, answers: Any = None, **answer: Any) -> Route:
        return self.register_uri("GET", url, answers, **answer)

    def post(self, url: object, answers: Any = None, **answer: Any) -> Route:
        return self.register_uri("POST", url, answers, **answer)

    def put(self, url: object, answers: Any = None, **answer: Any) -> Route:
        return self.register_uri("PUT", url, answers, **answer)

    def register_uri(
        self, method: object, url: object, answers: Any = None, **answer: Any
    ) -> Route:
        route = Route(method, url, answers or [answer])
        self._routes.insert(0, route)
        return route

    def __enter__(self) -> Self:
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    def _connector(self) -> Callable[[Line], None]:
        def connect(line: Line) -> None:
            address = f"http://{line.host}:{line.port}"
            if self._real and not any(route.is_at(address) for route in self._routes):
                self._real(line)
            else:
                line.sock = Socket(address, self._answer)

        return connect

    def _answer(self, request: Request) -> bytes:
        for route in self._routes:
            if route.matches(request):
                self.request_history.append(request)
                return route.answer(request)
        raise ConnectionRefusedError
