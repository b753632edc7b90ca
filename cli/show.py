"""`paceline show`: one submission with its files and its journal."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cli.output import amount, local_time, print_columns, print_fields, print_json, size
from cli.reading import no_such_thing, reading
from config.logs import printable
from config.settings import load_settings
from paceline.errors import UnknownSubmission
from paceline.halving import REASON, halves_of, parent_of
from paceline.model import Outcome, PlannedFile, State, Submission, index_of, submission_id
from paceline.pauses import Pause, find_pause
from paceline.providers.kinds import provider_kind, provider_names
from paceline.records import credits_by
from paceline.reexporting import find_record
from paceline.sinks.part_files import PartFiles
from paceline.sinks.places import parts_folder
from paceline.times import iso
from paceline.views import BatchView, Views

FILES_SHOWN = 20

FACTS = ("submission", "verb", "from", "to", "generation", "attempt", "at_ms")
"""Of a journal entry, what stands in columns of its own; all else is a fact of the verb."""


@click.command("show")
@click.argument("submission")
@click.option("--all", "every", is_flag=True, help=f"Show every file, not only the first {FILES_SHOWN}.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(submission: str, every: bool, as_json: bool) -> None:
    """Show SUBMISSION, like b1a2b3c4d5-000001: where it stands, its files, and what happened to it.

    A batch's submissions are numbered from 1, and BATCH-1 will do: `paceline show b1a2b3c4d5-1`.
    """
    settings = load_settings()
    with reading(settings) as services:
        if services is None:
            raise no_such_thing(settings, submission)
        item, batch = _find(services.views, submission)
        files = services.views.files(item.id)
        journal = list(services.views.journal(item.batch, item.id))
        from config.messages import make_app
        from worker.results import CeleryResults

        by = credits_by(find_record(batch, item, files, CeleryResults(make_app(settings))) or {})
        pause = find_pause(services.redis, batch)
    item = replace(item, credits_by=by)
    parts = _parts(batch, item)
    what_next = next_steps(item, batch, pause)
    if as_json:
        print_json(
            _report(item, batch, files, journal, parts)
            | {"next": [{"command": text, "effect": effect} for text, effect in what_next]}
        )
        return
    _print_facts(item, batch, parts)
    _print_files(files, every)
    _print_journal(journal)
    for text, effect in what_next:
        click.echo(printable(f"Next:  {text}    {effect}"), err=True)


def next_steps(item: Submission, batch: BatchView, pause: Pause | None) -> list[tuple[str, str]]:
    """Return what a person may type about a submission as it stands, each with its effect; empty for nothing."""
    match item.state:
        case State.HELD:
            has = f"if the provider has a run with the external id {item.external_id}"
            known = batch.provider in provider_names()
            if known and not provider_kind(batch.provider).capabilities.finds_many:
                when = f", started at about {local_time(item.doubt_ms)}" if item.doubt_ms else ""
                has = f"if the provider has a run of agent {batch.agent} for these files{when}"
            return [
                (f"paceline resolve {item.id} --run-id R", f"{has}: follow that one, which costs nothing"),
                (f"paceline resolve {item.id} --resubmit", "if it surely has none: send it again; else paid twice"),
                (f"paceline resolve {item.id} --fail", "leave it, as failed"),
            ]
        case State.PLANNED if pause is not None:
            whom = batch.id if pause.what == "batch" else f"--account {batch.account}"
            return [(f"paceline resume {whom}", f"it waits because of a pause: {pause.message or pause.reason}")]
        case State.EXPORTED if item.outcome is Outcome.FAILED and item.reason == "timed_out":
            return [(f"paceline collect {batch.id}", "fetch what has ended since; costs nothing")]
        case State.EXPORTED if item.outcome is Outcome.FAILED:
            command = shlex.join(["paceline", "retry", batch.id, "--reason", item.reason or ""])
            return [(command, "send all that failed so again; each is paid for again")]
    return []


def _find(views: Views, text: str) -> tuple[Submission, BatchView]:
    """Find a submission by its id; leading zeros of the number may be left out. Raises `UnknownSubmission`."""
    match = re.fullmatch(r"(b[0-9a-z]{9})[-.](?:\1-)?(\d{1,15})", text)
    if match is None:
        raise UnknownSubmission(f"{text!r} is no submission's id; they look like b012345678-000001")
    item = views.submission(f"{match[1]}-{int(match[2]):06d}")
    return item, views.batch(item.batch)


def _parts(batch: BatchView, item: Submission) -> list[str]:
    """Return where the submission's part is now, in each output that keeps parts on this machine."""
    paths = [PartFiles(folder).path_of(item.id) for place in batch.to if (folder := parts_folder(place))]
    return [path for path in paths if Path(path).exists()]


