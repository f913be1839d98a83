"""What a page of another site gets done at qSticky by the browser of who looks at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import chromium
from tests.browser.scenes import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def page_of_another_site(html: str) -> Iterator[str]:
    """Serve a page from a port of its own; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("address", ["127.0.0.1", "qsticky.test"])
def test_a_form_of_another_site_is_refused(tmp_path: Path, browser: Browser, address: str) -> None:
    with Site(tmp_path) as site:
        target = f"{site.url.replace('127.0.0.1', address)}-/sync?rebind=true"
        form = f'<form method="post" action="{target}"><button>Go</button></form>'
        with page_of_another_site(form) as elsewhere:
            page = browser.new_page()
            page.goto(elsewhere)
            with page.expect_response(target) as answered:
                page.get_by_role("button").click()
            assert answered.value.status == 403
            page.close()
        assert site.syncs == []
