"""Runs the installed `qsticky` command, and looks at it as its users do: from outside."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Self

from prometheus_client.parser import text_string_to_metric_families

from qsticky.sync.report import Trigger
from tests.real import free_port, wait_until

BOUND = 20  # seconds; what is waited for comes within two, where the machine has the time
TIME_TO_STOP = 2
EVENTS = {
    "startup",
    "login",
    "login_refused",
    "port_change_needed",
    "port_changed",
    "port_lost",
    "port_restored",
    "rebound",
    "sync_failed",
    "sync_recovered",
    "port_check",
    "vpn_restart",
    "notification_failed",
    "health_file_failed",
    "http",
    "shutdown",
}
LEVELS = {"debug", "info", "warning", "error", "critical"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def qsticky_command() -> str:
    """Return the path of the command, as it was installed beside this Python."""
    return str(Path(sys.executable).with_name("qsticky"))


class QSticky:
    """One run of the command in a clean environment; a context manager.

    ``variables`` are all that it finds in its environment, but for where it serves (``port``) and
    writes its health file (``health_file``), which it gets on its own in ``folder``. At the end it
    must stop with exit code 0 and nothing on stderr. ``headers`` go with every request to it, and
    ``command`` is what is run.
    """

    def __init__(
        self, folder: Path, variables: Mapping[str, object], arguments: Iterable[str] = ()
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.health_file = folder / "health" / "status.json"
        self.environment = {
            **clean_environment(folder),
            "METRICS_ADDRESS": "127.0.0.1",
            "METRICS_PORT": str(self.port),
            "HEALTH_FILE": str(self.health_file),
            **{name: str(value) for name, value in variables.items()},
        }
        self.headers: dict[str, str] = {}
        self.command = [qsticky_command()]
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def leave_unmeasured(self) -> None:
        """Have its coverage not measured, which takes time and memory."""
        for variable in [name for name in self.environment if name.startswith("COVERAGE_")]:
            del self.environment[variable]

    def start(self) -> None:
        """Start it; it need not be up yet when this returns."""
        with self._open("stdout") as stdout, self._open("stderr") as stderr:
            self._process = subprocess.Popen(
                [*self.command, *self._arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def stop(self, received: signal.Signals = signal.SIGTERM, timeout: float = BOUND) -> int:
        """Send it a signal, and return its exit code; TimeoutExpired after `timeout` seconds."""
        process = self._running()
        process.send_signal(received)
        code = process.wait(timeout)
        self._process = None
        assert self.stderr == ""
        return code

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        code = self._running().wait(BOUND)
        self._process = None
        return code

    def kill(self) -> None:
        """End it on the spot, with no chance to clean up."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def freeze(self) -> None:
        """Stop its execution."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        try:
            assert self.stop() == 0
        except BaseException:
            if self._process is not None:
                self.kill()
            raise

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        """What it has printed to stderr so far, which is nothing unless it can't run."""
        return (self.folder / "stderr").read_text()

    def log(self) -> list[dict[str, Any]]:
        """Parse every whole line that it has printed; each must be a JSON object of the log."""
        whole = self.stdout[: self.stdout.rfind("\n") + 1]
        lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
        for line in lines:
            assert line.keys() >= {"timestamp", "level", "logger", "message"}, line
            assert TIMESTAMP.fullmatch(line["timestamp"]), line
            assert line["level"] in LEVELS, line
            assert line["message"], line
            assert line.get("event", "startup") in EVENTS, line
        return lines

    def events(self) -> list[str]:
        """Every event so far, in order."""
        return [line["event"] for line in self.log() if "event" in line]

    def event(self, name: str) -> dict[str, Any]:
        """Return the log line of an event that has happened once, as soon as it is written."""
        wait_until(lambda: name in self.events(), BOUND, f"the event {name} to be logged")
        (line,) = (line for line in self.log() if line.get("event") == name)
        return line

    def health(self) -> dict[str, Any]:
        """Read the health file."""
        document: dict[str, Any] = json.loads(self.health_file.read_text())
        return document

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Page:
        """Send a request to its HTTP server; raises OSError while it can't be reached."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=BOUND)
        try:
            connection.request(method, path, headers=self.headers if headers is None else headers)
            answer = connection.getresponse()
            return Page(answer.status, answer.read().decode())
        finally:
            connection.close()

    def exposition(self) -> str:
        """Scrape it, and return the text."""
        page = self.get("/metrics")
        assert page.status == 200
        return page.text

    def metrics(self) -> dict[str, float]:
        """Scrape it: values by name, as in ``qsticky_syncs_total{trigger="startup"}``."""
        return {
            _key(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(self.exposition())
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """Scrape one value."""
        key = re.escape(_key(f"qsticky_{name}", labels))
        found = re.search(rf"^{key} (\S+)$", self.exposition(), re.MULTILINE)
        assert found, f"{name} {labels}"
        return float(found[1])

    def syncs(self) -> float:
        """How many syncs have ended."""
        return sum(self.syncs_by_trigger().values())

    def syncs_by_trigger(self) -> dict[str, float]:
        """How many syncs have ended, by trigger, without those that there were none of."""
        found = re.findall(
            r'^qsticky_syncs_total{trigger="(\w+)"} (\S+)$', self.exposition(), re.MULTILINE
        )
        assert len(found) == len(Trigger)
        return {trigger: float(count) for trigger, count in found if float(count)}

    def wait_for(self, status: str, reason: str | None = None, timeout: float = BOUND) -> None:
        """Wait for a status, and its reason if any, in the health file.

        A report becomes metrics first, then log lines, then the health file: all of them tell of
        it when this returns.
        """

        def reached() -> bool:
            self._running()
            try:
                health = self.health()
            except FileNotFoundError:
                return False
            return (health["status"], health["reason"]) == (status, reason)

        self._wait(reached, f"{status} ({reason})", timeout)

    def wait_for_port(self, port: int, timeout: float = BOUND) -> None:
        """Wait until it reports to be in sync on a port."""

        def reached() -> bool:
            health = self.health()
            return (health["status"], health["current_port"]) == ("synced", port)

        self.wait_for("synced", timeout=timeout)
        self._wait(reached, f"port {port}", timeout)

    def wait_for_event(self, name: str) -> None:
        """Wait until an event is in the log."""
        self._wait(lambda: name in self.events(), name)

    def wait_for_syncs(self, count: int, trigger: str, timeout: float = BOUND) -> None:
        """Wait until so many syncs of a trigger have ended since its start."""
        self._wait(
            lambda: self.metric("syncs_total", trigger=trigger) >= count,
            f"{count} syncs by {trigger}",
            timeout,
        )

    def sync(self, query: str = "") -> None:
        """Ask for a sync, and wait until it has ended and its report is written everywhere."""
        before, written = self._asked_for(), self.health_file.stat().st_mtime_ns
        assert self.get(f"/-/sync{query}", "POST").status == 202
        self._wait(lambda: self._asked_for() > before, "the sync that was asked for")
        self._wait(lambda: self.health_file.stat().st_mtime_ns > written, "its health document")

    def healthcheck(self) -> subprocess.CompletedProcess[str]:
        """Run `qsticky healthcheck` beside it, as Docker does."""
        return subprocess.run(
            [qsticky_command(), "healthcheck"],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=BOUND,
        )

    def _asked_for(self) -> float:
        """Count the syncs that something asked for: a sync is named after what asked first."""
        own = ("startup", "interval", "retry")
        return sum(n for trigger, n in self.syncs_by_trigger().items() if trigger not in own)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running().pid

    @property
    def threads(self) -> int:
        """How many threads it runs."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def _wait(self, condition: Callable[[], object], what: str, timeout: float = BOUND) -> None:
        try:
            wait_until(condition, timeout, what)
        except AssertionError as error:
            if self.health_file.exists():
                error.add_note(self.health_file.read_text())
            error.add_note(self.stdout)
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was stopped, or not started"
        code = self._process.poll()
        assert code is None, f"it ended with {code}:\n{self.stderr}{self.stdout}"
        return self._process

    def _open(self, name: str) -> IO[bytes]:
        return (self.folder / name).open("ab")


