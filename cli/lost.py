"""What to say, and to type, when the ledger doesn't have a batch (any more) that somebody means."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cli.exits import Exit, exit_of_summary
from cli.output import print_json
from config.logs import printable
from paceline.batch_file import BATCH_FILE, find_batch_file
from paceline.errors import LedgerLost, UnknownBatch
from paceline.model import SCHEDULE, BatchSpec
from paceline.operating import rebuild_command as rebuild_command
from paceline.removing import Forgotten
from paceline.views import BatchView


@contextmanager
def noticing_loss(batch: BatchView) -> Iterator[None]:
    """Turn the disappearance of a batch that was there into the error that names the remedy."""
    try:
        yield
    except UnknownBatch as error:
        raise LedgerLost(
            f"batch {batch.id} has vanished from Redis, which was emptied or replaced; its output and what was paid for"
            f" are still there: {rebuild_command(batch.manifest)}"
        ) from error


def run_command(spec: BatchSpec) -> str:
    """Write the command that goes on with a batch."""
    if night := spec.options.get(SCHEDULE):
        name, _, due = night.partition("@")
        return shlex.join(["paceline", "schedule", "run", name, "--due", due])
    words = ["paceline", "run", spec.source, "--agent", f"{spec.account}:{spec.agent}"]
    for place in spec.to:
        words += ["--to", place]
    words += ["--files-per-run", str(spec.files_per_run)]
    words += ["--name", spec.name] if spec.name else []
    words += ["--priority", str(spec.priority)] if spec.priority else []
    for name, value in spec.inputs.items():
        words += ["--input", f"{name}={value}"]
    options = spec.options
    words += ["--group-by", by] if (by := options.get("group_by")) else []
    words += [f"--{how}-groups" for how in options.get("groups", "").split()]
    words += {"unchanged": ["--skip-unchanged"], "content": ["--skip-unchanged", "--checksum"]}.get(
        options.get("skip", ""), []
    )
    return shlex.join(words)


def say_forgotten(spec: BatchSpec, gone: Forgotten, *, as_json: bool) -> Exit:
    """Say that a batch was complete and is no longer in the ledger; return the exit code of its summary."""
    click.echo(f"Batch {spec.batch_id()} is complete already; nothing was sent, nothing was paid.", err=True)
    places = printable(", ".join(spec.to))
    click.echo(f"paceline gc has removed it from the ledger; its results are where they were put: {places}", err=True)
    if as_json:
        print_json(gone.summary)
    return exit_of_summary(gone.summary, tolerated=gone.tolerated)


def can_be_rebuilt(folder: str, batch: str) -> bool:
    """Tell whether a folder holds what the ledger of this batch can be rebuilt from."""
    found = find_batch_file(str(Path(folder, BATCH_FILE)))
    return found is not None and found.spec.batch_id() == batch
