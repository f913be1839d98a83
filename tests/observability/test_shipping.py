"""What Alloy, and Docker's driver for Loki, make of real log lines.

Neither is to be had where the tests run: their configurations are read, held to the arguments that
their documentation names, and their stages done by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import yaml

from tests.observability import alloy, logs
from tests.observability.alloy import Block

ROOT = logs.PAGE.parents[1]
LABELS = {"service_name", "instance", "level"}
METADATA = {"event", "reason"}

# Of each component: the arguments it must have, those it may have, its blocks, and what it exports.
COMPONENTS = {
    "discovery.docker": ({"host"}, {"refresh_interval"}, set(), {"targets"}),
    "discovery.relabel": ({"targets"}, set(), {"rule"}, {"output", "rules"}),
    "loki.source.docker": (
        {"host", "targets", "forward_to"},
        {"labels", "relabel_rules", "refresh_interval"},
        set(),
        set(),
    ),
    "loki.process": (
        {"forward_to"},
        set(),
        {"stage.json", "stage.timestamp", "stage.labels", "stage.structured_metadata"},
        {"receiver"},
    ),
    "loki.write": (set(), {"external_labels"}, {"endpoint"}, {"receiver"}),
}
BLOCKS = {
    "rule": (
        set(),
        {"source_labels", "separator", "regex", "target_label", "replacement", "action"},
    ),
    "stage.json": ({"expressions"}, {"source"}),
    "stage.timestamp": ({"source", "format"}, {"action_on_failure"}),
    "stage.labels": ({"values"}, set()),
    "stage.structured_metadata": (set(), {"values"}),
    "endpoint": ({"url"}, set()),
}

Stage = tuple[str, dict[str, Any]]
Shipped = tuple[dict[str, str], dict[str, str], str | None]


@pytest.fixture(scope="module")
def configuration() -> Block:
    return alloy.parse((ROOT / "deploy/alloy/config.alloy").read_text())


def driver() -> dict[str, Any]:
    """The options of Docker's driver, from the page."""
    page = logs.PAGE.read_text()
    (snippet,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    options: dict[str, Any] = yaml.safe_load(snippet)["services"]["qsticky"]["logging"]["options"]
    return options


@cache
def stages(shipper: str) -> Sequence[Stage]:
    """The stages that a shipper passes each line through, in order."""
    if shipper == "alloy":
        configuration = alloy.parse((ROOT / "deploy/alloy/config.alloy").read_text())
        blocks = configuration.one("loki.process").blocks
        return [(block.name.removeprefix("stage."), block.arguments) for block in blocks]
    listed = yaml.safe_load(driver()["loki-pipeline-stages"])
    return [
        (name, {"values": arguments} if name in ("labels", "structured_metadata") else arguments)
        for stage in listed
        for name, arguments in stage.items()
    ]


def ship(line: str, shipper: str) -> Shipped:
    """Pass a line through the stages: its labels, its structured metadata, and its own time."""
    extracted: dict[str, Any] = {}
    labels: dict[str, str] = {}
    metadata: dict[str, str] = {}
    time = None
    for name, arguments in stages(shipper):
        if name == "json":
            try:
                document = json.loads(line)
            except ValueError:
                continue  # unless `drop_malformed` is set
            for key, path in arguments["expressions"].items():
                extracted[key] = document.get(path or key)
        elif name == "timestamp":
            time = extracted.get(arguments["source"])
        else:
            target = {"labels": labels, "structured_metadata": metadata}[name]
            for key, source in arguments["values"].items():
                if extracted.get(source or key) is not None:
                    target[key] = extracted[source or key]
    return labels, metadata, time


SHIPPERS = pytest.mark.parametrize("shipper", ["alloy", "driver"])


@SHIPPERS
def test_a_line_of_text_is_not_dropped_and_keeps_dockers_time(shipper: str) -> None:
    line = "2025-01-24 20:08:13,186 - qSticky - INFO - In sync on port 51218"
    assert ship(line, shipper) == ({}, {}, None)
    given = dict(stages(shipper))
    assert given.keys() == {"json", "timestamp", "labels", "structured_metadata"}  # none that drops
    assert "drop_malformed" not in given["json"]
    # Otherwise a line without a time would get the one of the line before.
    assert given["timestamp"]["action_on_failure"] == "skip"


@SHIPPERS
def test_the_time_is_read_in_the_format_that_it_is_written_in(shipper: str) -> None:
    assert dict(stages(shipper))["timestamp"]["format"] == "RFC3339Nano"


@SHIPPERS
def test_only_fields_of_the_contract_are_read(shipper: str) -> None:
    expressions = dict(stages(shipper))["json"]["expressions"]
    assert {path or key for key, path in expressions.items()} <= logs.contract().names


def test_alloy_makes_streams_only_by_what_has_few_values(configuration: Block) -> None:
    rules = configuration.one("discovery.relabel").all("rule")
    made = {rule.arguments.get("target_label") for rule in rules} - {None}
    made |= configuration.one("loki.source.docker").arguments["labels"].keys()
    made |= dict(stages("alloy"))["labels"]["values"].keys()
    assert made == LABELS


def test_the_driver_makes_the_same_labels() -> None:
    given = dict(pair.split("=") for pair in driver()["loki-external-labels"].split(","))
    assert given["service_name"] == "qsticky"
    assert given.keys() | dict(stages("driver"))["labels"]["values"].keys() == LABELS


def test_alloy_is_told_only_what_its_components_know(configuration: Block) -> None:
    assert not configuration.arguments
    for component in configuration.blocks:
        required, optional, blocks, _ = COMPONENTS[component.name]
        assert component.label, component.name
        assert required <= component.arguments.keys() <= required | optional, component.name
        for block in component.blocks:
            assert block.name in blocks, component.name
            required, optional = BLOCKS[block.name]
            assert required <= block.arguments.keys() <= required | optional, block.name
            assert not block.blocks


def test_what_alloy_s_components_refer_to_is_exported(configuration: Block) -> None:
    exported = {
        f"{component.name}.{component.label}.{name}"
        for component in configuration.blocks
        for name in COMPONENTS[component.name][3]
    }
    assert configuration.references() <= exported
    used = {reference.rpartition(".")[0] for reference in configuration.references()}
    ends = {f"{one.name}.{one.label}" for one in configuration.all("loki.source.docker")}
    assert {f"{one.name}.{one.label}" for one in configuration.blocks} == used | ends


@pytest.mark.parametrize(
    ("service", "container", "instance"),
    [
        ("qsticky", "/media-qsticky-1", "qsticky"),
        ("qsticky-books", "/qsticky-books", "qsticky-books"),
        ("", "/qsticky", "qsticky"),
        ("gluetun", "/qsticky-gluetun-1", None),  # of a compose project that is named qsticky
        ("qbittorrent", "/media-qbittorrent-1", None),
        ("", "/my-qsticky", None),
    ],
)
def test_alloy_takes_qstickys_containers_and_names_them(
    configuration: Block, service: str, container: str, instance: str | None
) -> None:
    labels = {
        "__meta_docker_container_label_com_docker_compose_service": service,
        "__meta_docker_container_name": container,
    }
    kept = True
    for rule in configuration.one("discovery.relabel").all("rule"):
        given = rule.arguments
        value = ";".join(labels.get(name, "") for name in given["source_labels"])
        match = re.fullmatch(given["regex"], value)
        if given.get("action") == "keep":
            kept = kept and match is not None
        elif match:
            labels[given["target_label"]] = match[1]
    assert (labels["instance"] if kept else None) == instance
