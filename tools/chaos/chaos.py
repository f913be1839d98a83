"""Random faults of everything around a running `qsticky`: `python -m tools.chaos.chaos`.

The promise: with every fault over, qBittorrent has Gluetun's port within `BOUND` seconds, and
listens on it; and whatever happens, nothing but ports that Gluetun named is ever set.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import requests

from qsticky.demo.gluetun_simulator import GluetunSimulator
from qsticky.demo.qbittorrent_simulator import QBittorrentSimulator
from qsticky.demo.simulator import Answer, Disconnect, Drip, Fault, Hang
from qsticky.kernel import netlink
from tests.contract.targets import Client
from tests.end_to_end.command import TIME_TO_STOP, QSticky
from tests.real import RealQBittorrent, free_port, wait_until
from tools.chaos.footprint import SETTLES_WITHIN, Footprint, measure

CHECK_INTERVAL = 2.0
REQUEST_TIMEOUT = 1.0
SYNC_TAKES = 1.5
"""The most that one sync takes with both services well: a second look at the socket comes a
second after the first, and qBittorrent's log is listened to for 0.15 s."""
BOUND = CHECK_INTERVAL + REQUEST_TIMEOUT + SYNC_TAKES
"""From the end of a fault: the request that is under way then may still run into its time-out;
the next sync comes an interval later at most, and takes its time."""
NOTICED = CHECK_INTERVAL + 4 * REQUEST_TIMEOUT
"""From the beginning of a fault until health tells of it: a sync that began before may succeed,
and in the next one, requests to both services may run into their time-outs."""
MEMORY = 0.25
KEY = "the-key-of-the-role"
_ANSWERS_WITHIN = 3.0  # the HTTP server, whatever is done to it
_POSTERS = 4
_SLOW_CLIENTS = 50  # more than the server serves at once

NONSENSE = (
    '{"port":0.5}',
    '{"port":70000}',
    '{"port":-1}',
    '{"port":"51820"}',
    '{"port":true}',
    '{"port":51820',
    '{"ports":[70000,51820]}',
    '{"ports":{"51820":1}}',
    "[51820]",
    "{}",
    "51820",
    "null",
    "<html>Please log in</html>",
    "",
    "\0\0\0\0",
    "[" * 10_000,
    "9" * 10_000,
)
STATUSES = (301, 400, 401, 403, 404, 429, 500, 502, 503)
NO_PORTS: tuple[bytes, ...] = (
    b"",
    b"\n",
    b"0",
    b"-51820",
    b"65536",
    b"51820 51821x",
    b"port=51820",
    b"\xff\xfe5\x001\x00",
    b"\0" * 100,
    b"5" * 100_000,
)


