"""The dashboard's file: that Grafana takes it as it is, and that it keeps to its own rules."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.observability import dashboard

SCHEMAS = json.loads(Path(__file__).with_name("dashboard.schema.json").read_text())
BOARD = dashboard.load()
PANELS = {panel["title"]: panel for panel in dashboard.panels(BOARD)}
ROWS = [panel for panel in BOARD["panels"] if panel["type"] == "row"]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
EXPRESSIONS = {str(query): query.expression for query in dashboard.queries(BOARD)}
PROMETHEUS = {"type": "prometheus", "uid": "${prometheus_datasource}"}
LOKI = {"type": "loki", "uid": "${loki_datasource}"}

UNITS = {"none", "s", "bytes", "percentunit", "opm", "reqps", "dateTimeFromNow"}
OVERRIDES = {
    *("color", "decimals", "links", "mappings", "unit"),
    *("custom.cellOptions", "custom.hideFrom"),
}

# Written by an export, and read by an import only: Grafana's type of a dashboard lacks them.
OF_THE_FILE = ("__elements", "__inputs", "__requires")
# What the Prometheus plugin keeps with an annotation, beside what every annotation has.
OF_THE_PLUGIN = (
    "expr",
    "step",
    "tagKeys",
    "target",
    "textFormat",
    "titleFormat",
    "useValueForTime",
)


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a document less some of its fields."""
    return {name: value for name, value in document.items() if name not in names}


def test_the_file_is_in_its_one_format() -> None:
    assert dashboard.FILE.read_text() == json.dumps(BOARD, indent=2, ensure_ascii=False) + "\n"


def test_grafanas_own_types_allow_it() -> None:
    annotations = [without(one, *OF_THE_PLUGIN) for one in BOARD["annotations"]["list"]]
    document = without(BOARD, *OF_THE_FILE) | {"annotations": {"list": annotations}}
    jsonschema.validate(document, SCHEMAS["dashboard"])


@pytest.mark.parametrize("title", PANELS)
def test_grafanas_own_types_allow_the_options_of_a_panel(title: str) -> None:
    panel = PANELS[title]
    jsonschema.validate(panel["options"], SCHEMAS["options"][panel["type"]])
    defaults = panel["fieldConfig"]["defaults"]
    if "custom" in defaults:
        jsonschema.validate(defaults["custom"], SCHEMAS["custom"][panel["type"]])


def test_it_is_the_same_by_import_by_provisioning_and_by_upload() -> None:
    assert BOARD["schemaVersion"] == 39
    assert BOARD["uid"] == "qsticky"
    assert BOARD["id"] is None
    assert BOARD["editable"] is False
    assert BOARD["__inputs"] == []
    assert BOARD["__elements"] == {}
    assert "${DS_" not in dashboard.FILE.read_text()


def test_it_names_all_that_it_requires() -> None:
    kinds = {panel["type"] for panel in PANELS.values()}
    required = {(one["type"], one["id"]) for one in BOARD["__requires"]}
    assert required == {
        ("grafana", "grafana"),
        ("datasource", "prometheus"),
        ("datasource", "loki"),
        *(("panel", kind) for kind in kinds),
    }
    assert all(one["name"] and "version" in one for one in BOARD["__requires"])


