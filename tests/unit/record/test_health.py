"""What the health document says, and that no reader ever finds anything but a whole one."""

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from qsticky import __version__
from qsticky.clock import SystemClock
from qsticky.errors import Reason
from qsticky.record.health import Health
from qsticky.sync.report import ListeningBy, PortChange, PortSource
from tests.fakes import FakeClock
from tests.real import own_mounts, require
from tests.reports import ENDED, START, degraded, failing, synced, waiting

CHECK_INTERVAL = 30.0
REQUEST_TIMEOUT = 10.0
UNKNOWN_SERVICES = {
    "gluetun": {"connected": False, "port": None, "public_address": None},
    "qbittorrent": {
        "connected": False,
        "port_synced": False,
        "connection_status": None,
        "listening": None,
        "listening_by": None,
        "listening_since": None,
        "incoming_connections": None,
        "last_incoming_connection": None,
        "external_address": None,
        "version": None,
    },
}
# Before the first sync.
STARTING: dict[str, object] = {
    "healthy": False,
    "status": "starting",
    "status_since": "2025-01-24T20:06:33Z",
    "reason": None,
    "last_error": None,
    "last_error_at": None,
    "warnings": [],
    "waiting_until": None,
    "forwarded_port": None,
    "port_source": None,
    "port_index": 1,
    "port_count": None,
    "current_port": None,
    "reachable": None,
    "reachable_checked_at": None,
    "last_check": None,
    "last_success": None,
    "last_port_change": None,
    "started_at": "2025-01-24T20:06:33Z",
    "uptime_seconds": 0,
    "stale_after": "2025-01-24T20:07:18Z",
    "services": UNKNOWN_SERVICES,
    "version": __version__,
}
# After one that ended 100 s later, whatever came of it.
CHECKED = STARTING | {
    "status_since": "2025-01-24T20:08:13Z",
    "last_check": "2025-01-24T20:08:13Z",
    "uptime_seconds": 100,
    "stale_after": "2025-01-24T20:08:58Z",
}

