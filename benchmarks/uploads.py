"""Measure uploads: speed against `curl -F` to the same server in the same run, memory and descriptors.

The server throws everything away. Ours also computes a SHA-256 of every file while it is sent, which curl doesn't; so
beside curl alone stands curl after `openssl dgst -sha256`, the same work by two commands. Rounds alternate, so that
whatever else the machine does falls on all; the median of the rounds' ratios is what counts.
"""

from __future__ import annotations

import json
import math
import resource
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
DESCRIPTORS = 16
ROUND_S = 300


@dataclass(frozen=True, slots=True)
class Round:
    """One upload by each, in seconds, and what our process had in memory and open at most. NaN: not on this machine."""

    ours_s: float
    ours_cpu_s: float
    curl_s: float
    curl_cpu_s: float
    hash_s: float
    peak_mb: float
    grown_mb: float
    descriptors: int


def measure(size: Size) -> list[Table]:
    """Upload 24 sparse files of 250 MB at once (`quick`: 4), and 300 small ones."""
    large, rounds = {Size.QUICK: (4, 1), Size.NORMAL: (24, 2), Size.LONG: (24, 5)}[size]
    with tempfile.TemporaryDirectory() as name, _discarding() as url:
        many = _rounds(url, make_files(Path(name) / "small", 300, size_bytes=20_000), 3 if size is Size.QUICK else 9)
        big = _rounds(url, _sparse(Path(name) / "large", large), rounds)
    few = _table("upload, large files", f"{large} × 250 MB (sparse) in one request", big, large * LARGE_BYTES)
    return [few, _table("upload, small files", "300 × 20 kB in one request", many, 300 * 20_000)]


def _table(part: str, what: str, rounds: list[Round], size_bytes: int) -> Table:
    table = Table(part, f"{what} to a server that discards it, {len(rounds)} alternating rounds, medians")

    def speed(seconds: list[float]) -> str:
        return f"{size_bytes / statistics.median(seconds) / 1e6:,.0f}"

    if not math.isnan(rounds[0].curl_s):
        ratio = statistics.median(one.curl_s / one.ours_s for one in rounds)
        table.at_least("speed ÷ speed of curl -F, which computes no digest", ratio, LEAST_SHARE)
    if not math.isnan(rounds[0].hash_s):
        ratio = statistics.median((one.hash_s + one.curl_s) / one.ours_s for one in rounds)
        table.fact("speed ÷ speed of openssl dgst -sha256, then curl -F", f"{ratio:.2f}")
    table.fact("paceline, with a SHA-256 of every file, MB/s", speed([one.ours_s for one in rounds]))
    if not math.isnan(rounds[0].curl_s):
        table.rival("curl -F, MB/s", speed([one.curl_s for one in rounds]))
    mine, curls = (
        statistics.median(used) / size_bytes * 1e12
        for used in ([o.ours_cpu_s for o in rounds], [o.curl_cpu_s for o in rounds])
    )
    table.fact("CPU per GB, ms: paceline · curl (with its start)", f"{mine:,.0f} · {curls:,.0f}")
    table.at_most("peak memory of the uploading process, MB", max(one.peak_mb for one in rounds), MEMORY_MB, "{:.0f}")
    table.fact("… of which the upload itself, MB", f"{max(one.grown_mb for one in rounds):.0f}")
    table.at_most("open descriptors", max(one.descriptors for one in rounds), DESCRIPTORS, "{:d}")
    return table


def _rounds(url: str, folder: Path, number: int) -> list[Round]:
    _hash(folder)  # whoever reads first would pay for filling the page cache
    return [_round(url, folder, ours_first=turn % 2 == 0) for turn in range(number)]


def _round(url: str, folder: Path, *, ours_first: bool) -> Round:
    before = None if ours_first else (*_curl(url, folder), _hash(folder))
    command = [sys.executable, "-m", "benchmarks.uploader", url, str(folder)]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=ROUND_S).stdout)
    curl_s, curl_cpu_s, hash_s = before or (*_curl(url, folder), _hash(folder))
    peak, grown = report["peak_rss_bytes"], report["peak_rss_bytes"] - report["before_rss_bytes"]
    ours = (report["seconds"], report["cpu_s"], curl_s, curl_cpu_s, hash_s)
    return Round(*ours, peak / 1e6, grown / 1e6, report["descriptors"])


def _curl(url: str, folder: Path) -> tuple[float, float]:
    """Return curl's seconds by its own clock, without its process's start (ours doesn't count Python's), and in CPU."""
    if (curl := shutil.which("curl")) is None:
        return math.nan, math.nan
    command = [curl, "-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}", "--noproxy", "*"]
    for path in sorted(folder.iterdir()):
        command += ["-F", f"files=@{path}"]
    before = _children_cpu_s()
    said = subprocess.run([*command, url], check=True, capture_output=True, timeout=ROUND_S).stdout
    return float(said), _children_cpu_s() - before


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _hash(folder: Path) -> float:
    """Return the seconds that openssl takes to hash every file; coreutils' sha256sum takes five times the CPU."""
    if (openssl := shutil.which("openssl")) is None:
        return math.nan
    begun = time.perf_counter()
    paths = [str(path) for path in folder.iterdir()]
    subprocess.run([openssl, "dgst", "-sha256", *paths], check=True, capture_output=True, timeout=ROUND_S)
    return time.perf_counter() - begun


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
