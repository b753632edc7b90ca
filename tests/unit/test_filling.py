"""Filling submissions by count and bytes: whatever is listed, nothing is lost, and never more of them than in order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.chunking import chunk
from paceline.model import PlannedSubmission, SizeLimits, SourceFile
from producers import filling
from producers.filling import fill
from tests.support.grouped import check_limits, paths, reasons, runs, submissions

limits = st.builds(
    SizeLimits, files=st.integers(1, 9), file_bytes=st.integers(30, 60), submission_bytes=st.integers(30, 120)
)
listings = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["f", "F", "g", "h"]), st.integers(1, 70)), max_size=120
).map(lambda rows: [SourceFile(f"{n:03d}{folder}/{name}", size, 1) for n, (folder, name, size) in enumerate(rows)])


class Heavy:
    """Files weigh half more than their size, and twice their size at the most; `read` are those that were read."""

    empty_bytes = 3

    def __init__(self) -> None:
        self.read: list[str] = []

    def at_most(self, file: SourceFile, name: str) -> int:
        return 2 * file.size_bytes + len(name)

    def exactly(self, file: SourceFile, name: str) -> int | None:
        self.read.append(file.path)
        return 3 * file.size_bytes // 2 + len(name)


@pytest.fixture(autouse=True, scope="module")
def near() -> object:
    """A short look-ahead, so that small listings have several windows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(filling, "AHEAD", 4)
    yield
    patch.undo()


@given(listings, limits, st.integers(1, 9), st.booleans())
def test_every_file_comes_out_once_within_the_limits_and_in_no_more_submissions(
    files: list[SourceFile], limit: SizeLimits, per_run: int, weighed: bool
) -> None:
    scale = Heavy() if weighed else None

    plan = list(fill(((file,) for file in files), limit, per_run, scale=scale))

    in_order = list(chunk(files, limit, per_run, scale=Heavy() if weighed else None))
    assert paths(plan) == paths([*in_order])
    assert max(paths(plan).values(), default=1) == 1
    assert reasons(plan) == reasons(in_order)
    check_limits(plan, limit, per_run, weight if weighed else None)
    assert len(submissions(plan)) <= len(submissions(in_order))
    assert plan == list(fill(((file,) for file in files), limit, per_run, scale=scale))


def weight(entry: PlannedSubmission) -> int:
    return 3 + sum(3 * file.size_bytes // 2 + len(file.upload_name) for file in entry.files)


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), max_size=40), limits)
def test_items_stay_together(sizes: list[list[int]], limit: SizeLimits) -> None:
    items = [
        tuple(SourceFile(f"{n}/{m}", min(size, 30 // len(some)), 1) for m, size in enumerate(some[: limit.files]))
        for n, some in enumerate(sizes)
    ]

    plan = list(fill(items, limit, 300))

    check_limits(plan, limit, 300)
    assert paths(plan) == paths(list(fill(((file,) for item in items for file in item), limit, 300)))
    where = {path: n for n, run in enumerate(runs(plan)) for path in run}
    assert all(len({where[file.path] for file in item}) == 1 for item in items)


def test_holes_are_filled_where_files_in_order_leave_half_empty() -> None:
    sizes = [60, 70, 40, 30] * 2
    files = [SourceFile(f"{n}", size, 1) for n, size in enumerate(sizes)]
    limit = SizeLimits(300, 100, 100)

    plan = list(fill(((file,) for file in files), limit, 300))

    assert len(submissions(list(chunk(files, limit, 300)))) == 6
    assert runs(plan) == [["0", "2"], ["1", "3"], ["4", "6"], ["5", "7"]]


def test_what_fits_in_order_stays_in_order() -> None:
    dice = random.Random(3)
    files = [SourceFile(f"{n:03d}", dice.choice((1, 2)), 1) for n in range(100)]
    limit = SizeLimits(7, 100, 100)

    assert list(fill(((file,) for file in files), limit, 300)) == list(chunk(files, limit, 300))


def test_a_file_is_read_once_however_often_it_is_tried() -> None:
    dice = random.Random(5)
    files = [SourceFile(f"{n:03d}", dice.randrange(1, 40), 1) for n in range(200)]
    scale = Heavy()

    list(fill(((file,) for file in files), SizeLimits(300, 100, 100), 300, scale=scale))

    assert len(scale.read) == len(set(scale.read)) > 0
