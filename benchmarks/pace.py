"""Measure the pace: how close to the least possible time, and never a request too many at the provider.

The judge is the sandbox's own log of arrivals, not what anybody believes to have done. The contestants send the same
files side by side, each with a key of its own, which is what the sandbox's limits are counted by.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contest import Case, Seen, seen
from benchmarks.product import Product, limits, make_files
from benchmarks.rivals import semaphore_script, vendor_pool
from benchmarks.rivals_celery import celery_workers
from benchmarks.size import Size
from benchmarks.standing import Standing
from benchmarks.table import Table
from tests.support.sandbox import Sandbox

WORKERS, THREADS = 4, 8
AT_ONCE = WORKERS * THREADS
RUN_SECONDS = "2-4"
ACCOUNTS = 8
MOST = 1.03

SCALED = (Case(10, 4, 40), Case(20, 4, 80), Case(40, 4, 160))
"""The last is also 600 a minute, 15 times shorter."""
MINUTE = Case(40, 60, 100)
KILLED_MINUTE = Case(40, 60, 60)
SLOW_MINUTES = (Case(10, 60, 25), Case(20, 60, 50))
FAST_MINUTE = Case(600, 60, 1500)


def measure(size: Size) -> list[Table]:
    """Measure windows of 4 s and of a minute, 8 accounts, and killed workers."""
    if size is Size.QUICK:
        return [_contest(Case(20, 4, 60), "pace"), _accounts(Case(10, 4, 20)), _killed(Case(10, 4, 40), every_s=3.0)]
    minutes = (MINUTE, *SLOW_MINUTES)
    tables = [_contest(case, f"pace, {case.rate}") for case in SCALED]
    tables += [_contest(case, f"pace, {case.rate}", apart_s=5.0) for case in minutes]
    tables += [_accounts(MINUTE), _killed(KILLED_MINUTE, every_s=4.0)]
    return [*tables, _killed(MINUTE, every_s=4.0)] if size is Size.LONG else tables


def measure_fast(size: Size) -> list[Table]:
    """Measure 600 a minute (`quick`: 60 in 6 s), where sending what a window allows takes a part of the window."""
    case = Case(60, 6, 150) if size is Size.QUICK else FAST_MINUTE
    return [_contest(case, f"pace, {case.rate}", apart_s=0.0 if size is Size.QUICK else 12.0)]


@dataclass(frozen=True, slots=True)
class _Contestant:
    """Somebody with a key who sends all files and returns when all have been sent or given up."""

    who: str
    key: str
    send: Callable[[], object]


def _contest(case: Case, part: str, *, apart_s: float = 0.0) -> Table:
    """Let everybody send the same files; each begins `apart_s` after the one before, so that bursts don't meet."""
    patience_s = case.least_s * 3 + 120
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = stack.enter_context(Sandbox("--limit", f"add={case.rate}", "--run-seconds", RUN_SECONDS))
        source = make_files(folder / "source", case.submissions)
        files = sorted(source.iterdir())
        settings = {"workers": WORKERS, "upload_threads": THREADS, **limits(add=case.rate)}
        product = stack.enter_context(Product(folder, sandbox, **settings))
        ours = _Contestant("paceline", product.key, lambda: product.run(source, timeout_s=patience_s))
        rivals = [
            *_scripts(sandbox.url, files),
            *_celeries(stack, folder, product, sandbox.url, case, files, patience_s),
        ]
        with ThreadPoolExecutor(1 + len(rivals)) as pool:
            begun = [pool.submit(_begin, one, number * apart_s) for number, one in enumerate([ours, *rivals])]
            for future in begun:
                future.result()
        results = {one.who: seen(sandbox, one.key, case) for one in rivals}
        return _table(case, part, seen(sandbox, ours.key, case), results)


def _begin(contestant: _Contestant, wait_s: float) -> None:
    time.sleep(wait_s)
    contestant.send()


def _scripts(url: str, files: Sequence[Path]) -> list[_Contestant]:
    return [
        _Contestant(
            f"asyncio script, semaphore of {AT_ONCE}, retry after a 429's Retry-After",
            "asyncio-rival",
            lambda: asyncio.run(semaphore_script(url, "asyncio-rival", files, AT_ONCE)),
        ),
        _Contestant(
            f"vendor's client, its own retries, {AT_ONCE} threads",
            "vendor-rival",
            lambda: vendor_pool(url, "vendor-rival", files, AT_ONCE),
        ),
    ]


def _celeries(
    stack: ExitStack, folder: Path, product: Product, url: str, case: Case, files: Sequence[Path], patience_s: float
) -> list[_Contestant]:
    """Start Celery's workers twice: each with the whole limit, and each with its share of it."""
    contestants = []
    per_minute = case.limit * 60 / case.window_s
    for number, (what, rate) in enumerate([("whole limit", per_minute), ("a quarter of it", per_minute / WORKERS)], 1):
        broker, key = f"redis+socket://{product.socket_path}?virtual_host={number}", f"celery-rival-{number}"
        workers = stack.enter_context(
            celery_workers(folder / key, broker, url=url, key=key, rate=f"{rate:g}/m", workers=WORKERS, threads=THREADS)
        )
        who = f'Celery, {WORKERS} workers, each rate_limit="{rate:g}/m" ({what}), retry after a 429'
        contestants.append(_Contestant(who, key, lambda workers=workers: workers.run(files, patience_s)))  # type: ignore[misc]
    return contestants


