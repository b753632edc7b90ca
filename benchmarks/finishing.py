"""Measure batches of very many submissions: planned, fed, exported and finalized, and looked at with `paceline status`.

Everything goes through the shipped command and its real fleet, against a sandbox without limits whose runs end at once.
The times of the phases are those of the batch's own journal; memory is the kernel's high-water mark of each process,
noted when a tenth of the submissions had begun and at the end.
"""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import planning, verb_again
from benchmarks.engine import FREE, WORKERS, redis_facts
from benchmarks.product import Product, Ran, cpu_s, limits, peak_mb
from benchmarks.size import Size
from benchmarks.table import Table, percentile
from paceline import redis_keys as keys
from paceline.views import Views
from tests.support.sandbox import Sandbox

SUBMISSIONS = {Size.QUICK: 300, Size.NORMAL: 10_000, Size.LONG: 100_000}
FILES_PER_RUN = 3
TIMEOUT_S = 7200

FINAL_S_PER_100_000 = 60
LEAST_S = 3  # of which two may go by before anybody looks
STATUS_S = 0.2
FLAT_MB = 12
"""What a process may have grown by between a tenth of the work and its end; its threads' heaps fill up meanwhile."""

GROWS = f"100 submissions of {FILES_PER_RUN} files from the plan to _SUCCESS, and 10,000 files planned"

_VERBS = {
    "plan": "planned into the ledger",
    "begin": "fed and begun",
    "finish": "runs found finished",
    "exported": "exported",
}


def measure(size: Size) -> list[Table]:
    """Run 10,000 submissions of three files (`quick` 300, `long` 100,000)."""
    took = carry(SUBMISSIONS[size], looks=3 if size is Size.QUICK else 9)
    return [_phases(took), _memory(took), _status(took)]


def grow(scale: int) -> Mapping[str, float]:
    """Carry 100 · `scale` submissions to their end, and plan 10,000 · `scale` files."""
    took = carry(100 * scale, looks=0)
    costs = {
        "seconds to plan the submissions": took.seconds_of("plan"),
        "seconds from the first plan to the last export": took.seconds_between("plan", "exported"),
        "seconds to finalize": took.final_s,
        **{f"peak MB of {name}": peak for name, peak in took.ran.peak_mb.items()},
        "bytes of Redis": float(took.redis_bytes),
    }
    with tempfile.TemporaryDirectory() as root:
        planning.make_tree(Path(root), 10_000 * scale)
        seconds, peak_kb, _ = planning.measure("plan", root)
    return costs | {"seconds to plan the files": seconds, "peak MB of planning the files": peak_kb / 1024}


@dataclass(slots=True)
class Look:
    """What `paceline status BATCH` took, at `share` of the work: seconds of the whole command, and of its work alone.

    `work_s` is without the start of Python and the imports: the verb asked again in a process that has them.
    """

    share: float
    wall_s: float
    cpu_s: float
    work_s: list[float]
    work_cpu_s: float


@dataclass(slots=True)
class Took:
    """A batch carried to its end. `marks`: verb → the times (ms) of its first entry, then of each tenth."""

    submissions: int
    ran: Ran
    marks: Mapping[str, list[int]]
    final_s: float
    redis_bytes: int
    kept: Any
    tenth_mb: Mapping[str, float]
    final_cpu_s: float | None
    sandbox_mb: tuple[float, float]
    sandbox_s: float
    looks: list[Look] = field(default_factory=list)

    def seconds_of(self, verb: str, first: int = 0, last: int = 10) -> float:
        """Return the seconds from one tenth to another of what a verb did."""
        return max(self.marks[verb][last] - self.marks[verb][first], 1) / 1000

    def seconds_between(self, begun: str, ended: str) -> float:
        """Return the seconds from the first of one verb to the last of another."""
        return max(self.marks[ended][10] - self.marks[begun][0], 1) / 1000


