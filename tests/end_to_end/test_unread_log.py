"""A log that nobody reads holds up nothing: no sync, no answer, no stop."""

import fcntl
import http.client
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.command import TIME_TO_STOP, clean_environment, qsticky_command
from tests.real import free_port, wait_until

BOUND = 20
PIPE = 4096  # bytes that the kernel keeps for a reader, the least that it can be told


class Daemon:
    """A daemon whose services are both away, and which writes its log to a descriptor."""

    def __init__(self, folder: Path, stdout: int) -> None:
        self.port = free_port()
        own = {
            "GLUETUN_PORT": free_port(),
            "QBITTORRENT_PORT": free_port(),
            "METRICS_ADDRESS": "127.0.0.1",
            "METRICS_PORT": self.port,
            "HEALTH_FILE": folder / "status.json",
            "VPN_INTERFACE": "absent0",
            "CHECK_INTERVAL": 300,
            "LOG_LEVEL": "DEBUG",
        }
        self.process = subprocess.Popen(
            [qsticky_command()],
            env=clean_environment(folder) | {name: str(value) for name, value in own.items()},
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, BOUND, "its HTTP server")

    def ask(self, method: str, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND)
        connection.request(method, path)
        answer = connection.getresponse().read().decode()
        connection.close()
        return answer

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("GET", "/metrics"), re.MULTILINE)
        assert found
        return float(found[1])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIME_TO_STOP)

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/-/healthy") != ""
        except ConnectionRefusedError:
            return False


@contextmanager
def running(folder: Path, stdout: int) -> Iterator[Daemon]:
    daemon = Daemon(folder, stdout)
    try:
        yield daemon
    finally:
        daemon.process.kill()
        daemon.process.wait()


def test_a_full_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    with running(tmp_path, writing) as daemon:
        before = daemon.metric('qsticky_syncs_total{trigger="request"}')
        for _ in range(300):  # each is a line of the log, so that the pipe is full for long
            daemon.ask("POST", "/-/sync")
        wait_until(
            lambda: daemon.metric('qsticky_syncs_total{trigger="request"}') > before,
            BOUND,
            "a sync",
        )
        assert daemon.stop() == 0
    os.close(writing)
    assert os.read(reading, 1) == b"{"
    os.close(reading)


def test_a_pipe_whose_reader_went_away(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with running(tmp_path, writing) as daemon:
        os.close(reading)
        daemon.ask("POST", "/-/sync")
        wait_until(lambda: daemon.metric("qsticky_log_lines_dropped_total") > 0, BOUND, "drops")
        assert "Alive" in daemon.ask("GET", "/-/healthy")
        assert daemon.stop() == 0
    os.close(writing)