Document = dict[str, Any]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file shall be: in a folder that is yet to be made."""
    return tmp_path / "new" / "folder" / "status.json"


@pytest.fixture
def health(path: Path, clock: FakeClock) -> Health:
    return made(path, clock)


@pytest.fixture
def umask_077() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def made(path: Path, clock: FakeClock | SystemClock) -> Health:
    return Health(path, check_interval=CHECK_INTERVAL, request_timeout=REQUEST_TIMEOUT, clock=clock)


def services(port: int, **facts: object) -> dict[str, object]:
    """What is told of both where they answered, changed where it matters."""
    qbittorrent = {"connected": True, "connection_status": "connected", **facts}
    return {
        "gluetun": UNKNOWN_SERVICES["gluetun"] | {"connected": True, "port": port},
        "qbittorrent": UNKNOWN_SERVICES["qbittorrent"] | qbittorrent,
    }


def read(path: Path) -> Document:
    document = json.loads(path.read_bytes())
    assert isinstance(document, dict)
    return document


def seconds_good(document: Document, clock: FakeClock) -> float:
    """How long the document is good for from now on."""
    written = int(clock.now())  # the document's times are whole seconds
    return datetime.fromisoformat(document["stale_after"]).timestamp() - written


class TestTheDocument:
    """Each state's document, as a whole."""

    def test_before_the_first_sync(self, health: Health, path: Path) -> None:
        assert health.write() is None
        assert read(path) == STARTING

    def test_in_sync(self, health: Health, path: Path, clock: FakeClock) -> None:
        clock.advance(100)
        assert health.record(synced(listening=True), 30) is None
        assert read(path) == CHECKED | {
            "healthy": True,
            "status": "synced",
            "forwarded_port": 51218,
            "current_port": 51218,
            "last_success": "2025-01-24T20:08:13Z",
            "services": services(
                51218,
                port_synced=True,
                listening=True,
                listening_since="2025-01-24T20:08:13Z",
            ),
        }

    def test_waiting_for_a_port(self, health: Health, path: Path, clock: FakeClock) -> None:
        clock.advance(100)
        assert health.record(waiting(current_port=6881), 30) is None
        assert read(path) == CHECKED | {
            "healthy": True,
            "status": "waiting",
            "forwarded_port": 0,
            "current_port": 6881,
            "services": services(0),
        }

    @pytest.mark.parametrize("reason", Reason)
    def test_failing(self, health: Health, path: Path, clock: FakeClock, reason: Reason) -> None:
        clock.advance(100)
        assert health.record(failing(reason, "It broke; mend it"), 1) is None
        assert read(path) == CHECKED | {
            "status": "failing",
            "reason": str(reason),
            "last_error": "It broke; mend it",
            "last_error_at": "2025-01-24T20:08:13Z",
        }

    def test_a_port_from_the_file_is_healthy_with_an_error(
        self, health: Health, path: Path
    ) -> None:
        health.record(degraded("Gluetun is away; start it"), 30)
        document = read(path)
        assert (document["healthy"], document["status"]) == (True, "synced")
        assert document["reason"] is None
        assert document["last_error"] == "Gluetun is away; start it"
        assert document["services"]["gluetun"]["connected"] is False

    def test_the_last_error_stays_after_recovery(self, health: Health, path: Path) -> None:
        health.record(failing(Reason.QBITTORRENT_BANNED, "Banned; wait"), 30)
        health.record(synced(finished_at=ENDED + 30), 30)
        document = read(path)
        assert (document["healthy"], document["reason"]) == (True, None)
        assert document["last_error"] == "Banned; wait"
        assert document["last_error_at"] == "2025-01-24T20:08:13Z"
        assert document["last_check"] == "2025-01-24T20:08:43Z"

    def test_a_status_counts_from_the_sync_that_brought_it(
        self, health: Health, path: Path
    ) -> None:
        statuses = [synced(), synced(), failing(Reason.INTERNAL), failing(Reason.PORT_REJECTED)]
        since = []
        for number, report in enumerate(statuses):
            health.record(report._replace(finished_at=ENDED + number), 30)
            since.append(read(path)["status_since"][-3:])
        assert since == ["13Z", "13Z", "15Z", "15Z"]

    def test_the_last_known_ports_and_times_stay_in_an_outage(
        self, health: Health, path: Path
    ) -> None:
        change = PortChange(58988, 51218, verified=True)
        health.record(synced(change=change), 30)
        health.record(failing(Reason.GLUETUN_UNREACHABLE, finished_at=ENDED + 30), 1)
        document = read(path)
        assert (document["forwarded_port"], document["current_port"]) == (51218, 51218)
        assert document["last_success"] == document["last_port_change"] == "2025-01-24T20:08:13Z"
        assert document["last_check"] == "2025-01-24T20:08:43Z"
        assert document["services"]["gluetun"]["port"] == 51218
        assert document["services"]["qbittorrent"] == UNKNOWN_SERVICES["qbittorrent"]

    def test_a_change_that_was_not_verified_is_none(self, health: Health, path: Path) -> None:
        change = PortChange(58988, 51218, verified=False)
        health.record(failing(Reason.PORT_REJECTED, change=change), 1)
        assert read(path)["last_port_change"] is None

    def test_a_plain_grep_finds_the_verdict(self, health: Health, path: Path) -> None:
        grep = [require("grep"), "-q", '"healthy": true', str(path)]
        health.record(failing(Reason.INTERNAL, 'They say "healthy": true'), 30)
        assert subprocess.run(grep, timeout=10).returncode == 1
        health.record(synced(), 30)
        assert subprocess.run(grep, timeout=10).returncode == 0

    def test_any_text_can_be_the_last_error_and_is_made_printable(
        self, health: Health, path: Path
    ) -> None:
        sentence = 'ein "Fehler"\nin drei\x00 Zeilen \u2028 \U0001f4a5 \udcff'
        assert health.record(failing(Reason.INTERNAL, sentence), 30) is None
        told = 'ein "Fehler"\\nin drei\\x00 Zeilen \\u2028 \U0001f4a5 \\udcff'
        assert read(path)["last_error"] == told
        assert path.read_bytes().isascii()

    def test_what_is_known_of_the_listener_and_of_who_came_in(
        self, health: Health, path: Path, clock: FakeClock
    ) -> None:
        clock.advance(100)
        report = synced(
            port_source=PortSource.CONTROL_SERVER,
            port_index=2,
            port_count=3,
            listening=True,
            listening_by=ListeningBy.KERNEL,
            finished_at=50.0,
            incoming_connections=12,
            last_incoming=60.0,
            external_address="198.51.100.1",
            public_address="198.51.100.2",
            qbittorrent_version="v5.1.0",
            reachable=False,
            reachable_at=70.0,
        )
        health.record(report, 30)
        health.record(report._replace(finished_at=90.0), 30)
        document = read(path)
        assert document["port_source"] == "control_server"
        assert (document["port_index"], document["port_count"]) == (2, 3)
        assert document["reachable"] is False
        assert document["reachable_checked_at"] == "2025-01-24T20:07:43Z"
        assert document["services"]["gluetun"]["public_address"] == "198.51.100.2"
        assert document["services"]["qbittorrent"] == {
            "connected": True,
            "port_synced": True,
            "connection_status": "connected",
            "listening": True,
            "listening_by": "kernel",
            "listening_since": "2025-01-24T20:07:23Z",
            "incoming_connections": 12,
            "last_incoming_connection": "2025-01-24T20:07:33Z",
            "external_address": "198.51.100.1",
            "version": "v5.1.0",
        }

    def test_the_last_peer_that_came_in_stays_known(self, health: Health, path: Path) -> None:
        health.record(synced(last_incoming=0.0), 30)
        health.record(failing(Reason.QBITTORRENT_UNREACHABLE), 30)
        services = read(path)["services"]["qbittorrent"]
        assert services["last_incoming_connection"] == "2025-01-24T20:06:33Z"

    def test_waiting_says_until_when(self, health: Health, path: Path) -> None:
        health.record(waiting(patient_until=300.0), 30)
        assert read(path)["waiting_until"] == "2025-01-24T20:11:33Z"

    def test_a_clock_that_is_set_moves_every_time_with_it(
        self, health: Health, path: Path, clock: FakeClock
    ) -> None:
        health.record(synced(finished_at=clock.monotonic()), 30)
        clock.advance(10)
        clock.set(clock.now() - 10 * 365 * 86400)
        health.write()
        document = read(path)
        assert document["uptime_seconds"] == 10
        assert document["started_at"] == document["last_success"] == "2015-01-27T20:06:33Z"
        assert seconds_good(document, clock) == 45

    def test_it_is_the_same_without_a_file(self, health: Health, path: Path) -> None:
        health.record(synced(), 30)
        assert json.loads(json.dumps(health.document())) == read(path)


