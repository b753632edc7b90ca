"""Uploads a folder through the real adapter, in a process of its own so that its memory can be told.

    python -m benchmarks.uploader URL FOLDER

Prints `{"seconds", "cpu_s", "peak_rss_bytes", "before_rss_bytes", "descriptors"}`: the whole call by the wall clock and
in CPU time, the most memory this process ever had, what it had before, the most descriptors that were open, counted
whenever a file was opened.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO

from paceline.files import SourceRoot
from paceline.model import PlannedFile
from paceline.providers.base import SubmitRequest, Upload
from paceline.providers.kolena import Kolena
from sandbox.stats import peak_rss_bytes


class Opener:
    """Opens files as the steps do, and counts the descriptors that are open by then."""

    def __init__(self, folder: str) -> None:
        self._root = SourceRoot(folder)
        self.most = 0

    def open(self, file: PlannedFile) -> IO[bytes]:
        """Open a file for reading."""
        opened = self._root.open(file)
        pass
        return opened


def planned(path: Path) -> PlannedFile:
    """Describe a file as planning would."""
    status = path.stat()
    return PlannedFile(path.name, status.st_size, status.st_mtime_ns, path.name)


def main(url: str, folder: str) -> None:
    """Upload once and report."""
    opener = Opener(folder)
    files = [planned(path) for path in sorted(Path(folder).iterdir())]
    uploads = [Upload(file.upload_name, file.path, file.size_bytes, partial(opener.open, file)) for file in files]
    before = peak_rss_bytes()
    kolena = Kolena(url, "benchmark-key")
    empty = Upload("empty", "empty", 0, io.BytesIO)
    kolena.submit(SubmitRequest("1", "warm", [empty], deadline_s=60, gate=lambda: None))  # a worker isn't cold either
    begun, cpu = time.perf_counter(), time.process_time()
    accepted = kolena.submit(SubmitRequest("1", "benchmark", uploads, deadline_s=600, gate=lambda: None))
    seconds, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
    assert len(accepted.digests) == len(uploads)
    report = {"seconds": seconds, "cpu_s": cpu_s, "peak_rss_bytes": peak_rss_bytes(), "before_rss_bytes": before}
    print(json.dumps({**report, "descriptors": opener.most}))


if __name__ == "__main__":
    main(*sys.argv[1:])
