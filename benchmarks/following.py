"""Measure what following runs costs, and how soon a finished run's record is on disk.

A run's end is known from the sandbox (`completed`), the question that found it from the sandbox's log (the first list
call after the end that names the run), and the record from its part file's modification time: one machine, one clock.
"""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.product import Product, Ran, limits, make_files
from benchmarks.size import Size
from benchmarks.table import Table, percentile
from tests.support.sandbox import Sandbox

RATE = "600/60s"
RUN_SECONDS = "15-25"


@dataclass(frozen=True, slots=True)
class Delay:
    """Of one run, in seconds: from its end to the question that found it, and from that question to the record."""

    found_s: float
    exported_s: float


def measure(size: Size) -> list[Table]:
    """Follow 400 runs that last 15 to 25 s (`quick`: 60 of 3 to 6 s)."""
    runs, seconds = (60, "3-6") if size is Size.QUICK else (400, RUN_SECONDS)
    arguments = ("--limit", f"add={RATE}", "--run-seconds", seconds)
    with tempfile.TemporaryDirectory() as name, Sandbox(*arguments) as sandbox:
        source = make_files(Path(name) / "source", runs)
        with Product(Path(name), sandbox, workers=2, **limits(add=RATE)) as product:
            ran = product.run(source, timeout_s=300)
            log = sandbox.log(files=False)
            delays = _delays(ran, log, _ends(sandbox, product.key))
    return [_table(runs, seconds, ran, log, delays)]


def _table(runs: int, seconds: str, ran: Ran, log: list[dict[str, Any]], delays: list[Delay]) -> Table:
    table = Table(
        "following", f'{runs} runs lasting {seconds} s, started as fast as "{RATE}" allows, followed to the end'
    )
    asked = sum(bool(entry["asked_run_ids"]) for entry in log)
    audits = sum(bool(entry["asked_external_ids"]) for entry in log)
    starts = sorted(entry["t"] for entry in log if entry["class"] == "add")
    table.at_most("status requests per run, the closing audit included", (asked + audits) / runs, 0.3, "{:.3f}")
    table.fact("… of which questions after runs · lists of the audit", f"{asked} · {audits}")
    whole = [delay.found_s + delay.exported_s for delay in delays]
    exported = [delay.exported_s for delay in delays]
    table.at_most("question that finds the end → record on disk, p95 s", percentile(exported, 0.95), 3)
    table.at_most("… slowest of all, s", max(exported), 3)
    table.fact("run's end → question that finds it, p50 · p95 s", _two([delay.found_s for delay in delays]))
    table.fact("run's end → record on disk, p50 · p95 s", _two(whole))
    table.at_most("runs without a record", runs - len(delays), 0, "{:d}")
    table.fact("first start → last start · whole command, s", f"{starts[-1] - starts[0]:.1f} · {ran.seconds:.1f}")
    return table


def _two(values: list[float]) -> str:
    return f"{percentile(values, 0.5):.2f} · {percentile(values, 0.95):.2f}"


def _ends(sandbox: Sandbox, key: str) -> dict[str, float]:
    """Return when each run ended at the provider, by external id."""
    ends: dict[str, float] = {}
    page, pages = 0, 1
    while page < pages:
        answer = _list(sandbox, key, page)
        for run in answer["runs"]:
            ends[run["user_defined_id"]] = datetime.fromisoformat(run["completed"]).timestamp()
        page, pages = page + 1, answer["total_pages"]
    return ends


def _list(sandbox: Sandbox, key: str, page: int) -> dict[str, Any]:
    url = f"{sandbox.url}/api/v1/client/agents/1/runs?page_size=1000&page_number={page}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310 - always http
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _delays(ran: Ran, log: list[dict[str, Any]], ends: Mapping[str, float]) -> list[Delay]:
    questions = [(entry["wall"], set(entry["asked_run_ids"])) for entry in log if entry["asked_run_ids"]]
    delays = []
    for part in (ran.out / "parts").glob("*.json"):
        with part.open("rb") as file:
            file.readline()
            record = json.loads(file.readline())
        end = ends[record["external_id"]]
        asked_at = [at for at, asked in questions if int(record["run_id"]) in asked]
        # A run may end between the arrival of the last question and its answer: then that one found it.
        found = min((at for at in asked_at if at >= end), default=asked_at[-1])
        delays.append(Delay(found - end, part.stat().st_mtime - found))
    return delays
