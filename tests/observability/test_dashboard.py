"""The dashboards' files: that Grafana takes them as they are, and that they keep to their rules.

Those of `dashboard-linter --strict` are among them, done by hand, since where the tests run it is
not to be had. `grafana/dashboards/.lint` excuses what is excused here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability import dashboard

SCHEMAS = json.loads(Path(__file__).with_name("dashboard.schema.json").read_text())
BOARDS = {board: dashboard.load(board) for board in dashboard.BOARDS}
PANELS = {
    f"{board}: {panel['title']}": panel
    for board, loaded in BOARDS.items()
    for panel in dashboard.panels(loaded)
}
EXPRESSIONS = {str(query): query.expression for query in dashboard.all_queries()}
PROMETHEUS = {"type": "prometheus", "uid": "${prometheus_datasource}"}
LOKI = {"type": "loki", "uid": "${loki_datasource}"}
EACH_BOARD = pytest.mark.parametrize("board", BOARDS)
MOST_PANELS = 20

UNITS = {
    *("none", "s", "bytes", "binBps", "percentunit", "opm", "reqps"),
    *("dateTimeFromNow", "dtdurations"),
}
OVERRIDES = {
    *("color", "decimals", "links", "mappings", "unit"),
    *(
        "custom.align",
        "custom.axisPlacement",
        "custom.cellOptions",
        "custom.fillOpacity",
        "custom.hideFrom",
    ),
    *("custom.lineWidth", "custom.minWidth", "custom.transform"),
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


def validate(document: object, schema: Mapping[str, Any]) -> None:
    """Raise an error that shows what a schema does not allow."""
    from jsonschema import validate  # it takes a while to import

    validate(document, schema)


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a document less some of its fields."""
    return {name: value for name, value in document.items() if name not in names}


@EACH_BOARD
def test_the_file_is_in_its_one_format(board: str) -> None:
    text = (dashboard.FOLDER / f"{board}.json").read_text()
    assert text == json.dumps(BOARDS[board], indent=2, ensure_ascii=False) + "\n"


def test_there_are_no_other_dashboards() -> None:
    assert {file.stem for file in dashboard.FOLDER.glob("*.json")} == BOARDS.keys()


@EACH_BOARD
def test_grafanas_own_types_allow_it(board: str) -> None:
    loaded = BOARDS[board]
    annotations = [without(one, *OF_THE_PLUGIN) for one in loaded["annotations"]["list"]]
    document = without(loaded, *OF_THE_FILE) | {"annotations": {"list": annotations}}
    validate(document, SCHEMAS["dashboard"])


def test_grafanas_own_types_allow_the_options_of_each_panel() -> None:
    for panel in PANELS.values():  # one that they don't allow is in the error
        validate(panel["options"], SCHEMAS["options"][panel["type"]])
        defaults = panel["fieldConfig"]["defaults"]
        if "custom" in defaults:
            validate(defaults["custom"], SCHEMAS["custom"][panel["type"]])


@EACH_BOARD
def test_it_is_the_same_by_import_by_provisioning_and_by_upload(board: str) -> None:
    loaded = BOARDS[board]
    assert loaded["schemaVersion"] == 39
    assert loaded["uid"] == board
    assert loaded["id"] is None
    assert loaded["editable"] is False
    assert loaded["__inputs"] == []
    assert loaded["__elements"] == {}
    assert "${DS_" not in json.dumps(loaded)


@EACH_BOARD
def test_it_names_all_that_it_requires(board: str) -> None:
    panels = list(dashboard.panels(BOARDS[board]))
    required = {(one["type"], one["id"]) for one in BOARDS[board]["__requires"]}
    assert required == {
        ("grafana", "grafana"),
        *(("datasource", panel["datasource"]["type"]) for panel in panels),
        *(("panel", panel["type"]) for panel in panels),
    }
    assert all(one["name"] and "version" in one for one in BOARDS[board]["__requires"])


