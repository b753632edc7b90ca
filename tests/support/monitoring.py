"""What the dashboard and the alert rules ask of Prometheus, and whether the catalog has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monitor.catalog import Kind, Metric, WaitsFor, by_series
from paceline.lifecycle import Verb
from paceline.model import BatchState, EndpointClass, Outcome, State
from paceline.schedules.night import NightState
from tests.support import plain_yaml
from tests.support.promql import Node, parse

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy/grafana/paceline.json"
RULES = ROOT / "deploy/prometheus/alerts.yaml"

VALUES: Mapping[str, set[str]] = {
    "state": {*State, *BatchState, *NightState},
    "outcome": {*Outcome},
    "class": {*EndpointClass},
    "verb": {*Verb},
    "waits_for": {*WaitsFor},
}
"""The values that a label can have, where they are known."""

_LABEL_VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


def rules() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    document = plain_yaml.read(RULES.read_text("utf-8"))
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return found


def panel_expressions() -> Iterator[tuple[str, str]]:
    """Give each panel's title with each of its expressions."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def problems(expression: str) -> list[str]:
    """Say what in an expression the metrics don't have, or what is asked of them that their type can't give."""
    found = []
    node = parse(expression)
    labels: set[str] = set()
    for selector, around in node.selectors():
        metric = by_series().get(selector.word)
        if metric is None:
            found.append(f"no metric {selector.word}")
            continue
        own = {*metric.labels, *({"le"} if selector.word.endswith("_bucket") else ())}
        labels |= own
        found += _wrong_matchers(selector, own)
        found += _wrong_use(metric, selector, around)
    found += [f"nothing in it has a label {label}" for label in node.grouped() if label not in labels]
    if "histogram_quantile(" in expression and "le" not in node.grouped():
        found.append("histogram_quantile() of what isn't grouped by le")
    return found


def label_query_problems(query: str) -> list[str]:
    """Say what is wrong with the query of a variable."""
    found = _LABEL_VALUES.fullmatch(query)
    metric = by_series().get(found[1]) if found else None
    return [] if found and metric and found[2] in metric.labels else [f"no such values: {query}"]


def _wrong_matchers(selector: Node, labels: set[str]) -> Iterator[str]:
    for label, _, text in selector.matchers:
        if label not in labels:
            yield f"{selector.word} has no label {label}"
        for value in text.split("|"):
            if label in VALUES and value not in VALUES[label]:
                yield f"{label} is never {value}"


def _wrong_use(metric: Metric, selector: Node, around: tuple[str, ...]) -> Iterator[str]:
    inner = around[-1] if around else ""
    counts = metric.kind is not Kind.GAUGE
    if counts and inner not in ("rate", "increase"):
        yield f"{selector.word} only ever grows: rate() or increase() of it"
    if not counts and inner in ("rate", "increase"):
        yield f"{inner}() of {selector.word}, which is no counter"
    if (selector.range_s is not None) != (inner in ("rate", "increase", "delta") or inner.endswith("_over_time")):
        yield f"a range of {selector.word} where none belongs, or none where one does"
    if "histogram_quantile" in around and not selector.word.endswith("_bucket"):
        yield f"histogram_quantile() of {selector.word}, which has no buckets"