def _relatives(item: Submission) -> tuple[str | None, list[str]]:
    """Return the id that a half is half of, and those of the halves that a submission was split in."""
    index = index_of(item.id)
    whole = parent_of(index)
    split = item.reason == REASON and item.state is State.EXPORTED
    halves = [submission_id(item.batch, half) for half in halves_of(index)] if split else []
    return None if whole is None else submission_id(item.batch, whole), halves


def _report(
    item: Submission,
    batch: BatchView,
    files: tuple[PlannedFile, ...],
    journal: list[dict[str, str]],
    parts: list[str],
) -> dict[str, Any]:
    half_of, halves = _relatives(item)
    return {
        "submission": item.id,
        "batch": batch.id,
        "state": item.state.value,
        "outcome": item.outcome.value if item.outcome else None,
        "reason": item.reason,
        "error": item.error,
        "account": batch.account,
        "agent": batch.agent,
        "run_id": item.run_id,
        "run_url": item.run_url,
        "raw_status": item.raw_status,
        "half_of": half_of,
        "halves": halves,
        "credits": item.credits,
        "credits_by": dict(item.credits_by) or None,
        "past_runs": list(item.past),
        "past_credits": item.past_credits if item.past else None,
        "external_id": item.external_id,
        "attempts": item.attempt,
        "generation": item.generation,
        "bytes": item.size_bytes,
        "planned_at": iso(item.planned_ms),
        "submitted_at": iso(item.submitted_ms) if item.submitted_ms else None,
        "finished_at": iso(item.finished_ms) if item.finished_ms else None,
        "source": batch.source,
        "files": [{"path": one.path, "size_bytes": one.size_bytes, "name": one.upload_name} for one in files],
        "parts": parts,
        "journal": [
            {"at": iso(int(row["at_ms"])), **{name: value for name, value in row.items() if name != "at_ms"}}
            for row in journal
        ],
    }


def _print_facts(item: Submission, batch: BatchView, parts: list[str]) -> None:
    click.echo(f"Submission {item.id} is {item.state.value}")
    outcome = " · ".join(word for word in (item.outcome and item.outcome.value, item.reason) if word)
    times = [("planned", item.planned_ms), ("submitted", item.submitted_ms), ("finished", item.finished_ms)]
    error = item.error or {}
    half_of, halves = _relatives(item)
    status = f" (HTTP {error['http_status']})" if error.get("http_status") else ""
    fields = [
        ("batch", f"{batch.id} {batch.name}".rstrip()),
        ("half of", half_of or ""),
        ("outcome", outcome),
        *(("half", half) for half in halves),
        ("error", f"{error['phase']}, {error['category']}: {error['message']}{status}" if error else ""),
        ("agent", f"{batch.account}:{batch.agent}"),
        ("run", " ".join(word for word in (item.run_id, item.raw_status, item.run_url) if word)),
        ("external id", item.external_id),
        ("attempts", str(item.attempt)),
        ("earlier runs", " ".join(item.past) and f"{' '.join(item.past)}, {amount(item.past_credits)} credits"),
        ("credits", "" if item.credits is None else amount(item.credits)),
        *(("", f"{amount(used)} for {name}") for name, used in item.credits_by.items()),
        *((name, local_time(ms) if ms else "") for name, ms in times),
        *(("part", part) for part in parts),
    ]
    print_fields([(name, text) for name, text in fields if text])


def _print_files(files: tuple[PlannedFile, ...], every: bool) -> None:
    shown = files if every else files[:FILES_SHOWN]
    click.echo(f"\n{len(files):,} files, {size(sum(one.size_bytes for one in files))}")
    rows = []
    for one in shown:
        renamed = "" if one.upload_name == one.path.rpartition("/")[2] else f"sent as {one.upload_name}"
        rows.append((size(one.size_bytes), one.path, renamed))
    print_columns(rows, indent="  ")
    if len(shown) < len(files):
        click.echo(f"  … and {len(files) - len(shown):,} more: --all")


def _print_journal(journal: list[dict[str, str]]) -> None:
    click.echo("\nJournal")
    rows = []
    for row in journal:
        facts = " ".join(f"{name}={value}" for name, value in row.items() if name not in FACTS)
        move = f"{row['from']} → {row['to']}" if row["from"] else row["to"]
        rows.append((local_time(int(row["at_ms"])), row["verb"], move, f"attempt {row['attempt']}", facts))
    print_columns(rows, indent="  ")
