"""Servers on loopback, of which nothing may be left, and of which nothing untold is logged."""

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from qsticky.web import server as server_module
from qsticky.web.certificate import Certificate
from qsticky.web.server import Server
from tests.real import wait_until
from tests.serving import SOON, Pair, Site


class Serve(Protocol):
    """Starts a server of an application on loopback."""

    def __call__(
        self,
        application: WSGIApplication,
        address: str = "127.0.0.1",
        pair: "Pair | None" = None,
    ) -> Site: ...


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start servers; afterwards no thread and no descriptor may be left of them."""
    monkeypatch.setattr(server_module, "_SPARE_LIVES", 0.1)
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    servers: list[Server] = []

    def start(
        application: WSGIApplication, address: str = "127.0.0.1", pair: Pair | None = None
    ) -> Site:
        certificate = Certificate(pair.certificate, pair.key) if pair else None
        server = Server(address, 0, application, certificate)
        server.start()
        servers.append(server)
        return Site(server, pair.trust() if pair else None)

    yield start
    for server in servers:
        server.close()
    wait_until(lambda: set(threading.enumerate()) <= threads, SOON, "the threads to end")
    wait_until(lambda: open_descriptors() <= descriptors, SOON, "the descriptors to be closed")


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings that a test expects, to be filled by it."""
    assert caplog
    return []


@pytest.fixture(autouse=True)
def _nothing_else_is_logged(
    caplog: pytest.LogCaptureFixture, warnings: list[str]
) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    told = [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert len(told) == len(warnings), told
    assert all(part in line for part, line in zip(warnings, told, strict=True))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def hello(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer any request."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture
def stub(serve: Serve) -> Site:
    """A server that answers any request."""
    return serve(hello)


@pytest.fixture(params=["plain", "tls"])
def either(request: pytest.FixtureRequest, serve: Serve, pair: Pair) -> Site:
    """A server that answers any request, without TLS and with it."""
    return serve(hello, pair=pair if request.param == "tls" else None)
