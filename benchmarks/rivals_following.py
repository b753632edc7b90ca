"""A plain Celery application that follows runs: one task per run, which asks and sends itself again with a countdown.

Written as Celery's documentation recommends (User Guide: Tasks, "Retrying", with a countdown and some jitter, and
"Ignore results you don't want"; Optimizing, "Prefetch Limits"; Concurrency: threads, as the work is waiting for
sockets), with the vendor's advice: 1.5 s after the start, then 5, then every 10 s. A 429 is repeated after its
Retry-After. Settings are variables, as the worker is another process:

    RIVAL_BROKER=redis://… RIVAL_URL=http://… RIVAL_KEY=… RIVAL_OUT=folder RIVAL_SCALE=5 \
        celery -A benchmarks.rivals_following worker --pool threads
"""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from celery import Celery
from celery.signals import worker_ready
from redis import Redis

from benchmarks.product import CpuWatch
from benchmarks.rivals_celery import end
from config.embedded import EmbeddedServer
from tests.support.sandbox import Sandbox

AGENT = 2
THREADS = 16
FIRST_S = 1.5
AGAIN_S = (5.0, 10.0)
"""The second question, then all later ones."""

START_S = 60.0
STEP_S = 0.1
ROOT = Path(__file__).resolve().parents[1]

_READY = "ready"
_NO_RETRY_AFTER_S = 1.0


def make_app(broker: str) -> Celery:
    """Return the application, without its task."""
    made = Celery("rival", broker=broker, set_as_current=False)
    made.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
    return made


app = make_app(os.environ.get("RIVAL_BROKER", "memory://"))


@worker_ready.connect
def _say_ready(**_named: object) -> None:
    Path(os.environ["RIVAL_OUT"], _READY).touch()


@cache
def _client() -> httpx.Client:
    headers = {"Authorization": f"Bearer {os.environ['RIVAL_KEY']}"}
    return httpx.Client(base_url=os.environ["RIVAL_URL"], headers=headers, timeout=60, trust_env=False)


@app.task(name="rival.follow", bind=True, max_retries=None)
def follow(self: Any, run_id: int, looks: int = 0) -> None:
    """Ask after a run; write its record if it has ended, else come again."""
    answer = _client().get(f"/api/v1/client/agents/{AGENT}/runs/{run_id}")
    if answer.status_code == 429:
        wait_s = float(answer.headers.get("Retry-After", _NO_RETRY_AFTER_S))
        raise self.retry(countdown=wait_s * (1 + random.random()))
    answer.raise_for_status()
    run = answer.json()
    if run["status"] == "running":
        again_s = AGAIN_S[min(looks, 1)] / float(os.environ["RIVAL_SCALE"])
        raise self.retry(args=(run_id, looks + 1), countdown=again_s)
    place = Path(os.environ["RIVAL_OUT"], f"{run_id}.json")
    with place.with_suffix(".new").open("w") as file:
        json.dump(run, file)
        file.flush()
        os.fsync(file.fileno())
    place.with_suffix(".new").rename(place)


@dataclass(frozen=True, slots=True)
class Polled:
    """What the worker left: when each record was on disk (wall time), its CPU seconds and peak memory, Redis's too."""

    written: Mapping[int, float]
    cpu_s: Mapping[str, float]
    peak_mb: Mapping[str, float]


def poll_each(
    folder: Path, sandbox: Sandbox, key: str, *, runs: int, starts_per_s: float, scale: float, most_s: float
) -> Polled:
    """Start runs at a pace in wall seconds and follow each by a task, to the end of all or for `most_s` (wall)."""
    out = folder / "records"
    out.mkdir(parents=True)
    server = EmbeddedServer(folder / "home")
    server.start()
    try:
        with Redis.from_url(f"unix://{server.socket_path}") as redis:
            redis.config_set("appendonly", "no")  # what Redis does by default
        broker = f"redis+socket://{server.socket_path}"
        named = {"BROKER": broker, "URL": sandbox.url, "KEY": key, "OUT": out, "SCALE": scale}
        environment = os.environ | {f"RIVAL_{name}": str(value) for name, value in named.items()}
        with (
            _worker(folder / "celery.log", out / _READY, environment) as pid,
            CpuWatch(folder / "home" / "run") as watch,
        ):
            watch.add("celery worker", pid)
            _start(sandbox, broker, runs, starts_per_s, scale)
            deadline = time.monotonic() + most_s - runs / starts_per_s
            while len(list(out.glob("*.json"))) < runs and time.monotonic() < deadline:
                time.sleep(0.5)
    finally:
        server.stop()
    written = {int(path.stem): path.stat().st_mtime for path in out.glob("*.json")}
    return Polled(written, watch.used_s(), watch.peak_mb())


def _start(sandbox: Sandbox, broker: str, runs: int, starts_per_s: float, scale: float) -> None:
    sender = make_app(broker)
    begun, started = time.monotonic(), 0
    while started < runs:
        due = min(int((time.monotonic() - begun) * starts_per_s) + 1, runs)
        if due > started:
            prefix = f"rival-{secrets.token_hex(4)}-"
            for run_id in sandbox.create_runs(agent=AGENT, prefix=prefix, count=due - started):
                sender.send_task("rival.follow", args=(run_id,), countdown=FIRST_S / scale)
            started = due
        time.sleep(STEP_S)


@contextmanager
def _worker(log: Path, ready: Path, environment: Mapping[str, str]) -> Iterator[int]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.rivals_following", "worker", "--pool", "threads"]
    command += ["--concurrency", str(THREADS), "--without-gossip", "--without-mingle"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(log.read_text(errors="replace")[-1500:])
            time.sleep(0.1)
        yield process.pid
    finally:
        end(process)
