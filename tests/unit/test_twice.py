"""Paths that stand twice in a manifest, whatever order it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from paceline.manifest import ManifestWriter
from paceline.model import PlannedFile, PlannedSubmission, SkippedFile, SkipReason
from paceline.verifying.twice import twice

NAMES = {"in order": ("a", "b", "c", "d"), "of groups": ("a", "c", "b", "d\udcff")}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("again", [None, "planned", "skipped"])
def test_a_path_that_stands_twice_is_found(tmp_path: Path, names: tuple[str, ...], again: str | None) -> None:
    path = str(tmp_path / "manifest.jsonl")
    with ManifestWriter(path, "b123456789") as writer:
        for index, name in enumerate(names, 1):
            writer.write(PlannedSubmission(index, (PlannedFile(name, 1, 1, "x"),)))
        writer.write(SkippedFile("0", SkipReason.EMPTY, 0, 1))
        if again == "planned":
            writer.write(PlannedSubmission(5, (PlannedFile(names[-1], 1, 1, "x"),)))
        if again == "skipped":
            writer.write(SkippedFile(names[-1], SkipReason.EMPTY, 0, 1))
        writer.flush()

    assert list(twice(path, None)) == ([names[-1]] if again else [])
