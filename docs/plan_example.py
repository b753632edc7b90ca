"""The plan that `docs/planning.md` shows: what the command prints over a made-up pile and a made-up ledger."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from cli.past import Past, Standing
from cli.plan_report import Report, Wish, as_json, make_report, print_report
from cli.target import Target
from config.settings import load_settings
from paceline.model import BatchSpec, EndpointClass, PlannedFile, PlannedSubmission, SkippedFile, SkipReason
from producers.contents import Contents
from producers.estimating import Experience, RunSeen
from producers.filters import Rules
from producers.rehearsal import Rehearsal
from producers.sources import Source, SourceKind, Tree

HOME = "/home/you/paceline"
NOW = datetime(2026, 12, 1, 21, 30, tzinfo=UTC)
VARIABLES = {
    "KOLENA_API_KEY": "k",
    "PACELINE_HOME": f"{HOME}/.paceline",
    "PACELINE_ACCOUNTS__KOLENA__LIMITS__ADD": "40/60s",
}

OPTIONS = "contracts --agent kolena:42 --to results --files-per-run 25 --deadline 06:00"
"""What is typed behind `paceline plan`."""


def screen() -> str:
    """Return what the command shows, stdout and stderr as they come on a terminal."""
    with _in_utc(), redirect_stdout(StringIO()) as shown, redirect_stderr(shown):
        print_report(_report())
    return f"```console\n$ paceline plan {OPTIONS}\n{shown.getvalue().rstrip()}\n```"


def json_output() -> str:
    """Return what it prints with `--json`."""
    with _in_utc():
        return f"```json\n{json.dumps(as_json(_report()), indent=2)}\n```"


def _report() -> Report:
    settings = load_settings(VARIABLES, Path(__file__).parent)
    account = settings.account("kolena")
    place = f"{HOME}/contracts"
    spec = BatchSpec(place, account.name, account.provider, "42", (f"{HOME}/results",), 25, "", address=account.url)
    batch = spec.batch_id()
    kept = f"{HOME}/.paceline/plans/{batch}"
    source = Source(place, SourceKind.FOLDER, Tree(place), Rules().options())
    target = Target(settings, account, source, spec, account.size_limits, f"{kept}.jsonl", ())
    seen = tuple(RunSeen(25, 41.0 + n % 17 * 5, 98.0 + n % 5) for n in range(412))
    past = Past(
        (),
        Experience(3, seen, 3_100_000.0),
        {EndpointClass.ADD: Standing(learned=36)},
        ledger=True,
    )
    wish = Wish(NOW, datetime(2026, 12, 2, 6, 0, tzinfo=UTC))
    return make_report(target, _tally(target), past, wish, agent_known=True, plan=f"{kept}.plan")


def _tally(target: Target) -> Rehearsal:
    """Count 30,000 files: two empty, one too large."""
    tally = Rehearsal(contents=Contents(target.way))
    for name in ("2019/draft.pdf", "2024/scan-0113.pdf"):
        tally.add(SkippedFile(name, SkipReason.EMPTY, 0))
    tally.add(SkippedFile("2021/all-in-one.pdf", SkipReason.TOO_LARGE, 412_000_000))
    for index in range(1, 1201):
        number = 25 if index < 1200 else 22
        tally.add(
            PlannedSubmission(
                index, tuple(PlannedFile(f"{index}/{n}", 180_000 + n * 1000, 0, f"{n}") for n in range(number))
            )
        )
    return tally


@contextmanager
def _in_utc() -> Iterator[None]:
    """Show times as a machine in UTC does."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        os.environ |= {} if before is None else {"TZ": before}
        time.tzset()
