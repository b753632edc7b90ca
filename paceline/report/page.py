"""Write a report as one HTML page that needs nothing else: no script, no other file, no request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from functools import cache
from importlib.resources import files

from paceline.charts import Part, Tone, Words, stacked_bar, swatch
from paceline.markup import Markup, joined
from paceline.report import words
from paceline.report.drawings import duration_part, pace_part
from paceline.report.html import (
    Cell,
    chart,
    clock,
    code,
    element,
    facts,
    figures,
    link,
    moment,
    paragraph,
    section,
    table,
    text,
    word,
)
from paceline.report.numbers import Example, Failure, Report
from paceline.times import ms_of
from paceline.wording import amount, counted, duration, size

_FILE_TONES: Mapping[str, tuple[str, Tone]] = {
    "succeeded": ("succeeded", Tone.GOOD),
    "failed": ("failed", Tone.BAD),
    "cancelled": ("cancelled", Tone.OFF),
    "skipped": ("left out", Tone.OFF),
    "pending": ("not yet done", Tone.WAIT),
}

_VALUE_CHARACTERS = 200
"""Of an option: an input of an agent may be a whole prompt."""


@cache
def style() -> str:
    """Return the page's style sheet."""
    return files("paceline").joinpath("report", "report.css").read_text("utf-8")


def page(report: Report, zone: tzinfo | None = None) -> Markup:
    """Return the page. `zone` is what times are written in; None: this machine's."""
    name = report.summary["name"] or report.summary["batch"]
    parts = [
        _marks(report),
        _totals(report),
        pace_part(report, zone),
        duration_part(report),
        _failures(report),
        _skipped(report),
        _slowest(report),
        _duplicates(report),
        _held(report),
        _way(report),
        section("check", "Checked", paragraph(words.checked(report))),
    ]
    skip = element("a", text("Skip to the results"), class_="skip", href="#results")
    body = element(
        "body",
        skip,
        _header(report, name, zone),
        element("main", *parts, id="results", tabindex="-1"),
        _footer(report, zone),
    )
    return Markup(f'<!doctype html>\n<html lang="en">{_head(name)}{body}</html>\n')


def _head(name: str) -> Markup:
    css = style()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return Markup(
        '<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{text(name)} – report</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<style>{css}</style></head>"
    )


def _header(report: Report, name: str, zone: tzinfo | None) -> Markup:
    summary, way = report.summary, report.way
    begun = summary["started_at"] and moment(ms_of(summary["started_at"]), zone)
    ended = summary["finished_at"] and moment(ms_of(summary["finished_at"]), zone)
    when = [text("Started "), begun, text(". ")] if begun else [] if ended else [text("Not started yet.")]
    if ended:
        when += [text("Complete "), ended, text(f", after {duration(summary['seconds'])}.")]
    elif begun:
        when += [text(f"{duration(summary['seconds'])} so far, at the time of this report.")]
    what = [text("Agent "), code(f"{way.account}:{way.agent}")]
    what += [text(" over "), code(way.source)] if way.source else []
    return element(
        "header",
        element("h1", text(name)),
        element("p", *what, class_="what"),
        paragraph(words.sentence(report), "result"),
        element("p", *when, class_="when"),
    )


def _marks(report: Report) -> Markup:
    marks = words.marks(report)
    if not marks:
        return Markup("")
    drawn = [
        element("div", element("h2", text(title)), paragraph(said), class_="mark", role="note") for title, said in marks
    ]
    return element("section", *drawn, class_="marks", aria_label="Not to be overlooked")


def _totals(report: Report) -> Markup:
    summary = report.summary
    count, states, credits = summary["files"], summary["submissions"], summary["credits"]
    done = count["succeeded"] + count["failed"] + count["cancelled"]
    most = report.way.files_per_run
    rows = [
        ("Files", f"{count['total']:,}", size(report.size_bytes) if report.size_bytes else ""),
        ("Submissions", f"{states['total']:,}", f"of at most {counted(most, 'file')}" if most else ""),
        ("Runs", f"{summary['runs_accepted']:,}", "started at the provider"),
        ("Time", duration(summary["seconds"]), "" if summary["finished_at"] else "so far"),
        ("Credits", "–" if credits is None else amount(credits), "not reported" if credits is None else ""),
    ]
    if credits is not None and done:
        rows.append(("Credits per file", amount(credits / done), f"of {done:,} files done"))
    parts = [(label, count[name], tone) for name, (label, tone) in _FILE_TONES.items()]
    shown = [(label, number, tone) for label, number, tone in parts if number]
    said = ", ".join(f"{number:,} {label}" for label, number, _ in shown) or "no files"
    bar = chart(
        lambda suffix, width: stacked_bar(
            Words(f"files-{suffix}", "What became of the files", f"A bar of {count['total']:,} files: {said}."),
            [Part(label, number, tone) for label, number, tone in shown],
            width=width,
        )
    )
    share: list[tuple[Cell, ...]] = [
        (joined([swatch("files", tone), text(label)]), number, _percent(number, count["total"]))
        for label, number, tone in shown
    ]
    inside = [figures(rows), bar]
    if share:
        inside.append(table("What became of the files", ("Files", "Number", "Share"), share, numbers=(1, 2)))
    return section("totals", "In numbers", *inside)


def _percent(part: float, whole: float) -> str:
    """Write a share; what is neither nothing nor all never looks like it."""
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %"


