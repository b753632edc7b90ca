"""Measure the pace: how close to the least possible time, and never a request too many at the provider.

The judge is the sandbox's own log of arrivals, not what the product believes it did.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path

from benchmarks.product import Product, limits, make_files
from benchmarks.rivals import semaphore_script
from benchmarks.size import Size
from benchmarks.table import Table
from sandbox.arrivals import fingerprint
from sandbox.limits import busiest_window
from tests.support.sandbox import Sandbox

WORKERS, THREADS = 2, 8


@dataclass(frozen=True, slots=True)
class Case:
    """A limit, the number of one-file submissions sent under it, and how much longer than the least they may take."""

    limit: int
    window_s: int
    submissions: int
    most: float

    @property
    def rate(self) -> str:
        """The limit as settings and sandbox write it."""
        return f"{self.limit}/{self.window_s}s"

    @property
    def least_s(self) -> float:
        """From first to last arrival of the best schedule: a burst of the whole limit at the start of each window."""
        return self.window_s * (math.ceil(self.submissions / self.limit) - 1)


SHORT = Case(20, 4, 160, 1.4)
MINUTE = Case(40, 60, 100, 1.04)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the sandbox saw of one key: seconds to the last accepted arrival, most in a window, 429s, accepted."""

    makespan_s: float
    busiest: int
    refused: int
    accepted: int


def measure(size: Size) -> list[Table]:
    """Measure the short window, and with `long` the real one."""
    if size is Size.QUICK:
        return [_case(Case(20, 4, 60, 1.4), "pace")]
    tables = [_case(SHORT, "pace")]
    return [*tables, _case(MINUTE, "pace, whole minutes")] if size is Size.LONG else tables


def _case(case: Case, part: str) -> Table:
    arguments = ("--limit", f"add={case.rate}", "--run-seconds", "2-4")
    settings = {"workers": WORKERS, "upload_threads": THREADS, **limits(add=case.rate)}
    with tempfile.TemporaryDirectory() as name, Sandbox(*arguments) as sandbox:
        source = make_files(Path(name) / "source", case.submissions)
        with Product(Path(name), sandbox, **settings) as product:
            product.run(source, timeout_s=case.least_s * 3 + 120)
            ours = _seen(sandbox, product.key, case)
        asyncio.run(semaphore_script(sandbox.url, sandbox.key, sorted(source.iterdir()), WORKERS * THREADS))
        script = _seen(sandbox, sandbox.key, case)
    return _table(case, part, ours, script)


def _table(case: Case, part: str, ours: Seen, script: Seen) -> Table:
    table = Table(
        part,
        f'limit "{case.rate}", {case.submissions} submissions of one file, {WORKERS} upload processes of {THREADS}'
        f" threads; the least possible is {case.least_s:g} s from the first arrival to the last",
    )
    table.at_most("makespan ÷ least possible", ours.makespan_s / case.least_s, case.most, "{:.3f}")
    table.at_most(f"most requests in any {case.window_s} s", ours.busiest, case.limit, "{:d}")
    table.at_most("answers 429", ours.refused, 0, "{:d}")
    table.at_most("runs accepted more or fewer than submissions", abs(ours.accepted - case.submissions), 0, "{:d}")
    who = f"asyncio script, semaphore of {WORKERS * THREADS}, retry after a 429's Retry-After"
    table.rival(f"{who}: makespan ÷ least possible", f"{script.makespan_s / case.least_s:.3f}")
    table.rival(f"… most requests in any {case.window_s} s", f"{script.busiest}")
    table.rival("… answers 429", f"{script.refused}")
    return table


def _seen(sandbox: Sandbox, key: str, case: Case) -> Seen:
    entries = [entry for entry in sandbox.log(request_class="add", files=False) if entry["key"] == fingerprint(key)]
    times = array("d", sorted(entry["t"] for entry in entries))
    accepted = [entry["t"] for entry in entries if entry["run_id"] is not None]
    return Seen(
        makespan_s=max(accepted) - times[0],
        busiest=busiest_window(times, case.window_s),
        refused=sum(entry["status"] == 429 for entry in entries),
        accepted=len(accepted),
    )
