"""The measurements: real processes, a real qbittorrent-nox where there is one, the simulator else.

What is measured runs apart from what serves it, so that the CPU time told is its own. Times are
in milliseconds, memory in MiB.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from qsticky.demo.gluetun_simulator import PORT_ROUTE, PUBLIC_IP_ROUTE, GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from tests.end_to_end.command import QSticky
from tests.real import wait_until
from tools.bench.figures import Figure, p99
from tools.bench.stage import Plan, Stage, stage
from tools.chaos.soak import Soak

MIB = 1024 * 1024
SYNCS = 100
SOAK_SYNCS = 100_000
PACE = 1.0
PACED_SYNCS = 20
REST = 10.0
CLIENTS = 4
SCRAPES = 60
SCRAPE_EVERY = 0.2


def memory(plan: Plan) -> Iterator[Figure]:
    """Measure the resident memory of a daemon that has nothing to do any more."""
    values, floor = [], []
    for _ in range(plan.rounds):
        floor.append(int(_printed_by(plan.floor_imports)) * os.sysconf("SC_PAGE_SIZE") / MIB)
        with stage(plan, real=True) as scene, scene.unpaced_daemon() as daemon:
            daemon.wait_for("synced")
            for _ in range(SYNCS):
                daemon.sync()
            values.append(daemon.metrics()["process_resident_memory_bytes"] / MIB)
    yield Figure(f"memory, idle after {SYNCS} syncs", "MiB", values, floor, 1.05, 35)


def soak(_: Plan) -> Iterator[Figure]:
    """Measure what very many syncs add to the memory; anything else that grows is an error."""
    with TemporaryDirectory() as folder:
        summary = Soak(Path(folder), within=3600, warm_up=SYNCS).run(SOAK_SYNCS)
    if summary.broken or not (summary.before and summary.after):
        raise AssertionError(str(summary))
    values, floor = ([place.memory / MIB] for place in (summary.after, summary.before))
    yield Figure(f"memory after {SOAK_SYNCS} syncs", "MiB", values, floor, 1.02)


def cpu(plan: Plan) -> Iterator[Figure]:
    """Measure a sync's CPU time, and beside it that of its bare requests, at the same pace."""
    values, floor = [], []
    with stage(plan, real=True) as scene, stage(plan, real=True) as beside:
        urls = (beside.gluetun.url, f"http://127.0.0.1:{beside.qbittorrent.port}")
        for _ in range(plan.rounds):
            command = plan.floor("exchanges", *urls, str(PACED_SYNCS), str(PACE))
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bare_requests:
                with scene.daemon(CHECK_INTERVAL=PACE) as daemon:
                    daemon.wait_for("synced")
                    values.append(_cpu_of_a_sync(daemon, scene.gluetun))
                floor.append(float(_printed(bare_requests).split()[0]) * 1000)
    yield Figure("CPU per sync", "ms", values, floor, 1.4)


def rest(plan: Plan) -> Iterator[Figure]:
    """Measure the CPU time of a minute in which no sync is due and nobody asks anything."""
    values = []
    with stage(plan, real=False) as scene, scene.daemon() as daemon:
        daemon.wait_for("synced")
        for _ in range(plan.rounds):
            began = _cpu_seconds(daemon.pid)
            time.sleep(REST)
            values.append((_cpu_seconds(daemon.pid) - began) * 60 / REST * 1000)
    yield Figure("CPU in a minute without a sync", "ms", values)


def start(plan: Plan) -> Iterator[Figure]:
    """Measure the time from the start of the process to a health file that says synced.

    The CPU time tells more where the machine has other things to do.
    """
    walls: tuple[list[float], list[float]] = ([], [])
    cpus: tuple[list[float], list[float]] = ([], [])
    with stage(plan, real=True) as scene:
        for _ in range(plan.starts):
            took, cpu_time = _run(plan.floor_imports, os.environ)
            walls[1].append(took)
            cpus[1].append(cpu_time)
            daemon = scene.daemon()
            try:
                walls[0].append(wall(_start_to_synced, daemon))
                cpus[0].append(_cpu_seconds(daemon.pid) * 1000)
            finally:
                daemon.stop()
    yield Figure("start to first verified sync", "ms", *walls, 1.35)
    yield Figure("start to first verified sync, CPU", "ms", *cpus)


def healthcheck(plan: Plan) -> Iterator[Figure]:
    """Measure one health check, wall and CPU time, beside an interpreter that imports json."""
    walls: tuple[list[float], list[float]] = ([], [])
    cpus: tuple[list[float], list[float]] = ([], [])
    with stage(plan, real=False) as scene, scene.daemon() as daemon:
        daemon.wait_for("synced")
        # -P, so that the package is that of its own checkout and not of the folder this runs in.
        bare_python = [plan.python, "-P", "-c", "import json"]
        check = [plan.python, "-P", "-m", "qsticky", "healthcheck"]
        for _ in range(plan.health_checks):
            for index, command in enumerate((check, bare_python)):
                took, cpu_time = _run(command, daemon.environment)
                walls[index].append(took)
                cpus[index].append(cpu_time)
    yield Figure("health check, wall", "ms", *walls, 1.2)
    yield Figure("health check, CPU", "ms", *cpus, 1.2)


