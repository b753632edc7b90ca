"""Writes the tables of docs/metrics.md: the metrics from their catalog, the alerts from their file."""

from __future__ import annotations

import re
from pathlib import Path

from monitor.catalog import CATALOG

RULES = Path(__file__).resolve().parent.parent / "deploy/prometheus/alerts.yaml"

_ALERT = re.compile(r"- alert: '(\w+)'.*?severity: '(\w+)'.*?summary: '((?:[^']|'')*)'", re.S)


def table() -> str:
    """Return every metric as a row."""
    rows = ["| metric | type | labels | what it says |", "|---|---|---|---|"]
    for metric in CATALOG:
        labels = " ".join(f"`{label}`" for label in metric.labels)
        unit = f", {metric.unit}" if metric.unit else ""
        rows.append(f"| `{metric.name}` | {metric.kind}{unit} | {labels} | {metric.help} |")
    return "\n".join(rows)


def alerts() -> str:
    """Return every alert as a row; its labels in capitals."""
    rows = ["| alert | severity | says |", "|---|---|---|"]
    for name, severity, summary in _ALERT.findall(RULES.read_text("utf-8")):
        text = re.sub(r"\{\{ \$(?:labels\.)?(\w+) \}\}", lambda found: found[1].upper(), summary.replace("''", "'"))
        rows.append(f"| `{name}` | {severity} | {text} |")
    return "\n".join(rows)
