"""Measure what one Redis primary gives: the ledger alone, driven by several processes, synced always and every second.

What messages and results cost on top is the part `engine`'s to tell, and what an account costs that waits for its
permits, the last table here. Where the clients keep the server from its best, its best is computed from its CPU time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from redis import Redis

from benchmarks.primary_client import TURN, Life
from benchmarks.product import Product, cpu_s, limits, make_files
from benchmarks.size import Size
from benchmarks.table import Table
from config.embedded import EmbeddedServer
from tests.support.sandbox import Sandbox

SECONDS = {Size.QUICK: 2.0, Size.NORMAL: 15.0, Size.LONG: 60.0}
CLIENTS = ((1, 1), (3, 4))
"""Processes, and threads in each: one client alone waits for every sync; a dozen share them."""

PACE = "40/60s"

STEPS = ("plan", "release", "begin", "accept", "due", "finish", "export")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server has counted so far."""

    cpu_s: float
    calls: Counter[str]
    script_us: float
    facts: Mapping[str, float]

    @staticmethod
    def of(redis: Any) -> Facts:
        """Ask a server."""
        rows = redis.info("commandstats")
        calls = Counter({name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in rows.items()})
        everything = redis.info("everything")
        names = ("used_memory", "aof_current_size", "total_net_input_bytes", "total_net_output_bytes")
        facts = {name: float(everything[name]) for name in names}
        facts["turns"] = float(everything.get("eventloop_cycles", 0))
        script_us = sum(float(rows[name]["usec"]) for name in ("cmdstat_evalsha", "cmdstat_eval") if name in rows)
        return Facts(cpu_s(int(everything["process_id"])) or 0.0, calls, script_us, facts)


def measure(size: Size) -> list[Table]:
    """Drive it for 15 s each (`quick` 2, `long` 60): one client and a dozen, synced always and every second."""
    tables = []
    for fsync in ("always", "everysec"):
        table = Table(f"primary, {fsync}", f"the ledger alone, one embedded server, `appendfsync {fsync}`")
        with _server(fsync) as (folder, socket, redis):
            for processes, threads in CLIENTS:
                _drive(table, redis, socket, processes, threads, SECONDS[size])
            table.fact("500 bytes written and synced on this disk, median ms", f"{_sync_ms(folder):.2f}")
        tables.append(table)
    return [*tables, _by_step(4 if size is Size.QUICK else 40), _at_pace(6 if size is Size.QUICK else 80)]


