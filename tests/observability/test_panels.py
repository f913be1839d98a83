"""Every query of the dashboard, against a real Prometheus that saw real daemons in trouble."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from qsticky import __version__
from tests.observability import dashboard
from tests.observability.dashboard import Query, View, legend
from tests.observability.story import Story, play

QUERIES = {str(query): query for query in dashboard.queries(dashboard.load())}
SUMS = [
    str(query)
    for panel in dashboard.panels(dashboard.load())
    if "of all chosen instances" in panel["description"]
    for query in QUERIES.values()
    if query.title == panel["title"]
]
VARIABLES = {
    variable["name"]: variable["query"]["query"]
    for variable in dashboard.load()["templating"]["list"]
    if variable["type"] == "query"
}

# What a series shows: a number, the name of one of the story's ports, or what the number must pass.
Check = float | str | Callable[[float], bool]


@dataclass(frozen=True)
class Seen:
    """What a query shows at a moment, by legend; `others` is what the series not named show."""

    moment: str
    values: Mapping[str, Check]
    chosen: tuple[str, ...]
    others: Check | None


def at(
    moment: str, shown: Check | Mapping[str, Check], *chosen: str, others: Check | None = None
) -> Seen:
    """Expect what is shown at a moment, some instances or all being chosen."""
    values = shown if isinstance(shown, Mapping) else {"": shown}
    return Seen(moment, values, chosen, others)


def some(value: float) -> bool:
    """Take any number above zero."""
    return value > 0


def anything(value: float) -> bool:
    """Take what lingers of the moment before, or is nobody's promise."""
    return value >= 0


def about(expected: float) -> Check:
    """Take what an extrapolated increase makes of a small whole number."""
    return lambda value: 0.9 * expected < value < 1.5 * expected


def below(bound: float) -> Check:
    """Take a number from zero to a bound."""
    return lambda value: 0 <= value < bound


def between(low: float, high: float) -> Check:
    """Take a number of that size."""
    return lambda value: low < value < high


ALONE = "troubled"
IN_SYNC, WAITING, FAILING, FAILING_UNEQUAL, DOWN = range(5)
NO, YES = 0, 1
NOT, UNKNOWN, WORKS = range(3)
NEVER_SAID, DISCONNECTED, FIREWALLED, CONNECTED = range(4)
CHOOSE_ONE = -1
STATE = [
    at("well", IN_SYNC, ALONE),
    at("no port", WAITING, ALONE),
    at("no port", WAITING),
    at("gluetun away", FAILING_UNEQUAL, ALONE),
    at("not listening", FAILING, ALONE),
    at("not listening", FAILING),
    at("in the end", IN_SYNC, ALONE),
    at("in the end", DOWN),
]
LISTENING = [
    at("well", UNKNOWN),
    at("well", WORKS, ALONE),
    at("well", UNKNOWN, "steady"),
    at("qbittorrent away", UNKNOWN, ALONE),
    at("not listening", NOT),
    at("not listening", NOT, ALONE),
    at("rejected", NOT, ALONE),
    at("refused", UNKNOWN, ALONE),
    at("refused", NOT, "gone"),
    at("in the end", WORKS, ALONE),
]


def named(name: str, expected: list[Seen], times: float = 1) -> list[Seen]:
    """Expect the same of a series that has a name."""
    return [
        Seen(one.moment, {name: times * float(str(one.values[""]))}, one.chosen, None)
        for one in expected
    ]


PORTS_EQUAL = [
    at("well", YES),
    at("no port", NO),
    at("rejected", NO, ALONE),
    at("not listening", YES, ALONE),
    at("rejected", YES, "steady", "gone"),
    at("in the end", YES),
]
HEALTHY = [at("no port", YES), at("not listening", NO), at("not listening", YES, "steady")]
GLUETUN_UP = [at("well", YES), at("gluetun away", NO), at("qbittorrent away", YES, ALONE)]
QBITTORRENT_UP = [at("well", YES), at("gluetun away", YES, ALONE), at("qbittorrent away", NO)]

