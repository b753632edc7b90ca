"""`paceline report`: a batch on one page."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import click

from cli.lost import noticing_loss, rebuild_command
from cli.output import print_json
from cli.reading import no_such_thing, reading
from cli.session import pick_batch
from cli.standing import look
from config.logs import printable
from config.pacing import class_of
from config.services import Services
from config.settings import load_settings
from paceline.durable import replace_atomically
from paceline.errors import LedgerLost, UnknownBatch, UsageError
from paceline.model import EndpointClass
from paceline.report.from_folder import batch_of, is_output, read_output
from paceline.report.from_ledger import gather
from paceline.report.numbers import Report
from paceline.report.page import page
from paceline.sinks.places import folders
from paceline.views import BatchView

NAME = "report.html"
"""What the page is called where nobody says otherwise."""


@click.command("report")
@click.argument("batch")
@click.option(
    "--to", metavar="FILE", help=f"Write the page there; - is stdout. Default: {NAME} in the batch's output folder."
)
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers behind it as JSON; a page only with --to.")
def command(batch: str, to: str | None, show: bool, as_json: bool) -> None:
    """Write one HTML page about BATCH: totals, pace, durations, failures, how it was run.

    BATCH is an id, the beginning of one, a name, or an output folder, which is enough where the ledger no longer has
    the batch. Of a batch under way, the page says how it stands. The page needs nothing but itself, and can be sent to
    anybody who may see the names of the files in it.
    """
    if to == "-" and (as_json or show):
        raise UsageError("--to - writes the page to stdout; leave out --json and --open")
    report, folder = _report(batch)
    if as_json:
        print_json(report.as_dict())
        if to is None and not show:
            return
    raw = page(report).encode("utf-8")
    if to == "-":
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return
    place = Path(to or folder / NAME).absolute()
    if not place.parent.is_dir():
        raise UsageError(f"--to {to!r}: there is no folder {printable(str(place.parent))}")
    if place.is_dir():
        raise UsageError(f"--to {to!r} is a folder; name a file in it, e.g. {printable(str(place / NAME))}")
    replace_atomically(str(place), [raw])
    click.echo(printable(str(place)), err=as_json)
    if show:
        click.launch(place.as_uri())


def _report(text: str) -> tuple[Report, Path]:
    """Return the report of what is meant, and the folder that its page belongs into."""
    settings = load_settings()
    with reading(settings) as services:
        if services is not None:
            try:
                batch = pick_batch(services.views, text)
            except UnknownBatch:
                if not is_output(text):
                    raise
                known = services.views.find_batch(batch_of(text) or "")
                if known is not None:
                    with noticing_loss(known):
                        return _of_batch(services, known), Path(text)
            else:
                with noticing_loss(batch):
                    return _of_batch(services, batch), _folder(batch)
    if not is_output(text):
        raise no_such_thing(settings, text)
    return read_output(text, now_ms=_now_ms(), version=version("paceline")), Path(text)


def _of_batch(services: Services, batch: BatchView) -> Report:
    if batch.rebuilding:
        raise LedgerLost(f"batch {batch.id} isn't rebuilt yet; go on with: {rebuild_command(batch.manifest)}")
    account = services.settings.accounts.get(batch.account)
    endpoint = class_of(batch, account) if account else EndpointClass.ADD
    rate = account.rates[endpoint] if account else None
    return gather(
        services.redis,
        services.views,
        batch,
        version=version("paceline"),
        rate=rate,
        endpoint=endpoint,
        waits=look(services, batch).why,
    )


def _folder(batch: BatchView) -> Path:
    """Return the batch's first output folder that is there, else where we are."""
    there = [place for place in folders(batch.to) if os.access(place, os.W_OK)]
    return Path(there[0]) if there else Path()


def _now_ms() -> int:
    import time

    return round(time.time() * 1000)
