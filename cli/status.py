"""`paceline status`: how a batch, or everything, stands."""

from __future__ import annotations

import time
from typing import Any

import click

from cli.exits import Exit, exit_of_batch
from cli.follow import class_of, title
from cli.lost import noticing_loss
from cli.output import counted, print_columns, print_fields, print_json
from cli.pauses import who_and_when
from cli.progress import Moment, duration, in_flight, open_progress, per_minute
from cli.reading import no_such_thing, nothing_here, reading
from cli.run import print_summary
from cli.session import pick_batch
from cli.usage import Used, ask_usage
from config.logs import printable
from config.queues import submit_queue
from config.services import Services
from config.settings import load_settings
from paceline.errors import UsageError
from paceline.halving import REASON
from paceline.limiter import PaceView
from paceline.model import Choice, Rate, State
from paceline.pauses import find_pause
from paceline.summary import summarize
from paceline.views import BatchView
from paceline.waiting import look_around, stopped_by

WATCH_S = 1.0
EXAMPLES = 3
WHY_CHARACTERS = 60


NO_PACE = PaceView(Rate(1, 1.0), 0, 0, None, 0.0, None, 0.0)
"""Shown for an account that isn't set here."""


@click.command("status")
@click.argument("batch", required=False)
@click.option("--watch", is_flag=True, help="Go on showing it until it is complete, or a person must act.")
@click.option("--usage", is_flag=True, help="Ask the provider too what its records say was used; needs BATCH.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary (without BATCH: a list of them) as JSON.")
def command(batch: str | None, watch: bool, usage: bool, as_json: bool) -> int:
    """Show how BATCH stands, or all batches in short. BATCH is an id, the beginning of one, or a name.

    With BATCH, the exit code says it too: 0 done, 1 finished with failures, 3 still running, 4 a person must decide.
    --json then has the fields of summary.json, with `paused` while something is, and `usage` if that was asked for.
    """
    if usage and batch is None:
        raise UsageError("--usage is about one batch: paceline status BATCH --usage")
    settings = load_settings()
    with reading(settings) as services:
        if services is None:
            if batch is not None:
                raise no_such_thing(settings, batch)
            click.echo(printable(nothing_here(settings)), err=True)
            if as_json:
                print_json([])
            return Exit.DONE
        if batch is None and not watch:
            _show_all(services, as_json)
            return Exit.DONE
        found = pick_batch(services.views, batch) if batch is not None else _only_open_one(services)
        if watch:
            with noticing_loss(found):
                _watch(services, found.id)
        found = services.views.batch(found.id)
        return _show_one(services, found, as_json, ask_usage(services, found) if usage else None)


def _only_open_one(services: Services) -> BatchView:
    open_ones = [one for one in services.views.batches() if not one.closed]
    if len(open_ones) == 1:
        return open_ones[0]
    known = ": " + ", ".join(one.id for one in open_ones[:5]) if open_ones else ", and none is running"
    raise UsageError(f"--watch shows one batch{known}; name it: paceline status BATCH --watch")


def _look(services: Services, batch: BatchView) -> tuple[dict[str, Any], PaceView | None]:
    """Return a batch's summary and its account's pace; None where this process doesn't know the account."""
    account = services.settings.accounts.get(batch.account)
    if account is None:
        return summarize(batch, services.views.now_ms()), None
    endpoint = class_of(batch, account)
    rate = account.rates[endpoint]
    return summarize(batch, services.views.now_ms(), rate), services.limiter.view(batch.account, endpoint, rate)


def _why_waiting(services: Services, batch: BatchView, pace: PaceView | None) -> str | None:
    if batch.closed:
        return None
    around = look_around(services.views, services.circuit, batch.account)
    why = stopped_by(batch, around, pace, submit_queue(batch.account))
    return None if why is None else printable(why)


