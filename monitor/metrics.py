"""The metrics on Flower's `/metrics`: the ledger's, read at each scrape, beside Flower's own.

`install` is called in Flower's process before it listens. `/metrics` then asks for Flower's login, where one is set;
`/healthcheck` doesn't, so that whoever watches over the process needs no password.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from config.connections import connect
from config.schema import Settings
from config.telemetry import telemetry_wanted
from monitor.catalog import CATALOG, Kind, Metric
from monitor.measuring import Sample, measure, unreachable
from monitor.reading import read_ledger
from paceline.errors import ConfigError
from paceline.tallies import BOUNDS_S, Lengths

log = logging.getLogger(__name__)

CACHE_S = 2.0
"""Scrapes so close to each other are answered from the same look at the ledger."""

CONNECT_S, ANSWER_S = 2.0, 5.0
"""Prometheus gives a scrape ten seconds; what isn't there by then is said not to be."""

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class Reader:
    """Looks at the ledger for the metrics, at most every `CACHE_S` seconds. Thread-safe; connects at the first look."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        answer_s, connect_s = settings.redis_answer_seconds, settings.redis_connect_seconds
        quick = {
            "redis_answer_seconds": min(ANSWER_S, answer_s),
            "redis_connect_seconds": min(CONNECT_S, connect_s),
        }
        self._settings = settings
        self._client = connect(settings.model_copy(update=quick))
        self._clock = clock
        self._lock = Lock()
        self._kept: tuple[float, Sequence[Sample]] | None = None

    def samples(self) -> Sequence[Sample]:
        """Return the samples of now, or of a moment ago. Never raises for a ledger that can't be read."""
        with self._lock:  # one look serves all who wait for it
            if self._kept is None or self._clock() - self._kept[0] >= CACHE_S:
                found = self._look()
                self._kept = (self._clock(), found)
            return self._kept[1]

    def _look(self) -> Sequence[Sample]:
        begun = time.monotonic()
        try:
            facts = read_ledger(self._client, self._settings)
        except (RedisError, ConfigError) as error:
            log.warning("metrics.no_ledger", extra={"error": type(error).__name__})
            return unreachable()
        return measure(facts, took_s=time.monotonic() - begun)


class LedgerCollector(Collector):
    """What prometheus_client asks at each scrape."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def describe(self) -> Iterable[Family]:
        """Name the metrics without looking at the ledger."""
        return map(_family, CATALOG)

    def collect(self) -> Iterable[Family]:
        """Look at the ledger; metrics without a sample are left out."""
        return families(self._reader.samples())


def families(samples: Iterable[Sample]) -> list[Family]:
    """Write samples as prometheus_client wants them, in the catalog's order."""
    found: dict[str, Family] = {}
    for sample in samples:
        family = found.setdefault(sample.metric.name, _family(sample.metric))
        if isinstance(sample.value, Lengths):
            assert isinstance(family, HistogramMetricFamily)
            family.add_metric(sample.labels, buckets(sample.value), sample.value.sum_s)
        else:
            assert not isinstance(family, HistogramMetricFamily)
            family.add_metric(sample.labels, sample.value)
    return [found[metric.name] for metric in CATALOG if metric.name in found]


def buckets(lengths: Lengths) -> list[tuple[str, float]]:
    """Return cumulative buckets by their upper bound, as Prometheus has them; the last one counts everything."""
    total, rows = 0, []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), lengths.counts, strict=True):
        total += count
        rows.append((bound, float(total)))
    return rows


def _family(metric: Metric) -> Family:
    kinds: dict[Kind, type[Family]] = {
        Kind.GAUGE: GaugeMetricFamily,
        Kind.COUNTER: CounterMetricFamily,
        Kind.HISTOGRAM: HistogramMetricFamily,
    }
    return kinds[metric.kind](metric.name, metric.help, labels=metric.labels)


def install(settings: Settings, registry: CollectorRegistry = REGISTRY) -> None:
    """Put the ledger's metrics on `/metrics`, once however often it is called, and the login before them.

    Where OpenTelemetry is wanted, a thread sends them there too.
    """
    from monitor.scraping import guard_metrics

    guard_metrics()
    if registry in _installed:
        return
    reader = Reader(settings)
    registry.register(LedgerCollector(reader))
    _installed.append(registry)
    if telemetry_wanted("metrics"):
        from monitor.otlp import Pusher

        Pusher(reader).start()


_installed: list[CollectorRegistry] = []
