"""Every query of the dashboards, against a real Prometheus that saw real daemons in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from qsticky import __version__
from tests.observability import dashboard
from tests.observability.dashboard import FLEET, ONE, Query, View, legend
from tests.observability.story import Story, play

QUERIES = {str(query): query for query in dashboard.all_queries()}
BOARD = dashboard.load(FLEET)
SUMS = [
    str(query)
    for panel in dashboard.panels(BOARD)
    if "of all chosen instances" in panel["description"]
    for query in dashboard.queries(BOARD)
    if query.title == panel["title"]
]
VARIABLES = {
    variable["name"]: variable["query"]["query"]
    for variable in BOARD["templating"]["list"]
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
YES, NOT_KNOWN, WAITING, NO, DOWN = range(5)
NOTHING, BY_LOG, BY_KERNEL, BY_CHECK, BY_PEER = range(5)
DISCONNECTED, FIREWALLED, CONNECTED = 10, 11, 12
FAILS = 20
SILENT, ANSWERS = 30, 31

OF_ONE: dict[str, list[Seen]] = {
    "Can peers connect? A": [
        at("well", YES, ALONE),
        at("well", NOT_KNOWN, "gone"),
        at("no port", WAITING, ALONE),
        at("gluetun away", NO, ALONE),
        at("closed", NO, ALONE),
        at("not listening", NO, ALONE),
        at("in the end", YES, ALONE),
        at("in the end", DOWN, "gone"),
    ],
    "Known by A": [
        at("well", BY_PEER, ALONE),
        at("open again", BY_CHECK, ALONE),
        at("closed", BY_KERNEL, ALONE),
        at("well", BY_LOG, "steady"),
        at("well", NOTHING, "gone"),
    ],
    "What is wrong A": [
        at("well", {"nothing": 0}, ALONE),
        at("gluetun away", {"gluetun_unreachable": 1}, ALONE),
        at("closed", {"port_closed": 1}, ALONE),
        at("refused", {"qbittorrent_unauthorized": 1}, ALONE),
        at("in the end", {"nothing": 0}, ALONE),
    ],
    "Exit country A": [
        at("well", {"Netherlands": 1}, "steady"),
        at("restarted", {"not known": 0}, ALONE),
        at("in the end", {}, "gone"),
    ],
    "Peers connected A": [
        at("well", 1, ALONE),
        at("changed", 0, ALONE),
        at("well", {}, "steady"),
    ],
    "Last peer came in A": [
        at("well", between(1.5e12, 3e12), ALONE),
        at("back", between(1.5e12, 3e12), ALONE),
        at("in the end", {}, "steady"),
    ],
    "Port from outside A": [
        at("well", 1, ALONE),
        at("closed", 0, ALONE),
        at("well", {}, "steady"),
    ],
    "Address that peers see A": [
        at("well", 1, "steady"),
        at("changed", 0, "steady"),
        at("well", {}, ALONE),
    ],
    "What happened A": [
        at("well", {"Peers can connect": YES}, ALONE),
        at("not listening", {"Peers can connect": NO}, ALONE),
        at("in the end", {"Peers can connect": DOWN}, "gone"),
    ],
    "What happened B": [
        at("well", {"Gluetun": ANSWERS}, ALONE),
        at("gluetun away", {"Gluetun": SILENT}, ALONE),
    ],
    "What happened C": [
        at("well", {"qBittorrent": ANSWERS}, ALONE),
        at("qbittorrent away", {"qBittorrent": SILENT}, ALONE),
    ],
    "What happened D": [
        at("well", {"qBittorrent says": FIREWALLED}, ALONE),
        at("changed", {"qBittorrent says": CONNECTED}, ALONE),
        at("no port", {"qBittorrent says": DISCONNECTED}, ALONE),
        at("qbittorrent away", {}, ALONE),
    ],
    "What happened E": [
        at("well", {}, ALONE),
        at("rejected", {"port_rejected": FAILS}, ALONE),
        at("restarted", {"gluetun_unreachable": FAILS}, ALONE),
    ],
    "Ports A": [
        at("changed", {"Gluetun": "second"}, ALONE),
        at("no port", {}, ALONE),
        at("rejected", {"Gluetun": "third"}, ALONE),
    ],
    "Ports B": [
        at("changed", {"qBittorrent": "second"}, ALONE),
        at("no port", {"qBittorrent": "second"}, ALONE),
        at("rejected", {"qBittorrent": "second"}, ALONE),
        at("in the end", {"qBittorrent": "third"}, ALONE),
    ],
    "Through the VPN A": [at("back", {"in": some}, ALONE), at("back", {}, "steady")],
    "Through the VPN B": [at("back", {"out": some}, ALONE), at("back", {}, "steady")],
    "Peers and DHT nodes A": [
        at("well", {"peers that came in": 1}, ALONE),
        at("changed", {"peers that came in": 0}, ALONE),
        at("well", {}, "steady"),
    ],
    "Peers and DHT nodes B": [at("well", {"DHT nodes": 312}, ALONE)],
    "Syncs a minute A": [
        at("no port", {"interval": some}, "steady", others=anything),
        at("qbittorrent away", {"interval": anything, "retry": some}, ALONE, others=anything),
    ],
    "Syncs a minute B": [
        at("well", {"failed": 0}, "steady"),
        at("qbittorrent away", {"failed": some}, ALONE),
    ],
    "API requests A": [at("no port", {"gluetun": some, "qbittorrent": some}, ALONE)],
    "API errors A": [
        at("gluetun away", {"gluetun: connection": some}, ALONE, others=0),
        at("refused", {"qbittorrent: unauthorized": some}, ALONE, others=anything),
        at("refused", {}, "steady", others=0),
    ],
    "Latency A": [at("no port", {"gluetun": below(10), "qbittorrent": below(10)}, ALONE)],
    "Latency B": [at("no port", {"a whole sync": below(10)}, ALONE)],
    "Versions A": [at("well", {f"qSticky {__version__}": 1}, ALONE), at("in the end", {}, "gone")],
    "Versions B": [at("well", {"qBittorrent 5.1.0": 1}, ALONE)],
    "Versions C": [at("well", {"Gluetun v3.41.1": 1}, ALONE)],
}
OF_MANY: dict[str, list[Seen]] = {
    "Instances A": [at("well", 3), at("well", 1, ALONE), at("in the end", 3)],
    "Peers can connect A": [at("well", 2), at("no port", 0, ALONE), at("in the end", 2)],
    "Not known A": [at("well", 1), at("in the end", 0)],
    "Waiting for a port A": [at("well", 0), at("no port", 1)],
    "Failing A": [at("no port", 0), at("gluetun away", 1), at("refused", 2), at("in the end", 0)],
    "Down A": [at("well", 0), at("in the end", 1), at("in the end", 0, ALONE)],
    "Worst first A": [
        at("well", {"steady": YES, "troubled": YES, "gone": NOT_KNOWN}),
        at("no port", {"steady": anything, "troubled": WAITING, "gone": NOT_KNOWN}),
        at("rejected", {"steady": YES, "troubled": NO, "gone": NOT_KNOWN}),
        at("in the end", {"steady": YES, "troubled": YES, "gone": DOWN}),
    ],
    "Worst first B": [at("well", {}), at("rejected", {"troubled": 1})],
    "Worst first C": [
        at("no port", {"steady": some, "troubled": 0, "gone": some}),
        at("in the end", {"steady": some, "troubled": "third"}),
    ],
    "Worst first D": [at("no port", {"steady": some, "troubled": "second", "gone": some})],
    "Worst first E": [at("well", {"troubled": 1})],
    "Worst first F": [
        at("gluetun away", {"steady": below(9), "troubled": between(1.5, 60), "gone": below(9)}),
        at("restarted", {"steady": below(9), "troubled": below(60), "gone": between(1.5, 90)}),
    ],
    "Worst first G": [at("well", {"steady": 1, "troubled": 1, "gone": 1})],
    "Instances by status A": [
        at("well", {"synced": 3}, others=0),
        at("no port", {"synced": 2, "waiting": 1}, others=0),
        at("not listening", {"synced": 2, "failing": 1}, others=0),
    ],
    "Instances by status B": [at("well", {}), at("in the end", {"down": 1})],
    "Failing by reason A": [
        at("no port", {}, others=0),
        at("gluetun away", {"gluetun_unreachable": 1}, others=0),
        at("refused", {"qbittorrent_unauthorized": 1, "not_listening": 1}, others=0),
    ],
    "Through all VPNs A": [at("back", {"in": some})],
    "Through all VPNs B": [at("back", {"out": some})],
    "Rebinds by cause A": [
        at("not listening", {"not_listening": about(1)}, others=anything),
        at("no port", {"port_closed": 0}, others=anything),
    ],
    "Ports changed and lost A": [at("changed", {"changed": some}), at("closed", {"changed": 0})],
    "Ports changed and lost B": [
        at("changed", {"lost": 0}),
        at("no port", {"lost": about(1)}),
        at("rejected", {"lost": 0}),
    ],
    "Logins at qBittorrent A": [at("no port", {"tried": 0}), at("back", {"tried": about(1)})],
    "Logins at qBittorrent B": [at("back", {"refused": 0}), at("refused", {"refused": about(1)})],
    "What else fails A": [
        at("changed", {"notifications": about(1)}),
        at("changed", {"notifications": 0}, ALONE),
    ],
    "What else fails B": [
        at("no port", {"health file": some}, "gone"),
        at("no port", {"health file": 0}, ALONE),
    ],
    "What else fails C": [at("no port", {"log lines dropped": 0})],
    "CPU A": [at("rejected", {"steady": some, "troubled": some, "gone": some})],
    "Memory A": [
        at("well", dict.fromkeys(("steady", "troubled", "gone"), between(5e6, 3e8))),
        at("in the end", {"steady": some, "troubled": some}),
    ],
    "Versions A": [at("well", {__version__: 3}), at("in the end", {__version__: 2})],
}
EXPECTED = {
    f"{board}: {name}": seen
    for board, of in ((ONE, OF_ONE), (FLEET, OF_MANY))
    for name, seen in of.items()
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


@pytest.mark.parametrize("name", [f"{FLEET}: CPU A", f"{FLEET}: Memory A"])
def test_only_those_that_take_most_are_shown_where_they_are_many(story: Story, name: str) -> None:
    query = QUERIES[name]
    only_one = query.expression.replace("topk(5", "topk(1")
    assert only_one != query.expression
    shown = _shown(story, replace(query, expression=only_one), story.view("rejected"))
    assert len(shown) == 1


@pytest.mark.parametrize(
    "name", [name for name in QUERIES if "vector(0)" in QUERIES[name].expression]
)
def test_none_is_shown_as_zero(story: Story, name: str) -> None:
    end = story.view("in the end")
    nowhere = replace(end, jobs=["elsewhere"])
    assert _shown(story, QUERIES[name], nowhere) == {"": 0}


@pytest.mark.parametrize("instance", ["prometheus", "other"])
def test_a_query_leaves_out_what_is_no_qsticky(story: Story, instance: str) -> None:
    view = story.view("in the end", instance)
    for name, query in QUERIES.items():
        values = [sample.value for sample in view.ask(story.prometheus, query)]
        assert not any(values), (name, values)


def test_a_query_heeds_the_chosen_job(story: Story) -> None:
    end = story.view("in the end")
    nowhere = replace(end, jobs=["elsewhere"])
    home = replace(end, jobs=["home", "else.where"])
    for name, query in QUERIES.items():
        assert not any(sample.value for sample in nowhere.ask(story.prometheus, query)), name
        for sample in home.ask(story.prometheus, query):
            assert sample.labels.get("instance", "steady") == "steady", name


def test_the_variables_offer_the_jobs_and_their_instances(story: Story) -> None:
    view = story.view("in the end")
    home = replace(view, jobs=["home"])
    assert _offered(story, view, "job") == ["box", "home"]
    assert _offered(story, view, "instance") == ["gone", "steady", "troubled"]
    assert _offered(story, home, "instance") == ["steady"]


def test_each_port_change_is_marked_once(story: Story) -> None:
    marks = _times(story, "Port changes")
    assert {name: len(times) for name, times in marks.items()} == {
        "steady": 1,
        "troubled": 3,
        "gone": 2,
    }
    well, changed = story.moments["well"], story.moments["changed"]
    assert len([time for time in marks["troubled"] if well < time < changed]) == 1


def test_each_start_is_marked_once(story: Story) -> None:
    marks = _times(story, "Restarts of qSticky")
    assert {name: len(times) for name, times in marks.items()} == {
        "steady": 1,
        "troubled": 2,
        "gone": 1,
    }
    assert story.moments["rejected"] < max(marks["troubled"]) < story.moments["in the end"]


@pytest.mark.parametrize(
    ("annotation", "mark", "before", "after"),
    [
        ("Rebinds", "port_closed", "back", "closed"),
        ("Rebinds", "not_listening", "closed", "not listening"),
        ("VPN restarts", "gone", "refused", "vpn restarted"),
        ("Public address changes", "steady", "well", "changed"),
    ],
)
def test_what_is_counted_is_marked_when_it_happens(
    story: Story, annotation: str, mark: str, before: str, after: str
) -> None:
    times = _marks(story, annotation)[mark]
    late = 2  # seconds; until it was scraped and asked for
    assert any(story.moments[before] <= time <= story.moments[after] + late for time in times)
    assert len(times) <= 4, "a mark, and not a stretch"


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


def _times(story: Story, annotation: str) -> dict[str, set[float]]:
    """Return the times that an annotation has as values, in seconds, by what it says there."""
    return {
        name: {value / 1000 for value in values.values()}
        for name, values in _marks(story, annotation).items()
    }


def _marks(story: Story, annotation: str) -> dict[str, dict[float, float]]:
    """Return what an annotation gives, by what it says there: values by their times."""
    query, view = QUERIES[f"{ONE}: {annotation} Anno"], story.view("in the end")
    expression = view.fill(query.expression)
    found = story.prometheus.query_range(expression, view.start, view.end, view.scrape_interval)
    marks: dict[str, dict[float, float]] = {}
    for series in found:
        marks.setdefault(legend(query, series.labels), {}).update(series.points)
    return marks
