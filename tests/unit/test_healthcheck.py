"""The verdict on every kind of health file: one line, and an exit code that Docker understands."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsticky import healthcheck
from qsticky.clock import SystemClock
from qsticky.errors import Reason
from qsticky.record.health import Health
from tests.arbitrary import json_values
from tests.reports import degraded, failing, synced, waiting

NOW = datetime(2025, 1, 24, 20, 8, 13, tzinfo=UTC)
HEALTHY = {
    "healthy": True,
    "status": "synced",
    "reason": None,
    "last_error": None,
    "stale_after": "2025-01-24T20:08:58Z",
}
LONGEST = healthcheck.longest_validity(30, 10)
FOREIGN = "is not one that qSticky wrote"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def verdict(path: Path, now: datetime = NOW, **facts: object) -> str | None:
    """The verdict on a document that is healthy but for these facts."""
    path.write_text(json.dumps({**HEALTHY, **facts}))
    return healthcheck.unhealthy(str(path), now, LONGEST)


def soon(seconds: float) -> str:
    """That many seconds from now, as a health document has it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def run(health_file: Path, **variables: str) -> tuple[int, str]:
    """Run the command; its exit code and all that it printed."""
    environment = {**os.environ, "HEALTH_FILE": str(health_file), **variables}
    ran = subprocess.run(
        [sys.executable, "-m", "qsticky", "healthcheck"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
    )
    return ran.returncode, ran.stdout


class TestTheCommand:
    """`qsticky healthcheck` as Docker runs it."""

    def test_a_healthy_daemon(self, path: Path) -> None:
        health = Health(path, check_interval=30, request_timeout=10, clock=SystemClock())
        for report in (synced(), waiting(), degraded()):
            health.record(report, 30)
            assert run(path) == (0, "healthy\n")

    def test_an_unhealthy_one_gives_its_reason_in_one_line(self, path: Path) -> None:
        health = Health(path, check_interval=30, request_timeout=10, clock=SystemClock())
        health.record(failing(Reason.QBITTORRENT_BANNED, "Banned;  lift  the   ban \u2014 now"), 30)
        code, printed = run(path)
        assert code == 1
        assert printed == "unhealthy: qbittorrent_banned: Banned; lift the ban \u2014 now\n"

    def test_what_would_act_on_a_terminal_or_is_no_text_is_written_out(self, path: Path) -> None:
        document = {
            **HEALTHY,
            "healthy": False,
            "reason": "internal",
            "last_error": "\x1b[2J \ud800",
        }
        path.write_text(json.dumps({**document, "stale_after": soon(30)}))
        assert run(path) == (1, "unhealthy: internal: \\x1b[2J \\ud800\n")

    def test_a_terminal_without_unicode_is_no_traceback(self, path: Path) -> None:
        document = {**HEALTHY, "healthy": False, "reason": "internal", "last_error": "Zürich"}
        path.write_text(json.dumps({**document, "stale_after": soon(30)}))
        assert run(path, PYTHONIOENCODING="ascii") == (1, "unhealthy: internal: Z\\xfcrich\n")

    def test_it_trusts_no_document_for_longer_than_its_own_settings_allow(self, path: Path) -> None:
        path.write_text(json.dumps({**HEALTHY, "stale_after": soon(350)}))
        code, printed = run(path)
        assert code == 1
        assert "too far ahead" in printed
        assert run(path, CHECK_INTERVAL="600") == (0, "healthy\n")
        assert run(path, REQUEST_TIMEOUT="300") == (0, "healthy\n")
        assert run(path, CHECK_INTERVAL="often", REQUEST_TIMEOUT="nan")[0] == 1

    def test_one_that_is_starting_is_unhealthy(self, path: Path) -> None:
        Health(path, check_interval=30, request_timeout=10, clock=SystemClock()).write()
        assert run(path) == (1, "unhealthy: starting: no sync has succeeded yet\n")

    def test_a_missing_file(self, path: Path) -> None:
        code, printed = run(path)
        assert code == 1
        assert printed == (
            f"unhealthy: no health file at {path}; is the daemon running, "
            "with the same HEALTH_FILE?\n"
        )

    def test_a_fifo_does_not_hang_it(self, path: Path) -> None:
        os.mkfifo(path)
        assert run(path) == (1, f"unhealthy: the health file {path} {FOREIGN}\n")

    @pytest.mark.parametrize("health_file", [None, "", "  "])
    def test_without_a_path_it_reads_the_usual_one(
        self,
        health_file: str | None,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(healthcheck, "unhealthy", lambda path, *_: path)
        environ = {} if health_file is None else {"HEALTH_FILE": health_file}
        assert healthcheck.main(environ) == 1
        assert capsys.readouterr().out == "unhealthy: /tmp/health/status.json\n"

    def test_it_imports_nothing_that_it_does_not_need(self, path: Path) -> None:
        script = (
            "import sys; sys.argv = ['qsticky', 'healthcheck']\n"
            "from qsticky.cli import main; main(); print(*sorted(sys.modules), sep='\\n')"
        )
        # -S: what the interpreter's own site packages bring along is not the command's.
        ran = subprocess.run(
            [sys.executable, "-S", "-c", script],
            env={"HEALTH_FILE": str(path), "PYTHONPATH": str(package_folder())},
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        modules = set(ran.stdout.splitlines())
        assert "qsticky.healthcheck" in modules
        assert {name for name in modules if name.startswith("qsticky")} == {
            "qsticky",
            "qsticky.cli",
            "qsticky.healthcheck",
        }
        heavy = {
            "argparse",
            "asyncio",
            "ctypes",
            "dataclasses",
            "email",
            "http",
            "inspect",
            "logging",
            "pathlib",
            "prometheus_client",
            "pythonjsonlogger",
            "requests",
            "socket",
            "ssl",
            "subprocess",
            "threading",
            "typing",
            "urllib",
        }
        assert modules & heavy == set()


def package_folder() -> Path:
    """Where the package under test is imported from."""
    return Path(healthcheck.__file__).parents[1]


class TestTheVerdict:
    """The function, for what need not run as a process."""

    @pytest.mark.parametrize("status", ["synced", "waiting"])
    def test_healthy(self, path: Path, status: str) -> None:
        assert verdict(path, status=status) is None

    def test_unhealthy_with_a_reason(self, path: Path) -> None:
        told = verdict(path, healthy=False, status="failing", reason="internal", last_error="Oh")
        assert told == "internal: Oh"

    def test_an_old_error_is_not_the_reason_of_a_start(self, path: Path) -> None:
        told = verdict(path, healthy=False, status="starting", reason=None, last_error=None)
        assert told == "starting: no sync has succeeded yet"

    @pytest.mark.parametrize("healthy", ["true", 1, None, [True], {}])
    def test_only_true_is_healthy(self, path: Path, healthy: object) -> None:
        assert verdict(path, healthy=healthy) is not None

    def test_a_stale_document_is_unhealthy_whatever_it_says(self, path: Path) -> None:
        fresh = datetime(2025, 1, 24, 20, 8, 58, tzinfo=UTC)
        assert verdict(path, fresh) is None
        assert verdict(path, fresh + timedelta(seconds=1)) == (
            "the health file is stale since 2025-01-24T20:08:58Z; the daemon hangs or died"
        )

    def test_a_document_from_the_future_is_unhealthy(self, path: Path) -> None:
        longest = 30 + 60 + 5 + 60  # CHECK_INTERVAL, a login, slack, and a minute
        for seconds, healthy in ((longest, True), (longest + 1, False), (10 * 365 * 86400, False)):
            ahead = (NOW + timedelta(seconds=seconds)).isoformat()
            assert (verdict(path, stale_after=ahead) is None) is healthy

    def test_a_document_that_is_longer_than_any_of_ours_is_foreign(self, path: Path) -> None:
        assert verdict(path, padding="x" * 65536) == f"the health file {path} {FOREIGN}"

    def test_stale_counts_before_unhealthy(self, path: Path) -> None:
        told = verdict(path, NOW + timedelta(days=1), healthy=False, reason="internal")
        assert told is not None
        assert "stale" in told

    @pytest.mark.parametrize(
        "stale_after",
        ["2025-01-24T20:08:58", "2025-01-24", "soon", "", None, 1_737_749_293, [], {}, True],
    )
    def test_a_stale_time_that_is_no_moment_is_foreign(
        self, path: Path, stale_after: object
    ) -> None:
        told = verdict(path, stale_after=stale_after)
        assert told == f"the health file {path} {FOREIGN}"

    @pytest.mark.parametrize("missing", ["healthy", "status", "stale_after"])
    def test_a_document_without_a_field_is_foreign(self, path: Path, missing: str) -> None:
        path.write_text(json.dumps({name: HEALTHY[name] for name in HEALTHY if name != missing}))
        assert healthcheck.unhealthy(str(path), NOW, LONGEST) == f"the health file {path} {FOREIGN}"

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"healthy",
            b"null",
            b"[]",
            b'"healthy"',
            b"17",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe\x00garbage",
            b"\x00" * 1000,
            json.dumps(HEALTHY).encode()[:-1],
            b"9" * 5000,
        ],
        ids=lambda content: repr(content[:12]),
    )
    def test_garbage_is_foreign(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        assert healthcheck.unhealthy(str(path), NOW, LONGEST) == f"the health file {path} {FOREIGN}"

    def test_a_folder_cannot_be_read(self, tmp_path: Path) -> None:
        told = healthcheck.unhealthy(str(tmp_path), NOW, LONGEST)
        assert told == f"the health file {tmp_path} can't be read: Is a directory"

    def test_a_file_behind_a_file_cannot_be_read(self, path: Path) -> None:
        path.touch()
        told = healthcheck.unhealthy(str(path / "status.json"), NOW, LONGEST)
        assert told is not None
        assert told.endswith("can't be read: Not a directory")

    def test_a_loop_of_links_cannot_be_read(self, path: Path) -> None:
        path.symlink_to(path)
        told = healthcheck.unhealthy(str(path), NOW, LONGEST)
        assert told is not None
        assert "can't be read" in told

    def test_a_fifo_with_a_writer_that_says_nothing_is_foreign(self, path: Path) -> None:
        os.mkfifo(path)
        writer = os.open(path, os.O_RDWR)
        try:
            assert (
                healthcheck.unhealthy(str(path), NOW, LONGEST)
                == f"the health file {path} {FOREIGN}"
            )
        finally:
            os.close(writer)

    def test_an_impossible_path_is_foreign_too(self) -> None:
        assert healthcheck.unhealthy("a\0b", NOW, LONGEST) is not None

    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
    )
    @given(
        facts=st.fixed_dictionaries(
            {},
            optional={
                "healthy": json_values(),
                "status": json_values(),
                "reason": json_values(),
                "last_error": json_values(),
                "stale_after": json_values() | st.just("9999-12-31T23:59:59-23:59"),
            },
        )
    )
    def test_whatever_the_types_the_verdict_is_one_line(
        self, path: Path, facts: dict[str, Any]
    ) -> None:
        told = verdict(path, **facts)
        assert told is None or len(told.splitlines()) == 1
        if told is None:
            assert facts.get("healthy", True) is True