@EACH_BOARD
def test_its_data_sources_are_variables_and_come_first(board: str) -> None:
    kinds = {panel["datasource"]["type"] for panel in dashboard.panels(BOARDS[board])}
    first = [
        (one["name"], one["label"], one["query"])
        for one in BOARDS[board]["templating"]["list"]
        if one["type"] == "datasource"
    ]
    assert first == [
        (f"{kind}_datasource", f"{kind.capitalize()} data source", kind)
        for kind in sorted(kinds, reverse=True)
    ]
    built_in = {"type": "grafana", "uid": "-- Grafana --"}
    assert all(
        source in (PROMETHEUS, LOKI, built_in) for source in _all("datasource", BOARDS[board])
    )


@EACH_BOARD
@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("job", "label_values(qsticky_build_info, job)"),
        ("instance", 'label_values(qsticky_build_info{job=~"$job"}, instance)'),
    ],
)
def test_jobs_and_instances_are_chosen_of_those_that_are_there(
    board: str, name: str, query: str
) -> None:
    (variable,) = (one for one in BOARDS[board]["templating"]["list"] if one["name"] == name)
    assert variable["type"] == "query"
    assert variable["query"]["query"] == query
    assert variable["datasource"] == PROMETHEUS
    assert variable["refresh"] == 2  # when the time range changes
    many = (board, name) != (dashboard.ONE, "instance")
    assert variable["multi"] is variable["includeAll"] is many
    assert variable.get("allValue") == (".+" if many else None)
    assert variable["current"]["value"] == (["$__all"] if many else "")


def test_the_linter_is_told_what_is_excused_and_why() -> None:
    excused = yaml.safe_load((dashboard.FOLDER / ".lint").read_text())["exclusions"]
    assert excused.keys() == {"template-instance-rule"}
    for rule in excused.values():
        assert rule["reason"]
        assert rule["entries"] == [{"dashboard": BOARDS[dashboard.ONE]["title"]}]


def test_that_of_one_instance_is_seen_at_a_glance() -> None:
    panels = BOARDS[dashboard.ONE]["panels"]
    assert sum(1 + len(panel.get("panels", [])) for panel in panels) <= MOST_PANELS


@EACH_BOARD
def test_it_leads_to_the_other_one_and_to_what_is_more_to_see(board: str) -> None:
    links = [link["title"] for link in BOARDS[board]["links"]]
    assert links[-3:] == ["Runbooks", "qBittorrent exporter", "Gluetun exporter"]
    assert links[:-3] == (["All instances", "Page"] if board == dashboard.ONE else [])


def test_counts_are_whole_numbers() -> None:
    for title, panel in PANELS.items():
        defaults = panel["fieldConfig"]["defaults"]
        if panel["type"] == "timeseries" and defaults["unit"] == "none":
            assert defaults["decimals"] == 0, title


def test_every_selector_heeds_the_chosen_job_and_instance() -> None:
    for name, expression in EXPRESSIONS.items():
        metrics = re.findall(r"\b(?:up|(?:qsticky|process|python)_\w+)\b", expression)
        selectors = re.findall(r'\w+{job=~"\$job", instance=~"\$instance"[,}]', expression)
        assert len(metrics) == len(selectors) == expression.count("{") > 0, name


def test_a_rate_is_taken_over_grafanas_own_interval() -> None:
    for name, expression in EXPRESSIONS.items():
        # What ranks instances looks at the whole time range, once.
        windows = re.findall(r"(\w+)\(\w+{[^}]*}(\[[^]]+\](?: @ end\(\))?)", expression)
        assert len(windows) == expression.count("["), name
        for function, window in windows:
            drawn = function in ("rate", "increase") and window == "[$__rate_interval]"
            assert drawn or window == "[$__range] @ end()", name


