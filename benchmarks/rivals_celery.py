"""A plain Celery application that sends files as runs, one task for each, with Celery's own `rate_limit`.

Written as Celery's documentation recommends (User Guide: Tasks, "Task.rate_limit" and "Retrying"; Optimizing, "Prefetch
Limits"): the limit counts per worker, a task that is refused is retried with a countdown, and
`worker_prefetch_multiplier` is 1 so that no worker hoards what others could send. Its settings are variables, as the
workers are other processes.

    RIVAL_BROKER=redis://… RIVAL_RATE=10/m RIVAL_URL=http://… RIVAL_KEY=… celery -A benchmarks.rivals_celery worker
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from celery import Celery, group

START_S = 60.0
STOP_S = 20.0
ROOT = Path(__file__).resolve().parents[1]

_NO_RETRY_AFTER_S = 1.0
_READY = b" ready."


def make_app(broker: str) -> Celery:
    """Return the application, without its task."""
    made = Celery("rival", broker=broker, backend=broker, set_as_current=False)
    made.conf.update(worker_prefetch_multiplier=1, result_expires=3600, broker_connection_retry_on_startup=True)
    return made


app = make_app(os.environ.get("RIVAL_BROKER", "memory://"))
_local = threading.local()


def _client() -> httpx.Client:
    if not hasattr(_local, "client"):
        headers = {"Authorization": f"Bearer {os.environ['RIVAL_KEY']}"}
        _local.client = httpx.Client(base_url=os.environ["RIVAL_URL"], headers=headers, timeout=60, trust_env=False)
    client: httpx.Client = _local.client
    return client


@app.task(name="rival.send", bind=True, max_retries=None, rate_limit=os.environ.get("RIVAL_RATE") or None)
def send(self: Any, path: str) -> None:
    """Send one file; a 429 is repeated after its Retry-After."""
    name = Path(path).name
    answer = _client().post(
        "/api/v1/client/agents/1/runs", data={"user_defined_id": name}, files={"files": (name, Path(path).read_bytes())}
    )
    if answer.status_code == 429:
        raise self.retry(countdown=float(answer.headers.get("Retry-After", _NO_RETRY_AFTER_S)))
    answer.raise_for_status()


@app.task(name="rival.nothing", ignore_result=True)
def nothing() -> None:
    """Do nothing: what is left is what Celery costs."""


class Workers:
    """Worker processes of that application that take messages; `run` sends them files."""

    def __init__(self, broker: str, number: int) -> None:
        self._app = make_app(broker)
        self._number = number

    def run(self, files: Sequence[Path], timeout_s: float) -> None:
        """Send a task for each file and wait for the end of all. Raises what a task raised."""
        tasks = group(self._app.signature("rival.send", args=[str(path)]) for path in files)
        tasks.apply_async().get(timeout=timeout_s, interval=0.5)

    def nothings(self, tasks: int, timeout_s: float) -> float:
        """Send so many tasks that do nothing; return how many a second, from the first sent to the last done."""
        before, begun = self._done("rival.nothing"), time.monotonic()
        with self._app.producer_or_acquire() as producer:
            for _ in range(tasks):
                self._app.send_task("rival.nothing", ignore_result=True, producer=producer)
        while (done := self._done("rival.nothing") - before) < tasks:
            if time.monotonic() - begun > timeout_s:
                raise TimeoutError(f"{done} of {tasks} tasks done")
            time.sleep(0.1)
        return tasks / (time.monotonic() - begun)

    def _done(self, task: str) -> int:
        stats = self._app.control.inspect(timeout=10.0, limit=self._number).stats() or {}
        return sum(int(one["total"].get(task, 0)) for one in stats.values())


@contextmanager
def celery_workers(
    folder: Path, broker: str, *, url: str, key: str, rate: str, workers: int, threads: int
) -> Iterator[Workers]:
    """Start `workers` processes of `threads` threads, each with the limit `rate`, and end them at the end."""
    environment = os.environ | {"RIVAL_BROKER": broker, "RIVAL_URL": url, "RIVAL_KEY": key, "RIVAL_RATE": rate}
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.rivals_celery", "worker", "--pool", "threads"]
    command += ["--concurrency", str(threads), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        logs = [folder / f"celery-{number}.log" for number in range(workers)]
        for log in logs:
            out = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(
                [*command, "--hostname", f"{log.stem}@%h"], cwd=ROOT, env=environment, stdout=out, stderr=out
            )
            stack.callback(end, process)
        _await_ready(logs)
        yield Workers(broker, workers)


def _await_ready(logs: Sequence[Path]) -> None:
    deadline = time.monotonic() + START_S
    while not all(_READY in log.read_bytes() for log in logs):
        if time.monotonic() > deadline:
            raise TimeoutError(b"\n".join(log.read_bytes()[-500:] for log in logs).decode(errors="replace"))
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and make it end after 20 s."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