def _table(case: Case, part: str, ours: Seen, rivals: Mapping[str, Seen]) -> Table:
    table = Table(
        part,
        f'limit "{case.rate}", {case.submissions} submissions of one file, {WORKERS} upload processes of {THREADS}'
        f" threads, everybody side by side; the least possible is {case.least_s:g} s from first to last arrival",
    )
    _judge(table, case, ours)
    for number, (who, one) in enumerate(rivals.items()):
        what = (
            f": makespan ÷ least · answers 429 · most in any {case.window_s} s · without a run" if number == 0 else ""
        )
        missing = case.submissions - one.accepted
        table.rival(f"{who}{what}", f"{one.makespan_s / case.least_s:.3f} · {one.refused} · {one.busiest} · {missing}")
    return table


def _judge(table: Table, case: Case, ours: Seen) -> None:
    """Add the lines that are judged; in short windows what a request takes counts fifteen times, so they aren't."""
    ratio = ours.makespan_s / case.least_s
    if case.window_s >= 60:
        table.at_most("makespan ÷ least possible", ratio, MOST, "{:.3f}")
        table.fact("… with nothing but the limiter's margin", f"{case.floor:.3f}")
    else:
        table.fact("makespan ÷ least possible", f"{ratio:.3f}")
        table.fact("… with nothing but the limiter's margin", f"{case.floor:.3f}")
    table.fact("seconds from the first to the last request of the last window", f"{ours.burst_s:.2f}")
    table.at_most(f"most requests in any {case.window_s} s", ours.busiest, case.limit, "{:d}")
    table.at_most("answers 429", ours.refused, 0, "{:d}")
    table.at_most("runs accepted more or fewer than submissions", _wrong(case, ours), 0, "{:d}")


def _wrong(case: Case, ours: Seen) -> int:
    return ours.twice + abs(ours.accepted - case.submissions)


def _accounts(case: Case) -> Table:
    """Let one fleet send a batch on each of 8 accounts at once."""
    names = [f"a{number}" for number in range(1, ACCOUNTS + 1)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox("--limit", f"add={case.rate}", "--run-seconds", RUN_SECONDS) as sandbox,
        Standing(Path(folder), sandbox, names, case.rate, workers=WORKERS, threads=THREADS) as standing,
    ):
        source = make_files(Path(folder) / "source", case.submissions)
        standing.run(source, timeout_s=case.least_s * 3 + 120)
        every = [seen(sandbox, standing.keys[name], case) for name in names]
    table = Table(
        f"pace, {ACCOUNTS} accounts, {case.rate}",
        f"{ACCOUNTS} accounts at once on one fleet of {WORKERS} upload processes, each {case.submissions} submissions"
        f' of one file under "{case.rate}"; the least possible is {case.least_s:g} s for each',
    )
    ratios = sorted(one.makespan_s / case.least_s for one in every)
    _judge(table, case, _worst(every))
    table.fact("makespan ÷ least of the accounts, fastest … slowest", " ".join(f"{ratio:.3f}" for ratio in ratios))
    return table


def _worst(every: Sequence[Seen]) -> Seen:
    """Put the worst of all accounts together as one."""
    return Seen(
        makespan_s=max(one.makespan_s for one in every),
        burst_s=max(one.burst_s for one in every),
        busiest=max(one.busiest for one in every),
        requests=sum(one.requests for one in every),
        refused=sum(one.refused for one in every),
        accepted=min(one.accepted for one in every),
        twice=sum(one.twice for one in every),
    )


def _killed(case: Case, *, every_s: float) -> Table:
    """Kill an upload worker every few seconds while one account's batch goes on."""
    scaled = case.window_s < 60
    # In windows of a fifteenth, what would prove a request's absence after two minutes may do so after eight seconds.
    settings = {"PACELINE_SETTLE_SECONDS": "8"} if scaled else {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox("--limit", f"add={case.rate}", "--run-seconds", RUN_SECONDS) as sandbox,
        Standing(Path(folder), sandbox, ["a1"], case.rate, workers=WORKERS, threads=THREADS, **settings) as standing,
    ):
        source = make_files(Path(folder) / "source", case.submissions)
        with standing.killing(every_s) as kills:
            standing.run(source, timeout_s=case.least_s * 3 + 400)
        unclear = standing.interrupted()
        ours = seen(sandbox, standing.keys["a1"], case, but=unclear)
        whole = seen(sandbox, standing.keys["a1"], case)
    table = Table(
        f"pace, workers killed, {case.rate}",
        f'limit "{case.rate}", {case.submissions} submissions of one file; of {WORKERS} upload processes one is killed'
        f" every {every_s:g} s (SIGKILL) and started again; the makespan is that of submissions that no kill broke off",
    )
    table.fact("processes killed", f"{len(kills)}")
    _judge(table, case, ours)
    table.fact("submissions broken off: whether they were sent took a while to prove", f"{len(unclear)}")
    table.fact("makespan ÷ least possible with those", f"{whole.makespan_s / case.least_s:.3f}")
    table.fact("requests for all submissions", f"{ours.requests}")
    return table


GROWS = "48 submissions of one file, 24 allowed in any second"


def grow(scale: int) -> Mapping[str, float]:
    """Send `scale` times 48 submissions under "24/1s"; a limit's time is used up a window after the last arrival."""
    case = Case(24, 1, 48 * scale)
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox("--limit", f"add={case.rate}", "--run-seconds", "1") as sandbox,
    ):
        source = make_files(Path(folder) / "source", case.submissions)
        settings = {"workers": WORKERS, "upload_threads": THREADS, **limits(add=case.rate)}
        with Product(Path(folder), sandbox, **settings) as product:
            ran = product.run(source, timeout_s=case.least_s * 3 + 120)
            ours = seen(sandbox, product.key, case)
    return {
        "seconds until the window of the last arrival is over": ours.makespan_s + case.window_s,
        "CPU seconds of all processes": math.fsum(ran.cpu_s.values()),
        "peak MB of an upload worker": ran.peak_mb["worker-1"],
    }
