"""Measure how well submissions are filled, against the least there can be and against filling in order."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.size import Size
from benchmarks.table import Table
from paceline.chunking import open_draft
from paceline.model import PlannedSubmission, SizeLimits, SourceFile
from producers.filling import Item, fill

KOLENA = SizeLimits(files=300, file_bytes=250_000_000)
KINDO = SizeLimits(files=300, file_bytes=50_000_000, submission_bytes=50_000_000)
MB = 1_000_000


def in_order(items: Iterable[Item], limits: SizeLimits) -> int:
    """Count the submissions that items fill one after the other."""
    draft, count = open_draft(limits, limits.files), 0
    for item in items:
        if not draft.take_all(item):
            draft.cut(count)
            count += 1
            draft.take_all(item)
    return count + bool(draft.files)


def bound(items: Sequence[Item], limits: SizeLimits) -> int:
    """Return what no way of filling can do with less: by files, by bytes, and by items of which no two fit together."""
    files = sum(map(len, items))
    weights = [sum(file.size_bytes for file in item) for item in items]
    most_bytes = limits.submission_bytes or math.inf
    by_bytes = math.ceil(sum(weights) / most_bytes)
    many = sum(len(item) * 2 > limits.files for item in items)
    heavy = sum(weight * 2 > most_bytes for weight in weights)
    return max(math.ceil(files / limits.files), by_bytes, many, heavy)


def single(sizes: Iterable[int]) -> list[Item]:
    """Make files of these sizes, a hundred to a folder."""
    return [(SourceFile(f"{n // 100:05d}/{n:07d}.pdf", size, 1),) for n, size in enumerate(sizes)]


def grouped(numbers: Iterable[int], size_bytes: int = 100_000) -> list[Item]:
    """Make groups of so many files."""
    return [
        tuple(SourceFile(f"{n // 50:04d}/{n:06d}/{m:03d}.pdf", size_bytes, 1) for m in range(number))
        for n, number in enumerate(numbers)
    ]


def distributions(size: Size, dice: random.Random) -> Iterator[tuple[str, SizeLimits, list[Item], float]]:
    """Give what is filled: a name, limits, items, and by how much the bound may be passed at the most."""
    n = 20_000 if size is Size.QUICK else 100_000
    yield "small files, 300 a run", KOLENA, single(dice.randrange(1_000, 100_000) for _ in range(n)), 1.0
    yield "small files, 50 MB", KINDO, single(dice.randrange(1_000, 400_000) for _ in range(n)), 1.01
    yield "up to 10 MB each, 50 MB", KINDO, single(dice.randrange(1, 10 * MB) for _ in range(n // 10)), 1.02
    yield "any size up to 50 MB", KINDO, single(dice.randrange(1, 50 * MB) for _ in range(n // 10)), 1.10
    tail = (min(int(dice.paretovariate(0.9) * 20_000), 49 * MB) for _ in range(n))
    yield "heavy tail, 50 MB", KINDO, single(tail), 1.05
    odd = (min(int(dice.lognormvariate(14, 1.5)), 49 * MB) for _ in range(n // 4))
    yield "log-normal about 1 MB, 50 MB", KINDO, single(odd), 1.02
    yield "groups of 1–40 files, 300 a run", KOLENA, grouped(dice.randrange(1, 41) for _ in range(n // 20)), 1.01
    yield "groups of 50–200 files, 300 a run", KOLENA, grouped(dice.randrange(50, 201) for _ in range(n // 100)), 1.06
    big = grouped((dice.randrange(1, 41) for _ in range(n // 20)), 800_000)
    yield "groups of 1–40 files, 50 MB", KINDO, big, 1.02


def measure(size: Size) -> list[Table]:
    """Fill submissions from several distributions of sizes; everything in memory, nothing listed, nothing written."""
    table = Table("packing", "submissions ÷ the least there can be (by files, bytes, and what can't share a run)")
    for name, limits, items, most in distributions(size, random.Random(11)):
        least, begun = bound(items, limits), time.perf_counter()
        plain, filled = in_order(items, limits), time.perf_counter()
        ours = sum(isinstance(entry, PlannedSubmission) for entry in fill(items, limits, limits.files))
        ratio = (time.perf_counter() - filled) / (filled - begun)
        assert ours <= plain, f"{name}: {ours} submissions, {plain} in order"
        table.at_most(name, ours / least, most, "{:.3f}")
        table.rival("… filled in order", f"{plain / least:.3f}")
        shown = f"{ours:,} · {least:,} · {plain:,} · {ratio:.1f}"
        table.fact("… submissions · least · in order · time ÷ filling in order", shown)
    return [table]
