"""Measure uploads: speed against `curl -F` to the same server in the same run, memory and descriptors.

The server throws everything away. Both sides are timed from connecting to having read the answer, neither with the
start of its process: curl by its own `time_total`, ours by the clock around the adapter's call, in a process that has
made a few uploads before, as a worker has (its first takes twice as long). That includes our opening of every file with
its checks; curl has looked all of them up before its clock begins.

Ours also computes a SHA-256 of every file while it is sent, which curl doesn't; so beside curl alone stand curl after
`openssl dgst -sha256`, the same work by two commands, and what curl would reach if its one thread hashed too. Beside
small files stands a loop in Python that opens, reads, hashes and sends, and checks nothing. And 300
files of either size are also sent over lines of some Gbit/s, which the server plays by reading no faster: what a user
has, if that much, and there the line binds, not the hashing. Four uploads of small files at once are also made without
reading them in turn (`paceline/providers/in_turn.py`).
Rounds alternate, so that whatever else the machine does falls on all; the median of the rounds' ratios is what counts.
"""

from __future__ import annotations

import hashlib
import json
import math
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.product import make_files
from benchmarks.size import Size
from benchmarks.table import Table

LARGE_BYTES = 250_000_000
MID_BYTES = 1_000_000
SMALL_BYTES = 20_000
MEMORY_MB = 300
LEAST_SHARE = 0.7
DESCRIPTORS, MORE_DESCRIPTORS = 16, 4
"""Those of a process with one upload, and those of each further one: folder, file, connection, the hand on it."""
AT_ONCE = 4
LINES_GBIT_PER_S = (1, 2, 4)
"""Lines that the server can play; it can't read 10 Gbit/s in pieces and count them."""
ROUND_S = 300
POSTS = 300

GROWS = "an upload of 3 files of 8 MB (24 MB), and one of 3 files of 20 kB"


@dataclass(frozen=True, slots=True)
class Case:
    """What is uploaded: a folder, by so many at once, each so many times in a row."""

    folder: Path
    size_bytes: int
    at_once: int = 1
    times: int = 1
    small_bytes: int = 0
    """The size of each file, where they are alike and so small that ours are hashed by the thread that sends, too."""

    @property
    def all_bytes(self) -> int:
        """What a round sends."""
        return self.size_bytes * self.at_once * self.times

    def ours(self, url: str, *further: str) -> Mapping[str, float]:
        """Upload through the adapter; return the uploader's report."""
        command = [sys.executable, "-m", "benchmarks.uploader", url, str(self.folder)]
        command += ["--at-once", str(self.at_once), "--times", str(self.times), *further]
        said = subprocess.run(command, check=True, capture_output=True, timeout=ROUND_S).stdout
        report: Mapping[str, float] = json.loads(said)
        return report

    def bare_s(self, url: str) -> float:
        """Return the seconds of the bare loop; NaN where files are too large for it, or uploads several."""
        if not self.small_bytes:
            return math.nan
        command = [sys.executable, "-m", "benchmarks.bare_upload", url, str(self.folder), str(self.small_bytes)]
        said = subprocess.run(command, check=True, capture_output=True, timeout=ROUND_S).stdout
        return float(json.loads(said)["seconds"])


@dataclass(frozen=True, slots=True)
class Round:
    """One upload by each, in seconds, and what our process had in memory. NaN: not on this machine."""

    ours_s: float
    ours_cpu_s: float
    curl_s: float
    curl_cpu_s: float
    hash_s: float
    bare_s: float
    peak_mb: float
    grown_mb: float


def measure(size: Size) -> list[Table]:
    """Upload 24 sparse files of 250 MB at once (`quick`: 4), 300 of 1 MB, 300 small ones; then four times at once."""
    large, rounds, several = {Size.QUICK: (4, 1, 3), Size.NORMAL: (24, 2, 15), Size.LONG: (24, 5, 25)}[size]
    quick = size is Size.QUICK
    with tempfile.TemporaryDirectory() as name, discarding() as url:
        folder = Path(name)
        small = make_files(folder / "small", 300, size_bytes=SMALL_BYTES)
        mid = _sparse(folder / "mid", 300, MID_BYTES)
        big = _sparse(folder / "large", large, LARGE_BYTES)
        fewer = _sparse(folder / "fewer", 2 if quick else 6, LARGE_BYTES)
        little = Case(small, 300 * SMALL_BYTES, small_bytes=SMALL_BYTES)
        cases = [
            ("large files", f"{large} × 250 MB (sparse) in one request", Case(big, large * LARGE_BYTES), rounds),
            ("files of 1 MB", "300 × 1 MB (sparse) in one request", Case(mid, 300 * MID_BYTES), several),
            ("small files", "300 × 20 kB in one request", little, several),
        ]
        for kind, case, count in (
            (f"{2 if quick else 6} × 250 MB (sparse)", _four(fewer, 1), rounds),
            ("300 × 20 kB, ten times in a row", _four(small, 10), several),
        ):
            what = f"{AT_ONCE} uploads at once by threads of one process, against as many curls, each of {kind}"
            cases.append((f"four at once, {kind.partition(' (')[0].partition(',')[0]}", what, case, count))
        tables = [_table(f"upload, {part}", what, case, url, count) for part, what, case, count in cases]
        tables += [_over_lines(kind, what, case, min(several, 5)) for kind, what, case, _ in cases[1:3]]
        return [*tables, one_file(url, folder)]


