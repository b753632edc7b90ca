"""Measure what following runs costs, and how soon a finished run's record is on disk; beside it a task for each run.

The runs last 1 to 10 minutes on a clock that is `scale` times as quick: the runs, the waiting times that are set and
the limits' windows are divided by it, and every figure is told in seconds of the true clock. What is not waiting (the
work between a question and a record) takes as long on any clock and isn't multiplied.

Runs are started through the product, or adopted: made at the sandbox and recorded in the ledger as their submissions'
at a given pace, so that ten thousand are in flight however quick the engine is on this machine.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.followed import Followed, followed, lives
from benchmarks.product import Product, Ran, limits, make_files
from benchmarks.rivals_following import AGENT, Polled, poll_each
from benchmarks.size import Size
from benchmarks.table import Table, percentile
from paceline.ledger import Ledger
from paceline.limiter import PacePolicy
from paceline.model import RunView
from paceline.scripts import Scripts
from paceline.views import Views
from tests.support.sandbox import Sandbox

SHORTEST_S, LONGEST_S = 60.0, 600.0
FREE = "100000/1s"
WORKERS = 2
LIST_LIMIT = 1200
"""Asking after runs, in a minute: the product's and the sandbox's default, of single runs and lists alike."""

TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Case:
    """So many runs on a clock `scale` times as quick, `starts_per_s` of them begun in a second of the true clock.

    `adopted`: not started through the product. `rival_s`: how long the rival may take, in seconds of the true clock,
    from its first start; None leaves it out.
    """

    runs: int
    scale: float
    starts_per_s: float
    adopted: bool = False
    rival_s: float | None = None
    most_requests: float | None = None
    most_p50_s: float | None = None


THOUSAND = Case(1000, 4, 20, rival_s=660, most_p50_s=3.0)
TEN_THOUSAND = Case(10_000, 3, 100, adopted=True, rival_s=300, most_requests=0.1)
TRUE_CLOCK = (
    Case(1000, 1, 20, rival_s=660, most_p50_s=3.0),
    Case(10_000, 1, 100, rival_s=300, most_requests=0.1),
)
QUICK = Case(60, 10, 20, rival_s=900)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case came to: the command's own figures, and how it followed."""

    ran: Ran
    ours: Followed
    rival: Followed | None
    polled: Polled | None


def measure(size: Size) -> list[Table]:
    """Follow 1,000 runs and 10,000 on a quicker clock (12 minutes); with `long` on the true one too (45 more)."""
    normal = [THOUSAND, TEN_THOUSAND]
    cases = {Size.QUICK: [QUICK], Size.NORMAL: normal, Size.LONG: [*normal, *TRUE_CLOCK]}[size]
    return [_table(case, follow(case)) for case in cases]


GROWS = "100 runs in flight, lasting 1 to 10 minutes on a clock five times as quick"


def grow(scale: int) -> Mapping[str, float]:
    """Follow `scale` hundred runs, adopted; returns costs by name."""
    measured = follow(Case(100 * scale, 5, 100, adopted=True))
    ran, ours = measured.ran, measured.ours
    costs = {
        "status requests": float(ours.requests),
        "end → record p50 s": percentile(ours.whole_s, 0.5),
        "CPU seconds of the fleet": sum(ran.cpu_s.values()),
    }
    return costs | {f"peak MB of {name}": peak for name, peak in sorted(ran.peak_mb.items())}


def follow(case: Case) -> Measured:
    """Run a case, then its rival in the same sandbox."""
    scale = case.scale
    lists = f"{LIST_LIMIT}/{60 / scale:g}s"
    seconds = f"{SHORTEST_S / scale:g}-{LONGEST_S / scale:g}"
    arguments = ["--limit", "add=off", "--limit", f"list={lists}", "--limit", f"get={lists}", "--run-seconds", seconds]
    settings = {
        "workers": WORKERS,
        "poll_first_seconds": 1.5 / scale,
        "poll_again_seconds": 5 / scale,
        **limits(add=_add(case), list=lists, get=lists),
    }
    with tempfile.TemporaryDirectory() as name, Sandbox(*arguments) as sandbox:
        folder = Path(name)
        source = make_files(folder / "source", case.runs)
        with Product(folder, sandbox, **settings) as product:
            ran = _adopted(product, sandbox, source, case) if case.adopted else product.run(source, timeout_s=TIMEOUT_S)
            ours = followed(sandbox, product.key, lives(sandbox, 1), _written(ran.out), scale)
        if case.rival_s is None:
            return Measured(ran, ours, None, None)
        key = f"rival-{secrets.token_hex(16)}"
        polled = poll_each(
            folder / "rival",
            sandbox,
            key,
            runs=case.runs,
            starts_per_s=case.starts_per_s * scale,
            scale=scale,
            most_s=case.rival_s / scale,
        )
        rival = followed(sandbox, key, lives(sandbox, AGENT), polled.written, scale)
    return Measured(ran, ours, rival, polled)


