"""The parts of the report that are drawn: pace and outcomes over time, and how long runs took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from paceline.charts import Series, Tone, Words, histogram, over_time
from paceline.markup import Markup
from paceline.report.html import Cell, chart, clock, folded, paragraph, section, table
from paceline.report.numbers import Durations, Report
from paceline.report.timeline import Timeline
from paceline.wording import counted, duration, per

_DAY_S = 86_400


def pace_part(report: Report, zone: tzinfo | None) -> Markup:
    """Write how many runs were started over time, against what was allowed, and how they ended."""
    line = report.timeline
    if line is None or not (any(line.started) or any(map(any, line.ended()))):
        return Markup("")
    every = per(line.interval_s)
    ticks = _ticks(line, zone)
    inside = [paragraph(_pace_words(line))]
    series = [Series("runs started", Tone.BUSY, line.started)]
    if any(line.refused):
        series.append(Series("refused (429)", Tone.BAD, line.refused))
    allowed = [line.allowed] * len(line.started)
    inside.append(
        chart(
            lambda suffix, width: over_time(
                Words(f"pace-{suffix}", f"Runs started in each {every}", _pace_words(line)),
                series,
                ticks,
                allowed=allowed,
                width=width,
            )
        )
    )
    outcomes = zip(("succeeded", "failed", "cancelled"), (Tone.GOOD, Tone.BAD, Tone.OFF), line.ended(), strict=True)
    ends = [Series(name, tone, values) for name, tone, values in outcomes if name == "succeeded" or any(values)]
    if any(any(one.values) for one in ends):
        total = ", ".join(f"{sum(one.values):,} {one.label}" for one in ends)
        inside.append(
            chart(
                lambda suffix, width: over_time(
                    Words(f"ends-{suffix}", f"Submissions that ended in each {every}", f"In all: {total}."),
                    ends,
                    ticks,
                    width=width,
                    height=180,
                )
            )
        )
    inside.append(folded("The values as a table", _table(line, zone)))
    return section("pace", "Pace and outcomes over time", *inside)


def _pace_words(line: Timeline) -> str:
    every, most = per(line.interval_s), max(line.started)
    said = f"Runs started in each {every}, {most:,} at most."
    if line.allowed is None:
        return f"{said} What was allowed isn’t known here."
    return f"{said} The account allows {line.allowed:,.0f} in that time, for all of its batches together."


def _ticks(line: Timeline, zone: tzinfo | None) -> list[tuple[float, str]]:
    span_s = line.interval_s * len(line.started)
    form = "%d %b %H:%M" if span_s > _DAY_S else "%H:%M" if line.interval_s >= 60 else "%H:%M:%S"
    parts = 2 if span_s > _DAY_S else 4
    places = [at / parts for at in range(parts + 1)]
    return [(at, clock(round(line.start_ms + at * span_s * 1000), zone, form=form)) for at in places]


def _table(line: Timeline, zone: tzinfo | None) -> Markup:
    head = ["From", "Started", "Refused", "Succeeded", "Failed", "Cancelled"]
    columns: list[Sequence[int]] = [line.started, line.refused, *line.ended()]
    kept = [at for at, values in enumerate(columns) if at in (0, 2) or any(values)]
    rows: list[tuple[Cell, ...]] = []
    for at in range(len(line.started)):
        when = clock(round(line.start_ms + at * line.interval_s * 1000), zone, form="%Y-%m-%d %H:%M:%S")
        rows.append((when, *(columns[column][at] for column in kept)))
    names = [head[0], *(head[column + 1] for column in kept)]
    caption = f"Runs started, and submissions ended, in each {per(line.interval_s)}"
    return table(caption, names, rows, numbers=range(1, len(names)))


def duration_part(report: Report) -> Markup:
    """Write how long runs took."""
    lengths = report.durations
    if lengths is None:
        return Markup("")
    said = (
        f"Half of {counted(lengths.runs, 'run')} took {_length(lengths.median_s)} or less, 95 % took"
        f" {_length(lengths.p95_s)} or less; the shortest {_length(lengths.shortest_s)}, the longest"
        f" {_length(lengths.longest_s)}."
    )
    if lengths.runs == 1:
        said = f"The only run that has ended took {_length(lengths.longest_s)}."
    rows: list[tuple[Cell, ...]] = [(f"{_length(low)} – {_length(high)}", runs) for low, high, runs in lengths.bins]
    drawing = chart(
        lambda suffix, width: histogram(
            Words(f"lengths-{suffix}", "How long runs took", said),
            [(_label(lengths, low, high), runs) for low, high, runs in lengths.bins],
            marks=[(_place(lengths, at), f"{name} {_length(at)}") for name, at in _marks(lengths)],
            width=width,
        )
    )
    values = table("Runs by how long they took", ("Time", "Runs"), rows, numbers=(1,))
    return section("durations", "How long runs took", paragraph(said), drawing, folded("The values as a table", values))


def _marks(lengths: Durations) -> list[tuple[str, float]]:
    return [("median", lengths.median_s), ("95 %", lengths.p95_s)] if lengths.runs > 1 else []


def _place(lengths: Durations, seconds: float) -> float:
    """Return where a duration lies, in bins from the left."""
    for at, (low, high, _) in enumerate(lengths.bins):
        if seconds < high or at == len(lengths.bins) - 1:
            return at + min(max((seconds - low) / (high - low), 0.0), 1.0) if high > low else float(at)
    return 0.0


def _label(lengths: Durations, low: float, high: float) -> str:
    """Name a bin by where it begins; the last one may be wider than the others."""
    first = lengths.bins[0]
    return f"{'≥ ' if high - low > (first[1] - first[0]) * 1.01 else ''}{_length(low)}"


def _length(seconds: float) -> str:
    """Write a duration, short ones with a digit more."""
    if seconds >= 60:
        return duration(seconds)
    return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"