class Page:
    """What an HTTP route answered."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text


def assert_failing(qsticky: QSticky, reason: str, *named: str) -> None:
    """Check that everything which can be seen tells of the same failure, and names the remedy."""
    health = qsticky.health()
    assert health["healthy"] is False
    # The log is written by a thread of its own.
    wait_until(lambda: qsticky.log()[-1]["message"] == health["last_error"], BOUND, "its last line")
    told = qsticky.log()[-1]
    assert told["event"] == "sync_failed"
    assert told["level"] == "error"
    assert told["reason"] == reason
    assert all(name in health["last_error"] for name in named), health["last_error"]
    metrics = qsticky.metrics()
    assert metrics["qsticky_healthy"] == 0
    assert metrics[f'qsticky_sync_failures_total{{reason="{reason}"}}'] >= 1
    ready = qsticky.get("/-/ready")
    assert ready.status == 503
    assert f'"reason": "{reason}"' in ready.text
    assert qsticky.get("/-/healthy").status == 200  # it lives, and restarting it helps nobody


def assert_recovered(qsticky: QSticky, reason: str) -> None:
    """Check that the recovery was told, and that the last error stays to be read."""
    recovered = qsticky.event("sync_recovered")
    assert recovered["reason"] == reason
    assert recovered["seconds"] >= 0
    assert qsticky.events().count("sync_failed") == 1  # once, however long it lasted
    assert qsticky.health()["last_error"] == qsticky.event("sync_failed")["message"]
    assert qsticky.get("/-/ready").status == 200
    metrics = qsticky.metrics()
    assert metrics["qsticky_healthy"] == metrics["qsticky_in_sync"] == 1
    assert metrics["qsticky_gluetun_up"] == metrics["qsticky_qbittorrent_up"] == 1


def clean_environment(folder: Path) -> dict[str, str]:
    """Make an environment with nothing in it but what any process has, and coverage needs."""
    own = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    return own | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def _key(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name
