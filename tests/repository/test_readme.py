"""Holds the README to the code: what it names exists, and what exists is named."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from qsticky.config import VARIABLES
from qsticky.errors import ErrorKind, Reason
from qsticky.record.metrics import Metrics
from qsticky.services.qbittorrent import ConnectionStatus
from qsticky.sync.report import RebindCause, Status, Trigger
from tests.fakes import FakeClock

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def first_cells(heading: str) -> set[str]:
    """Return what is in code style in the first cells of the tables under a heading."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\|(.*?)\|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def row(name: str) -> str:
    """Return the table row that begins with a name."""
    found = re.search(rf"^\| `{name}`.*$", README, re.MULTILINE)
    assert found, name
    return found[0]


def test_every_variable_is_in_the_readme_and_no_other() -> None:
    assert first_cells("Configuration") == {variable.name for variable in VARIABLES}


def test_every_metric_is_in_the_readme_and_no_other() -> None:
    registry = CollectorRegistry()
    Metrics(registry, check_interval=30, revision="", clock=FakeClock())
    exported = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in registry.collect()
    }
    assert first_cells("Metrics") == exported


def test_every_state_and_reason_is_in_the_readme_and_no_other() -> None:
    assert first_cells("What healthy means") == {"status", "reason", *Status, *Reason}


def test_the_values_of_labels_are_in_the_readme() -> None:
    for metric, values in {
        "qsticky_syncs_total": Trigger,
        "qsticky_rebinds_total": RebindCause,
        "qsticky_api_errors_total": ErrorKind,
        "qsticky_qbittorrent_connection_status": ConnectionStatus,
    }.items():
        for value in values:
            assert value in row(metric), (metric, value)