def requests(plan: Plan, syncs: int = SYNCS) -> Iterator[Figure]:
    """Count what a sync asks when nothing changed, and on how many connections."""
    with stage(plan, real=False, routes=(PORT_ROUTE, PUBLIC_IP_ROUTE)) as scene:
        asked, _, _ = _asked(scene, syncs // 5)
        yield Figure("requests per sync, with the public address", "", [asked], most=4)
    with stage(plan, real=False) as scene:
        asked, logins, opened = _asked(scene, syncs)
        yield Figure("requests per sync", "", [asked], most=3)
        yield Figure(f"logins in {syncs} syncs", "", [logins], most=0)
        yield Figure(f"connections opened in {syncs} syncs", "", [opened], most=0)


def scrape(plan: Plan) -> Iterator[Figure]:
    """Measure scrapes by several clients at once, and the syncs meanwhile and without them."""
    with stage(plan, real=False) as scene, scene.daemon(CHECK_INTERVAL=1) as daemon:
        daemon.wait_for("synced")
        took: list[list[float]] = []
        alone, meanwhile = [], []
        for _ in range(plan.rounds):
            alone.append(_sync_milliseconds(daemon, lambda: time.sleep(SCRAPES * SCRAPE_EVERY)))
            meanwhile.append(_sync_milliseconds(daemon, lambda: took.append(_scrapes(daemon.port))))
    yield Figure(f"scrape, {CLIENTS} clients at once, p99", "ms", [*map(p99, took)], most=20)
    yield Figure("sync while scraped so", "ms", meanwhile, alone, 1.1)


_QUIET = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]


def _asked(scene: Stage, syncs: int) -> tuple[float, float, int]:
    """Count the requests of a sync, and the logins and connections of all of them."""
    with scene.unpaced_daemon() as daemon:
        daemon.wait_for("synced")
        daemon.sync()
        before, opened = daemon.metrics(), _accepted(scene)
        for _ in range(syncs):
            daemon.sync()
        after = daemon.metrics()
    spent = {name: after[name] - before[name] for name in before}
    asked = sum(n for name, n in spent.items() if name.startswith("qsticky_api_requests_total"))
    logins = spent["qsticky_qbittorrent_logins_total"]
    return asked / syncs, logins, _accepted(scene) - opened


def _accepted(scene: Stage) -> int:
    """Count the connections that both services took."""
    assert isinstance(scene.qbittorrent, QBittorrentSimulator)
    return scene.gluetun.accepted + scene.qbittorrent.accepted


def _printed_by(command: list[str]) -> str:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        return _printed(process)


def _printed(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, process.args
    return printed


def _run(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command to its end; return its milliseconds of wall and of CPU time."""
    began = time.perf_counter()
    child = os.posix_spawn(command[0], command, environment, file_actions=_QUIET)
    _, status, used = os.wait4(child, 0)
    assert status == 0, command
    return (time.perf_counter() - began) * 1000, (used.ru_utime + used.ru_stime) * 1000


def wall(action: Callable[..., object], *arguments: object) -> float:
    """Return how many milliseconds an action takes."""
    began = time.perf_counter()
    action(*arguments)
    return (time.perf_counter() - began) * 1000


def _cpu_of_a_sync(daemon: QSticky, gluetun: GluetunSimulator) -> float:
    """Return the milliseconds of CPU time that each of the next syncs takes; nobody scrapes it."""
    first, last = len(gluetun.requests) + 1, len(gluetun.requests) + 1 + PACED_SYNCS
    wait_until(lambda: len(gluetun.requests) >= first, 60, "a sync")
    began = _cpu_seconds(daemon.pid)
    wait_until(lambda: len(gluetun.requests) >= last, 120, f"{PACED_SYNCS} syncs more")
    return (_cpu_seconds(daemon.pid) - began) / PACED_SYNCS * 1000


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of all its threads, in seconds (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


def _start_to_synced(daemon: QSticky) -> None:
    daemon.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if daemon.health_file.exists() and daemon.health()["status"] == "synced":
            return
        time.sleep(0.001)
    raise AssertionError(f"not synced within 20 s:\n{daemon.stdout}")


def _sync_milliseconds(daemon: QSticky, meanwhile: Callable[[], object]) -> float:
    """Return how long the syncs took on average while something else went on."""
    before = daemon.metrics()
    meanwhile()
    after = daemon.metrics()
    name = "qsticky_sync_duration_seconds"
    seconds = after[f"{name}_sum"] - before[f"{name}_sum"]
    return seconds / (after[f"{name}_count"] - before[f"{name}_count"]) * 1000


def _scrapes(port: int) -> list[float]:
    """Scrape by several clients at the same moments; return what each scrape took."""
    took: list[float] = []
    together = threading.Barrier(CLIENTS)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(SCRAPES):
            together.wait()
            began = time.perf_counter()
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            took.append((time.perf_counter() - began) * 1000)
            time.sleep(max(0.0, began + SCRAPE_EVERY - time.perf_counter()))

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return took
