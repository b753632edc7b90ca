"""A part's figures as lines with their targets and verdicts, for a terminal and for RESULTS.md.

A line is either judged (it has a target), a rival's (measured in the same run, to compare with), or a plain fact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

MET, MISSED, EXPLAINED, RIVAL, FACT = "met", "MISSED", "explained", "rival", ""
"""`explained`: past its target, and the next line says why that stays."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what it is, its value and target as text, and the verdict."""

    what: str
    value: str
    target: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a table, to be kept beside RESULTS.md: its file's name, what it shows in words, the SVG."""

    file: str
    text: str
    svg: str


@dataclass(slots=True)
class Table:
    """The figures of one part; `setup` says in a sentence what was run."""

    part: str
    setup: str
    lines: list[Line] = field(default_factory=list)
    picture: Picture | None = None

    def at_most(self, what: str, value: float, most: float, shown: str = "{:,.2f}") -> None:
        """Add a figure that may not be larger than `most`."""
        self._judged(what, shown.format(value), f"≤ {most:g}", value <= most)

    def at_least(self, what: str, value: float, least: float, shown: str = "{:,.2f}") -> None:
        """Add a figure that may not be smaller than `least`."""
        self._judged(what, shown.format(value), f"≥ {least:g}", value >= least)

    def rival(self, what: str, value: str) -> None:
        """Add what somebody else needed in the same run."""
        self.lines.append(Line(what, value, "", RIVAL))

    def fact(self, what: str, value: str) -> None:
        """Add a figure without a target."""
        self.lines.append(Line(what, value, "", FACT))

    def _judged(self, what: str, value: str, target: str, good: bool) -> None:
        self.lines.append(Line(what, value, target, MET if good else MISSED))

    @property
    def missed(self) -> int:
        """Count the targets that were missed."""
        return sum(line.verdict == MISSED for line in self.lines)


_HEAD = Line("", "measured", "target", "verdict")


def as_text(table: Table) -> str:
    """Lay a table out for a terminal."""
    rows = [_HEAD, *table.lines]
    wide = [max(len(getattr(row, name)) for row in rows) for name in ("what", "value", "target")]
    lines = [f"{table.part}: {table.setup}"]
    for row in rows:
        text = f"  {row.what:<{wide[0]}}  {row.value:>{wide[1]}}  {row.target:>{wide[2]}}  {row.verdict}"
        lines.append(text.rstrip())
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """Lay a table out as Markdown, with its sentence above it."""
    lines = [f"{table.setup[:1].upper()}{table.setup[1:]}.", "", "| | measured | target | verdict |"]
    lines.append("|---|--:|--:|---|")
    lines += [f"| {row.what} | {row.value} | {row.target} | {row.verdict} |" for row in table.lines]
    if table.picture is not None:
        lines += ["", f"![{table.picture.text}]({table.picture.file})"]
    return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of them don't exceed; NaN of none."""
    if not values:
        return float("nan")
    return sorted(values)[max(math.ceil(len(values) * share), 1) - 1]
