"""Answers in a service's place, just below what our clients send by: no socket is opened."""

import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import urllib3

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

    def answer(self, request: Request) -> urllib3.HTTPResponse:
        self.request_history.append(request)
        given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if "exc" in given:
            raise given["exc"]
        context = Context(given.get("status_code", 200), {**given.get("headers", {})})
        content = given.get("content", b"")
        if "json" in given:
            content = json.dumps(given["json"]).encode()
        elif "text" in given:
            text = given["text"]
            content = (text(request, context) if callable(text) else text).encode()
        return urllib3.HTTPResponse(
            io.BytesIO(content), context.headers, context.status_code, preload_content=False
        )


class Mocker:
    """Answers what is registered, the last one first; `real_http` lets everything else through."""

    def __init__(self, *, real_http: bool = False) -> None:
        self._routes: list[Route] = []
        self._real = urllib3.PoolManager.urlopen if real_http else None
        self._patch = mock.patch.object(urllib3.PoolManager, "urlopen", self._sender())
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

    def _sender(self) -> Callable[..., urllib3.BaseHTTPResponse]:
        def urlopen(
            pools: urllib3.PoolManager, method: str, url: str, **options: Any
        ) -> urllib3.BaseHTTPResponse:
            request = Request(method, url, options["headers"], (options["body"] or b"").decode())
            for route in self._routes:
                if route.matches(request):
                    self.request_history.append(request)
                    return route.answer(request)
            if self._real:
                return self._real(pools, method, url, **options)
            raise ConnectionRefusedError

        return urlopen
