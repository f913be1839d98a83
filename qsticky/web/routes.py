"""The HTTP routes: the page, metrics, liveness, readiness and the request of a sync."""

import base64
import hmac
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from qsticky.clock import Clock
from qsticky.record.events import RecentEvent
from qsticky.record.health import Health
from qsticky.web.page import CONTENT_SECURITY_POLICY, render


class Routes:
    """The WSGI application: the page, metrics, liveness, readiness and the sync request.

    `recent_events` gives what the page lists, the newest first; `request_sync` is told whether to
    rebind, and answers with a sentence for who asked; `credentials` gives user name and password,
    of which neither may be empty, or None where the routes are open to everybody.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Health,
        recent_events: Callable[[], Sequence[RecentEvent]],
        clock: Clock,
        request_sync: Callable[[bool], str],
        credentials: Callable[[], tuple[str, str] | None],
    ) -> None:
        self._metrics: WSGIApplication = make_wsgi_app(registry)
        self._health = health
        self._recent_events = recent_events
        self._clock = clock
        self._request_sync = request_sync
        self._credentials = credentials
        self._routes: dict[str, tuple[str, WSGIApplication]] = {
            "/": ("GET", self._page),
            "/metrics": ("GET", self._exposition),
            "/-/healthy": ("GET", self._healthy),
            "/-/ready": ("GET", self._ready),
            "/-/sync": ("POST", self._sync),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request: HEAD as GET, for the server leaves the body out."""
        if environ["REQUEST_METHOD"] == "HEAD":
            environ = {**environ, "REQUEST_METHOD": "GET"}
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path != "/-/healthy" and not self._authorized(environ.get("HTTP_AUTHORIZATION", "")):
            challenge = ("WWW-Authenticate", 'Basic realm="qSticky", charset="UTF-8"')
            return _answer(start_response, "401 Unauthorized", "Unauthorized\n", challenge)
        if path not in self._routes:
            return _answer(start_response, "404 Not Found", "Not found\n")
        allowed, application = self._routes[path]
        if method != allowed:
            allow = ("Allow", "GET, HEAD" if allowed == "GET" else allowed)
            return _answer(start_response, "405 Method Not Allowed", f"Use {allow[1]}\n", allow)
        return application(environ, start_response)

    def _authorized(self, authorization: str) -> bool:
        credentials = self._credentials()
        if credentials is None:
            return True
        if not all(credentials):
            return False  # an empty secret file opens nothing
        scheme, _, given = authorization.partition(" ")
        expected = base64.b64encode(":".join(credentials).encode())
        return scheme.lower() == "basic" and hmac.compare_digest(
            given.strip().encode("latin-1"), expected
        )

    def _page(self, _: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        document, fresh = self._health.document(), self._health.fresh()
        return _answer(
            start_response,
            "200 OK",
            render(document, self._recent_events(), now=self._clock.now(), fresh=fresh),
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            content_type="text/html; charset=utf-8",
        )

    def _exposition(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        try:
            return self._metrics(environ, start_response)
        except TypeError:  # of an Accept with a version that is not a number
            return self._metrics({**environ, "HTTP_ACCEPT": ""}, start_response)

    def _healthy(self, _: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._health.fresh():
            return _answer(start_response, "200 OK", "Alive\n")
        return _answer(
            start_response, "503 Service Unavailable", "The worker gives no sign of life\n"
        )

    def _ready(self, _: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status = "200 OK" if self._health.healthy() else "503 Service Unavailable"
        return _answer(start_response, status, self._health.text(), content_type="application/json")

    def _sync(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if _of_another_site(environ):
            return _answer(start_response, "403 Forbidden", "Not for a page of another site\n")
        # At once: Gluetun's up command, which calls this, holds a lock that the sync waits for.
        query = parse_qs(environ.get("QUERY_STRING", ""))
        told = self._request_sync(query.get("rebind") == ["true"])
        return _answer(start_response, "202 Accepted", f"{told}\n")


def _of_another_site(environ: WSGIEnvironment) -> bool:
    """Whether a browser sent this on behalf of a page that is not ours; `curl` tells nothing.

    Sec-Fetch-Site is what browsers say of it, but only over HTTPS and to this machine; to others
    they say no more than the page's Origin (both are forbidden header names in the Fetch standard,
    so no page can forge them).
    """
    if site := environ.get("HTTP_SEC_FETCH_SITE"):
        return site not in ("same-origin", "none")
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    try:
        page = urlsplit(origin)
        asked = urlsplit(f"{page.scheme}://{environ.get('HTTP_HOST', '')}")
        usual = {"http": 80, "https": 443}.get(page.scheme)
        ours = (page.hostname, page.port or usual) == (asked.hostname, asked.port or usual)
        return page.hostname is None or not ours  # it is none in `null`
    except ValueError:
        return True


def _answer(
    start_response: StartResponse,
    status: str,
    text: str,
    *headers: tuple[str, str],
    content_type: str = "text/plain; charset=utf-8",
) -> Iterable[bytes]:
    start_response(status, [("Content-Type", content_type), *headers])
    return [text.encode()]