class QBittorrent:
    """A real qBittorrent where one is installed, else the simulator, to be mistreated."""

    def __init__(self, folder: Path, *, simulated: bool) -> None:
        binary = shutil.which(os.environ.get("QBITTORRENT_NOX") or "qbittorrent-nox")
        self.server: RealQBittorrent | QBittorrentSimulator = (
            QBittorrentSimulator(listen_port=free_port())
            if simulated or not binary
            else RealQBittorrent(folder, binary=binary)
        )
        self.lives: list[list[int]] = []  # the ports that each process opened, in order

    @property
    def name(self) -> str:
        """What it is."""
        if isinstance(self.server, RealQBittorrent):
            major, minor = self.server.version
            return f"a real qBittorrent {major}.{minor}"
        return f"a simulated qBittorrent {self.server.release}"

    @property
    def listen_port(self) -> int:
        """The port that its preferences show."""
        port = self._call(lambda client: client.get("app/preferences")).json()["listen_port"]
        assert isinstance(port, int)
        return port

    def listens(self, port: int) -> bool:
        """Whether a socket of it listens on a port, for those who come in by the loopback."""
        if isinstance(self.server, QBittorrentSimulator):
            return True  # it has none
        return any(
            found.address.is_unspecified or found.address.is_loopback
            for found in netlink.sockets(port).listeners
        )

    def edit(self, port: int) -> None:
        """Set its port, as a user does by hand."""
        form = {"json": f'{{"listen_port": {port}}}'}
        assert self._call(lambda client: client.post("app/setPreferences", form)).ok

    def start(self) -> None:
        """Start it, as the process that it is from now on."""
        self.server.start()
        self._client = Client(self.server.url)
        assert self._call(Client.login).ok

    def stop(self) -> None:
        """Have it end."""
        self._end()
        self.server.stop()

    def kill(self) -> None:
        """End it on the spot."""
        self._end()
        if isinstance(self.server, RealQBittorrent):
            self.server.kill()
        else:
            self.server.stop()

    def freeze(self) -> None:
        """Keep it from answering."""
        if isinstance(self.server, RealQBittorrent):
            self.server.freeze()
        else:
            self.server.fault = Hang()

    def thaw(self) -> None:
        """Let it go on."""
        if isinstance(self.server, RealQBittorrent):
            self.server.thaw()
        else:
            self.server.fault = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self.server.stop()

    def _end(self) -> None:
        """Read from its log which ports it has opened, before that is lost."""
        entries = self._call(lambda client: client.get("log/main")).json()
        found = [re.search(r'"0\.0\.0\.0:(\d+)', entry["message"]) for entry in entries]
        self.lives.append([int(match[1]) for match in found if match])
        self._client.close()

    def _call(self, send: Callable[[Client], requests.Response]) -> requests.Response:
        """Send a request, again if need be.

        qBittorrent closes a kept connection after a while; and 4.5 listens anew whenever its
        preferences are set, and resets or refuses the connections that are made just then.
        """
        deadline = time.monotonic() + 2
        while True:
            try:
                return send(self._client)
            except requests.ConnectionError:
                if time.monotonic() > deadline:
                    raise


@dataclass(frozen=True)
class Trouble:
    """A fault to begin and to end; `healthy` is what health says of it, None for either."""

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    healthy: bool | None = False


@dataclass
class Summary:
    """What was tried, what it came to, and which promises were broken."""

    title: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    repairs: list[tuple[float, str]] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    slowest_answer: float = 0.0
    before: Footprint | None = None
    after: Footprint | None = None
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            self.title,
            f"{self.faults.total()} faults: {_listed(self.faults)}",
            f"{self.changes} port changes at Gluetun",
        ]
        if self.repairs:
            slowest, what = max(self.repairs)
            median = statistics.median(seconds for seconds, _ in self.repairs)
            lines.append(
                f"{len(self.repairs)} repairs of the port: median {median:.2f} s, slowest "
                f"{slowest:.2f} s ({what}); promised within {BOUND:g} s"
            )
        if self.told:
            lines.append(
                f"healthy again {len(self.told)} times: median "
                f"{statistics.median(self.told):.2f} s, slowest {max(self.told):.2f} s"
            )
        lines += [
            f"verdicts checked: {_listed(self.verdicts)}",
            f"served: {_listed(self.served)}; slowest answer {self.slowest_answer:.2f} s",
            f"after the warm-up: {self.before}",
            f"in the end:        {self.after}",
        ]
        return "\n".join([*lines, *(f"BROKEN: {promise}" for promise in self.broken)])


