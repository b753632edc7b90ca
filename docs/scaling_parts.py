"""Writes the figures of docs/scaling.md: what benchmarks/RESULTS.md measured, and what follows from that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import read_sections
from config.schema import Settings

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "RESULTS.md"

NOT_YET = "–"
"""Stands for what RESULTS.md has no section for."""

PER_MINUTE = 1 / 60.0
DAY_S = 86_400.0

Found = Mapping[str, Mapping[str, str]]
"""The tables of a section by their titles, each a mapping of what was measured to its value."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Accounts at their whole pace, all of the time."""

    accounts: int
    per_minute: int

    @property
    def per_s(self) -> float:
        """Submissions a second."""
        return self.accounts * self.per_minute * PER_MINUTE

    def __str__(self) -> str:
        return f"{self.accounts} × {self.per_minute}/min"


DEMANDS = (Demand(1, 40), Demand(10, 40), Demand(100, 40), Demand(1, 600), Demand(10, 600), Demand(100, 600))


@dataclass(frozen=True, slots=True)
class Costs:
    """What one submission costs, by the parts `engine` and `upload`; bytes are those kept in Redis."""

    redis_ms: float
    commands: float
    workers_ms: float
    rest_ms: float
    results_bytes: float
    ledger_bytes: float


def section(name: str, text: str) -> Found | None:
    """Read a section of RESULTS.md; None if there is none."""
    body = read_sections(text).get(name)
    if body is None:
        return None
    tables: dict[str, dict[str, str]] = {}
    title = name
    for line in body.splitlines():
        if line.startswith("### "):
            title = line[4:]
        elif row := re.match(r"\| ([^|]+?) \| ([^|]*?) \|", line):
            tables.setdefault(title, {})[row[1]] = row[2]
    return tables


def number(found: Found, title: str, what: str) -> float:
    """Return a figure. Raises `LookupError` that says which one RESULTS.md doesn't have (any more)."""
    try:
        return float(found[title][what].replace(",", ""))
    except (KeyError, ValueError) as error:
        raise LookupError(f"RESULTS.md has no figure {what!r} under {title!r}: mend docs/scaling_parts.py") from error


def costs(text: str) -> Costs:
    """Read what a submission costs."""
    engine = section("engine", text) or {}
    workers = {
        what: number(engine, "engine", what)
        for what in engine.get("engine", {})
        if what.startswith("CPU per submission, worker")
    }
    if not workers:
        raise LookupError("RESULTS.md has no CPU of workers under 'engine': mend docs/scaling_parts.py")
    results = number(engine, "engine, Redis", "… results backend, until its TTL ends")
    return Costs(
        redis_ms=number(engine, "engine", "CPU per submission, redis, ms"),
        commands=number(engine, "engine, Redis", "commands per submission, those inside scripts included"),
        workers_ms=sum(workers.values()),
        rest_ms=workers[max(workers)],  # the last process is the one for everything but uploads
        results_bytes=results,
        ledger_bytes=number(engine, "engine, Redis", "bytes kept per submission after the end (MEMORY USAGE)")
        - results,
    )


def measured(text: str | None = None) -> str:
    """Return what was measured, as a table."""
    text = RESULTS.read_text("utf-8") if text is None else text
    one, primary = costs(text), section("primary", text)

    def of(fsync: str, what: str) -> str:
        return NOT_YET if primary is None else primary[f"primary, {fsync}"][what]

    rows = [
        ("Redis commands per submission, those inside scripts included", "engine", f"{one.commands:,.0f}"),
        ("Redis' CPU per submission, messages and results included, ms", "engine", f"{one.redis_ms:g}"),
        ("… so that it has a core full with, submissions/s (computed)", "engine", f"{1000 / one.redis_ms:,.0f}"),
        ("workers' CPU per submission, ms", "engine", f"{one.workers_ms:.1f}"),
        ("… of which the process that isn't for uploads", "engine", f"{one.rest_ms:g}"),
        (
            "kept in Redis per submission: ledger · result, bytes",
            "engine",
            f"{one.ledger_bytes:,.0f} · {one.results_bytes:,.0f}",
        ),
    ]
    for fsync in ("always", "everysec"):
        for who in ("1 client", "12 clients"):
            what = f"{who}: submissions/s"
            rows.append((f"the ledger alone, `{fsync}`, {who}: submissions/s", "primary", of(fsync, what)))
    slow = None if primary is None else primary["primary, one account at its pace"]
    for what in ("Redis commands/s, those inside scripts included", "Redis, % of a core", "workers, % of a core"):
        value = NOT_YET if slow is None else slow[what]
        rows.append((f"one account at 40/min, whole fleet: {what}", "primary", value))
    return _table(("measured", "part", ""), rows)


def computed(text: str | None = None) -> str:
    """Return what accounts at their whole pace come to, as a table."""
    one = costs(RESULTS.read_text("utf-8") if text is None else text)
    results_s = float(Settings.model_fields["results_ttl_seconds"].default)
    kept_s = float(Settings.model_fields["keep_batches_days"].default) * DAY_S
    rows = []
    for demand in DEMANDS:
        per_s = demand.per_s
        rows.append(
            (
                str(demand),
                f"{per_s:,.1f}",
                f"{per_s * one.commands:,.0f}",
                _share(per_s * one.redis_ms / 1000),
                _share(per_s * one.workers_ms / 1000),
                _share(per_s * one.rest_ms / 1000),
                _gigabytes(per_s * one.results_bytes * results_s),
                _gigabytes(per_s * one.ledger_bytes * kept_s),
            )
        )
    head = (
        "accounts",
        "submissions/s",
        "Redis commands/s",
        "Redis, cores",
        "workers, cores",
        "… the rest process, cores",
    )
    return _table((*head, "results of a week, GB", "ledger of 30 days, GB"), rows)


def _share(cores: float) -> str:
    return f"{cores:.2f}" if cores >= 0.01 else f"{cores:.3f}"


def _gigabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:,.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['---', *['--:'] * (len(head) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