def _failures(report: Report) -> Markup:
    if not report.failures:
        return Markup("")
    rows: list[tuple[Cell, ...]] = [
        (word(one.reason), one.outcome, one.submissions, one.files) for one in report.failures
    ]
    inside = [
        table(
            "Submissions that didn’t succeed, by reason",
            ("Reason", "Outcome", "Submissions", "Files"),
            rows,
            numbers=(2, 3),
        )
    ]
    for one in report.failures:
        inside += _failure(one)
    if report.tolerated:
        inside.append(paragraph("As many failures as these are within what the batch tolerates.", "note"))
    return section("failures", "What didn’t succeed", *inside)


def _failure(one: Failure) -> Iterator[Markup]:
    yield element("h3", code(one.reason))
    if said := words.FAILURES.get(one.reason):
        yield paragraph(said)
    if one.messages:
        rows: list[tuple[Cell, ...]] = [(message, number) for message, number in one.messages]
        if one.more_messages:
            rows.append(("something else", one.more_messages))
        yield table("What was said", ("Message", "Submissions"), rows, numbers=(1,))
    if one.examples:
        yield element("ul", *(element("li", *_example(some)) for some in one.examples))


def _example(some: Example) -> Iterator[Markup]:
    yield code(some.submission)
    if some.run_id:
        yield text(", run ")
        yield link(some.run_id, some.run_url)
    if some.files:
        yield text(": ")
        for at, name in enumerate(some.files):
            yield text(", " if at else "")
            yield code(name)
        if some.total > len(some.files):
            yield text(f" and {some.total - len(some.files):,} more")


def _skipped(report: Report) -> Markup:
    if not report.skipped:
        return Markup("")
    rows: list[tuple[Cell, ...]] = []
    for one in report.skipped:
        names = joined(
            [piece for at, name in enumerate(one.examples) for piece in (text(", " if at else ""), code(name))]
        )
        rows.append((word(one.reason or "unknown"), words.SKIPS.get(one.reason, ""), one.files, names))
    body = table(
        "Files that were never sent, by reason", ("Reason", "What it means", "Files", "For example"), rows, numbers=(2,)
    )
    return section("skipped", "What was left out", body)


def _slowest(report: Report) -> Markup:
    if not report.slowest:
        return Markup("")
    rows: list[tuple[Cell, ...]] = [
        (code(one.submission), link(one.run_id or "", one.run_url), one.outcome, duration(one.seconds))
        for one in report.slowest
    ]
    body = table("The runs that took longest", ("Submission", "Run", "Outcome", "Time"), rows, numbers=(3,))
    return section("slowest", "Slowest runs", body)


def _duplicates(report: Report) -> Markup:
    if not report.duplicates:
        return Markup("")
    rows: list[tuple[Cell, ...]] = [
        (code(one.run_id), code(one.submission), "not reported" if one.credits is None else amount(one.credits))
        for one in report.duplicates
    ]
    more = report.summary["duplicate_runs"] - len(rows)
    inside = [table("Runs beside the one that counts", ("Run", "Beside that of", "Credits"), rows, numbers=(2,))]
    if more > 0:
        inside.append(paragraph(f"And {more:,} more."))
    return section("duplicates", "Runs too many", *inside)


def _held(report: Report) -> Markup:
    if not report.held:
        return Markup("")
    more = report.summary["submissions"]["held"] - len(report.held)
    rows = [element("li", code(item)) for item in report.held]
    rows += [element("li", text(f"and {more:,} more"))] if more > 0 else []
    return section("held", "Waiting for a decision", element("ul", *rows))


def _way(report: Report) -> Markup:
    way, summary = report.way, report.summary
    requests = {name: number for name, number in summary["requests"].items() if number and name != "rejected_429"}
    sent = ", ".join(f"{number:,} {name}" for name, number in requests.items()) or "none"
    options = [
        (name.replace("_", " ").capitalize(), code(_short(value)))
        for name, value in sorted(way.options.items())
        if value
    ]
    choices = [
        (words.CHOICES.get(name, name), code(_short(value))) for name, value in sorted(way.choices.items()) if value
    ]
    to = element("ul", *(element("li", code(place)) for place in way.to)) if len(way.to) > 1 else None
    rows = [
        ("Batch", code(summary["batch"])),
        ("Files from", code(way.source) if way.source else text("")),
        ("Agent", code(f"{way.account}:{way.agent}")),
        ("Provider", text(way.provider)),
        ("Results to", to or joined(code(place) for place in way.to)),
        ("Files per run", text(f"{way.files_per_run:,} at most" if way.files_per_run else "")),
        ("Priority", text(way.priority or "")),
        *options,
        *choices,
        ("Pace allowed", text(_limit(report))),
        ("Requests", text(sent)),
        ("Refused (429)", text(f"{summary['requests']['rejected_429']:,}")),
    ]
    return section("way", "How it was run", facts(rows))


def _limit(report: Report) -> str:
    rate = report.way.rate
    return f"{counted(rate.limit, 'request')} to start a run in any {rate.window_s:g} s" if rate else ""


def _short(value: str) -> str:
    return value if len(value) <= _VALUE_CHARACTERS else value[:_VALUE_CHARACTERS] + "…"


def _footer(report: Report, zone: tzinfo | None) -> Markup:
    return element(
        "footer",
        element(
            "p",
            text("Made "),
            moment(report.made_ms, zone),
            text(f" by paceline {report.version}. Times are in {clock(report.made_ms, zone, form='%Z')}."),
        ),
    )