def carry(submissions: int, *, looks: int) -> Took:
    """Run a batch of so many submissions; ask for its status `looks` times half way and at the end."""
    off = [word for name in ("add", "list", "get", "other") for word in ("--limit", f"{name}=off")]
    settings = {"workers": WORKERS, **limits(add=FREE, list=FREE, get=FREE)}
    with tempfile.TemporaryDirectory() as name, Sandbox(*off, "--run-seconds", "0") as sandbox:
        source = Path(name) / "source"
        planning.make_tree(source, submissions * FILES_PER_RUN)
        with Product(Path(name), sandbox, **settings) as product:
            before = product.redis.info("memory")["used_memory"]
            server_s = cpu_s(sandbox.pid) or 0.0
            with Observer(product, sandbox.pid, submissions, looks) as observer:
                ran = product.run(source, files_per_run=FILES_PER_RUN, timeout_s=TIMEOUT_S)
            batch = ran.summary["batch"]
            assert ran.summary["submissions"]["exported"] == submissions
            marks = _marks(Views(product.redis), batch, submissions)
            final_s = (ran.out / "_SUCCESS").stat().st_mtime - marks["exported"][10] / 1000
            if looks:
                observer.looked.append(look(product, batch, looks, 1.0))
            return Took(
                submissions,
                ran,
                marks,
                final_s,
                product.redis.info("memory")["used_memory"] - before,
                redis_facts(product)["bytes"],
                observer.tenth_mb,
                sum(ran.cpu_s.values()) - observer.exported_cpu_s if observer.exported_cpu_s else None,
                (observer.sandbox_mb, peak_mb(sandbox.pid)),
                (cpu_s(sandbox.pid) or 0.0) - server_s,
                observer.looked,
            )


