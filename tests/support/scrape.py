"""Scrapes the metrics in this process, as Prometheus would read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from config.schema import Settings
from config.settings import load_settings
from monitor.metrics import LedgerCollector, Reader
from tests.support.promql import Labels, Series

ACCOUNT = {
    "PACELINE_ACCOUNTS__FAKE__PROVIDER": "kolena",
    "PACELINE_ACCOUNTS__FAKE__URL": "http://127.0.0.1:9",
    "PACELINE_ACCOUNTS__FAKE__LIMITS__ADD": "40/60s",
}
"""The account of `World`, as settings have it."""


def settings_for(folder: Path, url: str, **further: str) -> Settings:
    """Return settings with the account `fake` on the Redis at `url`."""
    return load_settings({**ACCOUNT, "PACELINE_REDIS_URL": url, **further}, folder)


def url_of(client: Any) -> str:
    """Name the server and database behind a client."""
    options = client.connection_pool.connection_kwargs
    return f"unix://{options['path']}?db={options.get('db') or 0}"


def scrape(settings: Settings) -> dict[Series, float]:
    """Return every sample of one scrape."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(Reader(settings)))
    return read_text(generate_latest(registry).decode())


def read_text(text: str) -> dict[Series, float]:
    """Read what `/metrics` answers."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(found: Mapping[Series, float], name: str, **labels: str) -> float:
    """Return the one sample of a metric that has these labels; `class` is written `class_`."""
    wanted = {key.rstrip("_"): value for key, value in labels.items()}
    hits = [
        value for (series, pairs), value in found.items() if series == name and wanted.items() <= dict(pairs).items()
    ]
    assert len(hits) == 1, (name, labels, hits)
    return hits[0]


def labels_of(found: Mapping[Series, float], name: str) -> list[Labels]:
    """Return the labels of a metric's samples."""
    return [pairs for series, pairs in found if series == name]
