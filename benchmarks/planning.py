"""Measure planning against the least it could cost: a bare walk of the same tree.

    python -m benchmarks.planning [FILES] [FOLDER]

Makes FILES (1,000,000) small files in FOLDER (a temporary one, removed at the end), then runs, each in a process of its
own and in turn: the bare walk (`os.scandir`, a stat per file, unsorted) and planning (walk, checks, chunks, manifest on
disk, flushed every 50 submissions as the producer does). Prints the best of three of each, the ratio and the peak
memory. Targets for a million: at most 60 s, 200 MB and 3 times the bare walk.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paceline.manifest import ManifestWriter
from paceline.model import PlannedSubmission, SizeLimits
from producers.grouping import DIRECTORY, Grouping
from producers.planning import Cut, Tally, plan_entries
from producers.sources import resolve_source

FILES_PER_FOLDER = 1000
ROUNDS = 3
KOLENA = SizeLimits(files=300, file_bytes=250_000_000)


def make_tree(root: Path, files: int) -> None:
    """Fill `root` with sparse files, a thousand to a folder, a hundred folders to a folder."""
    for number in range(0, files, FILES_PER_FOLDER):
        folder = root / f"{number // (100 * FILES_PER_FOLDER):03d}" / f"folder-{number // FILES_PER_FOLDER:05d}"
        folder.mkdir(parents=True)
        for place in range(min(FILES_PER_FOLDER, files - number)):
            with open(folder / f"document-{number + place:07d}.pdf", "wb") as file:
                file.truncate(1000 + place)


def bare(root: str) -> int:
    """Walk and stat, nothing else."""
    files = 0
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    files += 1
    return files


def plan(root: str) -> int:
    """Walk, chunk and write the manifest."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, ManifestWriter(f"{folder}/manifest.jsonl", "b123456789") as manifest:
        for entry in plan_entries(resolve_source(root), Cut(KOLENA, 300)):
            tally.add(entry)
            manifest.write(entry)
            if isinstance(entry, PlannedSubmission) and entry.index % 50 == 0:
                manifest.flush()
        manifest.flush()
    return tally.total


def listing(root: str) -> int:
    """List it as a source, and do nothing with it."""
    return sum(1 for _ in resolve_source(root).listing.entries())


def grouped(root: str) -> int:
    """Plan it with a run for each folder, which stages the listing on disk."""
    grouping = Grouping(DIRECTORY)
    tally = Tally()
    for entry in plan_entries(resolve_source(root), Cut(KOLENA, 300, grouping=grouping)):
        tally.add(entry)
    return tally.total


def measure(what: str, root: str) -> tuple[float, int, int]:
    """Run one of `WALKS` in a fresh process; return seconds, peak kB and files."""
    command = [sys.executable, "-m", "benchmarks.planning", f"--{what}", root]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak_kb, files = done.stdout.split()
    return float(seconds), int(peak_kb), int(files)


WALKS = {"bare": bare, "listing": listing, "plan": plan, "grouped": grouped}


def child(what: str, root: str) -> None:
    """Do one measured walk and print `seconds peak_kb files`."""
    begun = time.perf_counter()
    files = WALKS[what](root)
    seconds = time.perf_counter() - begun
    # Not `ru_maxrss`: that survives exec, so it is never less than what the parent had.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    print(f"{seconds:.3f} {found[1]} {files}")


def compare(root: str) -> None:
    """Print the table."""
    measure("bare", root)  # the first walk pays for a cold cache
    rounds = [(measure("bare", root), measure("plan", root)) for _ in range(ROUNDS)]
    walk_s, walk_kb, files = min(walked for walked, _ in rounds)
    plan_s, plan_kb, planned = min(planned for _, planned in rounds)
    assert files == planned, f"{files} files walked, {planned} planned"
    print(f"{'':12}{'seconds':>9}{'files/s':>11}{'peak MB':>9}")
    print(f"{'bare walk':12}{walk_s:9.2f}{files / walk_s:11,.0f}{walk_kb / 1024:9.0f}")
    print(f"{'planning':12}{plan_s:9.2f}{files / plan_s:11,.0f}{plan_kb / 1024:9.0f}")
    print(f"{files:,} files: planning costs {plan_s / walk_s:.2f} times the bare walk")


def main(arguments: list[str]) -> None:
    """Understand the arguments; see the module's description."""
    if arguments and arguments[0].startswith("--"):
        child(arguments[0].removeprefix("--"), arguments[1])
    elif len(arguments) > 1 and Path(arguments[1]).is_dir():
        compare(arguments[1])
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_tree(Path(folder), int(arguments[0]) if arguments else 1_000_000)
            compare(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
