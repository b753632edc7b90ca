"""Measure a whole batch of a million files: listing, planning, feeding, exporting, finalizing, exporting again.

Everything but the two bare walks goes through the shipped command and its real fleet, against a sandbox without limits
whose runs end at once. The times of the phases are those of the batch's own journal.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import planning
from benchmarks.engine import FREE, KNOWN, WORKERS, redis_facts
from benchmarks.product import Product, Ran, limits
from benchmarks.size import Size
from benchmarks.table import Table
from paceline.views import Views
from tests.support.sandbox import Sandbox

FILES = {Size.QUICK: 6_000, Size.NORMAL: 100_000, Size.LONG: 1_000_000}
FILES_PER_RUN = 300
TIMEOUT_S = 3600
AGAIN = ("again", "again.jsonl", "again.csv", "again.files.csv", "sqlite:///again.db")
"""The folder, then what is compared with it; in the benchmark's own folder."""


def measure(size: Size) -> list[Table]:
    """Run 100,000 files (`quick` 6,000, `long` a million) of 300 to a run."""
    files = FILES[size]
    off = [word for name in ("add", "list", "get", "other") for word in ("--limit", f"{name}=off")]
    settings = {"workers": WORKERS, **limits(add=FREE, list=FREE, get=FREE)}
    with tempfile.TemporaryDirectory() as name, Sandbox(*off, "--run-seconds", "0") as sandbox:
        source = Path(name) / "source"
        planning.make_tree(source, files)
        planning.measure("bare", str(source))  # the first walk pays for a cold cache
        walks = {what: planning.measure(what, str(source)) for what in planning.WALKS}
        with Product(Path(name), sandbox, **settings) as product:
            before = redis_facts(product)["bytes"]
            ran = product.run(source, files_per_run=FILES_PER_RUN, timeout_s=TIMEOUT_S)
            kept = redis_facts(product)["bytes"] - before
            batch = ran.summary["batch"]
            journal = _journal(Views(product.redis), batch)
            committed_ms = (ran.out / "_SUCCESS").stat().st_mtime * 1000
            again = {}
            for place in AGAIN:
                scheme, slashes, path = place.rpartition(":///")
                again[place] = product.export(batch, f"{scheme}{slashes}{Path(name, path)}", timeout_s=TIMEOUT_S)
    submissions = ran.summary["submissions"]["total"]
    return [
        _walks(files, walks),
        _phases(files, submissions, ran, journal, committed_ms),
        _memory(files, submissions, ran, kept),
        _again(files, again),
    ]


def _journal(views: Views, batch: str) -> dict[str, tuple[int, int]]:
    """Return the first and the last time, in ms, of each verb."""
    found: dict[str, tuple[int, int]] = {}
    for entry in views.journal(batch):
        at = int(entry["at_ms"])
        first, last = found.get(entry["verb"], (at, at))
        found[entry["verb"]] = min(first, at), max(last, at)
    return found


def _walks(files: int, walks: dict[str, tuple[float, int, int]]) -> Table:
    table = Table(
        "million, before anything is sent", f"{files:,} sparse files of about 1.5 kB, each in a fresh process"
    )
    bare_s, bare_kb, _ = walks["bare"]
    table.rival("bare scandir walk with stat: s · peak MB", f"{bare_s:.2f} · {bare_kb / 1024:.0f}")
    words = {
        "listing": "listing: sorted, links and permissions looked at",
        "plan": "planning: listing, cut, manifest on disk",
        "grouped": "planning by folder (--group-by directory), staged on disk",
    }
    for what, text in words.items():
        seconds, peak_kb, _ = walks[what]
        table.fact(
            f"{text}: s · peak MB · ÷ bare walk", f"{seconds:.2f} · {peak_kb / 1024:.0f} · {seconds / bare_s:.2f}"
        )
    return table


def _phases(files: int, submissions: int, ran: Ran, journal: dict[str, tuple[int, int]], committed_ms: float) -> Table:
    table = Table(
        "million, the whole batch",
        f"{files:,} files in {submissions:,} submissions, runs that end at once, no limit, {WORKERS} uploaders",
    )
    begun_ms = journal["plan"][0]
    words = {
        "plan": "planned into the ledger, first → last",
        "begin": "fed and begun, first → last",
        "finish": "runs found finished, first → last",
        "exported": "exported, first → last",
    }
    for verb, text in words.items():
        first, last = journal.get(verb, (begun_ms, begun_ms))
        seconds = max(last - first, 1) / 1000
        table.fact(f"{text}: s · submissions/s", f"{seconds:.1f} · {submissions / seconds:.0f}")
    final_s = (committed_ms - journal["exported"][1]) / 1000
    table.fact("finalizing: last export → _SUCCESS (audit and final files), s", f"{final_s:.1f}")
    table.fact("whole command, s · files/s", f"{ran.seconds:.1f} · {files / ran.seconds:,.0f}")
    for name, used in sorted(ran.cpu_s.items()):
        table.fact(f"CPU, {name}, s", f"{used:.1f}")
    return table


def _memory(files: int, submissions: int, ran: Ran, kept: Any) -> Table:
    table = Table("million, memory", "the same batch: the kernel's high-water marks, and what Redis keeps")
    for name, peak in sorted(ran.peak_mb.items()):
        table.fact(f"peak MB, {name}", f"{peak:.0f}")
    total = sum(size for what, size in kept.items() if not what.startswith(("results", "broker", KNOWN)))
    table.fact("ledger, bytes per submission · per file", f"{total / submissions:,.0f} · {total / files:.1f}")
    for what, size_bytes in kept.most_common(6):
        table.fact(f"… {what}", f"{size_bytes / submissions:,.0f}")
    return table


def _again(files: int, again: dict[str, tuple[float, float]]) -> Table:
    table = Table("million, exported again", f"`paceline export` of the {files:,} files, one after the other")
    folder_s = again[AGAIN[0]][0]
    for place, (seconds, peak) in again.items():
        table.fact(f"{place}: s · peak MB · ÷ the folder", f"{seconds:.1f} · {peak:.0f} · {seconds / folder_s:.2f}")
    return table
