"""What docs/notify.md shows works: its addresses, its script, and what it reads of `/-/ready`."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from qsticky.record import addresses, messages
from qsticky.record.health import Health
from qsticky.sync.report import PortChange
from tests.fakes import FakeClock
from tests.real import free_port, wait_until
from tests.reports import synced

PAGE = (Path(__file__).parents[3] / "docs/notify.md").read_text()
CHANGED = messages.port_changed(synced(change=PortChange(50001, 51218, verified=True)))


def blocks(language: str) -> list[str]:
    """The page's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = PAGE.partition(f"### {heading}\n")[2]
    table = re.findall(r"^\|(.*)\|$", below.partition("\n#")[0], re.MULTILINE)[2:]
    return [[cell.strip() for cell in row.split(" | ")] for row in table]


SHOWN = [url for row in rows("Addresses") for url in re.findall(r"`(\w+://\S+)`", row[1])]


def test_every_address_is_one_that_apprise_can_send_to() -> None:
    assert len(SHOWN) == 9
    assert len(addresses.parse(" ".join(SHOWN))) == len(SHOWN)


def test_the_fields_of_the_document_are_those_that_are_sent() -> None:
    names = [
        name
        for row in rows("A script at each port change")
        for name in re.findall(r"`(\w+)`", row[0])
    ]
    assert set(names) == set(CHANGED.facts)


@pytest.fixture
def readiness(tmp_path: Path) -> str:
    """What `/-/ready` answers while all is well."""
    health = Health(
        tmp_path / "status.json", check_interval=30, request_timeout=10, clock=FakeClock()
    )
    health.record(synced(), 30)
    return health.text()


def read_by(entry: object) -> Iterator[object]:
    """The fields that a part of the page's YAML reads, as Homepage writes them."""
    if isinstance(entry, dict):
        yield from (value for key, value in entry.items() if key == "field")
        for value in entry.values():
            yield from read_by(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from read_by(value)


def value_of(field: Any, document: Any) -> object:
    """Follow a field into the document; KeyError where it isn't there."""
    if isinstance(field, dict):
        ((name, rest),) = field.items()
        return value_of(rest, document[name])
    return document[field]


def test_what_watches_from_outside_finds_what_it_reads(readiness: str) -> None:
    document = json.loads(readiness)
    entries = [yaml.safe_load(block) for block in blocks("yaml")]
    fields = [*read_by(entries)]
    assert [value_of(field, document) for field in fields] == ["synced", 51218, None]
    templates = re.findall(r"value_json\.(\w+)", PAGE)
    assert [document[name] for name in templates] == [True, "synced", 51218]
    assert blocks("text")[0].strip() in readiness


def test_the_script_runs_its_command_with_the_new_port(tmp_path: Path) -> None:
    (script,) = blocks("python")
    command, port = tmp_path / "port-changed.sh", free_port()
    command.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/ports\n')
    command.chmod(0o755)
    script = script.replace("/scripts/port-changed.sh", str(command)).replace("9000", str(port))
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as receiver:
        try:
            (address,) = addresses.parse(f"json://127.0.0.1:{port}")
            wait_until(lambda: address.send(messages.test()), 10, "the script to take a message")
            assert address.send(CHANGED)
        finally:
            receiver.terminate()
    assert (tmp_path / "ports").read_text() == "51218\n"
