"""What a fleet costs that has nothing to do: CPU, wake-ups and Redis commands of all its processes together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.product import STOP_S, cpu_s
from benchmarks.table import Table
from config.embedded import EmbeddedServer
from tests.support.sandbox import ROOT
from tests.support.server import free_port

MOST_PERCENT = 1.0
"""Of one core, all processes together."""

WORKERS = 2
"""Upload processes; one more does the rest."""

SETTLE_S = 8.0
"""Between a start and the look: the first looks for overdue work are over by then, and Flower has asked everybody."""

SCHEDULE = """
[schedules.nightly]
cron = "0 2 * * *"
source = "inbox"
agent = "kolena:1"
to = "out/{date}"
"""
"""One whose time is hours away, but in the minute after two o'clock UTC."""

PLAIN = ("-A", "benchmarks.plain_app")


@dataclass(frozen=True, slots=True)
class Seen:
    """What processes used while they were watched, by name: CPU in percent of a core, wake-ups a second.

    `commands` are those that Redis was sent a second, by the clients of these processes.
    """

    percent: Mapping[str, float]
    wakes: Mapping[str, float]
    commands: float

    @property
    def total(self) -> float:
        """The CPU of all together."""
        return sum(self.percent.values())


def table(folder: Path, environment: Mapping[str, str], seconds: float) -> Table:
    """Watch an idle fleet, one with a schedule and beat, one with Flower, and as many plain Celery workers."""
    said = Table(
        "start, idle",
        f"a fleet after `paceline up --workers {WORKERS}` with nothing to do, watched for {seconds:g} s: percent of one"
        " core, all processes together",
    )
    bare = {**environment, "KOLENA_API_KEY": "idle", "KOLENA_API_URL": "http://127.0.0.1:9"}
    here = {**bare, "PACELINE_HOME": str(folder / "idle")}
    with fleet(here, WORKERS) as home:
        alone = _watch(home, seconds)
        with _beside([sys.executable, "-m", "cli.main", "flower", "--port", str(free_port())], here) as flower:
            watched = _watch(home, seconds, {"flower": flower})
    (folder / "inbox").mkdir()
    (folder / "paceline.toml").write_text(SCHEDULE)
    scheduled = {**bare, "PACELINE_HOME": str(folder / "nights"), "PACELINE_CONFIG": str(folder / "paceline.toml")}
    with fleet(scheduled, WORKERS) as home:
        nights = _watch(home, seconds)
    plain = _plain(folder / "plain", environment, seconds)
    said.at_most("Redis, supervisor, three workers, % of a core", alone.total, MOST_PERCENT)
    said.at_most("… with a schedule, so with beat, % of a core", nights.total, MOST_PERCENT)
    said.fact("… with Flower, which nobody looks at, % of a core", f"{watched.total:.2f}")
    for name, percent in sorted(alone.percent.items()):
        said.fact(f"{name}, % of a core", f"{percent:.2f} at {alone.wakes[name]:.1f} wake-ups a second")
    said.fact("beat, % of a core", f"{nights.percent['beat']:.2f}")
    said.fact("Flower, % of a core", f"{watched.percent['flower']:.2f}")
    said.fact("Redis commands a second", f"{alone.commands:.1f}")
    said.fact("… with a schedule, with Flower", f"{nights.commands:.1f}, {watched.commands:.1f}")
    said.rival("a Redis and three plain Celery workers of 8 threads, % of a core", f"{plain.total:.2f}")
    said.rival("… one of the workers", f"{plain.percent['worker-1']:.2f} at {plain.wakes['worker-1']:.1f} wake-ups")
    said.rival("… Redis commands a second", f"{plain.commands:.1f}")
    return said


@contextmanager
def fleet(environment: Mapping[str, str], workers: int = 1) -> Iterator[Path]:
    """Have a fleet in the background; the environment names its home."""
    paceline = [sys.executable, "-m", "cli.main"]
    subprocess.run([*paceline, "up", "--workers", str(workers)], env=environment, check=True, stderr=subprocess.DEVNULL)
    try:
        yield Path(environment["PACELINE_HOME"])
    finally:
        subprocess.run([*paceline, "down"], env=environment, check=True, stderr=subprocess.DEVNULL)


@contextmanager
def _beside(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[int]:
    """Have one more process; give its id."""
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=nothing, stderr=nothing)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _plain(folder: Path, environment: Mapping[str, str], seconds: float) -> Seen:
    """Watch plain Celery workers, as Celery's "First steps" starts them but for the pool, which is ours."""
    with EmbeddedServer(folder) as server, ExitStack() as stack:
        where = {**environment, "PLAIN_BROKER": f"redis+socket://{server.socket_path}"}
        command = [sys.executable, "-m", "celery", *PLAIN, "worker", "--pool", "threads", "--concurrency", "8"]
        names = [f"worker-{number}" for number in range(1, WORKERS + 2)]
        pids = {name: stack.enter_context(_beside([*command, "-n", f"{name}@idle"], where)) for name in names}
        client = redis.Redis(unix_socket_path=str(server.socket_path))
        while int(client.info("clients")["connected_clients"]) < 3 * len(names):
            time.sleep(0.1)
        client.close()
        return _watch(folder, seconds, pids)


def _watch(home: Path, seconds: float, others: Mapping[str, int] | None = None) -> Seen:
    """Watch the processes that have pid files in a home, and others."""
    time.sleep(SETTLE_S)
    pids = {path.stem: int(path.read_text()) for path in (home / "run").glob("*.pid")} | dict(others or {})
    client: Any = redis.Redis(unix_socket_path=str(EmbeddedServer(home).socket_path))
    before = {name: (cpu_s(pid) or 0.0, _wakes(pid)) for name, pid in pids.items()}
    commands, begun = client.info("stats")["total_commands_processed"], time.monotonic()
    time.sleep(seconds)
    commands, took = client.info("stats")["total_commands_processed"] - commands - 1, time.monotonic() - begun
    percent, wakes = {}, {}
    for name, pid in pids.items():
        percent[name] = ((cpu_s(pid) or 0.0) - before[name][0]) / took * 100
        wakes[name] = (_wakes(pid) - before[name][1]) / took
    client.close()
    return Seen(percent, wakes, commands / took)


def _wakes(pid: int) -> int:
    """Return how often a process's threads have waited for something."""
    total = 0
    for task in os.scandir(f"/proc/{pid}/task"):
        for line in Path(task.path, "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total
