"""`paceline run`: the main job, from a pile of files to results."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import click

from cli.asked import Asked, asking, default_choices, merged
from cli.exits import Exit, exit_of_batch
from cli.follow import Ending, Interrupted, follow
from cli.from_plan import check_batch, check_fits, say_other, say_plan
from cli.known import known_files, say_how_to_look_again, say_nothing_new
from cli.lost import can_be_rebuilt, noticing_loss, rebuild_command, say_forgotten
from cli.session import session
from cli.target import Target, excluded, make_target
from cli.totals import print_summary
from config.logs import printable
from config.services import Services
from config.settings import load_settings
from paceline.errors import AccessDenied, ConfigError, LedgerLost, NoCredit, NothingToDo, UsageError
from paceline.formats import note_format
from paceline.model import Choice
from paceline.removing import find_forgotten
from paceline.sinks.places import PlaceKind, kind_of, parts_folder
from paceline.sinks.registry import check_writable
from paceline.summary import summarize
from paceline.views import BatchView


@click.command("run")
@asking(agent_and_to=True)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(asked: Asked, as_json: bool) -> int:
    """Plan, submit, follow and export SOURCE.

    SOURCE is a folder or a file, or several; a pattern in quotes, like 'docs/**/*.pdf'; a list with columns, x.csv or
    x.jsonl; - for paths on stdin; an address like s3://bucket/prefix/; or a saved plan, which is run as it stands.

    Ctrl-C detaches; the same command again goes on where it was. When the batch is complete, it says so and pays
    nothing.
    """
    settings = load_settings()
    target = make_target(settings, asked)
    interrupted = Interrupted()
    with interrupted.watching(), session(settings) as services:
        batch = find_known(target, services)
        if batch is not None and batch.closed:
            say_other(target, batch)
            return _already(services, batch, as_json)
        if batch is None and (gone := find_forgotten(services.redis, target.spec.batch_id())):
            return say_forgotten(target.spec, gone, as_json=as_json)
        with noticing_loss(prepare(target, services, batch)):
            ending = follow(target, services, interrupted)
        if as_json:
            click.echo(json.dumps(ending.summary, indent=2))
        _say_how_it_ended(ending, services, plain=not as_json)
    return ending.exit


def find_known(target: Target, services: Services) -> BatchView | None:
    """Return the batch if the ledger knows it.

    Raises `ConfigError` if it was begun at another address, `LedgerLost` if its rebuilding was interrupted.
    """
    batch = services.views.find_batch(target.spec.batch_id())
    if batch is not None and batch.rebuilding:
        raise LedgerLost(f"batch {batch.id} isn't rebuilt yet; go on with: {rebuild_command(batch.manifest)}")
    if batch is not None and batch.address != target.spec.address:
        raise ConfigError(
            f"batch {batch.id} was begun at {batch.address}, this command says {target.spec.address}; correct"
            f" {target.account.name}'s address, or start another batch with another --to"
        )
    return batch


def prepare(target: Target, services: Services, batch: BatchView | None) -> BatchView:
    """Check everything that can be checked before money is spent, then register the batch (or find it)."""
    from cli.preflight import check_agent, say_what_shares_runs, settle, warn_of_second_payments
    from producers.enqueue import open_batch

    check_batch(target, batch)
    say_plan(target, batch)
    if batch is None:
        exclude = excluded(target, services)
        if next(iter(target.source.listing.entries(exclude=exclude)), None) is None:
            raise NothingToDo(target.source.nothing)
        refuse_lost_ledger(target, services)
        say_what_shares_runs(target, exclude)
    refuse_two_addresses(target.account.name, target.spec.address, services)
    info = check_agent(target, services)
    settled = dict(batch.settled) if batch else settle(target, info)
    check_fits(target, settled)
    warn_of_second_payments(target.account)
    for place in target.spec.to:
        check_writable(place, target.spec.batch_id())
    note_format(services.redis)
    before = batch.choices if batch else merged(default_choices(target.account), target.planned)
    choices = merged(before, target.spec.choices)
    if choices.get(Choice.DUE) and choices.get(Choice.WAIT, "0") != "0":
        if target.spec.choices.get(Choice.DUE) and Choice.WAIT not in target.spec.choices and batch is None:
            del choices[Choice.WAIT]  # the account's own wish
        else:
            raise UsageError("the call that waits takes no due date; add --wait-seconds 0, or leave --due out")
    spec = replace(target.spec, choices=choices, settled=settled)
    opened, _ = open_batch(services.ledger, services.views, spec, target.manifest)
    for reason in (AccessDenied.reason, NoCredit.reason, "agent_unknown"):
        # The agent has just answered under this key: what paused the account has been mended.
        services.ledger.resume(target.account.name, reason=reason)
    reasons = ["source_unreachable", "wrong_address", "max_runs", "max_credits"]
    if batch is not None and choices.get(Choice.MAX_FAILURES) != batch.choices.get(Choice.MAX_FAILURES):
        reasons.append("too_many_failures")
    for reason in reasons:
        # Mended, or looked at again before anything is sent.
        services.ledger.resume(target.account.name, batch=opened.id, reason=reason)
    return opened


def refuse_two_addresses(account: str, address: str, services: Services) -> None:
    """Refuse to move an account while a batch of it is under way at another address. Raises `ConfigError`."""
    known = services.views.account(account).address
    if known in ("", address):
        return
    for batch_id in services.views.batch_ids():
        other = services.views.find_batch(batch_id)
        if other and other.account == account and not other.closed and other.address != address:
            raise ConfigError(
                f"batch {other.id} of account {account} is under way at {other.address}; finish it first,"
                f" or use another account name (or another PACELINE_HOME) for {address}"
            )


def refuse_lost_ledger(target: Target, services: Services) -> None:
    """Refuse outputs that hold another batch's, or this one's from a ledger that is lost. Raises `UsageError`."""
    for place in target.spec.to:
        if _is_begun(place):
            _refuse(place, target, services)
    # Without a manifest nothing of it was ever registered: whoever began it died between record and ledger.
    if Path(target.manifest).exists() and can_be_rebuilt(str(Path(target.manifest).parent), target.spec.batch_id()):
        raise _lost(target)


def _is_begun(place: str) -> bool:
    """Tell whether some batch has left something where a destination keeps its parts."""
    if kind_of(place) is PlaceKind.STORE:
        from paceline.sinks.store import StoreSink

        return StoreSink(place).holder() is not None
    parts = parts_folder(place)
    if parts is not None and Path(parts).is_dir() and any(Path(parts).iterdir()):
        return True
    return kind_of(place) is PlaceKind.FOLDER and Path(place, "manifest.jsonl").exists()


def _lost(target: Target) -> UsageError:
    folder = str(Path(target.manifest).parent)
    return UsageError(
        f"{folder!r} holds this batch, which this ledger doesn't know: it was made with another PACELINE_HOME or"
        f" PACELINE_REDIS_URL, so use that one; if its Redis is lost: {rebuild_command(target.manifest)}"
    )


def _refuse(folder: str, target: Target, services: Services) -> None:
    for batch_id in services.views.batch_ids():
        other = services.views.find_batch(batch_id)
        if other is not None and folder in other.to:
            named = f" named {other.name!r}" if other.name else ""
            raise UsageError(
                f"{folder!r} is the output of batch {other.id}{named}: {other.account}:{other.agent} over"
                f" {other.source!r}, {other.files_per_run} files a run; repeat its options to go on with it, or choose"
                " another --to for a new batch"
            )
    if can_be_rebuilt(str(Path(target.manifest).parent), target.spec.batch_id()):
        raise _lost(target)
    raise UsageError(
        f"{folder!r} holds output that this ledger doesn't know: it was made with another PACELINE_HOME or"
        " PACELINE_REDIS_URL, or with other options, or paceline gc has removed its batch; use those (if that Redis is"
        " lost, `paceline rebuild OUT` makes its ledger anew), or choose another --to to pay for"
        f" {target.source.location!r} again"
    )


def _already(services: Services, batch: BatchView, as_json: bool) -> int:
    summary = summarize(batch, services.views.now_ms())
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        click.echo(f"Batch {batch.id} is complete already; nothing was sent, nothing was paid.", err=True)
        print_summary(summary, batch)
        say_how_to_look_again(batch.spec)
    return exit_of_batch(batch, summary)


def _say_how_it_ended(ending: Ending, services: Services, *, plain: bool) -> None:
    code, summary, batch = ending.exit, ending.summary, ending.batch
    name = "paceline" if shutil.which("paceline") else sys.argv[0]
    again = printable(shlex.join([name, *sys.argv[1:]]))
    if batch.closed or code is Exit.NOTHING_USABLE:
        if plain:
            print_summary(summary, batch)
        if code is Exit.NOTHING_TO_DO and known_files(batch.left_out):
            say_nothing_new(batch.spec, batch.left_out, services)
        return
    states = summary["submissions"]
    done = f"{states['exported']} of {states['total']} submissions are done"
    match code:
        case Exit.DETACHED:
            click.echo(f"Detached from batch {batch.id}: {done}, nothing is lost.", err=True)
            click.echo(f"Come back with:  {again}", err=True)
        case Exit.HELD:
            click.echo(f"Batch {batch.id}: {done}, {states['held']} are held until a person decides.", err=True)
            click.echo(
                f"See them with:  paceline status {batch.id}\nDecide with:    paceline resolve SUBMISSION --help",
                err=True,
            )
        case Exit.CONFIG:
            click.echo(f"Batch {batch.id} stopped: {done}, nothing is lost.", err=True)
            click.echo(f"Cause: {ending.why or 'see paceline status'}", err=True)
            click.echo(f"Mend it, then:  {again}", err=True)
        case Exit.RUNNING | Exit.FAILURES:
            click.echo(f"Batch {batch.id} is paused: {done}, nothing is lost.", err=True)
            click.echo(f"Why: {ending.why or 'see paceline status'}", err=True)
            if batch.paused in (Choice.MAX_RUNS, Choice.MAX_CREDITS):
                option = f"--{batch.paused.replace('_', '-')}"
                raised = re.sub(rf"{option}[ =]\S+", f"{option} …", again)
                click.echo(f"Go on with a higher limit:  {raised}", err=True)
                return
            whom = batch.id if batch.paused else f"--account {batch.account}"
            click.echo(f"Let it go on with:  paceline resume {whom}", err=True)
