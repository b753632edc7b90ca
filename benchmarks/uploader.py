"""Uploads a folder through the real adapter, in a process of its own so that its memory can be told.

    python -m benchmarks.uploader URL FOLDER [--at-once N] [--times N] [--count] [--without-turns]

N threads upload the whole folder, each so many times in a row. Prints `{"seconds", "cpu_s", "peak_rss_bytes",
"before_rss_bytes", "descriptors"}`: the wall clock from the first call to the last answer, the process's CPU time in
between, the most memory this process ever had, what it had before. Five uploads of at most 10 MB (or one file) go
before in each thread, uncounted: a worker isn't cold either, and the interpreter takes its time to specialise. With
`--count`, `descriptors` are the most that were open, looked up whenever a file is opened or read, which takes longer
than to open it; else 0. `--without-turns`: as though small files weren't read in turn.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from paceline.files import SourceRoot
from paceline.model import PlannedFile
from paceline.providers import multipart
from paceline.providers.base import SubmitRequest, Upload
from paceline.providers.in_turn import InTurn
from paceline.providers.kolena import Kolena
from sandbox.stats import peak_rss_bytes

WARM_BYTES, WARM_TIMES = 10_000_000, 5
DEADLINE_S = 600

Result = TypeVar("Result")


class Counter:
    """Counts the descriptors that are open after each call."""

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self.most = 0

    def watched(self, act: Callable[[PlannedFile], Result], file: PlannedFile) -> Callable[[], Result]:
        """Return the call, with a look at what is open afterwards."""
        return partial(self._call, act, file) if self._counts else partial(act, file)

    def _call(self, act: Callable[[PlannedFile], Result], file: PlannedFile) -> Result:
        result = act(file)
        self.most = max(self.most, len(os.listdir("/proc/self/fd")) - 1)  # less the one that lists
        return result


def planned(path: Path) -> PlannedFile:
    """Describe a file as planning would."""
    status = path.stat()
    return PlannedFile(path.name, status.st_size, status.st_mtime_ns, path.name)


def main(arguments: list[str]) -> None:
    """Upload and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--without-turns", action="store_true")
    given = parser.parse_args(arguments)
    if given.without_turns:
        multipart.READING = InTurn(lambda: -math.inf)  # its rest never ends
    root = SourceRoot(str(given.folder))
    counter = Counter(counts=given.count)
    files = [planned(path) for path in sorted(given.folder.iterdir())]
    before = peak_rss_bytes()
    kolena = Kolena(given.url, "benchmark-key")

    def send(chosen: list[Upload], times: int) -> None:
        for _ in range(times):
            request = SubmitRequest("1", "benchmark", chosen, deadline_s=DEADLINE_S, gate=lambda: None)
            assert len(kolena.submit(request).digests) == len(chosen)

    ready = threading.Barrier(given.at_once)
    begun: list[float] = []
    ended: list[float] = []
    cpu: list[float] = []

    def work() -> None:
        with root.held() as near:
            uploads = [_upload(counter, near, file) for file in files]
            send(_some(uploads), WARM_TIMES)
            ready.wait()
            cpu.append(time.process_time())
            begun.append(time.perf_counter())  # here: another thread might come to it late
            send(uploads, given.times)
            ended.append(time.perf_counter())
            cpu.append(time.process_time())

    threads = [threading.Thread(target=work) for _ in range(given.at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu_s = max(ended) - min(begun), max(cpu) - min(cpu)
    report = {"seconds": seconds, "cpu_s": cpu_s, "peak_rss_bytes": peak_rss_bytes(), "before_rss_bytes": before}
    print(json.dumps({**report, "descriptors": counter.most}))


def _upload(counter: Counter, root: SourceRoot, file: PlannedFile) -> Upload:
    opens, reads = counter.watched(root.open, file), counter.watched(root.read, file)
    return Upload(file.upload_name, file.path, file.size_bytes, opens, reads)


def _some(uploads: list[Upload]) -> list[Upload]:
    """Return the first files, up to `WARM_BYTES` or one."""
    chosen, size = [uploads[0]], uploads[0].size_bytes
    for upload in uploads[1:]:
        size += upload.size_bytes
        if size > WARM_BYTES:
            break
        chosen.append(upload)
    return chosen


if __name__ == "__main__":
    main(sys.argv[1:])
