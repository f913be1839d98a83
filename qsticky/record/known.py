"""Metrics of what may not be known: they have no sample until it is."""

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class _Family(Protocol):
    def __call__(
        self, name: str, documentation: str, value: float | None = None, *, unit: str = ""
    ) -> Metric: ...


def unit_of(name: str) -> str:
    """Return the unit that a metric's name ends with, which OpenMetrics declares; or nothing."""
    return next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit}")), "")


class Known(Collector):
    """A metric without labels that has no sample while its `value` is None."""

    def __init__(self, family: _Family, name: str, text: str, registry: CollectorRegistry) -> None:
        self.value: float | None = None
        self._family = family
        self._name, self._text = f"qsticky_{name}", text
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Give the metric as it is now."""
        yield self._family(self._name, self._text, value=self.value, unit=unit_of(self._name))


class Info:
    """A metric that is 1, and tells a fact by its one label; without a sample until known."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._told: str | None = None

    def tell(self, fact: str | None) -> None:
        """Tell the fact as it is now."""
        if fact == self._told:
            return
        self._gauge.clear()
        self._told = fact
        if fact:
            self._gauge.labels(fact).set(1)