EXPECTED: dict[str, list[Seen]] = {
    "Instances A": [at("well", 3), at("well", 1, ALONE), at("in the end", 3)],
    "In sync A": [at("well", 3), at("no port", 2), at("not listening", 3), at("in the end", 2)],
    "Healthy A": [at("well", 3), at("no port", 3), at("not listening", 2), at("in the end", 2)],
    "Failing A": [at("no port", 0), at("gluetun away", 1), at("rejected", 1), at("in the end", 0)],
    "Not listening A": [
        at("well", 0),
        at("qbittorrent away", 0),
        at("not listening", 1),
        at("rejected", 1),
        at("refused", 1),
    ],
    "Down A": [at("well", 0), at("in the end", 1), at("in the end", 0, ALONE)],
    "Worst first A": [
        at("well", {"steady": IN_SYNC, "troubled": IN_SYNC, "gone": IN_SYNC}),
        at("no port", {"steady": IN_SYNC, "troubled": WAITING, "gone": IN_SYNC}),
        at("not listening", {"steady": IN_SYNC, "troubled": FAILING, "gone": IN_SYNC}),
        at("rejected", {"steady": IN_SYNC, "troubled": FAILING_UNEQUAL, "gone": IN_SYNC}),
        at("in the end", {"steady": IN_SYNC, "troubled": IN_SYNC, "gone": DOWN}),
    ],
    "Worst first B": [
        at("gluetun away", {"steady": UNKNOWN, "troubled": WORKS, "gone": UNKNOWN}),
        at("qbittorrent away", {"steady": UNKNOWN, "troubled": UNKNOWN, "gone": UNKNOWN}),
        at("rejected", {"steady": UNKNOWN, "troubled": NOT, "gone": UNKNOWN}),
        at("refused", {"steady": UNKNOWN, "troubled": UNKNOWN, "gone": NOT}),
        at("in the end", {"steady": UNKNOWN, "troubled": WORKS}),
    ],
    "Worst first C": [
        at("no port", {"steady": some, "troubled": 0, "gone": some}),
        at("in the end", {"steady": some, "troubled": "third"}),
    ],
    "Worst first D": [at("no port", {"steady": some, "troubled": "second", "gone": some})],
    "Worst first E": [
        at("gluetun away", {"steady": below(9), "troubled": between(1.5, 60), "gone": below(9)}),
        at("restarted", {"steady": below(9), "troubled": below(60), "gone": between(1.5, 60)}),
    ],
    "Instances by state A": [
        at("no port", {"in sync": 2}),
        at("well", {"in sync": 3}),
        at("not listening", {"in sync": 2}),
        at("in the end", {"in sync": 2}),
    ],
    "Instances by state B": [at("no port", {"waiting": 1}), at("not listening", {"waiting": 0})],
    "Instances by state C": [at("no port", {"failing": 0}), at("not listening", {"failing": 1})],
    "Instances by state D": [at("well", {}), at("in the end", {"down": 1})],
    "State A": STATE,
    "Ports equal A": PORTS_EQUAL,
    "Really listening A": LISTENING,
    "Gluetun A": GLUETUN_UP,
    "qBittorrent A": QBITTORRENT_UP,
    "Version A": [at("well", {__version__: 3}), at("in the end", {__version__: 2})],
    "Gluetun's port A": [
        at("well", CHOOSE_ONE),
        at("well", "first", ALONE),
        at("no port", 0, ALONE),
        at("rejected", "third", ALONE),
        at("in the end", {}, "gone"),
    ],
    "qBittorrent's port A": [
        at("well", CHOOSE_ONE),
        at("changed", "second", ALONE),
        at("no port", "second", ALONE),
        at("rejected", "second", ALONE),
        at("in the end", {}, "gone"),
    ],
    "Since the last success A": [
        at("well", below(9)),
        at("gluetun away", between(1.5, 60)),
        at("gluetun away", below(9), "steady"),
        at("restarted", below(60), ALONE),  # there was none since the start
        at("in the end", {}, "gone"),
    ],
    "Since the last sync A": [at("well", below(9)), at("restarted", below(9), ALONE)],
    "Last port change A": [
        at("changed", between(1.5e12, 3e12), ALONE),
        at("in the end", {}, ALONE),  # it was restarted on the right port
    ],
    "Check interval A": [at("well", 1)],
    "Ports A": [
        at("changed", {"Gluetun, troubled": "second"}, ALONE),
        at("no port", {"Gluetun, steady": some, "Gluetun, gone": some}),
        at("rejected", {"Gluetun, troubled": "third"}, ALONE),
    ],
    "Ports B": [
        at("changed", {"qBittorrent, troubled": "second"}, ALONE),
        at("no port", {"qBittorrent, troubled": "second"}, ALONE),
        at("rejected", {"qBittorrent, troubled": "second"}, ALONE),
        at("in the end", {"qBittorrent, steady": some, "qBittorrent, troubled": "third"}),
    ],
    "Port changes, losses and re-openings A": [
        at("changed", {"port changed": about(1)}, ALONE),
        at("rejected", {"port changed": 0}),
    ],
    "Port changes, losses and re-openings B": [
        at("changed", {"port lost": 0}),
        at("no port", {"port lost": about(1)}),
        at("rejected", {"port lost": 0}),
    ],
    "Port changes, losses and re-openings C": [
        at("no port", {}, others=0),
        at("not listening", {"re-opened: not_listening": about(1)}, others=0),
    ],
    "State over time A": [
        at("not listening", {"steady": IN_SYNC, "troubled": FAILING, "gone": IN_SYNC}),
        at("in the end", {"steady": IN_SYNC, "troubled": IN_SYNC, "gone": DOWN}),
    ],
    "What works A": named("Healthy", HEALTHY, times=2),
    "What works B": named("Ports equal", PORTS_EQUAL, times=2),
    "What works C": named("Really listening", LISTENING),
    "What works D": named("Gluetun", GLUETUN_UP, times=2),
    "What works E": named("qBittorrent", QBITTORRENT_UP, times=2),
    "Syncs by trigger A": [
        at("no port", {"interval": some}, "steady", others=0),
        at("qbittorrent away", {"interval": anything, "retry": some}, ALONE, others=0),
    ],
    "Failures by reason A": [
        at("no port", {}, others=0),
        at("gluetun away", {"gluetun_unreachable": some}, others=0),
        at("not listening", {"not_listening": some, "qbittorrent_unreachable": anything}, others=0),
        at("rejected", {"port_rejected": some, "not_listening": anything}, others=0),
        at(
            "refused",
            {"qbittorrent_unauthorized": some, "port_rejected": anything, "not_listening": some},
            others=0,
        ),
        at("refused", {}, "steady", others=0),
    ],
    "Sync duration A": [at("no port", {"median": below(2)})],
    "Sync duration B": [at("no port", {"90 %": below(5)})],
    "Sync duration C": [at("no port", {"99 %": below(10)})],
    "Requests A": [at("no port", {"gluetun": some, "qbittorrent": some}, ALONE)],
    "Errors by reason A": [
        at("no port", {}, others=0),
        at("gluetun away", {"gluetun: connection": some}, others=0),
        at("refused", {"qbittorrent: unauthorized": some}, others=0),
    ],
    "Logins at qBittorrent A": [at("no port", {"tried": 0}), at("back", {"tried": about(1)})],
    "Logins at qBittorrent B": [at("back", {"refused": 0}), at("refused", {"refused": about(1)})],
    "Gluetun's latency A": [at("no port", {"0.001": anything, "+Inf": some}, others=anything)],
    "qBittorrent's latency A": [at("no port", {"0.001": anything, "+Inf": some}, others=anything)],
    "Connection status A": [
        at("well", {"steady": FIREWALLED, "troubled": FIREWALLED, "gone": FIREWALLED}),
        at("changed", {"troubled": CONNECTED}, ALONE),
        at("no port", {"troubled": DISCONNECTED}, ALONE),
        at("refused", {"troubled": NEVER_SAID}, ALONE),
    ],
    "Instances by connection status A": [
        at("changed", {"firewalled": 2, "connected": 1, "disconnected": 0}),
        at("no port", {"firewalled": 2, "connected": 0, "disconnected": 1}),
        at("refused", {"firewalled": 1, "connected": 0, "disconnected": 1}),
    ],
    "CPU A": [at("rejected", {"steady": some, "troubled": some, "gone": some})],
    "Memory A": [
        at("well", dict.fromkeys(("steady", "troubled", "gone"), between(5e6, 3e8))),
        at("in the end", {"steady": some, "troubled": some}),
    ],
    "File descriptors A": [at("well", {"steady": some, "troubled": some, "gone": some})],
    "Garbage collections A": [
        at("no port", {f"generation {generation}": anything for generation in range(3)})
    ],
    "Log lines by level A": [
        at("gluetun away", {"error": some, "info": anything, "warning": anything}, others=0),
        at("rejected", {}, "steady", others=0),
    ],
    "Uptime A": [
        at("well", {"steady": below(60), "troubled": below(60), "gone": below(60)}),
        at("in the end", {"steady": below(120), "troubled": below(60)}),
    ],
    "Health file failures A": [
        at("no port", {"not written": some}, "gone"),
        at("no port", {"not written": 0}, ALONE),
    ],
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The script, played once."""
    with play(tmp_path_factory.mktemp("story")) as story:
        yield story


def test_something_is_expected_of_every_query_of_a_panel() -> None:
    assert EXPECTED.keys() == {name for name, query in QUERIES.items() if query.ref != "Anno"}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_panel_shows_what_was_so_at_that_moment(story: Story, name: str) -> None:
    query = QUERIES[name]
    for expected in EXPECTED[name]:
        shown = _shown(story, query, story.view(expected.moment, *expected.chosen))
        assert set(expected.values) <= set(shown), (expected, shown)
        for label, value in shown.items():
            check = expected.values.get(label, expected.others)
            assert _passes(story, check, value), (expected, shown)


@pytest.mark.parametrize("name", SUMS)
def test_what_is_shown_of_all_instances_is_their_sum(story: Story, name: str) -> None:
    moment = "refused"
    total: dict[str, float] = {}
    for instance in ("steady", "troubled", "gone"):
        for label, value in _shown(story, QUERIES[name], story.view(moment, instance)).items():
            total[label] = total.get(label, 0) + value
    assert _shown(story, QUERIES[name], story.view(moment)) == pytest.approx(total)
    assert total


@pytest.mark.parametrize("service", ["gluetun", "qbittorrent"])
def test_every_request_is_in_the_latencies(story: Story, service: str) -> None:
    view = story.view("rejected", ALONE)  # when far more are sent to one service
    title = {"gluetun": "Gluetun's latency A", "qbittorrent": "qBittorrent's latency A"}[service]
    latencies = _shown(story, QUERIES[title], view)
    requests = _shown(story, QUERIES["Requests A"], view)
    window = 4 * view.scrape_interval
    # One of a hundred more or less, where a scrape came between the two counts of a request.
    assert latencies["+Inf"] == pytest.approx(window * requests[service], rel=0.02)


@pytest.mark.parametrize("name", ["Ports A", "Ports B", "State over time A", "Uptime A"])
def test_the_instance_that_matters_most_is_kept_where_they_are_many(
    story: Story, name: str
) -> None:
    query = QUERIES[name]
    only_one = re.sub(r"(topk|bottomk)\(\d+", r"\1(1", query.expression)
    assert only_one != query.expression
    shown = _shown(story, replace(query, expression=only_one), story.view("in the end"))
    (label,) = shown
    assert "troubled" in label


@pytest.mark.parametrize(
    "name", [name for name in QUERIES if "vector(0)" in QUERIES[name].expression]
)
def test_none_is_shown_as_zero(story: Story, name: str) -> None:
    end = story.view("in the end")
    nowhere = replace(end, jobs=["elsewhere"])
    assert _shown(story, QUERIES[name], nowhere) == {"": 0}


@pytest.mark.parametrize("instance", ["prometheus", "other"])
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_leaves_out_what_is_no_qsticky(story: Story, name: str, instance: str) -> None:
    view = story.view("in the end", instance)
    values = [sample.value for sample in view.ask(story.prometheus, QUERIES[name])]
    assert not any(values), values


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_heeds_the_chosen_job(story: Story, name: str) -> None:
    query, end = QUERIES[name], story.view("in the end")
    nowhere = replace(end, jobs=["elsewhere"])
    assert not any(sample.value for sample in nowhere.ask(story.prometheus, query))
    home = replace(end, jobs=["home", "else.where"])
    for sample in home.ask(story.prometheus, query):
        assert sample.labels.get("instance", "steady") == "steady"


def test_the_variables_offer_the_jobs_and_their_instances(story: Story) -> None:
    view = story.view("in the end")
    home = replace(view, jobs=["home"])
    assert _offered(story, view, "job") == ["box", "home"]
    assert _offered(story, view, "instance") == ["gone", "steady", "troubled"]
    assert _offered(story, home, "instance") == ["steady"]


def test_each_port_change_is_marked_once(story: Story) -> None:
    marks = _marks(story, "Port changes")
    assert {name: len(times) for name, times in marks.items()} == {
        "steady": 1,
        "troubled": 3,
        "gone": 1,
    }
    well, changed = story.moments["well"], story.moments["changed"]
    assert len([time for time in marks["troubled"] if well < time < changed]) == 1


def test_each_start_is_marked_once(story: Story) -> None:
    marks = _marks(story, "Restarts")
    assert {name: len(times) for name, times in marks.items()} == {
        "steady": 1,
        "troubled": 2,
        "gone": 1,
    }
    assert story.moments["rejected"] < max(marks["troubled"]) < story.moments["in the end"]


def _shown(story: Story, query: Query, view: View) -> dict[str, float]:
    samples = view.ask(story.prometheus, query)
    shown = {legend(query, sample.labels): sample.value for sample in samples}
    assert len(shown) == len(samples), "two series have one name"
    return shown


def _passes(story: Story, check: Check | None, value: float) -> bool:
    if check is None:
        return False
    if isinstance(check, str):
        return value == story.ports[check]
    return check(value) if callable(check) else value == check


def _offered(story: Story, view: View, variable: str) -> list[str]:
    selector, label = view.fill(VARIABLES[variable])[len("label_values(") : -1].rsplit(", ", 1)
    return story.prometheus.label_values(label, selector)


def _marks(story: Story, annotation: str) -> dict[str, set[float]]:
    """Return the times that an annotation marks, in seconds, by what it says there."""
    query, view = QUERIES[f"{annotation} Anno"], story.view("in the end")
    expression = view.fill(query.expression)
    found = story.prometheus.query_range(expression, view.start, view.end, view.scrape_interval)
    marks: dict[str, set[float]] = {}
    for series in found:
        times = {value / 1000 for value in series.values}
        marks.setdefault(legend(query, series.labels), set()).update(times)
    return marks
