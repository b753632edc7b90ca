"""Measure planning: the walk, the checks and the manifest of a million files against a bare walk of the same tree."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import planning
from benchmarks.size import Size
from benchmarks.table import Table

MOST_S, MOST_MB, MOST_RATIO = 60, 200, 3


def measure(size: Size) -> list[Table]:
    """Plan a million files (`quick`: 50,000), the best of three; the bare walk takes turns with it."""
    files = 50_000 if size is Size.QUICK else 1_000_000
    with tempfile.TemporaryDirectory() as root:
        planning.make_tree(Path(root), files)
        planning.measure("bare", root)  # the first walk pays for a cold cache
        rounds = [(planning.measure("bare", root), planning.measure("plan", root)) for _ in range(planning.ROUNDS)]
    walk_s, walk_kb, walked = min(walk for walk, _ in rounds)
    plan_s, plan_kb, planned = min(plan for _, plan in rounds)
    assert walked == planned == files, f"{walked} files walked, {planned} planned"
    table = Table("planning", f"{files:,} sparse files in folders of {planning.FILES_PER_FOLDER:,}, best of three")
    table.at_most("planning, s", plan_s, MOST_S * files / 1_000_000)
    table.at_most("peak memory, MB", plan_kb / 1024, MOST_MB, "{:.0f}")
    table.at_most("time ÷ a bare scandir walk with stat", plan_s / walk_s, MOST_RATIO)
    table.fact("files a second", f"{files / plan_s:,.0f}")
    table.rival("bare walk: s · peak MB", f"{walk_s:.2f} · {walk_kb / 1024:.0f}")
    return [table]


GROWS = "10,000 files"

GROWTH_NOTES = {
    "seconds": "as the bare walk does where names no longer fit the kernel's cache: the lines below are planning's own",
}


def grow(scale: int) -> Mapping[str, float]:
    """Plan `scale` times 10,000 files; the best of three, after a walk that pays for a cold cache."""
    with tempfile.TemporaryDirectory() as root:
        planning.make_tree(Path(root), 10_000 * scale)
        planning.measure("bare", root)
        rounds = [(planning.measure("bare", root), _planned(root)) for _ in range(planning.ROUNDS)]
    seconds = min(plan_s for _, (plan_s, _, _) in rounds)
    return {
        "seconds": seconds,
        "seconds ÷ a bare walk's": seconds / min(walk_s for (walk_s, _, _), _ in rounds),
        "CPU seconds, start of Python included": min(used_s for _, (_, used_s, _) in rounds),
        "peak MB": min(peak_kb for _, (_, _, peak_kb) in rounds) / 1024,
    }


def _planned(root: str) -> tuple[float, float, int]:
    """Plan in a fresh process; return seconds, CPU seconds and peak kB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak_kb, _ = planning.measure("plan", root)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak_kb
