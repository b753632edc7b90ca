"""Measure how long the report of a large batch takes, and how much memory."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from benchmarks.product import peak_mb
from benchmarks.size import Size
from benchmarks.table import Table
from config.embedded import EmbeddedServer
from paceline import redis_keys as keys
from paceline.ledger import Ledger
from paceline.limiter import PacePolicy
from paceline.model import BatchSpec, PlannedFile, Rate, submission_id
from paceline.packing import pack_files
from paceline.report.from_ledger import gather
from paceline.report.page import page
from paceline.scripts import Scripts
from paceline.views import Views

START_MS = 1_800_000_000_000
RATE = Rate(40, 60.0)
SPEC = BatchSpec("/files", "kolena", "kolena", "7", ("/out",), 3, "large")


def measure(size: Size) -> list[Table]:
    """Measure all of it; the batch is written into the ledger as its scripts would have left it."""
    number = 2_000 if size is Size.QUICK else 100_000
    setup = f"{number:,} submissions of 3 files that are complete, 2 % of them failed, {5 * number:,} journal entries."
    table = Table("report", setup)
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        with redis.Redis(unix_socket_path=str(server.socket_path)) as client:
            client.config_set("appendonly", "no")
            _fill(client, number)
        command = [sys.executable, "-m", "benchmarks.report", str(server.socket_path)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    table.at_most("seconds to gather and write", told["seconds"], 20)
    table.at_most("page in kB", told["page_bytes"] / 1000, 1000, "{:,.0f}")
    table.at_most("largest memory of the process, MB", told["memory_mb"], 100, "{:,.0f}")
    return [table]


def _fill(client: Any, number: int) -> None:
    ledger = Ledger(client, Scripts(client), PacePolicy(durable=True, watch_clock=False))
    ledger.open_batch(SPEC, manifest="/out/manifest.jsonl")
    batch, chance = SPEC.batch_id(), random.Random(1)
    ends: list[tuple[int, int, int, bool]] = []
    for index in range(1, number + 1):
        at_ms = START_MS + (index // 40) * 61_100 + chance.randrange(3000)
        ends.append((index, at_ms, at_ms + round(chance.lognormvariate(3.4, 0.6) * 1000), chance.random() < 0.02))
    failed = sum(bad for *_, bad in ends)
    with client.pipeline(transaction=False) as pipe:
        for n, (index, at_ms, end_ms, bad) in enumerate(ends):
            item = submission_id(batch, index)
            pipe.hset(keys.submission(item), mapping=_facts(index, at_ms, end_ms, bad))
            rows = [PlannedFile(f"folder/{index}/{part}.pdf", 1000, 0, f"{part}.pdf") for part in range(3)]
            pipe.set(keys.files(item), pack_files(rows))
            if n % 1000 == 0:
                pipe.execute()
        for n, (at_ms, facts) in enumerate(sorted(_journal(batch, ends), key=lambda entry: entry[0])):
            pipe.xadd(keys.journal(batch), facts, id=f"{at_ms}-{n + 1}")
            if n % 1000 == 0:
                pipe.execute()
        counts = {"total": number, "files": 3 * number, "n:exported": number, "runs_accepted": number, "closed": 1}
        counts |= {"listed": 1, "o:succeeded": number - failed, "o:failed": failed, "started_ms": START_MS}
        counts |= {"files:succeeded": 3 * (number - failed), "files:failed": 3 * failed}
        pipe.hset(keys.batch(batch), mapping={**counts, "finished_ms": max(end_ms for _, _, end_ms, _ in ends)})
        pipe.execute()


def _facts(index: int, at_ms: int, end_ms: int, bad: bool) -> dict[str, str | int]:
    error = {"category": "provider", "phase": "run", "message": f"page {index % 7} has no text", "http_status": None}
    more = {"outcome": "failed", "reason": "run_failed", "error": json.dumps(error)} if bad else {}
    return {
        "state": "exported", "generation": 5, "attempt": 1, "files": 3, "bytes": 3000, "planned_ms": START_MS,
        "submitted_ms": at_ms, "finished_ms": end_ms, "run_id": str(5000 + index), "credits": "1.5", "class": "add",
        "run_url": f"https://app.example/runs/{5000 + index}", "outcome": "succeeded", "reason": "completed", **more,
    }  # fmt: skip


def _journal(batch: str, ends: list[tuple[int, int, int, bool]]) -> Iterator[tuple[int, dict[Any, Any]]]:
    for index, at_ms, end_ms, bad in ends:
        outcome = {"outcome": "failed" if bad else "succeeded", "reason": "run_failed" if bad else "completed"}
        steps: list[tuple[int, str, str, str, dict[str, str]]] = [
            (START_MS, "plan", "", "planned", {}),
            (at_ms, "begin", "planned", "submitting", {"worker": "host-1:5685@90f3ad1c"}),
            (at_ms + 400, "accepted", "submitting", "running", {"run_id": str(5000 + index)}),
            (end_ms, "finish", "running", "finished", outcome),
            (end_ms + 500, "exported", "finished", "exported", {}),
        ]
        for generation, (when, verb, source, target, facts) in enumerate(steps, 1):
            base = {"submission": submission_id(batch, index), "verb": verb, "from": source, "to": target}
            yield when, {**base, "generation": generation, "attempt": min(generation, 2) - 1, **facts}


def _report(socket: str) -> None:
    """Make the report, in a process of its own, and print what it took."""
    client = redis.Redis(unix_socket_path=socket)
    views = Views(client)
    begun = time.monotonic()
    text = page(gather(client, views, views.batch(SPEC.batch_id()), version="0", rate=RATE))
    seconds = time.monotonic() - begun
    print(json.dumps({"seconds": seconds, "page_bytes": len(text.encode()), "memory_mb": peak_mb(os.getpid())}))


if __name__ == "__main__":
    _report(sys.argv[1])