def _add(case: Case) -> str:
    return FREE if case.adopted else f"{round(case.starts_per_s * case.scale)}/1s"


def _written(out: Path) -> dict[int, float]:
    written = {}
    for part in (out / "parts").glob("*.json"):
        with part.open("rb") as file:
            file.readline()
            written[int(json.loads(file.readline())["run_id"])] = part.stat().st_mtime
    return written


def _adopted(product: Product, sandbox: Sandbox, source: Path, case: Case) -> Ran:
    """Run a folder whose submissions get their runs from here instead of being sent, which is refused."""
    ledger = Ledger(product.redis, Scripts(product.redis), PacePolicy(durable=True, watch_clock=False))
    views = Views(product.redis)
    sandbox.faults("status@add:code=429")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(product.run, source, timeout_s=TIMEOUT_S)
        while not running.done() and not any(batch.listed for batch in views.batches()):
            time.sleep(0.1)
        if not running.done():
            _adopt(ledger, views, sandbox, case)
        return running.result()


def _adopt(ledger: Ledger, views: Views, sandbox: Sandbox, case: Case) -> None:
    (batch,) = views.batches()
    begun = time.monotonic()
    for number, item in enumerate(views.submissions(batch.id)):
        (run_id,) = sandbox.create_runs(external_id=item.external_id)
        ledger.accepted(item.id, RunView(str(run_id), None, "", None), attempt=None, first_poll_s=1.5 / case.scale)
        early_s = begun + number / (case.starts_per_s * case.scale) - time.monotonic()
        if early_s > 0.01:
            threading.Event().wait(early_s)


def _table(case: Case, measured: Measured) -> Table:
    ran, ours = measured.ran, measured.ours
    clock = "on the true clock" if case.scale == 1 else f"on a clock {case.scale:g} times as quick (see the module)"
    how = "adopted" if case.adopted else "started through the product"
    table = Table(
        f"following {case.runs:,}",
        f"{case.runs:,} runs of {SHORTEST_S:g} to {LONGEST_S:g} s, {case.starts_per_s:g} begun a second ({how}),"
        f" {clock}; asking is limited to {LIST_LIMIT}/60s; seconds of the true clock",
    )
    table.fact("most runs in flight at once", f"{ours.peak_in_flight:,}")
    requests = "status requests per run, the closing audit included"
    if case.most_requests is None:
        table.fact(requests, f"{ours.requests / case.runs:.3f}")
    else:
        table.at_most(requests, ours.requests / case.runs, case.most_requests, "{:.3f}")
    table.fact("… questions after runs · lists of the audit", f"{ours.requests - ours.audits} · {ours.audits}")
    table.at_most("most status requests in any 60 s", ours.busiest_minute, LIST_LIMIT, "{:,d}")
    table.at_most("answers 429", ours.refused, 0, "{:d}")
    whole = "run's end → record on disk"
    if case.most_p50_s is None:
        table.fact(f"{whole}, p50 s", f"{percentile(ours.whole_s, 0.5):.2f}")
    else:
        table.at_most(f"{whole}, p50 s", percentile(ours.whole_s, 0.5), case.most_p50_s)
    table.fact(f"{whole}, p95 · most s", f"{percentile(ours.whole_s, 0.95):.2f} · {max(ours.whole_s):.2f}")
    table.fact("… run's end → question that finds it, p50 · p95 s", _two(ours.found_s))
    table.fact("… question → record, p50 · p95 s", _two(ours.written_s))
    table.at_most("runs without a record", case.runs - len(ours.found_s), 0, "{:d}")
    for name in sorted(ran.cpu_s):
        table.fact(f"{name}: CPU s · peak MB", f"{ran.cpu_s[name]:.1f} · {ran.peak_mb[name]:.0f}")
    if measured.rival and measured.polled:
        _rival(table, case, measured.rival, measured.polled)
    return table


def _rival(table: Table, case: Case, rival: Followed, polled: Polled) -> None:
    found = len(rival.found_s)
    table.rival(
        "a Celery task per run, asking and coming again: status requests per run", f"{rival.requests / case.runs:.1f}"
    )
    table.rival("… answers 429 · most status requests in any 60 s", f"{rival.refused:,} · {rival.busiest_minute:,}")
    if found < case.runs:
        stopped = f"… stopped {case.rival_s:g} s after the first start: runs that had ended by now · with a record"
        table.rival(stopped, f"{rival.ended:,} · {found:,}")
    most = max(rival.whole_s, default=float("nan"))
    table.rival(
        "… run's end → record on disk (of those with one), p50 · p95 · most s", f"{_two(rival.whole_s)} · {most:.1f}"
    )
    for name in sorted(polled.cpu_s):
        table.rival(f"… {name}: CPU s · peak MB", f"{polled.cpu_s[name]:.1f} · {polled.peak_mb[name]:.0f}")


def _two(values: list[float]) -> str:
    return f"{percentile(values, 0.5):.2f} · {percentile(values, 0.95):.2f}"
