"""What each route answers, over real sockets, and to whom."""

import base64
import gzip
import hmac
import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from qsticky.errors import Reason
from qsticky.record.events import RecentEvent
from qsticky.record.health import Health
from qsticky.web.page import CONTENT_SECURITY_POLICY
from qsticky.web.routes import Routes
from tests.fakes import FakeClock
from tests.reports import failing, synced
from tests.serving import Site
from tests.unit.web.conftest import Serve


class Parts:
    """The routes' collaborators."""

    def __init__(self, folder: Path) -> None:
        self.registry = CollectorRegistry()
        Counter("answers", "Answers that were right.", registry=self.registry).inc(42)
        self.clock = FakeClock()
        self.health = Health(
            folder / "status.json", check_interval=30, request_timeout=10, clock=self.clock
        )
        self.events: list[RecentEvent] = []
        self.syncs: list[bool] = []
        self.credentials: tuple[str, str] | None = None

    def request_sync(self, rebind: bool) -> str:
        self.syncs.append(rebind)
        return "A sync will run"

    def routes(self) -> Routes:
        return Routes(
            self.registry,
            self.health,
            lambda: self.events,
            self.clock,
            self.request_sync,
            lambda: self.credentials,
        )


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


@pytest.fixture
def site(serve: Serve, parts: Parts) -> Site:
    """The real routes."""
    return serve(parts.routes())


