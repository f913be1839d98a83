"""How containers of the image behave: healthy or not, as whom, and how they end."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from qsticky import __version__
from tests.image.engine import BOUND, REVISION, Container, Engine
from tests.real import RealQBittorrent, wait_until

HARDENED = (
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=64m",
    "--pids-limit=64",
)
NO_SHELL = ("--volume=/dev/null:/bin/sh:ro", "--volume=/dev/null:/bin/bash:ro")
OFTEN = ("--health-interval=1s",)
MEBIBYTE = 1 << 20

Start = Callable[..., Container]


@pytest.fixture
def start(engine: Engine, image: str, variables: Mapping[str, object]) -> Iterator[Start]:
    """Starts a container with `variables` and what it is given; None unsets one of them."""
    with ExitStack() as running:

        def start_one(*options: str, **others: object) -> Container:
            wanted = {**variables, **others}
            given = {name: value for name, value in wanted.items() if value is not None}
            return running.enter_context(Container(engine, image, given, options))

        yield start_one


def test_as_shipped_and_hardened_it_becomes_healthy_and_stops_at_once(
    start: Start, engine: Engine, variables: Mapping[str, object], figures: dict[str, str]
) -> None:
    container = start(*HARDENED, *NO_SHELL)
    figures["time to healthy, as shipped"] = f"{container.wait_for_health('healthy'):.1f} s"

    with urlopen(f"http://127.0.0.1:{variables['METRICS_PORT']}/metrics", timeout=5) as answer:
        metrics = answer.read().decode()
    build = f'qsticky_build_info{{revision="{REVISION}",version="{__version__}"}} 1.0'
    assert build in metrics
    resident = re.search(r"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)
    assert resident
    used = engine.docker("stats", "--no-stream", "--format={{.MemUsage}}", container.id)
    figures["memory: the process, docker stats"] = (
        f"{float(resident[1]) / MEBIBYTE:.1f} MiB, {used.split('/')[0].strip()} of 64 MiB"
    )

    assert container.state["OOMKilled"] is False
    code, seconds = container.stop()
    figures["time to stop"] = f"{seconds:.2f} s, exit code {code}"
    assert code == 0
    assert seconds < 2


def test_it_is_unhealthy_while_qbittorrent_is_away(
    start: Start, qbittorrent: RealQBittorrent
) -> None:
    container = start(*HARDENED, *OFTEN, CHECK_INTERVAL=1)
    container.wait_for_health("healthy")
    qbittorrent.stop()
    try:
        container.wait_for_health("unhealthy")
        *_, last = container.state["Health"]["Log"]
        assert last["Output"].startswith("unhealthy: qbittorrent_unreachable: ")
    finally:
        qbittorrent.start()
    container.wait_for_health("healthy")


@pytest.mark.parametrize("user", ["0", "1000", "1000:1000", "99:100", "2147483647:2147483647"])
def test_it_runs_as_any_user(start: Start, user: str) -> None:
    container = start(*HARDENED, *OFTEN, f"--user={user}")
    container.wait_for_health("healthy")
    assert (
        container.execute("python", "-c", "import os; print(os.getuid())").strip()
        == (user.partition(":")[0])
    )


@pytest.mark.parametrize(
    ("mounted", "variable"),
    [("/run/secrets/qbittorrent_pass", {}), ("/pass", {"QBITTORRENT_PASS_FILE": "/pass"})],
    ids=["Docker secret", "any file"],
)
def test_a_password_can_come_from_a_mounted_secret(
    start: Start,
    qbittorrent: RealQBittorrent,
    tmp_path: Path,
    mounted: str,
    variable: dict[str, str],
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(qbittorrent.password + "\n")
    container = start(
        *HARDENED,
        *OFTEN,
        f"--volume={secret}:{mounted}:ro",
        **{"QBITTORRENT_PASS": None} | variable,
    )
    container.wait_for_health("healthy")
    assert qbittorrent.password not in container.logs


@pytest.mark.parametrize(
    "command",
    ["cat /tmp/health/status.json", """grep '"healthy": true' /tmp/health/status.json"""],
)
def test_a_health_check_that_users_wrote_works(start: Start, command: str) -> None:
    container = start(*HARDENED, *OFTEN, f"--health-cmd={command}")
    container.wait_for_health("healthy")
    *_, last = container.state["Health"]["Log"]
    assert '"healthy": ' in last["Output"]


def test_each_line_that_it_logs_is_a_json_object(start: Start) -> None:
    container = start(*HARDENED, *OFTEN)
    container.wait_for_health("healthy")
    container.stop()
    lines = [json.loads(line) for line in container.logs.splitlines()]
    assert [lines[0]["event"], lines[-1]["event"]] == ["startup", "shutdown"]
    assert lines[-1]["message"] == "Stopped: received SIGTERM"


ORPHAN = """
import os, time
if os.fork() == 0:
    time.sleep(0.1)  # until its parent has ended
    print(os.getppid(), flush=True)
"""
STATES = """
import pathlib
for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
    print(stat.read_text().rpartition(")")[2].split()[0])
"""


def test_as_the_first_process_it_clears_away_what_it_inherits(start: Start) -> None:
    container = start(*HARDENED, *OFTEN)
    container.wait_for_health("healthy")
    assert container.execute("python", "-c", ORPHAN).strip() == "1"  # it inherited it
    states: list[str] = []

    def alone() -> bool:
        states[:] = container.execute("python", "-c", STATES).split()
        return len(states) == 2  # the daemon, and the one that looks

    wait_until(alone, 5, "the orphan to be gone")
    assert "Z" not in states


def test_without_a_writable_folder_it_says_why_it_is_unhealthy(start: Start) -> None:
    container = start("--read-only", *OFTEN, "--health-retries=1", "--health-start-period=1s")
    wait_until(lambda: "Read-only file system" in container.logs, BOUND, "the reason in its log")
    container.wait_for_health("unhealthy")