@contextmanager
def _server(fsync: str) -> Iterator[tuple[Path, str, Any]]:
    """Run an embedded server; yield its folder, its socket and a client."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(EmbeddedServer(Path(folder)))
        redis: Any = stack.enter_context(Redis(unix_socket_path=str(server.socket_path)))
        redis.config_set("appendfsync", fsync)
        yield Path(folder), str(server.socket_path), redis


def _drive(table: Table, redis: Any, socket: str, processes: int, threads: int, seconds: float) -> None:
    """Let so many clients work at once, and tell what that came to."""
    command = [sys.executable, "-m", "benchmarks.primary_client", socket]
    clients = [
        subprocess.Popen(
            [*command, str(threads), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline().strip() == "ready"
    before, begun = Facts.of(redis), time.monotonic()
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    said = [client.communicate(timeout=seconds + 120)[0].split() for client in clients]
    lasted, after = time.monotonic() - begun, Facts.of(redis)
    assert not any(client.returncode for client in clients)
    done, clients_s = sum(int(count) for count, _ in said), sum(float(used) for _, used in said)
    _tell(
        table, f"{processes * threads} clients" if processes * threads > 1 else "1 client", done, lasted, before, after
    )
    table.fact("… clients' CPU per submission, ms", f"{clients_s / done * 1000:.2f}")


def _tell(table: Table, who: str, done: int, lasted: float, before: Facts, after: Facts) -> None:
    calls, used_s = (after.calls - before.calls), after.cpu_s - before.cpu_s
    grown = {name: after.facts[name] - before.facts[name] for name in after.facts}
    table.fact(f"{who}: submissions/s", f"{done / lasted:,.0f}")
    table.fact("… commands/s, those inside scripts included", f"{calls.total() / lasted:,.0f}")
    table.fact("… scripts · commands per submission", f"{calls['evalsha'] / done:.1f} · {calls.total() / done:.0f}")
    table.fact("… server's CPU, cores busy", f"{used_s / lasted:.2f}")
    table.fact("… server's CPU per submission, ms", f"{used_s / done * 1000:.2f}")
    table.fact("… computed: submissions/s that fill its core", f"{done / used_s:,.0f}")
    if grown["turns"]:
        table.fact("… turns of its event loop/s, each at most one sync", f"{grown['turns'] / lasted:,.0f}")
    sent = grown["total_net_input_bytes"] / done, grown["total_net_output_bytes"] / done
    table.fact("… bytes per submission, to the server · from it", f"{sent[0]:,.0f} · {sent[1]:,.0f}")
    table.fact("… bytes per submission, appended to its file", f"{grown['aof_current_size'] / done:,.0f}")
    table.fact("… bytes per submission, in its memory", f"{grown['used_memory'] / done:,.0f}")


def _by_step(turns: int) -> Table:
    """Tell what the scripts of each step take of the server, one step after the other, one client."""
    table = Table("primary, by script", f"{turns * TURN} submissions by one client; time inside the server's scripts")
    used: dict[str, tuple[float, int]] = dict.fromkeys(STEPS, (0.0, 0))
    with _server("everysec") as (_, _, redis):
        life = Life(redis, "account")
        for turn in range(turns + 1):
            seen = _turn(redis, life)
            for step, (us, calls) in seen.items() if turn else ():  # the first turn loads the scripts
                used[step] = used[step][0] + us, used[step][1] + calls
    total = sum(us for us, _ in used.values())
    table.fact("all scripts, µs per submission", f"{total / turns / TURN:,.0f}")
    for step, (us, calls) in sorted(used.items(), key=lambda one: -one[1][0]):
        each = f"{calls / turns / TURN:.2f} · {us / calls:,.0f} · {us / total:.0%}"
        table.fact(f"{step}: calls per submission · µs per call · share", each)
    return table


def _turn(redis: Any, life: Life) -> dict[str, tuple[float, int]]:
    """Carry one turn; return microseconds and calls of the scripts of each step."""
    seen: dict[str, tuple[float, int]] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        before = Facts.of(redis)
        result = work()
        after = Facts.of(redis)
        seen[step] = after.script_us - before.script_us, after.calls["evalsha"] - before.calls["evalsha"]
        return result

    timed("plan", life.plan)
    released = timed("release", life.release)
    begun = timed("begin", lambda: life.begin(released))
    timed("accept", lambda: life.accept(begun))
    due = timed("due", life.due)
    finished = timed("finish", lambda: life.finish(due))
    timed("export", lambda: life.export(finished))
    return seen


def _at_pace(submissions: int) -> Table:
    """Tell what a whole fleet takes for one account at its pace, where each permit has a turn of its chain."""
    table = Table(
        "primary, one account at its pace",
        f'a whole fleet, limit "{PACE}", {submissions} submissions of one file, runs of 20 to 60 s; what a fleet of'
        " more accounts pays once (start, signs of life, questions for messages) is in it",
    )
    arguments = ("--limit", f"add={PACE}", "--run-seconds", "20-60")
    with tempfile.TemporaryDirectory() as name, Sandbox(*arguments) as sandbox:
        source = make_files(Path(name) / "source", submissions)
        with Product(Path(name), sandbox, **limits(add=PACE)) as product:
            before = Facts.of(product.redis)
            ran = product.run(source, timeout_s=900)
            after = Facts.of(product.redis)
    calls = (after.calls - before.calls).total()
    workers_s = sum(used for who, used in ran.cpu_s.items() if who.startswith("worker"))
    table.fact("seconds", f"{ran.seconds:.0f}")
    table.fact("Redis commands/s, those inside scripts included", f"{calls / ran.seconds:,.0f}")
    table.fact("Redis commands per submission", f"{calls / submissions:,.0f}")
    table.fact("Redis, % of a core", f"{(after.cpu_s - before.cpu_s) / ran.seconds * 100:.2f}")
    table.fact("workers, % of a core", f"{workers_s / ran.seconds * 100:.2f}")
    return table


def _sync_ms(folder: Path) -> float:
    """Return how long the disk takes to keep a small write."""
    taken = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(200):
            begun = time.perf_counter()
            file.write(b"x" * 500)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return median(taken) * 1000