class Observer(threading.Thread):
    """Looks at the ledger twice a second.

    Notes memory when a tenth has begun, asks for the status when half is exported, notes CPU when all is.
    """

    def __init__(self, product: Product, sandbox: int, submissions: int, looks: int) -> None:
        super().__init__(name="observer", daemon=True)
        self._product, self._sandbox = product, sandbox
        self._submissions, self._looks = submissions, looks
        self._over = threading.Event()
        self.tenth_mb: dict[str, float] = {}
        self.exported_cpu_s = 0.0
        self.sandbox_mb = 0.0
        self.looked: list[Look] = []

    def __enter__(self) -> Observer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look until told to stop."""
        redis: Any = self._product.redis
        while not self._over.wait(0.5):
            batch = next((one.decode() for one in redis.zrange(keys.BATCHES, 0, 0)), None)
            if batch is None:
                continue
            total, planned, exported = (
                int(count or 0) for count in redis.hmget(keys.batch(batch), "total", "n:planned", "n:exported")
            )
            if total - planned >= self._submissions / 10 and not self.tenth_mb:
                self.tenth_mb = {name: peak_mb(pid) for name, pid in self._product.processes()}
                self.sandbox_mb = peak_mb(self._sandbox)
            if exported >= self._submissions / 2 and self._looks and not self.looked:
                self.looked.append(look(self._product, batch, self._looks, exported / self._submissions))
            if exported == self._submissions and not self.exported_cpu_s:
                self.exported_cpu_s = sum(cpu_s(pid) or 0.0 for _, pid in self._product.processes())


def look(product: Product, batch: str, times: int, share: float) -> Look:
    """Ask for a batch's status as a command, and again and again in one process."""
    whole = [product.verb("cli.main", "status", batch) for _ in range(max(times // 3, 1))]
    work = verb_again.ask(product.environment, times, "status", batch)
    middle = sorted(whole, key=lambda one: one.wall_s)[len(whole) // 2]
    return Look(
        share, middle.wall_s, middle.cpu_s, [wall for wall, _ in work], percentile([cpu for _, cpu in work], 0.5)
    )


def _marks(views: Views, batch: str, submissions: int) -> dict[str, list[int]]:
    """Return the time, in ms, of each verb's first entry and of the one that completed each tenth."""
    tenths = {max(submissions * tenth // 10, 1) for tenth in range(11)}
    counts: Counter[str] = Counter()
    found: dict[str, list[int]] = {verb: [] for verb in _VERBS}
    for entry in views.journal(batch):
        verb = entry["verb"]
        if verb in found:
            counts[verb] += 1
            if counts[verb] == 1:
                found[verb].append(int(entry["at_ms"]))
            if counts[verb] in tenths:
                found[verb].append(int(entry["at_ms"]))
    return {verb: times[:1] + times[-10:] for verb, times in found.items()}


def _phases(took: Took) -> Table:
    number = took.submissions
    table = Table(
        "finishing",
        f"{number:,} submissions of {FILES_PER_RUN} files, runs that end at once, no limit, {WORKERS} uploaders",
    )
    for verb, text in _VERBS.items():
        seconds = took.seconds_of(verb)
        table.fact(f"{text}, first → last: s · submissions/s", f"{seconds:.1f} · {number / seconds:.0f}")
        first, last = took.seconds_of(verb, 1, 2), took.seconds_of(verb, 9, 10)
        table.fact(
            "… in the second tenth · in the last: submissions/s",
            f"{number / 10 / first:.0f} · {number / 10 / last:.0f}",
        )
    most_s = max(FINAL_S_PER_100_000 * number / 100_000, LEAST_S)
    table.at_most("finalizing: last export → _SUCCESS (audit, final files), s", took.final_s, most_s)
    if took.final_cpu_s is not None:
        table.fact("… CPU of all our processes and Redis for that and their end, s", f"{took.final_cpu_s:.1f}")
    table.fact("whole command, s", f"{took.ran.seconds:.1f}")
    for name, used in sorted({**took.ran.cpu_s, "sandbox": took.sandbox_s}.items()):
        table.fact(f"CPU per submission, {name}, ms", f"{used / number * 1000:.2f}")
    table.fact("Redis, bytes per submission (used_memory)", f"{took.redis_bytes / number:,.0f}")
    for what, size_bytes in took.kept.most_common(6):
        table.fact(f"… {what}", f"{size_bytes / number:,.0f}")
    return table


def _memory(took: Took) -> Table:
    table = Table("finishing, memory", "the same batch: the most a process had when a tenth had begun → to the end")
    for name, peak in sorted(took.ran.peak_mb.items()):
        tenth = took.tenth_mb.get(name)
        if tenth is None:
            table.fact(f"peak MB, {name}", f"{peak:.0f}")
        elif name == "redis":
            table.fact("peak MB, redis, which holds the ledger", f"{tenth:.0f} → {peak:.0f}")
        else:
            table.at_most(f"growth, {name} ({tenth:.0f} → {peak:.0f}), MB", peak - tenth, FLAT_MB, "{:.1f}")
    table.fact("peak MB, sandbox, which keeps every run", "{:.0f} → {:.0f}".format(*took.sandbox_mb))
    return table


def _status(took: Took) -> Table:
    table = Table("finishing, status", "`paceline status BATCH` of the same batch, medians")
    for look in took.looks:
        when = "at the end" if look.share == 1.0 else f"while it runs, {look.share:.0%} exported"
        start_s = look.wall_s - percentile(look.work_s, 0.5)
        work = percentile(look.work_s, 0.5)
        table.at_most(f"{when}: its work, start and imports left out, s", work, STATUS_S, "{:.3f}")
        table.fact("… slowest · CPU, s", f"{max(look.work_s):.3f} · {look.work_cpu_s:.3f}")
        table.fact(
            "… the whole command: wall · CPU · of which start and imports, s",
            f"{look.wall_s:.2f} · {look.cpu_s:.2f} · {start_s:.2f}",
        )
    return table
