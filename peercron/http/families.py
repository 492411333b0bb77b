"""Families: one metric with its samples, made of plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from peercron.core.histogram import Histogram

#: Values of the labels.
K = TypeVar("K", bound=tuple[str, ...])
MS_PER_S: Final = 1_000


def gauge(name: str, told: str, value: float | None) -> Metric:
    """A number that goes up and down; None: it is not known here, and has no sample."""
    family = GaugeMetricFamily(name, told)
    if value is not None:
        family.add_metric((), value)
    return family


def gauges(name: str, told: str, labels: Iterable[str], samples: Mapping[K, float]) -> Metric:
    """One for each of the labels' values that there are."""
    family = GaugeMetricFamily(name, told, labels=tuple(labels))
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def counter(name: str, told: str, value: float) -> Metric:
    """A number that only grows; the name is told with `_total`."""
    return CounterMetricFamily(name, told, value=value)


def counters(name: str, told: str, labels: Iterable[str], samples: Mapping[K, float]) -> Metric:
    family = CounterMetricFamily(name, told, labels=tuple(labels))
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


def by_one(counts: Mapping[str, float]) -> dict[tuple[str], float]:
    """The samples of a metric with one label."""
    return {(word,): value for word, value in counts.items()}


def histograms(
    name: str, told: str, labels: Iterable[str], samples: Mapping[K, Histogram], *, per_s: int = 1
) -> Metric:
    """`per_s`: how many of the unit that was counted in make a second."""
    family = HistogramMetricFamily(name, told, labels=tuple(labels))
    for values, seen in samples.items():
        family.add_metric(values, _buckets(seen, per_s), seen.sum / per_s)
    return family


def histogram(name: str, told: str, seen: Histogram, *, per_s: int = 1) -> Metric:
    return histograms(name, told, (), {(): seen}, per_s=per_s)


def _buckets(seen: Histogram, per_s: int) -> list[tuple[str, float]]:
    so_far, buckets = 0, []
    for bound, count in zip((*seen.bounds, float("inf")), seen.counts, strict=True):
        so_far += count
        buckets.append((_text(bound / per_s), float(so_far)))
    return buckets


def _text(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
