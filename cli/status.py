"""`paceline status`: how a batch, or everything, stands."""

from __future__ import annotations

import click

from cli.exits import Exit
from cli.nights import NO_BEAT, beatless
from cli.output import counted, print_columns, print_fields, print_json
from cli.pauses import who_and_when
from cli.progress import duration, in_flight, per_minute
from cli.reading import no_such_thing, nothing_here, reading
from cli.session import pick_batch
from cli.standing import look, look_at_all
from cli.totals import print_summary
from cli.usage import Used, ask_usage
from config.logs import printable
from config.services import Services
from config.settings import load_settings
from paceline.errors import UsageError
from paceline.halving import REASON
from paceline.model import Choice, State
from paceline.pauses import find_pause
from paceline.views import BatchView

EXAMPLES = 3
WHY_CHARACTERS = 60


@click.command("status")
@click.argument("batch", required=False)
@click.option("--watch", is_flag=True, help="Go on showing it until it is complete, or a person must act.")
@click.option("--usage", is_flag=True, help="Ask the provider too what its records say was used; needs BATCH.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary (without BATCH: a list of them) as JSON.")
def command(batch: str | None, watch: bool, usage: bool, as_json: bool) -> int:
    """Show how BATCH stands, or all batches in short. BATCH is an id, the beginning of one, or a name.

    --watch without BATCH shows all that are open, and those that begin meanwhile; with --json it prints a line of JSON
    whenever one has changed. It ends when nothing more will happen by itself.

    With BATCH, the exit code says it too: 0 done, 1 finished with failures, 3 still running, 4 a person must decide.
    --json then has the fields of summary.json, with `paused` while something is, and `usage` if that was asked for.
    """
    if usage and batch is None:
        raise UsageError("--usage is about one batch: paceline status BATCH --usage")
    if usage and watch and as_json:
        raise UsageError("--watch --json prints a line per change; ask for --usage when it has ended")
    settings = load_settings()
    with reading(settings) as services:
        if services is None:
            if batch is not None:
                raise no_such_thing(settings, batch)
            click.echo(printable(nothing_here(settings)), err=True)
            if as_json and not watch:
                print_json([])
            return Exit.DONE
        found = pick_batch(services.views, batch) if batch is not None else None
        if watch:
            from cli.watching import watch as watch_them

            shown = watch_them(services, found, as_json=as_json)
            if found is None and len(shown) == 1:
                found = services.views.batch(shown[0])
        if found is None:
            if not (as_json and watch):
                _show_all(services, as_json)
            return Exit.DONE
        found = services.views.batch(found.id)
        if as_json and watch:
            return look(services, found).exit
        return _show_one(services, found, as_json, ask_usage(services, found) if usage else None)


def _show_all(services: Services, as_json: bool) -> None:
    standings = look_at_all(services)
    if as_json:
        print_json([one.summary for one in standings])
        return
    rows = [("BATCH", "NAME", "STATE", "FILES", "FAILED", "IN FLIGHT", "HELD", "LEFT", "WAITS FOR")]
    for one in standings:
        batch, summary, why = one.batch, one.summary, one.why or ""
        files, left = summary["files"], summary["eta_seconds"]
        done = f"{files['total'] - files['pending']:,}/{files['total']:,}{'' if batch.listed else '+'}"
        counts = (files["failed"], in_flight(summary), summary["submissions"]["held"])
        shown_left = duration(left) if left and not why else ""
        waits = why if len(why) <= WHY_CHARACTERS else why[: WHY_CHARACTERS - 1] + "…"
        rows.append((batch.id, batch.name, summary["state"], done, *map(str, counts), shown_left, waits))
    if standings:
        print_columns(rows)
    else:
        click.echo("no batches yet", err=True)
    alive = sorted(printable(str(sign["worker"])) for sign in services.views.workers())
    click.echo(f"{len(alive)} live workers: {', '.join(alive)}" if alive else "no live workers", err=True)
    if beatless(services.settings, services):
        click.echo(f"{counted(len(services.settings.schedules), 'schedule')}, but {NO_BEAT}", err=True)


def _show_one(services: Services, batch: BatchView, as_json: bool, used: Used | None) -> Exit:
    standing = look(services, batch)
    summary, pace = standing.summary, standing.pace
    pause = find_pause(services.redis, batch)
    if as_json:
        further = {"paused": pause.as_dict()} if pause else {}
        print_json(summary | further | ({"usage": used.as_dict()} if used else {}))
        return standing.exit
    print_summary(summary, batch)
    states = [f"{number:,} {state}" for state, number in summary["submissions"].items() if number and state != "total"]
    fields = [("submissions", " · ".join(states) or "none yet")]
    if not batch.closed:
        fields.append(("pace", f"{per_minute(pace)} allowed" if pace else f"account {batch.account} isn't set here"))
        if summary["eta_seconds"]:
            fields.append(("left", f"about {duration(summary['eta_seconds'])}"))
    if standing.why:
        fields.append(("waits", standing.why))
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
    return standing.exit


def _failures(services: Services, batch: BatchView) -> list[str]:
    """Describe each reason in a line, with the ids of a few submissions."""
    lines = []
    for reason, number in batch.reasons.items():
        if reason != REASON:
            some = services.views.ended(batch.id, reason, EXAMPLES)
            lines.append(f"{number:,} {reason}: {', '.join(some) or '–'}")
    return lines