def test_a_panel_is_made_of_what_grafana_knows_where_its_types_allow_anything() -> None:
    for title, panel in PANELS.items():
        known = {"datasource", "editorMode", "expr", "refId"}
        if panel["datasource"] == PROMETHEUS:
            known |= {"format", "instant", "legendFormat", "range"}
        else:
            known |= {"queryType"}
        for target in panel["targets"]:
            assert target.keys() <= known, title
            assert target.get("format") in (None, "heatmap", "table"), title
        config = panel["fieldConfig"]
        assert config["defaults"]["unit"] in UNITS, title
        for override in config["overrides"]:
            for name, value in ((one["id"], one["value"]) for one in override["properties"]):
                assert name in OVERRIDES, title
                assert name != "unit" or value in UNITS, title


def test_a_panel_says_what_it_shows() -> None:
    for title, panel in PANELS.items():
        assert re.fullmatch(r"[A-Z].{2,22}", panel["title"]), title  # what isn't cut on a laptop
        assert re.fullmatch(r"[A-Z].{20,}\.", panel["description"], re.DOTALL), title
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == list("ABCDEFG"[: len(refs)]), title
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


@EACH_BOARD
def test_no_two_panels_have_the_same_title_or_number(board: str) -> None:
    rows = [panel for panel in BOARDS[board]["panels"] if panel["type"] == "row"]
    panels = [*dashboard.panels(BOARDS[board]), *rows]
    assert max(Counter(panel["title"] for panel in panels).values()) == 1
    assert max(Counter(panel["id"] for panel in panels).values()) == 1


@EACH_BOARD
def test_the_panels_fill_the_grid_without_gap_or_overlap(board: str) -> None:
    covered = Counter(
        cell for panel in BOARDS[board]["panels"] for cell in _cells(panel["gridPos"])
    )
    height = max(y for _, y in covered) + 1
    assert covered == Counter((x, y) for x in range(24) for y in range(height))


def test_the_logs_are_in_a_collapsed_last_row() -> None:
    last = BOARDS[dashboard.ONE]["panels"][-1]
    assert last["type"] == "row"
    assert [panel["type"] for panel in last["panels"]] == ["logs"]
    assert last["collapsed"] is True
    (target,) = last["panels"][0]["targets"]
    assert target["expr"].startswith('{service_name="qsticky", instance=~"$instance"}')


def test_a_line_of_the_worst_leads_to_its_instance_and_keeps_the_rest() -> None:
    table = PANELS[f"{dashboard.FLEET}: Worst first"]
    ((link,),) = _all("links", _overrides(table, "Instance"))
    assert link["url"] == (
        f"/d/{dashboard.ONE}?${{__url_time_range}}&${{prometheus_datasource:queryparam}}"
        "&var-job=${__data.fields.Job:percentencode}"
        "&var-instance=${__data.fields.Instance:percentencode}"
    )


def test_the_worst_come_first_and_a_hundred_of_them() -> None:
    table = PANELS[f"{dashboard.FLEET}: Worst first"]
    merge, order, limit, organize = table["transformations"]
    assert (merge["id"], order["id"], limit["id"]) == ("merge", "sortBy", "limit")
    assert order["options"]["sort"] == [{"desc": True, "field": "Value #A"}]
    assert limit["options"] == {"limitField": 100}
    names = organize["options"]["renameByName"].values()
    assert {override["matcher"]["options"] for override in table["fieldConfig"]["overrides"]} < {
        *names
    }


def test_an_annotation_asks_the_same_in_old_and_new_grafanas() -> None:
    built_in, *own = BOARDS[dashboard.ONE]["annotations"]["list"]
    assert built_in["builtIn"] == 1
    assert {"Rebinds", "VPN restarts"} < {one["name"] for one in own}
    for one in own:
        assert one["enable"] is True
        assert one["expr"] == one["target"]["expr"]  # the former up to Grafana 11
        assert one["step"] == one["target"]["interval"]


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
