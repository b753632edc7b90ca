"""The numbering of halves: whatever is split, every file is in one leaf, and ids tell who is half of whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paceline.halving import (
    FIRST,
    complete,
    cut,
    divisible,
    halves_of,
    in_order,
    is_half,
    parent_of,
    place,
    root_of,
    unfold,
)
from paceline.model import PlannedFile, batch_of, external_id, index_of, submission_id

ROOTS = st.integers(1, FIRST - 1)
WAYS = st.lists(st.booleans(), max_size=17)


def at(root: int, way: list[bool]) -> int:
    """Return the index that is reached from a submission by taking the first or the second half."""
    index = root
    for second in way:
        index = halves_of(index)[second]
    return index


@given(ROOTS, WAYS)
def test_a_half_is_found_from_its_whole_and_its_whole_from_it(root: int, way: list[bool]) -> None:
    index = at(root, way)

    assert is_half(index) == bool(way)
    assert root_of(index) == root
    assert parent_of(index) == (at(root, way[:-1]) if way else None)
    assert all(parent_of(half) == index for half in halves_of(index))


@given(ROOTS, st.lists(WAYS, unique_by=tuple, min_size=2, max_size=8))
def test_no_two_halves_have_the_same_index(root: int, ways: list[list[bool]]) -> None:
    assert len({at(root, way) for way in ways}) == len(ways)


@given(ROOTS, WAYS)
def test_a_half_has_an_id_like_any_other_submission(root: int, way: list[bool]) -> None:
    name = submission_id("b123456789", at(root, way))

    assert (index_of(name), batch_of(name)) == (at(root, way), "b123456789")
    assert external_id(name) == f"b123456789.{name}"
    assert float(index_of(name)) == index_of(name)  # as a score in Redis


@given(st.lists(st.integers(), min_size=2, max_size=301))
def test_halves_are_the_whole_in_order_and_differ_by_one_file_at_most(files: list[int]) -> None:
    first, second = cut(files)

    assert [*first, *second] == files
    assert len(first) - len(second) in (0, 1)
    assert second


@given(st.integers(1, 300), st.sets(st.integers(0, 299), max_size=5))
def test_unfolding_gives_every_file_to_one_leaf_in_order(number: int, bad: set[int]) -> None:
    halves: set[int] = set()

    def split(index: int, files: list[int]) -> None:
        if len(files) > 1 and bad & set(files):
            halves.update(halves_of(index))
            for half, part in zip(halves_of(index), cut(files), strict=True):
                split(half, list(part))

    split(7, list(range(number)))
    found = list(unfold(7, range(number), halves))

    assert {index for index, _ in found} == halves | {7}
    assert [place(index) for index, _ in found] == sorted(place(index) for index, _ in found)
    leaves = [files for index, files in found if halves_of(index)[0] not in halves]
    assert [file for files in leaves for file in files] == list(range(number))
    assert all(len(files) == 1 for files in leaves if bad & set(files))
    assert len(halves) <= 2 * len(bad) * 9


@given(st.integers(1, 20), st.sets(st.tuples(st.integers(1, 20), st.lists(st.booleans(), max_size=4).map(tuple))))
def test_halves_stand_behind_their_wholes_and_before_what_follows(
    last: int, ways: set[tuple[int, tuple[bool, ...]]]
) -> None:
    halves = complete(at(root, list(way)) for root, way in ways if way and root <= last)

    found = list(in_order(last, halves))

    assert set(found) == {*range(1, last + 1), *halves}
    assert len(found) == last + len(halves)
    assert [place(index) for index in found] == sorted(place(index) for index in found)
    assert [list(in_order(last, halves, skip)) for skip in range(len(found) + 2)] == [
        found[skip:] for skip in range(len(found) + 2)
    ]


def test_a_slice_of_very_many_is_had_without_going_through_what_stands_before() -> None:
    halves = {2 * FIRST + 5, 3 * FIRST + 5}

    behind = next(in_order(FIRST - 1, halves, FIRST - 2))

    assert behind == FIRST - 3


@given(ROOTS, WAYS.filter(bool))
def test_what_must_exist_beside_a_half_is_added(root: int, way: list[bool]) -> None:
    found = complete([at(root, way)])

    assert len(found) == 2 * len(way)
    assert all(parent_of(half) in {root, *found} for half in found)


def grouped(*groups: str) -> list[PlannedFile]:
    """Return a file for each group named."""
    return [PlannedFile(str(number), 1, 1, str(number), group) for number, group in enumerate(groups)]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(1, 5)), min_size=1, max_size=6))
def test_halves_leave_groups_whole_or_there_are_none(runs: list[tuple[str, int]]) -> None:
    runs = [one for n, one in enumerate(runs) if one[0] not in {group for group, _ in runs[:n] if group}]
    files = grouped(*(group for group, number in runs for _ in range(number)))

    first, second = cut(files)

    assert [*first, *second] == files
    assert not {file.group for file in first} & {file.group for file in second} - {""}
    assert divisible(files) == bool(second) == (len(files) > 1 and (len(runs) > 1 or not runs[0][0]))


def test_a_cut_between_groups_is_the_one_nearest_the_middle() -> None:
    assert [len(part) for part in cut(grouped("a", "a", "a", "a", "b", "c", "c"))] == [4, 3]
    assert [len(part) for part in cut(grouped("a", "b", "b", "b", "b", "c"))] == [1, 5]
