"""Holds the reference page to the code: what it names exists, and what exists is named."""

import os
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from qsticky import cli
from qsticky.config import VARIABLES
from qsticky.errors import Reason
from qsticky.record.health import Health
from qsticky.record.metrics import Metrics
from qsticky.sync.report import ListeningBy, PortSource, Status
from tests.fakes import FakeClock
from tests.reports import KNOWN

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference.md"
VARIABLES_BEGIN, VARIABLES_END = "<!-- variables: begin -->\n", "<!-- variables: end -->\n"


def section(heading: str) -> str:
    """Return what stands under a heading, up to the next one of its level or a higher one."""
    level = heading.partition(" ")[0]
    after = PAGE.read_text().partition(f"\n{heading}\n")[2]
    assert after, heading
    return re.split(rf"^#{{2,{len(level)}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(heading: str) -> set[str]:
    """Return what is in code style in the first cells of the tables under a heading."""
    cells = re.findall(r"^\|(.*?)\|", section(heading), re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def row(name: str) -> str:
    """Return the table row that begins with a name."""
    found = re.search(rf"^\| `{re.escape(name)}`.*$", PAGE.read_text(), re.MULTILINE)
    assert found, name
    return found[0]


def test_the_variables_are_those_of_the_code() -> None:
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, variable in VARIABLES.items():
        marked = f"`{name}`" + (" *" if variable.secret else "")
        default = f" `{variable.default}` " if variable.default else " "
        rows.append(f"| {marked} |{default}| {variable.meaning} |")
    table = "\n".join(rows) + "\n"
    before, _, rest = PAGE.read_text().partition(VARIABLES_BEGIN)
    written, _, after = rest.partition(VARIABLES_END)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(before + VARIABLES_BEGIN + table + VARIABLES_END + after)
        written = table
    assert written == table, "the variables have changed: `make docs` writes the page anew"


def test_every_command_is_on_the_page_and_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["qsticky", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    commands = re.findall(r"^    (\w+)\b", capsys.readouterr().out, re.MULTILINE)
    assert len(commands) > 1
    described = {"qsticky", "qsticky --version", *(f"qsticky {name}" for name in commands)}
    assert first_cells("## Commands") == described


def test_every_route_is_on_the_page_and_no_other() -> None:
    source = (ROOT / "qsticky/web/routes.py").read_text()
    routes = {f"{method} {path}" for path, method in re.findall(r'"(/.*?)": \("(\w+)"', source)}
    assert len(routes) > 1
    assert first_cells("## Routes") == routes


def test_every_field_of_the_health_document_is_on_the_page_and_no_other() -> None:
    document = Health(ROOT, check_interval=30, request_timeout=10, clock=FakeClock()).document()
    services = document.pop("services")
    assert isinstance(services, dict)
    assert first_cells("### Fields") == {*document, *(f"services.{name}" for name in services)}
    for name, fields in services.items():
        described = row(f"services.{name}").partition(" | ")[2]
        assert re.findall(r"`(\w+)`", described) == list(fields)


def test_every_state_and_reason_is_on_the_page_and_no_other() -> None:
    assert first_cells("### Status") == {"status", *Status}
    assert first_cells("### Reasons") == {"reason", *Reason}


def test_every_metric_is_on_the_page_with_its_type_labels_and_their_values() -> None:
    described = {}
    rows = re.findall(r"^\|(.*?)\| (\w+) \|(.*?)\|", section("## Metrics"), re.MULTILINE)
    for names, kind, cell in rows:
        labels, _, values = cell.partition(":")
        for name in re.findall(r"`(qsticky_\w+)`", names):
            described[name] = (kind, re.findall(r"`(\w+)`", labels), values.strip())
    registry = CollectorRegistry()
    Metrics(registry, check_interval=30, revision="", clock=FakeClock()).record(KNOWN)
    exported = {}
    for metric in registry.collect():
        name = metric.name + ("_total" if metric.type == "counter" else "")
        series = [{**sample.labels, "le": ""} for sample in metric.samples]
        *labels, _ = series[0]
        listed = described[name][2] and ", ".join(dict.fromkeys(s[labels[-1]] for s in series))
        exported[name] = (metric.type, labels, listed)
    assert exported == described


def test_the_values_of_fields_are_on_the_page() -> None:
    for source in PortSource:
        assert source in row("port_source")
    for value in ListeningBy:
        assert f"`{value}`" in section("### Fields")
