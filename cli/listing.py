"""`paceline list`: every batch in a line."""

from __future__ import annotations

from typing import Any

import click

from cli.output import local_time, print_columns, print_json
from cli.pauses import who_and_when
from cli.reading import nothing_here, reading
from config.logs import printable
from config.settings import load_settings
from paceline.pauses import Pause, find_pause
from paceline.summary import summarize
from paceline.times import iso
from paceline.views import BatchView


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a list of batches as JSON.")
def command(as_json: bool) -> None:
    """List all batches, the newest last."""
    settings = load_settings()
    with reading(settings) as services:
        batches = [] if services is None else services.views.batches()
        pauses = [] if services is None else [find_pause(services.redis, batch) for batch in batches]
        now_ms = 0 if services is None else services.views.now_ms()
        rows = [_row(batch, now_ms) for batch in batches]
    if as_json:
        print_json([row | {"paused": pause and pause.as_dict()} for row, pause in zip(rows, pauses, strict=True)])
    elif not rows:
        click.echo(printable(nothing_here(settings)), err=True)
    else:
        head = ("BATCH", "NAME", "STATE", "FILES", "AGENT", "CREATED", "SOURCE", "TO", "PAUSED")
        print_columns([head, *map(_cells, rows, batches, pauses)])


def _row(batch: BatchView, now_ms: int) -> dict[str, Any]:
    files = summarize(batch, now_ms)["files"]
    return {
        "batch": batch.id,
        "name": batch.name,
        "state": batch.state.value,
        "files": {"total": files["total"], "done": files["total"] - files["pending"]},
        "agent": f"{batch.account}:{batch.agent}",
        "created_at": iso(batch.created_ms),
        "source": batch.source,
        "to": list(batch.to),
    }


def _cells(row: dict[str, Any], batch: BatchView, pause: Pause | None) -> tuple[str, ...]:
    more = "" if batch.listed else "+"
    files = f"{row['files']['done']}/{row['files']['total']}{more}"
    created, to = local_time(batch.created_ms), " ".join(batch.to)
    paused = "" if pause is None else f"{who_and_when(pause)}: {pause.message or pause.reason}"
    return (batch.id, batch.name, row["state"], files, row["agent"], created, batch.source, to, paused)
