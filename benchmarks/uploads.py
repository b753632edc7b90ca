"""Measure uploads: speed against `curl -F` to the same server in the same run, memory and descriptors.

The server throws everything away; ours also computes a SHA-256 of every file, which curl doesn't. Rounds alternate, so
that whatever else the machine does falls on both; the median of the rounds' ratios is what counts.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.product import make_files
from benchmarks.size import Size
from benchmarks.table import Table

LARGE_BYTES = 250_000_000
MEMORY_MB = 300
LEAST_SHARE = 0.7
ROUND_S = 300


@dataclass(frozen=True, slots=True)
class Round:
    """One upload by each: seconds, and what our process had open and in memory at most."""

    ours_s: float
    curl_s: float | None
    peak_mb: float
    grown_mb: float
    descriptors: int


def measure(size: Size) -> list[Table]:
    """Upload 24 sparse files of 250 MB at once, then 300 small ones."""
    large, rounds = {Size.QUICK: (4, 1), Size.NORMAL: (24, 1), Size.LONG: (24, 5)}[size]
    with tempfile.TemporaryDirectory() as name, _discarding() as url:
        many = _rounds(url, make_files(Path(name) / "small", 300, size_bytes=20_000), 3 if size is Size.QUICK else 9)
        big = _rounds(url, _sparse(Path(name) / "large", large), rounds)
    few = _table("upload, large files", f"{large} × 250 MB (sparse) in one request", big, large * LARGE_BYTES)
    return [few, _table("upload, small files", "300 × 20 kB in one request", many, 300 * 20_000)]


def _table(part: str, what: str, rounds: list[Round], size_bytes: int) -> Table:
    table = Table(part, f"{what} to a server that discards it, {len(rounds)} alternating rounds, medians")
    ours = statistics.median(size_bytes / one.ours_s / 1e6 for one in rounds)
    ratios = [one.curl_s / one.ours_s for one in rounds if one.curl_s]
    if ratios:
        table.at_least("speed ÷ speed of curl -F", statistics.median(ratios), LEAST_SHARE)
    table.fact("paceline, MB/s (with a SHA-256 of every file)", f"{ours:,.0f}")
    curls = [size_bytes / one.curl_s / 1e6 for one in rounds if one.curl_s]
    if curls:
        table.rival("curl -F, MB/s", f"{statistics.median(curls):,.0f}")
    table.at_most("peak memory of the uploading process, MB", max(one.peak_mb for one in rounds), MEMORY_MB, "{:.0f}")
    table.fact("… of which the upload itself, MB", f"{max(one.grown_mb for one in rounds):.0f}")
    table.at_most("open descriptors", max(one.descriptors for one in rounds), 16, "{:d}")
    return table


def _rounds(url: str, folder: Path, number: int) -> list[Round]:
    curl = shutil.which("curl")
    return [_round(url, folder, curl, ours_first=turn % 2 == 0) for turn in range(number)]


def _round(url: str, folder: Path, curl: str | None, *, ours_first: bool) -> Round:
    curl_s = None if curl is None or ours_first else _curl(curl, url, folder)
    command = [sys.executable, "-m", "benchmarks.uploader", url, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=ROUND_S)
    report = json.loads(done.stdout)
    if curl is not None and ours_first:
        curl_s = _curl(curl, url, folder)
    grown = report["peak_rss_bytes"] - report["before_rss_bytes"]
    return Round(report["seconds"], curl_s, report["peak_rss_bytes"] / 1e6, grown / 1e6, report["descriptors"])


def _curl(curl: str, url: str, folder: Path) -> float:
    """Return the seconds of curl's own clock, without the start of its process: ours doesn't count Python's either."""
    command = [curl, "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}", "--noproxy", "*"]
    for path in sorted(folder.iterdir()):
        command += ["-F", f"files=@{path}"]
    done = subprocess.run([*command, url], check=True, capture_output=True, timeout=ROUND_S)
    return float(done.stdout)


def _sparse(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        with open(folder / f"large-{number:02d}.bin", "wb") as file:
            file.truncate(LARGE_BYTES)
    return folder


@contextmanager
def _discarding() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.discard"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()  # it ends by itself
        deadline = time.monotonic() + 5
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
