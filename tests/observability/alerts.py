"""The shipped alerts: what is in their file, and the same with less patience."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from qsticky import HOME

_ROOT = Path(__file__).parents[2]
PROMETHEUS = _ROOT / "deploy" / "prometheus"
ALERTS = PROMETHEUS / "alerts.yml"
RUNBOOKS = _ROOT / "docs" / "runbooks"
SEVERITIES = ("critical", "warning", "info")

Rule = dict[str, Any]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"\b(\d+)([smhd])\b")
_DURATION_IN_QUERY = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=\boffset )\d+[smhd]\b")


@cache  # to parse YAML takes a while
def alerts() -> Mapping[str, Rule]:
    """Every alert of the shipped file, by name."""
    document = yaml.safe_load(ALERTS.read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    found = {rule["alert"]: rule for rule in rules}
    assert len(found) == len(rules), "an alert's name is there twice"
    return found


# Those whose runbook is that of a reason.
PAGES = {"QStickyPeersCannotConnect": "{{ $labels.reason }}", "QStickyPortClosed": "port_closed"}


def runbook_url(alert: str) -> str:
    """Where an alert's runbook is, as the rule has it."""
    return f"{HOME}/blob/main/docs/runbooks/{PAGES.get(alert, alert)}.md"


def seconds(duration: str) -> int:
    """Read a duration such as `5m`."""
    number, unit = re.fullmatch(_DURATION, duration).groups()  # type: ignore[union-attr]
    return int(number) * _SECONDS[unit]


def with_durations(rule: Rule, change: Callable[[str], str]) -> Rule:
    """Change how long an alert looks back and how long it waits, and nothing else."""
    changed = {**rule, "expr": _DURATION_IN_QUERY.sub(lambda m: change(m[0]), rule["expr"])}
    for wait in ("for", "keep_firing_for"):
        if wait in rule:
            changed[wait] = change(rule[wait])
    return changed


# How many times as fast time runs for an alert whose cause takes its time, or whose patience is
# longer than that of the others.
SPEED = {"QStickyRebindsDontHelp": 120, "QStickyNobodyCameIn": 1440}


def quickened(factor: int) -> dict[str, Rule]:
    """Every alert as if time ran so many times as fast, but for those of `SPEED`."""

    def quicker(name: str, rule: Rule) -> Rule:
        speed = SPEED.get(name, factor)
        return with_durations(rule, lambda text: f"{seconds(text) * 1000 // speed}ms")

    return {name: quicker(name, rule) for name, rule in alerts().items()}


def write_rules(file: Path, rules: Iterable[Mapping[str, object]]) -> None:
    """Write a rule file with one group."""
    group = {"name": "rules", "rules": list(rules)}
    file.write_text(json.dumps({"groups": [group]}))  # JSON is YAML