def _four(folder: Path, times: int) -> Case:
    return Case(folder, sum(path.stat().st_size for path in folder.iterdir()), AT_ONCE, times)


def _table(part: str, what: str, case: Case, url: str, rounds: int) -> Table:
    ends = f"{what} to a server that discards it, {rounds} alternating rounds, medians; from connecting to the answer"
    table = Table(part, f"{ends}, without the start of either process")
    measured = _rounds(url, case, rounds)
    _speeds(table, case, measured)
    counted = case.ours(url, "--count")
    most = DESCRIPTORS + MORE_DESCRIPTORS * (case.at_once - 1)
    table.at_most("peak memory of the uploading process, MB", max(one.peak_mb for one in measured), MEMORY_MB, "{:.0f}")
    table.fact("… of which the uploads themselves, MB", f"{max(one.grown_mb for one in measured):.0f}")
    table.at_most("open descriptors", int(counted["descriptors"]), most, "{:d}")
    if case.at_once > 1 and case.times > 1:
        _turns(table, case, url, rounds)
    return table


def _turns(table: Table, case: Case, url: str, rounds: int) -> None:
    """Tell what reading in turn saves, round by round beside the same without it."""
    both = [(case.ours(url), case.ours(url, "--without-turns")) for _ in range(rounds)]
    for what, key in (("time", "seconds"), ("CPU", "cpu_s")):
        ratio = statistics.median(with_turns[key] / without[key] for with_turns, without in both)
        table.fact(f"{what} ÷ {what} without reading small files in turn", f"{ratio:.2f}")


def _over_lines(kind: str, what: str, case: Case, rounds: int) -> Table:
    ends = f"a server that reads no faster than a line brings it, {rounds} alternating rounds, medians"
    table = Table(f"upload, {kind} over a line", f"{what} to {ends}; ours with a SHA-256 of every file, curl without")
    for gigabits in LINES_GBIT_PER_S:
        with discarding(gigabits * 125e6) as url:
            measured = _rounds(url, case, rounds)
        ours, curls = (
            case.all_bytes / statistics.median(taken) / 1e6
            for taken in ([one.ours_s for one in measured], [one.curl_s for one in measured])
        )
        if not math.isnan(curls):
            table.at_least(f"{gigabits} Gbit/s: speed ÷ speed of curl -F", _ratio(measured), LEAST_SHARE)
            table.rival("… curl -F, MB/s", f"{curls:,.0f}")
        table.fact(f"{gigabits} Gbit/s: MB/s", f"{ours:,.0f}")
    return table


def _speeds(table: Table, case: Case, rounds: list[Round]) -> None:
    def speed(seconds: float) -> str:
        return f"{case.all_bytes / seconds / 1e6:,.0f}"

    curl_s = statistics.median(one.curl_s for one in rounds)
    if not math.isnan(curl_s):
        what, ratio = "speed ÷ speed of curl -F, which computes no digest", _ratio(rounds)
        if case.at_once == 1:
            table.at_least(what, ratio, LEAST_SHARE)
            alone_s = case.all_bytes / digest_bytes_per_s()
            table.fact("… that curl would have if its thread also hashed", f"{curl_s / (curl_s + alone_s):.2f}")
        else:
            table.fact(what, f"{ratio:.2f}")
    if not math.isnan(rounds[0].bare_s):
        if not math.isnan(curl_s):
            bare = statistics.median(one.curl_s / one.bare_s for one in rounds)
            table.fact("… that a loop in Python reaches which only opens, reads, hashes and sends", f"{bare:.2f}")
        ratio = statistics.median(one.bare_s / one.ours_s for one in rounds)
        table.fact("speed ÷ speed of that loop: what checks and HTTP leave", f"{ratio:.2f}")
    if not math.isnan(rounds[0].hash_s):
        ratio = statistics.median((one.hash_s + one.curl_s) / one.ours_s for one in rounds)
        table.fact("speed ÷ speed of openssl dgst -sha256, then curl -F", f"{ratio:.2f}")
    table.fact("paceline, with a SHA-256 of every file, MB/s", speed(statistics.median(one.ours_s for one in rounds)))
    if not math.isnan(curl_s):
        table.rival("curl -F, MB/s", speed(curl_s))
    mine, curls = (
        statistics.median(used) / case.all_bytes * 1e12
        for used in ([o.ours_cpu_s for o in rounds], [o.curl_cpu_s for o in rounds])
    )
    table.fact("CPU per GB, ms: paceline · curl (with its start)", f"{mine:,.0f} · {curls:,.0f}")