def _watch(services: Services, batch_id: str) -> None:
    """Show the batch until nothing more will change by itself."""
    progress = open_progress(title(services.views.batch(batch_id)))
    try:
        while True:
            batch = services.views.batch(batch_id)
            summary, pace = _look(services, batch)
            shown = pace or NO_PACE
            progress.show(Moment(summary, shown, not batch.listed, _why_waiting(services, batch, pace)))
            if exit_of_batch(batch, summary) is not Exit.RUNNING:
                return
            time.sleep(WATCH_S)
    finally:
        progress.close()


def _show_all(services: Services, as_json: bool) -> None:
    batches = services.views.batches()
    summaries = [_look(services, batch)[0] for batch in batches]
    if as_json:
        print_json(summaries)
        return
    rows = [("BATCH", "NAME", "STATE", "FILES", "FAILED", "IN FLIGHT", "HELD", "LEFT", "WAITS FOR")]
    for batch, summary in zip(batches, summaries, strict=True):
        why = _why_waiting(services, batch, _look(services, batch)[1]) or ""
        files, left = summary["files"], summary["eta_seconds"]
        done = f"{files['total'] - files['pending']:,}/{files['total']:,}{'' if batch.listed else '+'}"
        counts = (files["failed"], in_flight(summary), summary["submissions"]["held"])
        shown_left = duration(left) if left and not why else ""
        waits = why if len(why) <= WHY_CHARACTERS else why[: WHY_CHARACTERS - 1] + "…"
        rows.append((batch.id, batch.name, summary["state"], done, *map(str, counts), shown_left, waits))
    if batches:
        print_columns(rows)
    else:
        click.echo("no batches yet", err=True)
    alive = sorted(printable(str(sign["worker"])) for sign in services.views.workers())
    click.echo(f"{len(alive)} live workers: {', '.join(alive)}" if alive else "no live workers", err=True)


def _show_one(services: Services, batch: BatchView, as_json: bool, used: Used | None) -> Exit:
    summary, pace = _look(services, batch)
    pause = find_pause(services.redis, batch)
    if as_json:
        further = {"paused": pause.as_dict()} if pause else {}
        print_json(summary | further | ({"usage": used.as_dict()} if used else {}))
        return exit_of_batch(batch, summary)
    print_summary(summary, batch)
    states = [f"{number:,} {state}" for state, number in summary["submissions"].items() if number and state != "total"]
    fields = [("submissions", " · ".join(states) or "none yet")]
    if not batch.closed:
        fields.append(("pace", f"{per_minute(pace)} allowed" if pace else f"account {batch.account} isn't set here"))
        if summary["eta_seconds"]:
            fields.append(("left", f"about {duration(summary['eta_seconds'])}"))
    if why := _why_waiting(services, batch, pace):
        fields.append(("waits", why))
    if pause:
        fields.append(("paused", who_and_when(pause)))
    if used:
        fields.append(("provider", used.text(summary["credits"])))
    if batch.isolated:
        split = batch.reasons.get(REASON, 0)
        budget = batch.choices.get(Choice.ISOLATE, "0")
        spent = f"{batch.isolated} of {budget} runs spent on that"
        fields.append(("isolating", f"{counted(split, 'submission')} split in halves; {spent}"))
    fields += [("failed", text) for text in _failures(services, batch)]
    fields += [("held", item) for item in services.views.held(batch.id)]
    fields += [("uncertain", item) for item in services.views.uncertain(batch)]
    print_fields(fields)
    if batch.by_state[State.HELD]:
        click.echo(
            "A person must decide on those held: paceline show SUBMISSION, then paceline resolve SUBMISSION.", err=True
        )
    return exit_of_batch(batch, summary)


def _failures(services: Services, batch: BatchView) -> list[str]:
    """Describe each reason in a line, with the ids of a few submissions."""
    lines = []
    for reason, number in batch.reasons.items():
        if reason != REASON:
            some = services.views.ended(batch.id, reason, EXAMPLES)
            lines.append(f"{number:,} {reason}: {', '.join(some) or '–'}")
    return lines
