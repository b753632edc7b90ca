"""Measure two fleets, each on a Redis of its own, at the same time: with an account each, and with one account twice.

Two ledgers don't know of each other's permits, so one account belongs to one Redis. What happens otherwise is measured
here too, as is the way to do it nevertheless: half of the limit for each. The judge is the sandbox's log.
"""

from __future__ import annotations

import math
import tempfile
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.product import Product, limits, make_files
from benchmarks.size import Size
from benchmarks.table import Table
from sandbox.arrivals import fingerprint
from sandbox.limits import busiest_window
from tests.support.sandbox import Sandbox

LIMIT, WINDOW_S = 20, 4
SUBMISSIONS = {Size.QUICK: 30, Size.NORMAL: 80, Size.LONG: 200}
MOST = 1.4
"""Times the least possible, as in the part `pace` for this window: a short one makes the margin of a permit large."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the sandbox saw of one key."""

    makespan_s: float
    busiest: int
    refused: int
    accepted: int

    @staticmethod
    def of(sandbox: Sandbox, key: str) -> Seen:
        """Read the sandbox's log."""
        entries = [one for one in sandbox.log(request_class="add", files=False) if one["key"] == fingerprint(key)]
        times = array("d", sorted(one["t"] for one in entries))
        accepted = [one["t"] for one in entries if one["run_id"] is not None]
        refused = sum(one["status"] == 429 for one in entries)
        return Seen(max(accepted) - times[0], busiest_window(times, WINDOW_S), refused, len(accepted))


def measure(size: Size) -> list[Table]:
    """Run 80 submissions (`quick` 30, `long` 200) on each of two fleets, three times."""
    each = SUBMISSIONS[size]
    apart = Table("split, an account for each fleet", _setup(each, "two keys, each with its whole limit"))
    for at, seen in enumerate(_fleets(each, ("first-key-0123456789", "second-key-0123456789"), LIMIT), 1):
        _judge(apart, f"fleet {at}: ", seen, each)
    [seen] = _fleets(each, ("one-key-0123456789",) * 2, LIMIT)
    twice = Table("split, one account on both", _setup(each, "one key, which each fleet believes to have for itself"))
    _tell(twice, seen, each * 2)
    [seen] = _fleets(each, ("one-key-0123456789",) * 2, LIMIT // 2)
    halves = Table(
        "split, half an account for each", _setup(each, "one key, half of the limit in each fleet's settings")
    )
    _judge(halves, "", seen, each * 2)
    return [apart, twice, halves]


def _setup(each: int, what: str) -> str:
    return f'limit "{LIMIT}/{WINDOW_S}s" of a key, two fleets at once with {each} submissions of one file each; {what}'


def _fleets(each: int, keys: Sequence[str], limit: int) -> list[Seen]:
    """Run a fleet for each key at the same time; return what the sandbox saw of each different key."""
    arguments = ("--limit", f"add={LIMIT}/{WINDOW_S}s", "--run-seconds", "1-2")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = stack.enter_context(Sandbox(*arguments))
        products = []
        for at, key in enumerate(keys):
            (folder / str(at)).mkdir()
            product = Product(folder / str(at), sandbox, **limits(add=f"{limit}/{WINDOW_S}s"))
            product.use_key(key)
            products.append(stack.enter_context(product))
        sources = [make_files(folder / str(at) / "source", each) for at in range(len(keys))]
        pool = stack.enter_context(ThreadPoolExecutor(len(keys)))
        running = [pool.submit(one.run, source, timeout_s=600) for one, source in zip(products, sources, strict=True)]
        for one in running:
            one.result()
        return [Seen.of(sandbox, key) for key in dict.fromkeys(keys)]


def _judge(table: Table, who: str, seen: Seen, submissions: int) -> None:
    table.at_most(f"{who}makespan ÷ least possible", seen.makespan_s / _least_s(submissions), MOST, "{:.3f}")
    table.at_most(f"{who}most requests in any {WINDOW_S} s", seen.busiest, LIMIT, "{:d}")
    table.at_most(f"{who}answers 429", seen.refused, 0, "{:d}")
    table.at_most(f"{who}runs accepted more or fewer than submissions", abs(seen.accepted - submissions), 0, "{:d}")


def _tell(table: Table, seen: Seen, submissions: int) -> None:
    """Tell what came of it; only that nothing was lost or paid twice is judged."""
    table.fact("makespan ÷ least possible", f"{seen.makespan_s / _least_s(submissions):.3f}")
    table.fact(f"most requests in any {WINDOW_S} s", f"{seen.busiest}")
    table.fact("answers 429 · of all requests", f"{seen.refused} · {seen.refused / (seen.refused + seen.accepted):.0%}")
    table.at_most("runs accepted more or fewer than submissions", abs(seen.accepted - submissions), 0, "{:d}")


def _least_s(submissions: int) -> float:
    return WINDOW_S * (math.ceil(submissions / LIMIT) - 1)