def test_its_data_sources_are_variables_and_come_first() -> None:
    first, second, *_ = BOARD["templating"]["list"]
    assert (first["name"], first["label"], first["type"], first["query"]) == (
        "prometheus_datasource",
        "Prometheus data source",
        "datasource",
        "prometheus",
    )
    assert (second["name"], second["label"], second["type"], second["query"]) == (
        "loki_datasource",
        "Loki data source",
        "datasource",
        "loki",
    )
    built_in = {"type": "grafana", "uid": "-- Grafana --"}
    assert all(source in (PROMETHEUS, LOKI, built_in) for source in _all("datasource", BOARD))


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("job", "label_values(qsticky_build_info, job)"),
        ("instance", 'label_values(qsticky_build_info{job=~"$job"}, instance)'),
    ],
)
def test_jobs_and_instances_are_chosen_one_several_or_all(name: str, query: str) -> None:
    variable = VARIABLES[name]
    assert variable["type"] == "query"
    assert variable["query"]["query"] == query
    assert variable["datasource"] == PROMETHEUS
    assert variable["multi"] is variable["includeAll"] is True
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2  # when the time range changes
    assert variable["current"]["value"] == ["$__all"]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_selector_heeds_the_chosen_job_and_instance(name: str) -> None:
    expression = EXPRESSIONS[name]
    metrics = re.findall(r"\b(?:up|(?:qsticky|process|python)_\w+)\b", expression)
    selectors = re.findall(r'\w+{job=~"\$job", instance=~"\$instance"[,}]', expression)
    assert len(metrics) == len(selectors) == expression.count("{") > 0


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_rate_is_taken_over_grafanas_own_interval(name: str) -> None:
    expression = EXPRESSIONS[name]
    # What ranks instances looks at the whole time range, once.
    windows = re.findall(r"(\w+)\(\w+{[^}]*}(\[[^]]+\](?: @ end\(\))?)", expression)
    assert len(windows) == expression.count("[")
    for function, window in windows:
        drawn = function in ("rate", "increase", "changes") and window == "[$__rate_interval]"
        assert drawn or window == "[$__range] @ end()"


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_is_made_of_what_grafana_knows_where_its_types_allow_anything(title: str) -> None:
    panel = PANELS[title]
    known = {"datasource", "editorMode", "expr", "refId"}
    known |= (
        {"format", "instant", "legendFormat", "range"} if _of_prometheus(panel) else {"queryType"}
    )
    assert all(target.keys() <= known for target in panel["targets"])
    assert all(target.get("format") in (None, "heatmap", "table") for target in panel["targets"])
    config = panel["fieldConfig"]
    assert config["defaults"]["unit"] in UNITS
    for override in config["overrides"]:
        for name, value in ((one["id"], one["value"]) for one in override["properties"]):
            assert name in OVERRIDES
            assert name != "unit" or value in UNITS


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_says_what_it_shows(title: str) -> None:
    panel = PANELS[title]
    assert re.fullmatch(r"[A-ZqG].{2,40}", title)
    assert re.fullmatch(r"[A-Z].{20,}\.", panel["description"])
    assert {target["refId"] for target in panel["targets"]} == set("ABCDE"[: len(panel["targets"])])
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_no_two_panels_have_the_same_title_or_number() -> None:
    panels = [*dashboard.panels(BOARD), *ROWS]
    assert max(Counter(panel["title"] for panel in panels).values()) == 1
    assert max(Counter(panel["id"] for panel in panels).values()) == 1


def test_the_panels_fill_the_grid_without_gap_or_overlap() -> None:
    covered = Counter(cell for panel in BOARD["panels"] for cell in _cells(panel["gridPos"]))
    height = max(y for _, y in covered) + 1
    assert covered == Counter((x, y) for x in range(24) for y in range(height))


def test_the_logs_are_in_a_collapsed_last_row() -> None:
    *others, last = ROWS
    assert BOARD["panels"][-1] is last
    assert [panel["type"] for panel in last["panels"]] == ["logs"]
    assert last["collapsed"] is True
    assert not any(row["collapsed"] or row["panels"] for row in others)
    (target,) = last["panels"][0]["targets"]
    assert target["expr"].startswith('{service_name="qsticky", instance=~"$instance"}')


def test_a_line_of_the_worst_chooses_its_instance_and_keeps_the_rest() -> None:
    table = PANELS["Worst first"]
    ((link,),) = _all("links", _overrides(table, "Instance"))
    assert link["url"] == (
        f"/d/{BOARD['uid']}?${{__url_time_range}}&${{prometheus_datasource:queryparam}}"
        "&${loki_datasource:queryparam}&var-job=${__data.fields.Job:percentencode}"
        "&var-instance=${__data.fields.Instance:percentencode}"
    )


def test_the_worst_come_first_and_a_hundred_of_them() -> None:
    table = PANELS["Worst first"]
    merge, order, limit, organize = table["transformations"]
    assert (merge["id"], order["id"], limit["id"]) == ("merge", "sortBy", "limit")
    assert order["options"]["sort"] == [{"desc": True, "field": "Value #A"}]
    assert limit["options"] == {"limitField": 100}
    names = organize["options"]["renameByName"].values()
    assert {override["matcher"]["options"] for override in table["fieldConfig"]["overrides"]} < {
        *names
    }


def test_an_annotation_asks_the_same_in_old_and_new_grafanas() -> None:
    built_in, *own = BOARD["annotations"]["list"]
    assert built_in["builtIn"] == 1
    assert [one["name"] for one in own] == ["Port changes", "Restarts"]
    for one in own:
        assert one["enable"] is True
        assert one["expr"] == one["target"]["expr"]  # the former up to Grafana 11
        assert one["step"] == one["target"]["interval"]


def _of_prometheus(panel: Mapping[str, Any]) -> bool:
    return bool(panel["datasource"] == PROMETHEUS)


def _cells(position: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(position["x"], position["x"] + position["w"]):
        for y in range(position["y"], position["y"] + position["h"]):
            yield x, y


def _all(name: str, document: Any) -> Iterator[Any]:
    """Give every value of a field, wherever it is in a document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == name:
                yield value
            else:
                yield from _all(name, value)
    elif isinstance(document, list):
        for value in document:
            yield from _all(name, value)


def _overrides(panel: Mapping[str, Any], column: str) -> list[dict[str, Any]]:
    """Return the properties that a column has of its own, by name."""
    return [
        {each["id"]: each["value"] for each in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == column
    ]
