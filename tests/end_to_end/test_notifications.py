"""What a webhook is sent by the daemon, and that nothing shows where it is."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from qsticky.demo.gluetun_simulator import GluetunSimulator
from tests.end_to_end.command import BOUND, TIME_TO_STOP, QSticky
from tests.end_to_end.conftest import Start, WebUI
from tests.real import free_port, wait_until

SECRET = "s3cr3tpath"


class Webhook:
    """Takes documents on loopback; while `hangs` is set it answers nothing."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.hangs = False
        self.asked = Event()
        self._release = Event()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                webhook.documents.append(json.loads(self.rfile.read(length)))
                webhook.asked.set()
                if webhook.hangs:
                    webhook._release.wait(BOUND)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"json://127.0.0.1:{self._server.server_port}/{SECRET}?rto={BOUND}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def told(self) -> list[str]:
        """What the documents are about, in order."""
        return [document["event"] for document in self.documents]

    def wait_for(self, *events: str) -> None:
        """Wait until it was told these, and no others."""
        wait_until(lambda: self.told == [*events], BOUND, f"{events}, not {self.told}")

    def close(self) -> None:
        """Let those go that hang, and serve no more."""
        self._release.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    webhook = Webhook()
    yield webhook
    webhook.close()


def shown(qsticky: QSticky) -> str:
    """All that can be seen of it."""
    pages = (qsticky.get(path).text for path in ("/", "/metrics", "/-/ready"))
    return "\n".join([*pages, qsticky.stdout, qsticky.stderr, qsticky.health_file.read_text()])


def test_a_failure_and_its_end_are_told_with_their_facts(
    start: Start, qbittorrent: WebUI, webhook: Webhook
) -> None:
    qsticky = start(NOTIFY_URLS=webhook.url, NOTIFY_AFTER=0.5)
    qsticky.wait_for("synced")
    qbittorrent.kill()
    qsticky.sync()
    webhook.wait_for("failing")
    told = webhook.documents[0]
    assert told["reason"] == "qbittorrent_unreachable"
    assert told["message"] == qsticky.health()["last_error"]
    qbittorrent.start()
    webhook.wait_for("failing", "recovered")
    assert webhook.documents[1]["status"] == "synced"
    # It is counted once the webhook's answer was read.
    wait_until(
        lambda: qsticky.metric("notifications_total", result="sent") == 2, BOUND, "both to count"
    )
    assert SECRET not in shown(qsticky)


def test_the_new_port_is_told_as_often_as_it_changes(
    start: Start, gluetun: GluetunSimulator, webhook: Webhook
) -> None:
    qsticky = start(NOTIFY_URLS=webhook.url, NOTIFY_ON="port_changed")
    qsticky.wait_for("synced")
    gluetun.ports = (free_port(),)
    qsticky.sync()
    webhook.wait_for("port_changed", "port_changed")
    first, second = webhook.documents
    assert (second["old_port"], second["port"]) == (first["port"], gluetun.ports[0])


def test_one_that_refuses_is_logged_once_by_its_number_and_counted(
    start: Start, gluetun: GluetunSimulator
) -> None:
    qsticky = start(
        NOTIFY_URLS=f"json://127.0.0.1:{free_port()}/{SECRET}", NOTIFY_ON="port_changed"
    )
    qsticky.wait_for_event("notification_failed")
    gluetun.ports = (free_port(),)
    qsticky.sync()
    wait_until(
        lambda: qsticky.metric("notifications_total", result="failed") == 2, BOUND, "another try"
    )
    assert "address 1 (json)" in qsticky.event("notification_failed")["message"]
    assert SECRET not in shown(qsticky)


def test_one_that_hangs_holds_up_neither_a_sync_nor_the_exit(
    start: Start, gluetun: GluetunSimulator, webhook: Webhook
) -> None:
    webhook.hangs = True
    qsticky = start(NOTIFY_URLS=webhook.url, NOTIFY_ON="port_changed")
    assert webhook.asked.wait(BOUND)
    gluetun.ports = (free_port(),)
    qsticky.sync()
    qsticky.wait_for_port(gluetun.ports[0])
    began = time.monotonic()
    assert qsticky.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < TIME_TO_STOP


def test_the_command_sends_a_test_to_each_address(start: Start, webhook: Webhook) -> None:
    qsticky = start("notify", NOTIFY_URLS=f"{webhook.url} json://127.0.0.1:{free_port()}/{SECRET}")
    assert qsticky.wait() == 1
    assert qsticky.stdout.splitlines()[:2] == [
        "address 1 (json): taken",
        "address 2 (json): not taken by the service",
    ]
    assert webhook.told == ["test"]