class Chaos:
    """One daemon among services that fail at random; what happens is chosen by `seed`."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        simulated: bool = False,
        settles_within: float = SETTLES_WITHIN,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.summary = Summary()
        self._random = random.Random(seed)
        self._tell = tell
        self._settles_within = settles_within
        for name in ("qbittorrent", "qsticky", "gluetun"):
            (folder / name).mkdir()
        self._port_file = folder / "gluetun" / "forwarded_port"
        self._file_has_port = False
        self._qbittorrent = QBittorrent(folder / "qbittorrent", simulated=simulated)
        self._gluetun = GluetunSimulator(
            api_key=KEY,
            ports=[free_port()],
            release=self._random.choice(["3.40", "3.41", "master"]),
        )
        # A real qBittorrent listens on the loopback, which can stand for a VPN's interface.
        looking = isinstance(self._qbittorrent.server, RealQBittorrent)
        self._interface = self._random.choice(["lo", "absent0"]) if looking else "absent0"
        self._folder = folder / "qsticky"
        self._named = {*self._gluetun.ports}
        self._edits: set[int] = set()
        self._next_change = 0.0
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.summary.title = (
            f"seed {seed}: {self._qbittorrent.name}, a simulated Gluetun {self._gluetun.release}, "
            f"VPN_INTERFACE={self._interface}"
        )

    def run(self, seconds: float) -> Summary:
        """Go on for so long once all is warm, and a little longer for the last repair."""
        self._began = time.monotonic()
        try:
            self._run(seconds)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            self._broken(f"the run ended early: {error!r}")
        return self.summary

    def _run(self, seconds: float) -> None:
        with self._gluetun, self._qbittorrent:
            self._named.add(self._qbittorrent.listen_port)
            variables = {
                "GLUETUN_HOST": self._gluetun.host,
                "GLUETUN_PORT": self._gluetun.port,
                "GLUETUN_APIKEY": KEY,
                "GLUETUN_PORT_FILE": self._port_file,
                "QBITTORRENT_HOST": "127.0.0.1",
                "QBITTORRENT_PORT": self._qbittorrent.server.port,
                "QBITTORRENT_USER": self._qbittorrent.server.username,
                "QBITTORRENT_PASS": self._qbittorrent.server.password,
                "VPN_INTERFACE": self._interface,
                "CHECK_INTERVAL": CHECK_INTERVAL,
                "REQUEST_TIMEOUT": REQUEST_TIMEOUT,
            }
            qsticky = QSticky(self._folder, variables)
            qsticky.leave_unmeasured()
            with qsticky:
                self._qsticky = qsticky
                qsticky.wait_for_port(self._gluetun.ports[0])
                self._warm_up()
                self.summary.before = measure(qsticky, self._settles_within)
                until = time.monotonic() + seconds
                with self._watched():
                    while time.monotonic() < until:
                        self._calm(self._random.uniform(0.1, 2.0))
                        self._round()
                    self._repaired("the end")
                self._close()

    # What is done to it.

    def _round(self) -> None:
        """One fault, or one of each service at once, while the server is molested or not."""
        chosen = [self._random.choice([*self._gluetun_faults(), *self._qbittorrent_faults()])]
        if self._random.random() < 0.3:
            chosen = [
                self._random.choice(self._gluetun_faults()),
                self._random.choice(self._qbittorrent_faults()),
            ]
        what = " and ".join(trouble.name for trouble in chosen)
        molesting = [
            how for how in (self._storm, self._slow_clients) if self._random.random() < 0.3
        ]
        until_the_end = self._random.random() < 0.5
        self._tell(f"{time.monotonic() - self._began:6.1f} s  {what}")
        with ExitStack() as molested:
            for how in molesting:
                molested.enter_context(how())
            for trouble in chosen:
                self.summary.faults[trouble.name] += 1
                trouble.begin()
                self._pass(self._random.uniform(0.0, 1.0))
            if self._random.random() < 0.3:
                self._spoil_the_file()
            self._pass(self._random.uniform(0.0, 3.0))
            if self._random.random() < 0.5:
                self._check_verdict(chosen, what)
            if self._random.random() < 0.5:
                self._change_port()
            self._random.shuffle(chosen)
            for trouble in chosen:
                trouble.end()
                if trouble is not chosen[-1]:
                    self._pass(self._random.uniform(0.0, 1.0))
            if not until_the_end:
                molested.close()
            self._repaired(what)

    def _gluetun_faults(self) -> list[Trouble]:
        gluetun = self._gluetun
        status = self._random.choice(STATUSES)
        drip = Drip(
            interval=self._random.choice([0.02, 0.2]),
            part="headers" if self._random.random() < 0.5 else "body",
        )

        def fault(name: str, fault: Fault, healthy: bool | None = False) -> Trouble:
            def begin() -> None:
                gluetun.fault = fault

            def end() -> None:
                gluetun.fault = None

            return Trouble(f"Gluetun {name}", begin, end, self._by_the_file(healthy))

        return [
            Trouble("Gluetun is stopped", gluetun.stop, gluetun.start, self._by_the_file(False)),
            fault("hangs", Hang()),
            fault("drips", drip, None),
            fault("breaks off", Disconnect(after=self._random.choice([0, 1, 12, 40, 60]))),
            fault("answers nonsense", Answer(body=self._random.choice(NONSENSE))),
            fault("answers another status", Answer(status=status, body="Unauthorized\n")),
            Trouble("Gluetun has no port", self._take_port, self._give_port, True),
            Trouble("Gluetun has several ports", self._give_ports, self._change_port, True),
        ]

    def _qbittorrent_faults(self) -> list[Trouble]:
        it = self._qbittorrent
        return [
            Trouble("qBittorrent is killed", it.kill, it.start),
            Trouble("qBittorrent is restarted", it.stop, it.start),
            Trouble("qBittorrent is frozen", it.freeze, it.thaw),
            Trouble("its port is edited by hand", self._edit, lambda: None, True),
        ]

    def _by_the_file(self, healthy: bool | None) -> bool | None:
        """What health says while Gluetun's API is out: a port in the file would do."""
        return None if self._file_has_port else healthy

    def _edit(self) -> None:
        port = free_port()
        self._edits.add(port)
        self._qbittorrent.edit(port)

    def _take_port(self) -> None:
        self._gluetun.ports = ()
        self._write_file(b"")

    def _give_port(self) -> None:
        self._forward(free_port())

    def _give_ports(self) -> None:
        self._forward(free_port(), free_port(), free_port())

    def _change_port(self) -> None:
        """Have Gluetun forward another port, unless it has none now."""
        if self._gluetun.ports:
            self._forward(free_port())

    def _forward(self, *ports: int) -> None:
        self._named.add(ports[0])
        self._gluetun.ports = ports
        self.summary.changes += 1
        if self._random.random() < 0.5:
            self._write_file("\n".join(map(str, ports)).encode())
        elif self._file_has_port:  # a stale port in it would be as good as any
            self._write_file(b"")
        self._next_change = time.monotonic() + self._random.uniform(1.0, 4.0)

    def _write_file(self, content: bytes) -> None:
        self._remove_file(in_place=self._random.random() < 0.5)
        self._port_file.write_bytes(content)
        self._file_has_port = content[:1].isdigit() and content not in NO_PORTS

    def _spoil_the_file(self) -> None:
        """Put several things into the port file or in its place, and no port in the end."""
        self.summary.faults["the port file is spoilt"] += 1
        self._file_has_port = False
        for _ in range(self._random.randrange(1, 6)):
            kind = self._random.random()
            self._remove_file(in_place=kind > 0.5)
            if kind < 0.1:
                self._port_file.mkdir()
            elif kind < 0.2:
                os.mkfifo(self._port_file)
            elif kind > 0.3:
                self._port_file.write_bytes(self._random.choice(NO_PORTS))

    def _remove_file(self, *, in_place: bool) -> None:
        """Take away what is there, unless it is a file that is to be written in place."""
        if self._port_file.is_dir():
            self._port_file.rmdir()
        elif self._port_file.is_fifo() or not in_place:
            self._port_file.unlink(missing_ok=True)

    @contextmanager
    def _storm(self) -> Iterator[None]:
        """Ask for syncs as fast as they are taken."""
        self.summary.faults["syncs are asked for in a storm"] += 1
        over = threading.Event()
        threads = [threading.Thread(target=self._ask_until, args=(over,)) for _ in range(_POSTERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask_until(self, over: threading.Event) -> None:
        while not over.is_set():
            self._ask("/-/sync", "POST", 202)

    @contextmanager
    def _slow_clients(self) -> Iterator[None]:
        """Have many clients that are idle, slow or ignores_settings at once."""
        self.summary.faults["slow clients connect"] += 1
        said = (b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x", b"\x16\x03\x01\x02\0\1\0")
        whole = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        with ExitStack() as connections:
            for number in range(_SLOW_CLIENTS):
                with suppress(OSError):  # hung up on already, which is its right
                    client = socket.create_connection(("127.0.0.1", self._qsticky.port), 5)
                    connections.enter_context(client)
                    client.sendall(whole if number % 10 == 0 else said[number % len(said)])
            yield

    # What is promised.

    def _calm(self, seconds: float) -> None:
        """Let time pass without a fault, in which every change of the port is followed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if time.monotonic() >= self._next_change:
                self._change_port()
                self._repaired("Gluetun's port changes")
            time.sleep(0.02)

    def _pass(self, seconds: float) -> None:
        """Let time pass within a fault; the port goes on changing."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if time.monotonic() >= self._next_change:
                self._change_port()
            time.sleep(0.02)

    def _repaired(self, what: str) -> None:
        """Hold it to its promise, from now on."""
        began = time.monotonic()
        port = self._gluetun.ports[0]
        wrong = not self._is_right(port)
        try:
            wait_until(partial(self._is_right, port), BOUND, f"port {port} after: {what}")
        except AssertionError as error:
            self._broken(f"{error}; qBittorrent's is {self._qbittorrent.listen_port}")
            return
        if wrong:
            self.summary.repairs.append((time.monotonic() - began, what))
        left = began + BOUND - time.monotonic()
        try:
            wait_until(partial(self._says_healthy, port), left, f"health to tell, after: {what}")
        except AssertionError as error:
            self._broken(f"{error}; it says {self._qsticky.health()}")
            return
        self.summary.told.append(time.monotonic() - began)
        if not self._is_right(port):
            self._broken(f"port {port} did not stay, after: {what}")
        if self._random.random() < 0.3:
            self._check_health(True, what)

    def _is_right(self, port: int) -> bool:
        return self._qbittorrent.listen_port == port and self._qbittorrent.listens(port)

    def _says_healthy(self, port: int) -> bool:
        health = self._qsticky.health()
        return (health["status"], health["current_port"]) == ("synced", port)

    def _check_verdict(self, chosen: Sequence[Trouble], what: str) -> None:
        """See that health tells of the faults that last, and of nothing else."""
        verdicts = {trouble.healthy for trouble in chosen}
        expected = False if False in verdicts else None if None in verdicts else True
        outage = [trouble for trouble in chosen if trouble.healthy is not True]
        if self._file_has_port and all("Gluetun" in trouble.name for trouble in outage):
            return  # a port that came into the file meanwhile makes up for Gluetun
        if expected is not None:
            try:
                wait_until(
                    lambda: self._qsticky.health()["healthy"] is expected,
                    NOTICED,
                    f"health to be {expected} in: {what}",
                )
            except AssertionError as error:
                self._broken(f"{error}; it says {self._qsticky.health()}")
                return
            self._check_health(expected, what)

    def _check_health(self, healthy: bool, what: str) -> None:
        """See that all who tell of health tell the same."""
        self.summary.verdicts["healthy" if healthy else "unhealthy"] += 1
        done = self._qsticky.healthcheck()
        if done.returncode != (0 if healthy else 1):
            self._broken(f"healthcheck ended with {done.returncode} in: {what}: {done.stdout}")
        self._ask("/-/ready", "GET", 200 if healthy else 503)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """All the while, see that it lives, and that its HTTP server answers."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.2):
                self._ask("/-/healthy", "GET", 200)
                self._ask("/metrics", "GET", 200)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _ask(self, path: str, method: str, status: int) -> None:
        began = time.monotonic()
        try:
            got: object = self._qsticky.get(path, method).status
        except (OSError, http.client.HTTPException) as error:
            got = repr(error)
        lasted = time.monotonic() - began
        with self._lock:
            self.summary.served[f"{method} {path}"] += 1
            self.summary.slowest_answer = max(self.summary.slowest_answer, lasted)
        if got != status:
            self._broken(f"{method} {path} was answered {got} and not {status}")
        elif lasted > _ANSWERS_WITHIN:
            self._broken(f"{method} {path} was answered after {lasted:.1f} s")

    def _broken(self, promise: str) -> None:
        with self._lock:
            self.summary.broken.append(f"{time.monotonic() - self._began:.1f} s: {promise}")
        self._tell(f"BROKEN: {promise}")

    def _warm_up(self) -> None:
        """Have it do once what it will do, so that what it keeps from that is not growth."""
        with self._slow_clients(), self._storm():
            time.sleep(0.3)
        self._qsticky.sync()

    def _close(self) -> None:
        """Look back on the whole run, and end the process."""
        qsticky, summary = self._qsticky, self.summary
        assert summary.before
        summary.after = measure(qsticky, self._settles_within, summary.before)
        summary.broken += summary.after.grown(summary.before, MEMORY)
        if internal := qsticky.metric("sync_failures_total", reason="internal"):
            summary.broken.append(f"{internal:g} syncs failed by a mistake of its own")
        if refused := qsticky.metric("qbittorrent_login_failures_total"):
            summary.broken.append(f"{refused:g} logins were refused")
        for service in ("gluetun", "qbittorrent"):
            count = qsticky.metric("api_requests_total", service=service)
            summary.served[f"requests to {service}"] = int(count)
        summary.served["syncs"] = int(qsticky.syncs())
        began = time.monotonic()
        code = qsticky.stop()
        if code or time.monotonic() - began > TIME_TO_STOP:
            summary.broken.append(f"it ended with {code}, {time.monotonic() - began:.1f} s later")
        for line in qsticky.log():
            if line["level"] == "critical" or "exception" in line or "mistake" in line["message"]:
                summary.broken.append(f"it logged {line}")
        self._qbittorrent.stop()
        self._check_ports()

    def _check_ports(self) -> None:
        """See that qBittorrent opened no port that nobody wanted, but to rebind a wanted one."""
        wanted = self._named | self._edits
        lives = self._qbittorrent.lives
        opened = {port for life in lives for port in life}
        if self._gluetun.ports[0] not in opened:
            self._broken(f"its log names the ports {opened} alone")  # and so proves nothing
        for port in opened - wanted:
            if port - 1 not in self._named:
                self._broken(f"qBittorrent opened port {port}, which nobody wanted")
        steps = {step for life in lives for step in itertools.pairwise(life[1:])}
        for port, following in steps:
            if port not in wanted and following != port - 1:
                self._broken(f"qBittorrent kept port {port}, which nobody wanted")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make chaos, tell what came of it, and return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tools.chaos.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="for how long (%(default)g)")
    parser.add_argument("--seed", type=int, default=None, help="chooses what happens (any)")
    parser.add_argument("--simulated", action="store_true", help="no real qBittorrent")
    wanted = parser.parse_args(arguments)
    seed = random.randrange(1_000_000) if wanted.seed is None else wanted.seed
    with tempfile.TemporaryDirectory() as folder:
        tell = partial(print, flush=True)
        chaos = Chaos(Path(folder), seed, simulated=wanted.simulated, tell=tell)
        summary = chaos.run(wanted.seconds)
    print(summary)
    return 1 if summary.broken else 0


if __name__ == "__main__":
    sys.exit(main())