class TestRoutes:
    """What each path answers."""

    def test_the_page(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        reply = site.ask("GET", "/")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.text.startswith("<!doctype html>")
        assert "Not known whether peers can connect" in reply.text

    def test_the_page_has_the_events_and_the_time(self, site: Site, parts: Parts) -> None:
        parts.events.append(RecentEvent(parts.clock.now(), "info", "login", "Logged in"))
        parts.clock.advance(30)
        page = site.ask("GET", "/").text
        assert "Logged in" in page
        assert "30 s ago" in page

    def test_the_page_tells_of_a_worker_that_hangs(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        parts.clock.advance(100)
        assert "qSticky hangs" in site.ask("GET", "/").text

    def test_metrics_in_the_text_format(self, site: Site) -> None:
        reply = site.ask("GET", "/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "answers_total 42.0\n" in reply.text
        assert "# EOF" not in reply.text

    def test_metrics_in_openmetrics_when_asked_for(self, site: Site) -> None:
        accept = (
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;"
            "q=0.2,*/*;q=0.1"
        )
        reply = site.ask("GET", "/metrics", accept)
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("application/openmetrics-text")
        assert reply.text.endswith("# EOF\n")

    @pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
    @pytest.mark.parametrize("version", ["x", "1.x.0", "9" * 5000 + ".0", "\xb2"])
    def test_metrics_for_who_asks_for_a_version_that_is_not_one(
        self, site: Site, kind: str, version: str
    ) -> None:
        reply = site.ask("GET", "/metrics", f"Accept: {kind};version={version}")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "answers_total 42.0\n" in reply.text

    def test_metrics_compressed_when_asked_for(self, site: Site) -> None:
        reply = site.ask("GET", "/metrics", "Accept-Encoding: gzip")
        assert reply.headers["content-encoding"] == "gzip"
        assert b"answers_total 42.0\n" in gzip.decompress(reply.body)
        assert "content-encoding" not in site.ask("GET", "/metrics").headers

    def test_liveness_is_the_worker_s_heartbeat(self, site: Site, parts: Parts) -> None:
        assert site.ask("GET", "/-/healthy").status == 503
        parts.health.record(failing(Reason.QBITTORRENT_UNREACHABLE), 30)
        alive = site.ask("GET", "/-/healthy")
        assert (alive.status, alive.text) == (200, "Alive\n")
        parts.clock.advance(45)
        hung = site.ask("GET", "/-/healthy")
        assert (hung.status, hung.text) == (503, "The worker gives no sign of life\n")
        assert hung.headers["content-type"] == "text/plain; charset=utf-8"

    def test_readiness_is_the_verdict_with_the_document(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        ready = site.ask("GET", "/-/ready")
        assert ready.status == 200
        assert ready.headers["content-type"] == "application/json"
        assert json.loads(ready.body) == json.loads(json.dumps(parts.health.document()))
        parts.health.record(failing(Reason.QBITTORRENT_BANNED, "Banned; wait"), 30)
        unready = site.ask("GET", "/-/ready")
        assert unready.status == 503
        assert json.loads(unready.body)["last_error"] == "Banned; wait"

    def test_a_stale_verdict_is_not_ready(self, site: Site, parts: Parts) -> None:
        parts.health.record(synced(), 30)
        parts.clock.advance(45)
        assert site.ask("GET", "/-/ready").status == 503

    @pytest.mark.parametrize(
        ("query", "rebind"),
        [
            ("", False),
            ("?rebind=true", True),
            ("?a=b&rebind=true", True),
            ("?rebind=false", False),
            ("?rebind=", False),
            ("?rebind", False),
            ("?rebind=%ff&%zz", False),
        ],
    )
    def test_a_sync_is_asked_for_and_not_waited_for(
        self, site: Site, parts: Parts, query: str, rebind: bool
    ) -> None:
        reply = site.ask("POST", f"/-/sync{query}")
        assert (reply.status, reply.text) == (202, "A sync will run\n")
        assert parts.syncs == [rebind]

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ((), 202),
            (("Sec-Fetch-Site: same-origin",), 202),
            (("Sec-Fetch-Site: none",), 202),
            (("Sec-Fetch-Site: same-site",), 403),
            (("Sec-Fetch-Site: cross-site",), 403),
            (("Sec-Fetch-Site: anything",), 403),
            (("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"), 403),
            (("Sec-Fetch-Site: cross-site", "Origin: http://localhost"), 403),
            (("Sec-Fetch-Site: same-origin", "Origin: null"), 202),
            (("Origin: http://localhost",), 202),
            (("Origin: http://LOCALHOST:80",), 202),
            (("Origin: https://localhost:443",), 202),
            (("Origin: http://localhost:8080",), 403),
            (("Origin: http://elsewhere",), 403),
            (("Origin: http://localhost.elsewhere",), 403),
            (("Origin: http://localhost@elsewhere",), 403),
            (("Origin: http://localhost", "Host: elsewhere"), 403),
            (("Origin: null",), 403),
            (("Origin: ",), 403),
            (("Origin: http://[",), 403),
            (("Origin: http://localhost:port",), 403),
        ],
    )
    def test_a_sync_is_not_asked_for_by_a_page_of_another_site(
        self, site: Site, parts: Parts, headers: tuple[str, ...], status: int
    ) -> None:
        assert site.ask("POST", "/-/sync?rebind=true", *headers).status == status
        assert parts.syncs == [True] * (status == 202)

    def test_of_two_names_that_of_the_target_is_asked(self, site: Site) -> None:
        for origin, status in (("named:1", 202), ("localhost", 403)):
            reply = site.ask("POST", "http://named:1/-/sync", f"Origin: http://{origin}")
            assert reply.status == status

    def test_odd_characters_end_in_no_500(self, site: Site, parts: Parts) -> None:
        parts.health.record(failing(Reason.INTERNAL, "\udcff\x00\x1b[31m\u2028"), 30)
        assert "\\udcff\\x00\\x1b[31m\\u2028" in site.ask("GET", "/").text
        ready = site.ask("GET", "/-/ready")
        assert json.loads(ready.body)["last_error"] == "\\udcff\\x00\\x1b[31m\\u2028"

    @pytest.mark.parametrize("size", [3, 5_000_000])
    def test_a_body_is_tolerated_and_the_answer_not_lost(
        self, site: Site, parts: Parts, size: int
    ) -> None:
        reply = site.ask("POST", "/-/sync", f"Content-Length: {size}", body=b"x" * size)
        assert (reply.status, reply.text) == (202, "A sync will run\n")
        assert parts.syncs == [False]

    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/nowhere"])
    def test_head_answers_as_get_does_without_the_body(
        self, site: Site, parts: Parts, path: str
    ) -> None:
        parts.health.record(synced(), 30)
        got, head = site.ask("GET", path), site.ask("HEAD", path)
        assert head.body == b""
        assert head.status == got.status
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
        assert int(head.headers["content-length"]) == len(got.body)

    @pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "BREW"])
    def test_another_method_is_told_which_to_use(self, site: Site, method: str, path: str) -> None:
        reply = site.ask(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
    def test_a_sync_is_asked_for_by_post_alone(self, site: Site, parts: Parts, method: str) -> None:
        reply = site.ask(method, "/-/sync")
        assert (reply.status, reply.headers["allow"]) == (405, "POST")
        assert parts.syncs == []
        assert (reply.body == b"") is (method == "HEAD")

    @pytest.mark.parametrize("path", ["/x", "/metrics/", "/-/", "/../etc/passwd", "/%2e", "/\xff"])
    def test_another_path_is_not_found(self, site: Site, path: str) -> None:
        assert site.ask("GET", path).status == 404
        assert site.ask("POST", path).status == 404


def basic(user: str, password: str, encoding: str = "utf-8") -> str:
    """The header of basic auth."""
    return (
        "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()
    )


class TestBasicAuth:
    """Who is let in where credentials are set."""

    RIGHT = ("sticky", "pässwörd:with colon")

    @pytest.fixture(autouse=True)
    def _closed(self, parts: Parts) -> None:
        parts.credentials = self.RIGHT

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/", 200),
            ("GET", "/metrics", 200),
            ("GET", "/-/ready", 503),
            ("POST", "/-/sync", 202),
            ("GET", "/nowhere", 404),
            ("PUT", "/", 405),
        ],
    )
    def test_every_route_needs_the_credentials(
        self, site: Site, parts: Parts, method: str, path: str, status: int
    ) -> None:
        refused = site.ask(method, path)
        assert (refused.status, refused.text) == (401, "Unauthorized\n")
        assert refused.headers["www-authenticate"] == 'Basic realm="qSticky", charset="UTF-8"'
        assert parts.syncs == []
        assert site.ask(method, path, basic(*self.RIGHT)).status == status

    @pytest.mark.parametrize("empty", [("", ""), ("sticky", ""), ("", "pässwörd")])
    def test_with_an_empty_one_nobody_gets_in(
        self, site: Site, parts: Parts, empty: tuple[str, str]
    ) -> None:
        parts.credentials = empty
        assert site.ask("GET", "/metrics", basic(*empty)).status == 401
        assert site.ask("GET", "/metrics").status == 401

    def test_liveness_needs_none(self, site: Site) -> None:
        assert site.ask("GET", "/-/healthy").status == 503
        assert site.ask("PUT", "/-/healthy").status == 405

    @pytest.mark.parametrize(
        "header",
        [
            basic("sticky", "wrong"),
            basic("other", "pässwörd:with colon"),
            basic("sticky", ""),
            basic("", ""),
            basic("sticky", "pässwörd:with colon", "latin-1"),
            "Authorization: Basic",
            "Authorization: Basic ",
            "Authorization: Basic !!!",
            "Authorization: Basic \xe4\xff\x80",
            "Authorization: Bearer c3RpY2t5",
            "Authorization: ",
            "Authorization: " + "x" * 60_000,
            "Proxy-" + basic(*RIGHT),
        ],
    )
    def test_anything_else_is_refused(self, site: Site, header: str) -> None:
        assert site.ask("GET", "/metrics", header).status == 401

    def test_the_credentials_are_compared_in_constant_time(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return False

        monkeypatch.setattr(hmac, "compare_digest", compare)
        header = basic(*self.RIGHT)
        assert site.ask("GET", "/", header).status == 401  # whoever compared, it was this
        sent = header.removeprefix("Authorization: Basic ").encode()
        assert compared == [(sent, sent)]

    def test_the_scheme_may_be_written_in_any_case(self, site: Site) -> None:
        header = basic(*self.RIGHT).replace("Basic", "basic")
        assert site.ask("GET", "/", header).status == 200

    def test_changed_credentials_count_at_once(self, site: Site, parts: Parts) -> None:
        parts.credentials = ("sticky", "rotated")
        assert site.ask("GET", "/", basic(*self.RIGHT)).status == 401
        assert site.ask("GET", "/", basic("sticky", "rotated")).status == 200