class TestFreshness:
    """How long a document is good for, and when it is written anew."""

    @pytest.mark.parametrize(("pause", "good_for"), [(0.5, 45), (30, 45), (60, 75)])
    def test_it_is_good_until_the_next_sync_must_have_ended(
        self, health: Health, path: Path, clock: FakeClock, pause: float, good_for: float
    ) -> None:
        clock.advance(17)
        health.record(synced(), pause)
        assert seconds_good(read(path), clock) == good_for

    def test_the_heartbeat_is_fresh_for_just_as_long(
        self, health: Health, clock: FakeClock
    ) -> None:
        assert not health.fresh()
        health.record(synced(), 30)
        assert health.fresh()
        clock.advance(44)
        assert health.fresh()
        clock.advance(1)
        assert not health.fresh()

    def test_a_stale_verdict_is_not_healthy(self, health: Health, clock: FakeClock) -> None:
        assert not health.healthy()
        health.write()
        assert not health.healthy()
        health.record(synced(), 30)
        assert health.healthy()
        clock.advance(45)
        assert not health.healthy()
        health.record(waiting(), 30)
        assert health.healthy()
        health.record(failing(Reason.INTERNAL), 30)
        assert not health.healthy()

    def test_refresh_writes_only_what_could_go_stale_in_the_next_request(
        self, health: Health, path: Path, clock: FakeClock
    ) -> None:
        health.record(synced(), 30)
        written = path.stat().st_ino
        clock.advance(32)  # 13 s are left, and a request can take 10
        assert health.refresh() is None
        assert path.stat().st_ino == written
        clock.advance(1)
        assert health.refresh() is None
        assert path.stat().st_ino != written
        assert seconds_good(read(path), clock) == 45
        assert health.healthy()

    def test_refresh_writes_for_a_request_that_may_take_longer(
        self, health: Health, path: Path, clock: FakeClock
    ) -> None:
        health.record(synced(), 30)
        assert health.refresh(60) is None
        assert seconds_good(read(path), clock) == 95

    def test_refresh_keeps_a_sync_alive_that_takes_many_slow_requests(
        self, health: Health, clock: FakeClock
    ) -> None:
        health.record(synced(), 30)
        clock.advance(30)
        for _ in range(100):
            clock.advance(REQUEST_TIMEOUT)
            assert health.fresh()
            health.refresh()

    def test_refresh_changes_no_fact(self, health: Health, path: Path, clock: FakeClock) -> None:
        health.record(synced(), 30)
        before = read(path)
        clock.advance(40)
        health.refresh()
        after = read(path)
        assert {name for name in after if after[name] != before[name]} == {
            "stale_after",
            "uptime_seconds",
        }

    def test_the_heartbeat_is_of_the_worker_and_not_of_the_disk(
        self, tmp_path: Path, clock: FakeClock
    ) -> None:
        health = made(tmp_path, clock)
        assert isinstance(health.record(synced(), 30), OSError)
        assert health.fresh()
        assert health.healthy()


