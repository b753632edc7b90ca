"""Say what a plan comes to: as the object that `plan --json` prints, and in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from cli.asked import default_choices, merged
from cli.output import amount, counted, print_fields, size
from cli.past import Past, Standing
from cli.progress import duration
from cli.target import Target
from config.logs import printable
from paceline.limiter import PacePolicy
from paceline.model import EndpointClass, SkipReason
from paceline.starting import way_of
from producers.deadline import Help, Verdict, helps, judge, local
from producers.estimating import (
    Bind,
    Credits,
    Pace,
    RunLength,
    Span,
    credits_needed,
    requests_needed,
    run_length,
    time_needed,
)
from producers.rehearsal import Rehearsal

WHY = {
    SkipReason.EMPTY: "no bytes",
    SkipReason.TOO_LARGE: "larger than a run may be",
    SkipReason.UNREADABLE: "can't be read",
    SkipReason.NOT_REGULAR: "a device, pipe or socket",
    SkipReason.ESCAPES_SOURCE: "a link that leads out of the source",
    SkipReason.MISSING: "in the list, but not there",
    SkipReason.IN_OUTPUT: "lies where results are written",
    SkipReason.NO_GROUP: "no group by --group-by",
    SkipReason.GROUP_TOO_LARGE: "its group is more than a run may hold; --cut-groups cuts it",
    SkipReason.GROUP_INCOMPLETE: "another file of its group can't be sent",
    SkipReason.UNCHANGED: "succeeded before, unchanged since",
    SkipReason.SAME_CONTENT: "the same bytes succeeded before",
}
"""What a reason means, short enough for a line."""

BINDS = {
    Bind.PACE: "the pace binds",
    Bind.UPLOAD: "the upload binds",
    Bind.RUNS: "the length of the runs binds",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """When a plan is to be begun, `later` if that isn't now, and when it has to be done (None: nobody said)."""

    starts: datetime
    deadline: datetime | None = None
    later: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A plan and what is to be expected of it."""

    target: Target
    tally: Rehearsal
    past: Past
    wish: Wish
    agent_known: bool
    endpoint: EndpointClass
    pace: Pace
    run: RunLength
    span: Span
    requests: Mapping[EndpointClass, int]
    credits: Credits | None
    plan: str | None
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict | None:
        """Whether the deadline is kept; None where there is none."""
        return judge(self.span, self.wish.starts, self.wish.deadline) if self.wish.deadline else None


def make_report(
    target: Target, tally: Rehearsal, past: Past, wish: Wish, *, agent_known: bool, plan: str | None = None
) -> Report:
    """Estimate what the plan takes."""
    account, settings = target.account, target.settings
    can, rates = account.kind.capabilities, account.rates
    choices = merged(default_choices(account), target.spec.choices)
    endpoint, wait_s = way_of(choices, tally.submissions, rates, can.waits_s)
    policy = PacePolicy(permit_life_s=settings.permit_life_seconds, margin_s=settings.pace_margin_seconds)
    standing = past.standings.get(endpoint, Standing())
    pace = Pace(
        rates[endpoint],
        policy.least_window_s(rates[endpoint]),
        standing.learned,
        standing.closed_s,
        past.ahead,
        wait_s,
        settings.workers * settings.upload_threads,
    )
    work = tally.work
    run = run_length(past.experience, work.most_files)
    span = time_needed(work, pace, run, settings.upload_bytes_per_second, past.experience.bytes_per_s)
    sending_s = max(span.lowest.pace_s, span.lowest.upload_s, span.lowest.busy_s)
    requests = requests_needed(
        tally.submissions, can, endpoint, rates[endpoint], rates[EndpointClass.GET], sending_s, run.typical_s
    )
    credits = credits_needed(work, past.experience) if can.reports_credits else None
    shared = tally.contents.warning
    warnings = (*past.notes, *([shared] if shared else []))
    return Report(target, tally, past, wish, agent_known, endpoint, pace, run, span, requests, credits, plan, warnings)


def as_json(report: Report) -> dict[str, Any]:
    """Return the plan as `--json` prints it; `docs/planning.md` says what each field means."""
    target, tally = report.target, report.tally
    least, median, most = tally.files_per_run
    lists, gets = report.requests[EndpointClass.LIST], report.requests[EndpointClass.GET]
    return {
        "batch": target.spec.batch_id() if report.agent_known and target.spec.to else None,
        "source": target.source.location,
        "account": target.account.name,
        "agent": f"{target.account.name}:{target.spec.agent}" if report.agent_known else None,
        "files": {"total": tally.total, "planned": tally.files, "skipped": tally.skipped.total()},
        "skipped": {reason.value: number for reason, number in sorted(tally.skipped.items())},
        "examples": {reason.value: paths for reason, paths in sorted(tally.examples.items())},
        "bytes": tally.size_bytes,
        "groups": tally.groups or None,
        "contents": tally.contents.as_dict(),
        "submissions": tally.submissions,
        "files_per_run": target.spec.files_per_run,
        "run_files": {"min": least, "median": median, "max": most},
        "largest_run_bytes": tally.largest_bytes,
        "requests": {report.endpoint.value: tally.submissions, "status": lists + gets, "list": lists, "get": gets},
        "pace": str(report.pace.rate),
        "learned_limit": report.pace.learned,
        "seconds": round(report.span.lowest.pace_s, 3),
        "takes": {
            "lowest_seconds": round(report.span.lowest.seconds, 1),
            "highest_seconds": round(report.span.highest.seconds, 1),
            "binds": {"lowest": report.span.lowest.binds.value, "highest": report.span.highest.binds.value},
            "run_seconds": {
                "shortest": round(report.span.lowest.run_s, 1),
                "longest": round(report.span.highest.run_s, 1),
                "runs_seen": report.run.runs,
            },
            "upload_seconds": {
                "lowest": round(report.span.lowest.upload_s, 1),
                "highest": round(report.span.highest.upload_s, 1),
            },
        },
        "credits": _credits_json(report.credits),
        "deadline": _deadline_json(report),
        "manifest": target.manifest,
        "plan": report.plan,
        "warnings": list(report.warnings),
    }


def _credits_json(credits: Credits | None) -> dict[str, Any] | None:
    if credits is None:
        return None
    rounded = {
        name: None if value is None else round(value, 2)
        for name, value in (
            ("expected", credits.expected),
            ("lowest", credits.lowest),
            ("highest", credits.highest),
            ("mean", credits.mean),
            ("spread", credits.spread),
        )
    }
    return {**rounded, "per": credits.per, "basis": {"batches": credits.batches, "runs": credits.runs}}


def _deadline_json(report: Report) -> dict[str, Any] | None:
    verdict = report.verdict
    if verdict is None:
        return None
    return {
        "at": _iso(verdict.at),
        "feasible": verdict.feasible,
        "binds": verdict.binds.value,
        "starts": _iso(verdict.starts),
        "finishes": {"earliest": _iso(verdict.earliest), "latest": _iso(verdict.latest)},
        "spare_seconds": round(verdict.spare_s, 1),
        "runs_until_then": None if verdict.feasible else _helps(report, verdict).runs,
    }


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def print_report(report: Report) -> None:
    """Print the plan for people, and on stderr what they should be warned of."""
    named = report.agent_known and report.target.spec.to
    title = f"Plan of batch {report.target.spec.batch_id()}" if named else "Plan"
    click.echo(f"{title}; nothing has been sent")
    print_fields(list(_fields(report)))
    for warning in report.warnings:
        click.echo(printable(f"Note: {warning}."), err=True)
    if report.plan and not (report.past.known and report.past.known.closed):
        click.echo(f"Run exactly this with:  {printable(shlex.join(['paceline', 'run', report.plan]))}", err=True)
    elif not report.agent_known or not report.target.spec.to:
        missing = " and ".join(
            text
            for text, there in (("--agent ACCOUNT:ID", report.agent_known), ("--to FOLDER", report.target.spec.to))
            if not there
        )
        click.echo(f"Add {missing} for a plan that `paceline run` can execute as it stands.", err=True)


def _fields(report: Report) -> Iterator[tuple[str, str]]:
    tally, target = report.tally, report.target
    yield "files", f"{tally.files:,} of {tally.total:,}, {size(tally.size_bytes)}"
    for reason, number in sorted(tally.skipped.items()):
        named = ", ".join(tally.examples.get(reason, ()))
        more = ", …" if number > len(tally.examples.get(reason, ())) else ""
        yield "left out", f"{number:,} {reason.value} ({WHY.get(reason, reason.value)}): {named}{more}"
    if not tally.skipped:
        yield "left out", "none"
    if tally.groups:
        yield "groups", f"{tally.groups:,}"
    yield "runs", _runs(tally)
    if tally.submissions:
        yield "", tally.contents.words
    others = [(name, report.requests[name]) for name in (EndpointClass.LIST, EndpointClass.GET)]
    requests = [f"{tally.submissions:,} {report.endpoint.value}"]
    requests += [f"{'about ' if number > 1 else ''}{number:,} {name.value}" for name, number in others if number]
    yield "requests", " · ".join(requests)
    learned = f", {report.pace.learned} learned from refusals" if report.pace.learned is not None else ""
    ahead = f"; {counted(report.pace.ahead, 'submission')} of other batches may go first" if report.pace.ahead else ""
    assumed = ", the default: your plan's may be lower" if _by_default(report) else ""
    yield "pace", f"{report.pace.rate} for account {target.account.name}{assumed}{learned}{ahead}"
    if tally.submissions:
        yield "time", _time(report)
        yield "", _run_length(report)
        yield "credits", _credits(report)
    if verdict := report.verdict:
        begun = f" (begun {local(verdict.starts)})" if report.wish.later else ""
        yield "deadline", f"{local(verdict.at)}{begun}: {_deadline(verdict)}"
        if not verdict.feasible:
            for text in _remedies(report, verdict, _helps(report, verdict)):
                yield "", text
    yield ("plan", report.plan) if report.plan else ("manifest", target.manifest)


def _by_default(report: Report) -> bool:
    """Tell whether the pace is the one that an account has if nobody sets it, which no plan need allow."""
    return report.target.account.kind.rates.get(report.endpoint) == report.pace.rate


def _runs(tally: Rehearsal) -> str:
    least, median, most = tally.files_per_run
    if not tally.submissions:
        return "none"
    if least == most:
        return f"{tally.submissions:,}, of {counted(most, 'file')}{' each' if tally.submissions > 1 else ''}"
    return f"{tally.submissions:,}, of {least:,} to {most:,} files each (median {median:,})"


def _time(report: Report) -> str:
    low, high = report.span.lowest, report.span.highest
    binds = BINDS[low.binds] if low.binds is high.binds else f"{BINDS[low.binds]}, at the long end {_last(high.binds)}"
    least, most = duration(low.seconds), duration(high.seconds)
    return f"{least} to {most}; {binds}" if least != most else f"about {most}; {binds}"


def _run_length(report: Report) -> str:
    low, high = report.span.lowest.run_s, report.span.highest.run_s
    span = f"{duration(low)} to {duration(high)}"
    if not report.run.runs:
        return f"with runs of {span} each, which is a guess: no earlier batch tells"
    return f"with runs of {span} each, as {counted(report.run.runs, 'run')} took before"


def _last(bind: Bind) -> str:
    return {Bind.PACE: "the pace", Bind.UPLOAD: "the upload", Bind.RUNS: "the runs"}[bind]


def _credits(report: Report) -> str:
    credits = report.credits
    if credits is None:
        if not report.target.account.kind.capabilities.reports_credits:
            return f"not known: {report.target.account.provider} doesn't say what a run costs"
        if not report.agent_known:
            return "not known without an agent: add --agent ACCOUNT:ID"
        if report.past.notes and not report.past.ledger:
            return "not known without the ledger"
        return f"not known: no earlier batch of {report.target.account.name}:{report.target.spec.agent} here to go by"
    span = ""
    if credits.lowest is not None and credits.highest is not None and credits.highest - credits.lowest >= 1:
        span = f" ({_whole(credits.lowest)} to {_whole(credits.highest)})"
    spread = f" ± {amount(credits.spread)}" if credits.spread else ""
    batches = "1 batch" if credits.batches == 1 else f"{credits.batches:,} batches"
    basis = f"{batches}, {counted(credits.runs, 'run')}"
    return f"about {_whole(credits.expected)}{span}: {amount(credits.mean)}{spread} a {credits.per}, from {basis}"


def _whole(credits: float) -> str:
    return f"{credits:,.0f}" if credits >= 100 else amount(credits)


def _deadline(verdict: Verdict) -> str:
    if verdict.feasible:
        return f"yes, done by {local(verdict.latest)} at the long end, with {duration(verdict.spare_s)} to spare"
    if verdict.feasible is None:
        late = duration(-verdict.spare_s)
        return f"perhaps; it may get {late} too late, and then {BINDS[verdict.binds]}"
    return f"no, {duration(-verdict.spare_s)} too late at the best; {BINDS[verdict.binds]}"


def _helps(report: Report, verdict: Verdict) -> Help:
    return helps(report.tally.work, report.pace, report.span, verdict, report.target.limits.files)


def _remedies(report: Report, verdict: Verdict, found: Help) -> Iterator[str]:
    pace, grouping = report.pace, report.target.grouping
    sure = "at the best" if verdict.feasible is False else "surely"
    yield f"by then, {sure} {found.runs:,} of {counted(report.tally.submissions, 'run')} would be through"
    if found.limit is not None and found.limit > pace.rate.limit:
        yield f"a pace of {found.limit}/{pace.rate.window_s:g}s would do"
    if grouping is not None and not grouping.pack:
        return  # a run for each group, however many files it may hold
    if found.files_per_run is not None and found.files_per_run > report.target.spec.files_per_run:
        yield f"larger runs would do: --files-per-run {found.files_per_run}, each answer then about so many files"
