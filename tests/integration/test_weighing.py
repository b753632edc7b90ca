"""Planning by what files weigh in a request: from a real folder to bodies that are never too large."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path

import pytest

from paceline.errors import SourceUnreachable
from paceline.files import SourceRoot
from paceline.manifest import ManifestWriter
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile
from paceline.providers.base import Upload
from paceline.providers.kindo_body import Body, Forms, Weighing
from producers.planning import Cut, Resume, plan_entries
from producers.sources import resolve_source
from producers.walking import walk
from producers.weighing import FileScale

AGENT = "3f0c1d2e-5a6b-4c7d-8e9f-0a1b2c3d4e5f"
BODY_BYTES = 6_000
LIMITS = SizeLimits(300, BODY_BYTES, BODY_BYTES)
INPUTS = {"language": "de"}


def make_source(root: Path) -> Path:
    """Make text, quotation marks and noise in a few folders, with twins among their names."""
    draw = random.Random(11)
    for folder in ("a", "b", "c/d"):
        (root / folder).mkdir(parents=True)
        for n in range(12):
            size = draw.randrange(1, 1200)
            kinds = [b"word " * size, b'"\n' * size, draw.randbytes(size)]
            (root / folder / f"{n}.txt").write_bytes(draw.choice(kinds)[:size])
    (root / "c" / "huge.txt").write_bytes(b'"' * BODY_BYTES)
    (root / "c" / "large.txt").write_bytes(b"x" * (BODY_BYTES - 1_000))
    return root


def scale_of(root: Path, **options: str) -> FileScale:
    return FileScale(Weighing({"input": "documents", **options}), INPUTS, str(root))


def bodies(root: Path, planned: list[PlannedSubmission], url: str | None = None) -> list[int]:
    """Return the lengths of the requests that the submissions become."""
    source = SourceRoot(str(root))
    sizes = []
    for submission in planned:
        uploads = [
            Upload(file.upload_name, file.path, file.size_bytes, partial(source.open, file))
            for file in submission.files
        ]
        body = Body(AGENT, "documents", INPUTS, uploads, Forms(), reference_url=url)
        assert len(body) == sum(map(len, body))
        sizes.append(len(body))
    return sizes


def test_no_request_is_too_large_and_none_could_have_taken_the_next_file(tmp_path: Path) -> None:
    root = make_source(tmp_path)
    plan = list(plan_entries(resolve_source(str(root)), Cut(LIMITS, 300, scale_of(root))))
    skipped = [entry for entry in plan if isinstance(entry, SkippedFile)]
    planned = [entry for entry in plan if isinstance(entry, PlannedSubmission)]
    assert [(entry.path, entry.reason) for entry in skipped] == [("c/huge.txt", SkipReason.TOO_LARGE)]
    assert sum(len(entry.files) for entry in planned) == 37
    sizes = bodies(root, planned)
    assert max(sizes) <= BODY_BYTES
    for size, following in zip(sizes, planned[1:], strict=False):
        assert size + bodies(root, [PlannedSubmission(1, following.files[:1])])[0] > BODY_BYTES


def test_a_listing_taken_up_again_cuts_the_same_submissions(tmp_path: Path) -> None:
    root = make_source(tmp_path / "files")
    source = resolve_source(str(root))
    plan = [one for one in plan_entries(source, Cut(LIMITS, 300, scale_of(root))) if isinstance(one, PlannedSubmission)]
    for place in range(len(plan) - 1):
        path = str(tmp_path / f"manifest-{place}")
        with ManifestWriter(path, "b123456789") as manifest:
            for submission in plan[: place + 1]:
                manifest.write(submission)
            offset = manifest.flush()
        resume = Resume(None, place + 2, path, offset)
        again = plan_entries(source, Cut(LIMITS, 300, scale_of(root)), resume=resume)
        assert [one for one in again if isinstance(one, PlannedSubmission)] == plan[place + 1 :]


def test_by_reference_only_names_and_addresses_weigh(tmp_path: Path) -> None:
    root = make_source(tmp_path)
    url = "https://files.example/set"
    scale = scale_of(root, send="reference", reference_url=url)
    plan = list(plan_entries(resolve_source(str(root)), Cut(LIMITS, 300, scale)))
    assert all(isinstance(entry, PlannedSubmission) for entry in plan)
    sizes = bodies(root, [entry for entry in plan if isinstance(entry, PlannedSubmission)], url)
    assert max(sizes) <= BODY_BYTES
    assert len(sizes) == 1


def test_what_is_weighed_never_lies_outside_the_source(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (root / "a.txt").write_text("public")
    (file,) = [entry for entry in walk(str(root)) if isinstance(entry, SourceFile)]
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(tmp_path / "secret.txt")
    assert scale_of(root).exactly(file, "a.txt") is None


def test_a_file_that_is_not_what_was_listed_is_not_weighed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (file,) = [entry for entry in walk(str(tmp_path)) if isinstance(entry, SourceFile)]
    assert scale_of(tmp_path).exactly(file, "a.txt") is not None
    os.utime(tmp_path / "a.txt", ns=(1, 1))
    assert scale_of(tmp_path).exactly(file, "a.txt") is None


def test_a_source_that_is_gone_is_not_taken_for_unreadable_files(tmp_path: Path) -> None:
    root = tmp_path / "mount"
    root.mkdir()
    (root / "a.txt").write_text("one")
    scale = scale_of(root)
    (file,) = [entry for entry in walk(str(root)) if isinstance(entry, SourceFile)]
    (root / "a.txt").unlink()  # what an unmounted folder looks like
    with pytest.raises(SourceUnreachable):
        scale.exactly(file, "a.txt")