class TestTheFile:
    """Its mode, and that it is replaced in one step."""

    @pytest.mark.usefixtures("umask_077")
    def test_everybody_can_read_it_whatever_the_umask(self, health: Health, path: Path) -> None:
        for _ in range(2):
            health.write()
            assert path.stat().st_mode & 0o7777 == 0o644

    def test_each_write_is_a_new_file_beside_no_other(self, health: Health, path: Path) -> None:
        health.write()
        with path.open("rb") as old:
            before = old.read()
            old.seek(0)
            health.record(synced(), 30)
            assert os.fstat(old.fileno()).st_ino != path.stat().st_ino
            assert old.read() == before
        assert os.listdir(path.parent) == [path.name]

    def test_a_symbolic_link_in_its_place_is_replaced(self, health: Health, path: Path) -> None:
        path.parent.mkdir(parents=True)
        target = path.with_name("target")
        target.write_text("untouched")
        path.symlink_to(target)
        assert health.write() is None
        assert not path.is_symlink()
        assert target.read_text() == "untouched"

    def test_a_path_without_a_folder_is_in_the_working_directory(
        self, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert made(Path("status.json"), clock).write() is None
        assert os.listdir() == ["status.json"]

    def test_removed_it_stays_away_whoever_writes_and_removing_it_again_is_fine(
        self, health: Health, path: Path, clock: FakeClock
    ) -> None:
        health.write()
        health.remove()
        assert not path.exists()
        assert health.record(synced(), 30) is None
        clock.advance(100)
        assert health.refresh() is None
        assert os.listdir(path.parent) == []
        health.remove()

    def test_removing_what_cannot_be_removed_is_no_error(
        self, tmp_path: Path, clock: FakeClock
    ) -> None:
        made(tmp_path, clock).remove()
        assert tmp_path.is_dir()

    def test_a_reader_never_sees_half_a_document(self, path: Path) -> None:
        health = made(path, SystemClock())
        health.write()
        seen: set[int] = set()

        def write() -> None:
            for number in range(20_000):
                health.record(failing(Reason.INTERNAL, "x" * (number % 7 * 1000)), 30)
                if number > 400 and len(seen) > 3:
                    return

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while writer.is_alive():
                seen.add(len(read(path)["last_error"] or ""))
        finally:
            writer.join()
        assert len(seen) > 3

    def test_killed_at_any_moment_the_writer_leaves_a_whole_document(self, path: Path) -> None:
        health = made(path, SystemClock())
        health.write()
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AGAIN_AND_AGAIN, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (killed.returncode, killed.stderr) == (0, "")
        assert health.record(synced(), 30) is None  # and what they left hinders nobody
        assert read(path)["healthy"] is True
        health.remove_leftovers()
        assert os.listdir(path.parent) == [path.name]


KILLED_AGAIN_AND_AGAIN = """
import json, os, random, signal, sys, time
from pathlib import Path
from qsticky.clock import SystemClock
from qsticky.errors import Reason
from qsticky.record.health import Health
from tests.reports import failing

path = Path(sys.argv[1])
half_written = 0
for number in range(1000):
    if number > 60 and half_written:
        break
    child = os.fork()
    if not child:
        health = Health(path, check_interval=30, request_timeout=10, clock=SystemClock())
        while True:
            health.record(failing(Reason.INTERNAL, "x" * random.randrange(100_000)), 30)
    time.sleep(random.uniform(0.001, 0.015))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert json.loads(path.read_bytes())["version"], "no document"
    half_written += len(os.listdir(path.parent)) > 1
assert half_written, "no kill was in the middle of a write"
"""


class TestFaults:
    """What the disk refuses is returned, never raised, and leaves no litter."""

    def test_a_file_in_the_way_of_the_folder(self, tmp_path: Path, clock: FakeClock) -> None:
        (tmp_path / "file").touch()
        for path in (tmp_path / "file" / "status.json", tmp_path / "file" / "deep" / "status.json"):
            assert isinstance(made(path, clock).write(), OSError)
        assert os.listdir(tmp_path) == ["file"]

    def test_a_folder_in_its_place(self, tmp_path: Path, clock: FakeClock) -> None:
        folder = tmp_path / "status.json"
        folder.mkdir()
        error = made(folder, clock).write()
        assert isinstance(error, OSError)
        assert error.errno == errno.EISDIR
        assert os.listdir(tmp_path) == ["status.json"]

    @pytest.mark.parametrize("path", ["/", ".", ".."])
    def test_a_path_that_names_no_file(self, path: str, clock: FakeClock) -> None:
        health = made(Path(path), clock)
        assert isinstance(health.write(), OSError)
        health.remove()

    def test_a_name_that_is_too_long(self, tmp_path: Path, clock: FakeClock) -> None:
        error = made(tmp_path / ("x" * 300), clock).write()
        assert isinstance(error, OSError)
        assert error.errno == errno.ENAMETOOLONG

    def test_a_disk_that_takes_no_more(self, tmp_path: Path) -> None:
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
        assert faults(tmp_path, limit) == [
            {"error": errno.EFBIG, "files": ["status.json"], "document": "starting"},
            {"error": None, "files": ["status.json"], "document": "synced"},
        ]

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            ("mount -o remount,size=1k {}", errno.ENOSPC),
            ("mount -o remount,ro {}", errno.EROFS),
        ],
    )
    def test_a_file_system_that_is_full_or_read_only(
        self, tmp_path: Path, fault: str, code: int
    ) -> None:
        mount = f"mount -t tmpfs -o size=4k none {tmp_path}"
        break_it = f"subprocess.run({fault.format(tmp_path).split()}, check=True)"
        prefix = [*own_mounts(), "sh", "-c", f'{mount} && exec "$@"', "sh"]
        (failed, _) = faults(tmp_path, f"import subprocess; {break_it}", prefix)
        assert failed == {"error": code, "files": ["status.json"], "document": "starting"}

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        close = "os.chmod('.', 0o555); os.geteuid() or os.setuid(65534)"
        (failed, _) = faults(tmp_path, close)
        assert failed == {"error": errno.EACCES, "files": ["status.json"], "document": "starting"}


TRIES = """
import json, os, sys
from pathlib import Path
from qsticky.clock import SystemClock
from qsticky.errors import Reason
from qsticky.record.health import Health
from tests.reports import degraded, failing

fault, path = sys.argv[1:]
os.chdir(path)
health = Health(Path("status.json"), check_interval=30, request_timeout=10, clock=SystemClock())
assert health.write() is None
exec(fault)
found = []
for report in (failing(Reason.INTERNAL, "x" * 5000), degraded("short")):
    error = health.record(report, 30)
    document = json.loads(Path("status.json").read_bytes())["status"]
    code = error and error.errno
    found.append({"error": code, "files": sorted(os.listdir()), "document": document})
print(json.dumps(found))
"""


def faults(folder: Path, fault: str, prefix: list[str] | None = None) -> list[Document]:
    """In a process of its own: write, break something, then try a large and a small document."""
    tried = subprocess.run(
        [*(prefix or []), sys.executable, "-c", TRIES, fault, str(folder)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert tried.returncode == 0, tried.stderr
    found = json.loads(tried.stdout)
    assert isinstance(found, list)
    return found
