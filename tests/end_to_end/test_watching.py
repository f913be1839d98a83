"""What watches it understands it: promtool, Prometheus, a browser, a person at a terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.errors import Reason
from tests.end_to_end.command import BOUND, QSticky
from tests.end_to_end.conftest import Start
from tests.real import free_port, require, wait_until

TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - qSticky - [A-Z]+ - \S.*")


def test_promtool_has_nothing_to_say_about_a_live_scrape(start: Start) -> None:
    promtool = require("promtool")
    qsticky = start()
    qsticky.wait_for("synced")
    check = subprocess.run(
        [promtool, "check", "metrics"],
        input=qsticky.exposition(),
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND,
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


class Prometheus:
    """A real Prometheus; asks it for the newest value of a series."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/query?query="
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def values(self, query: str) -> list[float]:
        """Return the values that a query has now; none while it does not answer yet."""
        try:
            with self._opener.open(self._url + quote(query)) as answer:
                document: dict[str, Any] = json.load(answer)
        except OSError:
            return []
        return [float(result["value"][1]) for result in document["data"]["result"]]


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes a port of this machine every second."""
    program = require("prometheus")
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: qsticky\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{target}']}}]\n"
    )
    port = free_port()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'storage'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        try:
            process.wait(BOUND)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_a_real_prometheus_scrapes_it_and_sees_an_outage(
    start: Start, gluetun: GluetunSimulator, tmp_path: Path
) -> None:
    require("prometheus")  # before a daemon is started that would only be ended again
    qsticky = start(CHECK_INTERVAL=1)
    with prometheus(tmp_path / "prometheus", qsticky.port) as watching:
        wait_until(lambda: watching.values("up") == [1], BOUND, "Prometheus to scrape it")
        wait_until(lambda: watching.values("qsticky_in_sync") == [1], BOUND, "it to be in sync")
        assert watching.values("qsticky_forwarded_port") == [gluetun.ports[0]]
        assert watching.values("count(qsticky_sync_failures_total)") == [len(Reason)]
        gluetun.stop()
        wait_until(
            lambda: watching.values("qsticky_in_sync") == [0], BOUND, "the outage to be seen"
        )
        assert watching.values("up") == [1]
        assert watching.values("qsticky_gluetun_up") == [0]


def test_the_page_shows_both_ports_and_the_last_error(
    start: Start, gluetun: GluetunSimulator
) -> None:
    qsticky = start(CHECK_INTERVAL=1)
    qsticky.wait_for("synced")
    page = qsticky.get("/")
    assert page.status == 200
    assert "In sync" in page.text
    assert page.text.count(f"<b>{gluetun.ports[0]}</b>") == 2
    assert f"→ {gluetun.ports[0]}" in page.text
    gluetun.stop()
    qsticky.wait_for("failing", "gluetun_unreachable")
    page = qsticky.get("/")
    assert "Gluetun" in page.text
    assert "GLUETUN_HOST" in page.text


def test_text_lines_are_for_people_and_debug_tells_every_sync(start: Start) -> None:
    qsticky = start(LOG_FORMAT="text", LOG_LEVEL="debug")
    qsticky.wait_for("synced")
    qsticky.sync()
    assert qsticky.stop() == 0
    lines = qsticky.stdout.splitlines()
    assert [line for line in lines if not TEXT_LINE.fullmatch(line)] == []
    assert re.search(r" - INFO - Port change needed: \d+ -> \d+\n", qsticky.stdout)
    assert len([line for line in lines if " - DEBUG - Sync (" in line]) == 2


# It is 10 seconds that a port lasts otherwise.
QUICKLY = """
import sys
from dataclasses import replace

from qsticky import cli
from qsticky.demo import player

(act,) = player.FOLLOWING.acts
player.FOLLOWING = replace(player.FOLLOWING, acts=(replace(act, every=2.0),))
sys.exit(cli.main())
"""


def test_the_demonstration_shows_a_port_that_is_followed(tmp_path: Path) -> None:
    # What it sets itself, such as where both services are, it takes from nobody.
    demo = QSticky(tmp_path, {"GLUETUN_HOST": "gluetun.invalid"}, ["demo"])
    demo.command = [sys.executable, "-c", QUICKLY]
    with demo:
        wait_until(lambda: "Serving the page" in demo.stdout, BOUND, "it to serve")
        followed = re.compile(r" - INFO - Successfully updated port to (\d+)\n")
        wait_until(lambda: len(followed.findall(demo.stdout)) >= 2, BOUND, "a port to change")
        assert demo.metric("in_sync") == 1
        assert demo.metric("port_changes_total") >= 2
        assert demo.metric("current_port") == int(followed.findall(demo.stdout)[-1])
        assert f"http://127.0.0.1:{demo.port}/metrics" in demo.stdout
        assert "In sync" in demo.get("/").text
        assert demo.stop(signal.SIGINT) == 0
    assert demo.stderr == ""
    assert "Traceback" not in demo.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["health", "stderr", "stdout"]
    assert not demo.health_file.exists()


def test_the_installed_command_tells_its_version(tmp_path: Path) -> None:
    version = QSticky(tmp_path, {}, ["--version"])
    version.start()
    assert version.wait() == 0
    assert re.fullmatch(r"qsticky \d+\.\d+\.\d+\n", version.stdout)
