"""Measure planning: the walk, the checks and the manifest of a million files against a bare walk of the same tree."""

from __future__ import annotations

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


def grow(scale: int) -> Mapping[str, float]:
    """Plan `scale` times 10,000 files; the better of two, after a walk that pays for a cold cache."""
    with tempfile.TemporaryDirectory() as root:
        planning.make_tree(Path(root), 10_000 * scale)
        planning.measure("bare", root)
        rounds = [(planning.measure("bare", root), planning.measure("plan", root)) for _ in range(2)]
    return {
        "seconds": min(plan_s for _, (plan_s, _, _) in rounds),
        "peak MB": min(plan_kb for _, (_, plan_kb, _) in rounds) / 1024,
        "seconds of a bare walk": min(walk_s for (walk_s, _, _), _ in rounds),
    }
