"""What a PromQL expression names. Whether it is one at all, Prometheus says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    \s+ | \#[^\n]*
    | (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*` )
    | (?P<range> \[ [^\]]* \] )
    | (?P<number> \d[\w.]* )
    | (?P<variable> \$\w+ | \$\{[^}]*\} )
    | (?P<name> [a-zA-Z_:][\w:]* )
    | (?P<mark> =~ | !~ | != | == | . )
    """,
    re.VERBOSE,
)
_OPERATORS = {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"}
_AGGREGATIONS = {
    *("sum", "min", "max", "avg", "group", "stddev", "stdvar", "count"),
    *("count_values", "bottomk", "topk", "quantile"),
}
_LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_MAKE_LABELS = {"label_replace", "label_join", "count_values"}


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Selector:
    """What chooses series; the metric is empty where none is named."""

    metric: str
    matchers: tuple[Matcher, ...]


@dataclass
class Names:
    """Selectors, the labels that are grouped by or matched on, and strings that may be labels."""

    selectors: list[Selector] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)


def names(expression: str) -> Names:
    """Find what an expression names."""
    return _Reader(expression).read()


class _Reader:
    def __init__(self, expression: str) -> None:
        self._tokens = [*_tokens(expression), ("end", "")]
        self._names = Names()

    def read(self) -> Names:
        makes_labels = False
        while (token := self._tokens.pop(0))[0] != "end":
            kind, text = token
            if kind == "string" and makes_labels:
                self._names.made.add(text[1:-1])
            elif token == ("mark", "{"):
                self._names.selectors.append(Selector("", self._matchers()))
            elif kind == "name":
                makes_labels = makes_labels or text in _MAKE_LABELS
                self._read_name(text)
        return self._names

    def _read_name(self, text: str) -> None:
        if text.lower() in _OPERATORS:
            return
        following = self._tokens[0]
        if text.lower() in _LABEL_LISTS:
            if following == ("mark", "("):
                self._names.labels |= self._label_list()
            return
        if following == ("mark", "(") or text in _AGGREGATIONS:
            return
        matchers: tuple[Matcher, ...] = ()
        if following == ("mark", "{"):
            self._tokens.pop(0)
            matchers = self._matchers()
        self._names.selectors.append(Selector(text, matchers))

    def _label_list(self) -> set[str]:
        labels = set()
        while (token := self._tokens.pop(0)) != ("mark", ")"):
            if token[0] == "name":
                labels.add(token[1])
        return labels

    def _matchers(self) -> tuple[Matcher, ...]:
        matchers = []
        while (token := self._tokens.pop(0)) != ("mark", "}"):
            if token[0] == "name" and self._tokens[1][0] == "string":
                (_, operator), (_, value) = self._tokens.pop(0), self._tokens.pop(0)
                matchers.append(Matcher(token[1], operator, value[1:-1]))
        return tuple(matchers)


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(expression):
        if match.lastgroup:
            yield match.lastgroup, match[0]
