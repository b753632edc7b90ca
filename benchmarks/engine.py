"""Measure the engine by itself: no limit that binds, runs that end at once, everything through the real fleet.

What a submission costs is told in three coins: CPU time of each process, commands Redis carried out, bytes Redis keeps.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.monitor import Monitor
from benchmarks.product import Product, Ran, cpu_s, limits, make_files
from benchmarks.rivals import bare_loop
from benchmarks.rivals_celery import celery_workers
from benchmarks.size import Size
from benchmarks.table import Table
from tests.support.sandbox import Sandbox

FREE = "100000/1s"
WORKERS, THREADS = 2, 8
FEW = 10
"""A batch of so many shows what it costs to start and end a fleet, which is taken off."""


def measure(size: Size) -> list[Table]:
    """Run 600 submissions of one file (`quick` 100, `long` 3,000), then 100 more with every Redis command noted."""
    submissions = {Size.QUICK: 100, Size.NORMAL: 600, Size.LONG: 3000}[size]
    off = [word for name in ("add", "list", "get", "other") for word in ("--limit", f"{name}=off")]
    settings = {"workers": WORKERS, **limits(add=FREE, list=FREE, get=FREE)}
    with tempfile.TemporaryDirectory() as name, Sandbox(*off, "--run-seconds", "0") as sandbox:
        source = make_files(Path(name) / "source", submissions)
        noted = make_files(Path(name) / "noted", 100)
        with Product(Path(name), sandbox, **settings) as product:
            start = product.run(make_files(Path(name) / "few", FEW), timeout_s=120)
            before, server_s = redis_facts(product), cpu_s(sandbox.pid) or 0.0
            ran = product.run(source, timeout_s=600)
            after = redis_facts(product)
            ran.cpu_s = {who: max(used - start.cpu_s.get(who, 0.0), 0.0) for who, used in ran.cpu_s.items()}
            ran.cpu_s["sandbox"] = (cpu_s(sandbox.pid) or 0.0) - server_s
            with Monitor(product.redis) as monitor:
                product.run(noted, timeout_s=300)
            noop = _noop(Path(name) / "celery", product, sandbox, 5 * submissions)
        bare = bare_loop(sandbox.url, sandbox.key, sorted(source.iterdir()), THREADS)
    return [_speed(submissions, ran, noop, bare), _redis(submissions, before, after), _commands(100, monitor.counts)]


def _noop(folder: Path, product: Product, sandbox: Sandbox, tasks: int) -> float:
    """Return how many tasks that do nothing a plain Celery of as many processes does a second, on the same server."""
    broker = f"redis+socket://{product.socket_path}?virtual_host=5"
    with celery_workers(
        folder, broker, url=sandbox.url, key=sandbox.key, rate="", workers=WORKERS + 1, threads=THREADS
    ) as workers:
        workers.nothings(100, 60)
        return workers.nothings(tasks, 300)


KNOWN = "known files, for --skip-unchanged"


def redis_facts(product: Product) -> dict[str, Any]:
    """Return how often each command was called, and the bytes that keys of each kind take."""
    redis: Any = product.redis
    calls = {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in redis.info("commandstats").items()}
    kept: Counter[str] = Counter()
    for key in redis.scan_iter(count=1000):
        kept[keep(key.decode("utf-8", "replace"))] += redis.memory_usage(key, samples=0) or 0
    return {"calls": Counter(calls), "bytes": kept}


def keep(key: str) -> str:
    """Say what a key is kept for: its name without ids."""
    if key.startswith("celery-task-meta"):
        return "results backend, until its TTL ends"
    if key.startswith("pl:known"):
        return KNOWN
    return re.sub(r"b[0-9a-z]{9}(-[0-9]+)?", "*", key) if key.startswith("pl:") else "broker"


def _speed(submissions: int, ran: Ran, noop: float, bare: float) -> Table:
    table = Table(
        "engine",
        f"{submissions} submissions of one file, runs that end at once, no limit that binds, {WORKERS} uploaders",
    )
    seconds = ran.summary["seconds"]
    table.fact("submissions a second, first permit → last record", f"{submissions / seconds:.0f}")
    table.fact("seconds of that · of the whole command", f"{seconds:.1f} · {ran.seconds:.1f}")
    cores = sum(ran.cpu_s.values()) / seconds
    table.fact("cores busy (start and end of the processes included)", f"{cores:.2f}")
    for name, used in sorted(ran.cpu_s.items()):
        table.fact(f"CPU per submission, {name}, ms", f"{used / submissions * 1000:.1f}")
    table.fact("submissions a second and busy core", f"{submissions / sum(ran.cpu_s.values()):.0f}")
    table.rival(
        f"Celery's no-op tasks a second, {WORKERS + 1} workers of {THREADS} threads, sending included", f"{noop:.0f}"
    )
    table.rival("bare httpx loop, 8 threads, kept connections, runs a second", f"{bare:.0f}")
    return table


def _redis(submissions: int, before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    calls = Counter(after["calls"]) - before["calls"]
    table = Table("engine, Redis", f"the same {submissions} submissions, from INFO before and after")
    table.fact("commands per submission, those inside scripts included", f"{calls.total() / submissions:.0f}")
    table.fact("scripts per submission", f"{calls['evalsha'] / submissions:.1f}")
    kept = Counter(after["bytes"]) - before["bytes"]
    table.fact("bytes kept per submission after the end (MEMORY USAGE)", f"{kept.total() / submissions:,.0f}")
    for what, size_bytes in kept.most_common(5):
        table.fact(f"… {what}", f"{size_bytes / submissions:,.0f}")
    return table


PURPOSES = (
    (r"script plan$", "planning: registers it, in the manifest's order"),
    (
        r"script (release|chain|wake|circuit|overdue|permit)|broker: \w+ control|ours: \w+ pl:(chains|a:)",
        "chains: feeding, polling, closing, rescue",
    ),
    (r"broker: \w+ submit", "the message that wakes its submit"),
    (r"broker: \w+ export", "the message that wakes its export, with up to 15 others"),
    (r"script begin$", "permit and intent, one script"),
    (r"script accepted$", "the run on record"),
    (r"ours: (HGETALL|GET) pl:[sb]:", "reading it and its batch, pipelined: to submit, to finish, to export"),
    (r"results backend: (SETEX|PUBLISH)", "the result, for AsyncResult(…).get()"),
    (r"results backend: ", "the result, read back for its record"),
    (r"script (take_due|snooze|finish)$", "following: what is due, and how it ended"),
    (r"script know$", "answered files, for --skip-unchanged"),
    (r"script exported$", "the record is durable"),
    (r"ours: HMGET pl:s:", "run ids, for the closing audit"),
    (r"connection and other", "connections, clocks, scripts loaded"),
    (r"", "everything else: signs of life, the command's progress"),
)
"""What commands are for, by the words of `benchmarks.monitor.purpose`; the first that fits."""


def _commands(submissions: int, counts: Counter[str]) -> Table:
    table = Table(
        "engine, Redis by purpose", f"another {submissions} submissions under MONITOR: what goes over the wire"
    )
    table.fact("commands sent per submission", f"{counts.total() / submissions:.1f}")
    by: dict[str, Counter[str]] = {text: Counter() for _, text in PURPOSES}
    for what, number in counts.items():
        by[next(text for pattern, text in PURPOSES if re.match(pattern, what))][what] += number
    for text, some in sorted(by.items(), key=lambda item: -item[1].total()):
        table.fact(text, f"{some.total() / submissions:.2f}")
    return table


GROWS = "100 submissions of one file"


def grow(scale: int) -> Mapping[str, float]:
    """Carry `scale` times 100 submissions through a fleet of their own."""
    off = [word for name in ("add", "list", "get", "other") for word in ("--limit", f"{name}=off")]
    settings = {"workers": WORKERS, **limits(add=FREE, list=FREE, get=FREE)}
    with tempfile.TemporaryDirectory() as name, Sandbox(*off, "--run-seconds", "0") as sandbox:
        source = make_files(Path(name) / "source", 100 * scale)
        with Product(Path(name), sandbox, **settings) as product:
            before = redis_facts(product)
            ran = product.run(source, timeout_s=1200)
            after = redis_facts(product)
    calls, kept = (Counter(after[what]) - Counter(before[what]) for what in ("calls", "bytes"))
    return {
        "seconds, first permit → last record": ran.summary["seconds"],
        "CPU seconds of the fleet": sum(ran.cpu_s.values()),
        "Redis commands": calls.total(),
        "bytes kept in Redis": kept.total(),
        "peak MB of the largest worker": max(mb for who, mb in ran.peak_mb.items() if who.startswith("worker")),
        "peak MB of the command": ran.peak_mb["command"],
    }
