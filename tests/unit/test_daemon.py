"""What becomes of the process when a part of it fails."""

import json
import subprocess
import sys
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


def test_a_worker_that_dies_takes_the_process_with_it(tmp_path: Path) -> None:
    health_file = tmp_path / "status.json"
    variables = {
        "GLUETUN_PORT": str(free_port()),
        "QBITTORRENT_PORT": str(free_port()),
        "METRICS_ADDRESS": "127.0.0.1",
        "METRICS_PORT": str(free_port()),
        "HEALTH_FILE": str(health_file),
    }
    ended = subprocess.run(
        [sys.executable, "-c", WITH_A_WORKER_THAT_DIES],
        env=clean_environment(tmp_path) | variables,
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
    assert not health_file.exists()