def _ratio(rounds: list[Round]) -> float:
    return statistics.median(one.curl_s / one.ours_s for one in rounds)


def _rounds(url: str, case: Case, number: int) -> list[Round]:
    _hash(case.folder)  # whoever reads first would pay for filling the page cache
    return [_round(url, case, ours_first=turn % 2 == 0) for turn in range(number)]


def _round(url: str, case: Case, *, ours_first: bool) -> Round:
    before = None if ours_first else (*_curl(url, case), _hash(case.folder), case.bare_s(url))
    report = case.ours(url)
    curl_s, curl_cpu_s, hash_s, bare_s = before or (*_curl(url, case), _hash(case.folder), case.bare_s(url))
    peak, grown = report["peak_rss_bytes"], report["peak_rss_bytes"] - report["before_rss_bytes"]
    every_hash_s = hash_s if case.at_once == case.times == 1 else math.nan
    return Round(report["seconds"], report["cpu_s"], curl_s, curl_cpu_s, every_hash_s, bare_s, peak / 1e6, grown / 1e6)


def _curl(url: str, case: Case) -> tuple[float, float]:
    """Return the seconds of the slowest curl by its own clock, and the CPU seconds of all, with their starts."""
    if (curl := shutil.which("curl")) is None:
        return math.nan, math.nan
    transfer = ["-sS", "--fail", "-o", "/dev/null", "-w", "%{time_total}\n", "--noproxy", "*"]
    for path in sorted(case.folder.iterdir()):
        transfer += ["-F", f"files=@{path}"]
    transfer.append(url)
    command = [curl, *transfer, *(["--next", *transfer] * (case.times - 1))]
    before = _children_cpu_s()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(case.at_once)]
    said = [process.communicate(timeout=ROUND_S)[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("a curl failed")
    return max(sum(map(float, one.split())) for one in said), _children_cpu_s() - before


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


def digest_bytes_per_s() -> float:
    """Return how fast this machine's one core hashes what is in its cache, by CPU time."""
    block = bytes(1 << 20)
    begun = time.thread_time()
    for _ in range(200):
        hashlib.sha256(block)
    return 200 * len(block) / (time.thread_time() - begun)


def one_file(url: str, folder: Path) -> Table:
    """Measure the CPU time of a POST that carries one small file: a worker's share of a submission."""
    case = Case(make_files(folder / "one", 1), 200, times=POSTS)
    table = Table("upload, one small file", f"200 bytes in a request of their own, {POSTS} times in a row")
    ours = statistics.median(case.ours(url)["cpu_s"] for _ in range(3))
    table.fact("CPU per request, a new connection each, ms", f"{ours / POSTS * 1e3:.2f}")
    path = next(case.folder.iterdir())
    for what, kept in (("httpx.Client, a new connection each, ms", 0), ("httpx.Client, connection kept, ms", 1)):
        limits = httpx.Limits(max_keepalive_connections=kept)
        with httpx.Client(limits=limits, timeout=60, trust_env=False) as client:
            begun = time.process_time()
            for _ in range(POSTS):
                answer = client.post(
                    url, data={"user_defined_id": "a"}, files={"files": (path.name, path.read_bytes())}
                )
                answer.raise_for_status()
        table.rival(what, f"{(time.process_time() - begun) / POSTS * 1e3:.2f}")
    return table


def grow(scale: int) -> Mapping[str, float]:
    """Return what an upload costs of `3 × scale` files: of 8 MB each, and of 20 kB each; medians of 3."""
    with tempfile.TemporaryDirectory() as name, discarding() as url:
        large = Case(_sparse(Path(name) / "large", 3 * scale, 8_000_000), 24_000_000 * scale)
        files = make_files(Path(name) / "small", 3 * scale, size_bytes=SMALL_BYTES)
        small = Case(files, 60_000 * scale, times=20)  # one alone is a millisecond
        costs: dict[str, float] = {}
        for what, case in (("8 MB", large), ("20 kB", small)):
            reports = [case.ours(url) for _ in range(3)]
            costs[f"seconds, files of {what}"] = statistics.median(one["seconds"] for one in reports) / case.times
            costs[f"CPU seconds, files of {what}"] = statistics.median(one["cpu_s"] for one in reports) / case.times
            costs[f"peak MB, files of {what}"] = max(one["peak_rss_bytes"] for one in reports) / 1e6
            costs[f"descriptors, files of {what}"] = case.ours(url, "--count")["descriptors"]
    return costs


def _sparse(folder: Path, count: int, size_bytes: int) -> Path:
    folder.mkdir()
    for number in range(count):
        with open(folder / f"sparse-{number:03d}.bin", "wb") as file:
            file.truncate(size_bytes)
    return folder


@contextmanager
def discarding(bytes_per_s: float = math.inf) -> Iterator[str]:
    """Run the server that discards, reading each connection no faster than that; give its URL."""
    command = [sys.executable, "-m", "benchmarks.discard", str(bytes_per_s)]
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
