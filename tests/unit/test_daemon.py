"""What becomes of the process when a part of it fails."""

import json
import subprocess
import sys
import threading
from pathlib import Path

from tests.end_to_end.command import clean_environment
from tests.real import free_port

WITH_A_WORKER_THAT_DIES = """
import sys
from qsticky import cli
from qsticky.record import metrics

def record(*_):
    raise LookupError("a mistake of its own")

metrics.Metrics.record = record
sys.argv = ["qsticky"]
sys.exit(cli.main())
"""

WITHOUT_THREADS = """
import sys, threading
from qsticky import cli

def refuse(_):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
sys.argv = ["qsticky"]
sys.exit(cli.main())
"""


THAT_MAY_WATCH_ONLY_AT_FIRST = """
import sys
from qsticky import cli
from qsticky.kernel.inotify import Inotify
from qsticky.kernel.port_file_watch import PortFileWatch

def refuse(*_):
    raise OSError(28, "inotify watch limit reached")

start = PortFileWatch.start

def start_and_be_refused_later(watch):
    start(watch)
    Inotify.add = refuse

PortFileWatch.start = start_and_be_refused_later
sys.argv = ["qsticky"]
sys.exit(cli.main())
"""


def variables(tmp_path: Path) -> dict[str, str]:
    """Return those of a daemon that reaches nobody."""
    return clean_environment(tmp_path) | {
        "GLUETUN_PORT": str(free_port()),
        "QBITTORRENT_PORT": str(free_port()),
        "METRICS_ADDRESS": "127.0.0.1",
        "METRICS_PORT": str(free_port()),
        "HEALTH_FILE": str(tmp_path / "status.json"),
    }


def test_a_port_file_that_can_be_watched_no_more_is_told(tmp_path: Path) -> None:
    file = tmp_path / "forwarded_port"
    with subprocess.Popen(
        [sys.executable, "-c", THAT_MAY_WATCH_ONLY_AT_FIRST],
        env=variables(tmp_path) | {"GLUETUN_PORT_FILE": str(file)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        bound = threading.Timer(30, process.kill)
        bound.start()
        lines = map(json.loads, process.stdout)
        next(line for line in lines if line.get("event") == "sync_failed")
        file.touch()
        told = next(line for line in lines if "watched" in line["message"])
        process.terminate()
    bound.cancel()
    assert told["level"] == "warning"
    assert f"The port file {file} can't be watched any more as it was (" in told["message"]


def test_a_worker_that_dies_takes_the_process_with_it(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITH_A_WORKER_THAT_DIES],
        env=variables(tmp_path),
        timeout=30,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    *_, died, shutdown = map(json.loads, ended.stdout.splitlines())
    assert died["level"] == "critical"
    assert died["exception"].endswith("LookupError: a mistake of its own")
    assert (shutdown["event"], shutdown["message"]) == ("shutdown", "Stopped: the worker died")
    assert not (tmp_path / "status.json").exists()


def test_where_no_thread_can_be_started_the_limits_are_named(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_THREADS],
        env=variables(tmp_path),
        timeout=30,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("qsticky: no thread can be started; raise the limits")
    assert ended.stderr.count("\n") == 1
