"""Runs a real Prometheus on loopback, and asks it."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from tests.real import free_port, missing, require, wait_until

BOUND = 60  # seconds; it is up within two, but for blocks of a fleet that it has to read
_TIME_TO_STOP = 20


def of_3(program: str) -> str:
    """Return the path of a program of Prometheus 3, where `tests/prepare` has put it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "qsticky" / "prometheus-3" / "usr" / "bin" / program
    return str(path) if path.exists() else missing(f"{program} of Prometheus 3", prepared=True)


@dataclass(frozen=True)
class Target:
    """Something to scrape, under its labels `job` and `instance`."""

    address: str
    instance: str
    job: str = "qsticky"


@dataclass(frozen=True)
class Sample:
    """A value, and the labels that it came with (its name among them, as ``__name__``)."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """Values over time, as pairs of a time and a value."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def values(self) -> list[float]:
        """The values, in the order of time."""
        return [value for _, value in self.points]


class QueryError(Exception):
    """Prometheus refused a query; the message is its own."""


class Prometheus:
    """One Prometheus in a folder of its own; a context manager.

    It scrapes `targets`, and with `scrapes_itself` also its own metrics under the job and instance
    ``prometheus``, and evaluates the rules, every `interval` seconds. `storage` is where its blocks
    are, when they are to be kept or were there before. `settings` are more sections of its
    configuration, such as ``alerting``; `options` more of its command line. `program` is another
    one than Debian's.
    """

    def __init__(
        self,
        folder: Path,
        targets: Iterable[Target] = (),
        *,
        interval: float = 1,
        scrapes_itself: bool = False,
        rule_files: Iterable[Path] = (),
        storage: Path | None = None,
        settings: Mapping[str, object] | None = None,
        options: Iterable[str] = (),
        program: str | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        own = Target(f"127.0.0.1:{self.port}", "prometheus", "prometheus")
        self._targets = (*targets, own) if scrapes_itself else tuple(targets)
        self._command = [
            program or require("prometheus"),
            f"--config.file={folder / 'prometheus.json'}",
            f"--storage.tsdb.path={storage or folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *options,
        ]
        every = f"{round(interval * 1000)}ms"
        configuration = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [target.address], "labels": {"instance": target.instance}}
                        for target in self._targets
                        if target.job == job
                    ],
                }
                for job in sorted({target.job for target in self._targets})
            ],
            "rule_files": [str(file.resolve()) for file in rule_files],
            **(settings or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.json").write_text(json.dumps(configuration))
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.trust_env = False

    def start(self) -> None:
        """Start it; it answers queries, and knows its targets, when this returns."""
        assert self._process is None, "Prometheus is running already"
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            wait_until(self._ready, BOUND, "Prometheus to be ready")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it; returns once it is gone."""
        self._session.close()
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            process.wait(_TIME_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """What it has logged so far."""
        return (self._folder / "output").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "Prometheus was not started"
        return self._process.pid

    def processor_seconds(self) -> float:
        """Return how much of processors it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """Evaluate an expression at a time (now, when None); QueryError when it is refused."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        answer = self.get("query", query=expression, **when)
        if answer["resultType"] == "scalar":
            return [Sample({}, float(answer["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in answer["result"]]

    def value(self, expression: str, at: float | None = None) -> float:
        """Evaluate an expression that gives at most one value; NaN when it gives none."""
        samples = self.query(expression, at)
        assert len(samples) <= 1, (expression, samples)
        return samples[0].value if samples else math.nan

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate an expression from a time to another, every `step` seconds."""
        answer = self.get(
            "query_range",
            query=expression,
            start=f"{start:.3f}",
            end=f"{end:.3f}",
            step=f"{step:.3f}",
        )
        return [
            Series(one["metric"], tuple((time, float(value)) for time, value in one["values"]))
            for one in answer["result"]
        ]

    def label_values(self, label: str, selector: str) -> list[str]:
        """Return the values that a label has in the series of a selector, over all time."""
        values: list[str] = self.get(f"label/{label}/values", **{"match[]": selector})
        return values

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing, as its API gives them."""
        alerts: list[dict[str, Any]] = self.get("alerts")["alerts"]
        return alerts

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its API, and return the data of the answer; QueryError when it is refused."""
        answer = self._session.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=BOUND)
        document = answer.json()
        if document["status"] != "success":
            raise QueryError(f"{document['error']}: {parameters}")
        return document["data"]

    def _ready(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"Prometheus ended with {code}: {self.output}"
        try:
            if self._session.get(f"{self.url}/-/ready", timeout=1).status_code != 200:
                return False
        except requests.RequestException:
            return False
        return len(self.get("targets")["activeTargets"]) >= len(self._targets)
