"""Uploads a folder through the real adapter, in a process of its own so that its memory can be told.

    python -m benchmarks.uploader URL FOLDER

Prints `{"seconds", "peak_rss_bytes", "descriptors"}`: the whole call, the most memory this process ever had (and what
it had before the call), the most descriptors that were open, counted whenever a file was opened.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO

from paceline.providers.base import SubmitRequest, Upload
from paceline.providers.kolena import Kolena
from sandbox.stats import peak_rss_bytes


class Opener:
    """Opens files and counts the descriptors that are open by then."""

    def __init__(self) -> None:
        self.most = 0

    def open(self, path: Path) -> IO[bytes]:
        """Open a file for reading."""
        file = path.open("rb")
        self.most = max(self.most, len(os.listdir("/proc/self/fd")))
        return file


def main(url: str, folder: str) -> None:
    """Upload once and report."""
    opener = Opener()
    uploads = [
        Upload(path.name, str(path), path.stat().st_size, partial(opener.open, path))
        for path in sorted(Path(folder).iterdir())
    ]
    before = peak_rss_bytes()
    kolena = Kolena(url, "benchmark-key")
    begun = time.perf_counter()
    accepted = kolena.submit(SubmitRequest("1", "benchmark", uploads, deadline_s=600, gate=lambda: None))
    seconds = time.perf_counter() - begun
    assert len(accepted.digests) == len(uploads)
    report = {"seconds": seconds, "peak_rss_bytes": peak_rss_bytes(), "before_rss_bytes": before}
    print(json.dumps({**report, "descriptors": opener.most}))


if __name__ == "__main__":
    main(*sys.argv[1:])
