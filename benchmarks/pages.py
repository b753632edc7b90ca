"""Measure Flower's pages about batches, and `paceline status`, on a real server with a ledger of that many submissions.

The ledger is written as the scripts leave it: two thirds of the submissions exported, one in a hundred of them failed,
a tenth running, some held, four entries of the journal for each, and 500 more batches beside.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from benchmarks import verb_again
from benchmarks.size import Size
from benchmarks.table import Table, percentile
from config.embedded import EmbeddedServer
from paceline import redis_keys as keys
from paceline.model import PlannedFile, submission_id
from paceline.packing import pack_files
from tests.support.pages import served

MOST_MS = 200
FILES = 300
OTHERS = 500
BATCH = "b000000001"
ACCOUNT, AGENT = "fake", "7"
REASONS = ("run_failed", "timed_out", "file_missing")


def measure(size: Size) -> list[Table]:
    """Ask each page 30 times (`quick`: 5) of ledgers of 1,000, 10,000 and 100,000 submissions."""
    numbers = [1_000] if size is Size.QUICK else [1_000, 10_000, 100_000]
    return [_measure(number, 5 if size is Size.QUICK else 30) for number in numbers]


def _measure(number: int, times: int) -> Table:
    table = Table("pages", f"a ledger of {number:,} submissions of {FILES} files, pages over HTTP, ms")
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        client: Any = redis.Redis(unix_socket_path=str(server.socket_path))
        client.config_set("appendonly", "no")  # pages only read
        fill(client, number)
        with served(f"unix://{server.socket_path}", Path(folder)) as flower:
            for name, path in pages(number).items():
                flower.ask(path)
                took = []
                for _ in range(times):
                    begun = time.perf_counter()
                    answer = flower.ask(path)
                    took.append((time.perf_counter() - begun) * 1000)
                    assert answer.code == 200, answer.words
                table.at_most(f"{name}, 95th percentile", percentile(took, 0.95), MOST_MS, "{:.0f}")
                table.fact(f"{name}, median", f"{percentile(took, 0.5):.0f}")
        environment = {
            **os.environ,
            "PACELINE_HOME": f"{folder}/reader",
            "PACELINE_REDIS_URL": f"unix://{server.socket_path}",
            "PACELINE_ALLOW_UNSAFE_REDIS": "true",
        }
        for name, verb in {"paceline status BATCH": ["status", BATCH], "paceline status": ["status"]}.items():
            asked = verb_again.ask(environment, times, *verb)
            work_ms = [wall_s * 1000 for wall_s, _ in asked]
            table.at_most(f"{name}, start and imports left out, median", percentile(work_ms, 0.5), MOST_MS, "{:.0f}")
            spent_ms = percentile([cpu_s * 1000 for _, cpu_s in asked], 0.5)
            table.fact("… 95th percentile · CPU", f"{percentile(work_ms, 0.95):.0f} · {spent_ms:.0f}")
        client.close()
    return table


def pages(number: int) -> dict[str, str]:
    """Name the pages that are asked for."""
    return {
        "all batches": "/batches",
        "… what changes of it": "/batches?part=1",
        "a batch": f"/batch/{BATCH}",
        "… what changes of that": f"/batch/{BATCH}?part=1",
        "submissions, the last page": f"/batch/{BATCH}/submissions?number={number}",
        "submissions by reason": f"/batch/{BATCH}/submissions?reason=run_failed",
        "a submission": f"/submission/{submission_id(BATCH, number // 2)}",
    }


def fill(client: Any, number: int, others: int = OTHERS) -> None:
    """Write the ledger, with so many further batches."""
    now_ms = int(time.time() * 1000)
    counts: dict[str, int] = {}
    with client.pipeline(transaction=False) as pipe:
        for index, (state, reason) in enumerate(_states(number), 1):
            counts[state] = counts.get(state, 0) + 1
            if reason:
                counts[f"why:{reason}"] = counts.get(f"why:{reason}", 0) + 1
            _submission(pipe, index, state, reason, now_ms)
            if index % 1000 == 0:
                pipe.execute()
        pipe.execute()
    _journal(client, number)
    failed = sum(value for name, value in counts.items() if name.startswith("why:"))
    fields = {
        **_batch(now_ms),
        "total": number,
        "files": number * FILES,
        "bytes": number * FILES * 50_000,
        **{f"n:{name}": value for name, value in counts.items() if not name.startswith("why:")},
        **{name: value for name, value in counts.items() if name.startswith("why:")},
        "o:failed": failed,
        "o:succeeded": counts["exported"] - failed,
        "run_s:300": counts["exported"],
        "run_s:sum": counts["exported"] * 250_000,
    }
    client.hset(keys.batch(BATCH), mapping=fields)
    client.zadd(keys.BATCHES, {BATCH: now_ms})
    client.sadd(keys.ACCOUNTS, ACCOUNT)
    minutes = {f"m:{now_ms // 60_000 - back}": 38 for back in range(60)}
    client.hset(f"{keys.PREFIX}a:{ACCOUNT}:pace:add:state", mapping=minutes)
    with client.pipeline(transaction=False) as pipe:
        for other in range(others):
            batch = f"b1{other:08d}"
            pipe.hset(keys.batch(batch), mapping={**fields, "closed": 1, "name": f"night {other}"})
            pipe.zadd(keys.BATCHES, {batch: now_ms - other * 1000 - 1})
        pipe.execute()


def _states(number: int) -> Iterator[tuple[str, str]]:
    for index in range(number):
        share = index / number
        if share < 0.66:
            yield "exported", REASONS[index // 100 % 3] if index % 100 == 0 else ""
        elif share < 0.76:
            yield "running", ""
        else:
            yield ("held", "") if index % 100 == 0 else ("planned", "")


def _submission(pipe: Any, index: int, state: str, reason: str, now_ms: int) -> None:
    item = submission_id(BATCH, index)
    fields: dict[str, Any] = {"state": state, "generation": 5, "attempt": 1, "files": FILES, "bytes": 15_000_000}
    fields |= {"planned_ms": now_ms - 9_000_000, "server": "0123456789ab", "origin": "0123456789ab"}
    fields |= {f"j:{at + 1}-{index}": "" for at in range(4)}
    if state == "exported":
        outcome = {"outcome": "failed", "reason": reason} if reason else {"outcome": "succeeded", "reason": "completed"}
        error = {"category": "provider", "phase": "run", "message": "a prompt failed", "http_status": None}
        fields |= outcome | ({"error": json.dumps(error)} if reason else {})
        fields |= {"finished_ms": now_ms - 1_000_000, "credits": 36.5}
        if reason:
            pipe.zadd(keys.ended(BATCH), {f"{reason}\n{item}": 0})
    if state in ("exported", "running"):
        fields |= {
            "run_id": 10_000 + index,
            "run_url": f"https://runs.example/{index}",
            "submitted_ms": now_ms - 2_000_000,
        }
    if state == "running":
        pipe.zadd(keys.due(ACCOUNT, AGENT), {item: now_ms})
    if state == "held":
        pipe.zadd(keys.HELD, {item: now_ms})
    pipe.hset(keys.submission(item), mapping=fields)
    files = [PlannedFile(f"2026/11/{index:06d}/{at:03d}.pdf", 50_000, 1, f"{at:03d}.pdf") for at in range(FILES)]
    pipe.set(keys.files(item), pack_files(files) if index % 1000 == 0 or index < 3 else b"")


def _journal(client: Any, number: int) -> None:
    """Write four entries for each submission, in the order in which they happened."""
    with client.pipeline(transaction=False) as pipe:
        for at, verb in enumerate(("plan", "begin", "accepted", "finish")):
            for index in range(1, number + 1):
                entry = {"submission": submission_id(BATCH, index), "verb": verb, "from": "planned", "to": "submitting"}
                pipe.xadd(keys.journal(BATCH), {**entry, "generation": at, "attempt": 1}, id=f"{at + 1}-{index}")
                if index % 1000 == 0:
                    pipe.execute()
        pipe.execute()


def _batch(now_ms: int) -> dict[str, Any]:
    return {
        "name": "archive",
        "source": "/mnt/archive",
        "account": ACCOUNT,
        "provider": "kolena",
        "agent": AGENT,
        "address": "https://api.example",
        "to": '["/mnt/results"]',
        "files_per_run": FILES,
        "manifest": "/mnt/results/manifest.jsonl",
        "listed": 1,
        "created_ms": now_ms - 9_000_000,
        "started_ms": now_ms - 8_900_000,
        "runs_ms": 250_000_000,
        "runs_done": 1000,
    }
