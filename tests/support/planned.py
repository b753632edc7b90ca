"""Planning that is killed: the same manifest has to come of it, wherever that happens."""

from __future__ import annotations

from pathlib import Path

from paceline.manifest import ManifestWriter
from paceline.model import PlannedSubmission, SizeLimits
from producers.planning import Cut, plan_entries, resume_from
from producers.sources import Source

BATCH = "b123456789"


def write_manifest(
    path: Path, source: Source, limits: SizeLimits, registered: list[tuple[int, int]], stage: str | None = None
) -> tuple[bytes, list[tuple[int, int]]]:
    """Plan behind the last registered `(length, submissions)`; return the manifest and all that was registered."""
    offset, submissions = registered[-1] if registered else (0, 0)
    known = list(registered)
    cut = Cut(limits, 300, stage=stage)
    with ManifestWriter(str(path), BATCH, offset) as manifest:
        resume = resume_from(source, cut, str(path), offset, submissions)
        for entry in plan_entries(source, cut, resume=resume):
            manifest.write(entry)
            if isinstance(entry, PlannedSubmission):
                known.append((manifest.flush(), entry.index))
        manifest.flush()
    return path.read_bytes(), known


def killed_anywhere(source: Source, limits: SizeLimits, folder: Path, *, steps: int = 3) -> Path:
    """Plan as a whole, then break off behind every `steps`-th submission and go on; return the manifest."""
    stage = None if source.listing.ordered else str(folder / "staged" / "stage")
    whole, registered = write_manifest(folder / "whole", source, limits, [], stage)
    assert len(registered) > 2 * steps
    for place in range(0, len(registered), steps):
        broken = folder / f"broken-{place}"
        broken.write_bytes(whole[: registered[place][0]] + b'{"path":"half a line')
        assert write_manifest(broken, source, limits, registered[: place + 1], stage)[0] == whole
    return folder / "whole"
