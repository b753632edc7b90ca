"""Print what a batch came to, for people."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from cli.known import left_out_text
from cli.output import amount, counted, print_fields
from cli.progress import duration
from config.logs import printable
from paceline.sinks.places import PlaceKind, folders, kind_of
from paceline.tables import FILES, table_for
from paceline.views import BatchView

DUPLICATES_SHOWN = 20

_FILE_TABLES = (PlaceKind.CSV, PlaceKind.PARQUET)


def print_summary(summary: dict[str, Any], batch: BatchView) -> None:
    """Print what a batch came to, for people."""
    files, states, requests = summary["files"], summary["submissions"], summary["requests"]
    lines = [
        ("files", _counts(files, ("succeeded", "failed", "cancelled", "skipped"))),
        ("runs", f"{summary['runs_accepted']:,} for {counted(states['total'], 'submission')}"),
        ("requests", _requests(requests)),
        ("refused 429", f"{requests['rejected_429']:,}"),
        ("credits", credits_of(summary["credits"], summary["runs_accepted"] - states["running"])),
        ("time", duration(summary["seconds"])),
    ]
    for run, submission in islice(batch.duplicates.items(), DUPLICATES_SHOWN):
        cost = batch.duplicate_credits.get(run)
        paid = "at a cost not reported" if cost is None else f"for {amount(cost)} credits"
        lines.append(("DUPLICATE", f"run {run} {paid}, beside the one of {submission}"))
    if batch.unaudited:
        lines.append(("audit", f"given up for {counted(batch.unaudited, 'submission')}: paceline verify {batch.id}"))
    if batch.reasons:
        lines.append(("reasons", " · ".join(f"{number:,} {reason}" for reason, number in batch.reasons.items())))
    lines += [("results", place) for place in batch.to]
    if files["skipped"]:
        tables = [place for place in batch.to if kind_of(place) in _FILE_TABLES and table_for(place) is FILES]
        where = "files.jsonl" if folders(batch.to) else next(iter(tables), batch.manifest)
        known = left_out_text(batch.left_out) if batch.left_out else counted(files["skipped"], "file")
        reason = "with its reason" if files["skipped"] == 1 else "each with its reason"
        lines.append(("left out", f"{known}, {reason} in {where}"))
    click.echo(f"Batch {printable(batch.name) or batch.id} is {summary['state']}")
    print_fields(lines)


def _requests(requests: dict[str, int]) -> str:
    sent = {name: requests[name] for name in ("add", "wait", "delete") if requests[name] or name == "add"}
    status = requests["list"] + requests["get"]
    return " · ".join(f"{number:,} {name}" for name, number in {**sent, "status": status}.items())


def credits_of(credits: float | None, runs: int) -> str:
    """Write what runs have used, in all and each on average."""
    if credits is None:
        return "not reported"
    return f"{amount(credits)}" + (f" · {amount(credits / runs)} a run" if runs > 1 else "")


def _counts(files: dict[str, int], names: tuple[str, ...]) -> str:
    shown = [f"{files[name]:,} {name}" for name in names if files[name] or name == "succeeded"]
    return " · ".join(shown) + f" of {files['total']:,}"
