"""How files are cut into submissions, as rules that hold for every file set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.chunking import LONGEST_NAME_BYTES, chunk, name_key, path_of, path_style_name, upload_name
from paceline.model import PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile

ROOMY = SizeLimits(files=300, file_bytes=1000)

names = st.one_of(
    st.sampled_from(
        ["a.txt", "A.TXT", "%41.txt", "100%.txt", "é", "e\u0301", "ﬁ", "straße", "STRASSE", 'q".txt', "b%2Fa.txt"]
    ),
    st.binary(min_size=1, max_size=12)
    .filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b".."))
    .map(os.fsdecode),
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@st.composite
def listings(draw: st.DrawFn) -> list[SourceFile | SkippedFile]:
    """Draw a listing as `walk` gives it: unique paths, ordered by their components."""
    chosen = draw(st.lists(paths, unique=True, max_size=40))
    chosen.sort(key=lambda path: path.split("/"))
    entries: list[SourceFile | SkippedFile] = []
    for path in chosen:
        if draw(st.integers(0, 4)) == 0:
            entries.append(SkippedFile(path, SkipReason.EMPTY, 0, 1))
        else:
            entries.append(SourceFile(path, draw(st.integers(1, 60)), 1))
    return entries


limits = st.builds(
    SizeLimits,
    files=st.integers(1, 9),
    file_bytes=st.integers(20, 60),
    submission_bytes=st.none() | st.integers(30, 120),
)


def files_of(plan: list[PlannedSubmission | SkippedFile]) -> list[SourceFile]:
    """Return the planned files in the order they come out."""
    return [
        SourceFile(file.path, file.size_bytes, file.mtime_ns)
        for entry in plan
        if isinstance(entry, PlannedSubmission)
        for file in entry.files
    ]


def files(*paths: str) -> list[SourceFile]:
    """Return small files of these paths."""
    return [SourceFile(path, 10, 1) for path in paths]


def uploads(*paths: str, limit: SizeLimits = ROOMY) -> list[list[str]]:
    """Return the upload names, submission by submission."""
    plan = chunk(files(*paths), limit, 300)
    return [[file.upload_name for file in entry.files] for entry in plan if isinstance(entry, PlannedSubmission)]


@given(listings(), limits, st.integers(1, 9))
def test_every_file_comes_out_exactly_once_in_its_order(
    entries: list[SourceFile | SkippedFile], limit: SizeLimits, files_per_run: int
) -> None:
    plan = list(chunk(entries, limit, files_per_run))

    skipped = {entry.path: entry for entry in plan if isinstance(entry, SkippedFile)}
    planned = files_of(plan)
    assert len(skipped) + len(planned) == len(entries) == len(skipped.keys() | {file.path for file in planned})
    assert planned == [entry for entry in entries if entry.path not in skipped]
    assert list(skipped) == [entry.path for entry in entries if entry.path in skipped]
    too_large = {path for path, entry in skipped.items() if entry.reason == SkipReason.TOO_LARGE}
    largest = min(limit.file_bytes, limit.submission_bytes or sys.maxsize)
    assert too_large == {
        entry.path for entry in entries if isinstance(entry, SourceFile) and entry.size_bytes > largest
    }


@given(listings(), limits, st.integers(1, 9))
def test_no_submission_breaks_a_limit_or_is_empty(
    entries: list[SourceFile | SkippedFile], limit: SizeLimits, files_per_run: int
) -> None:
    submissions = [entry for entry in chunk(entries, limit, files_per_run) if isinstance(entry, PlannedSubmission)]

    assert [submission.index for submission in submissions] == list(range(1, len(submissions) + 1))
    for submission in submissions:
        assert 1 <= len(submission.files) <= min(limit.files, files_per_run)
        assert submission.size_bytes <= (limit.submission_bytes or sys.maxsize)


@given(listings(), limits)
def test_names_are_unique_within_a_submission_and_lead_back_to_their_files(
    entries: list[SourceFile | SkippedFile], limit: SizeLimits
) -> None:
    for entry in chunk(entries, limit, 9):
        if isinstance(entry, PlannedSubmission):
            assert len({name_key(file.upload_name) for file in entry.files}) == len(entry.files)
            for file in entry.files:
                assert path_of(file.upload_name) in (file.path, file.path.rpartition("/")[2])
                file.upload_name.encode()


@given(listings(), limits, st.integers(1, 9))
def test_a_listing_taken_up_behind_any_submission_gives_the_same_rest(
    entries: list[SourceFile | SkippedFile], limit: SizeLimits, files_per_run: int
) -> None:
    plan = list(chunk(entries, limit, files_per_run))

    for place, entry in enumerate(plan):
        if isinstance(entry, PlannedSubmission):
            given_out = [path for done in plan[: place + 1] for path in paths_of(done)]
            after = max(path.split("/") for path in given_out)
            rest = [left for left in entries if left.path.split("/") > after]
            assert list(chunk(rest, limit, files_per_run, entry.index + 1)) == plan[place + 1 :]


@given(listings(), st.integers(1, 9))
def test_a_skipped_file_waits_for_nothing(entries: list[SourceFile | SkippedFile], files_per_run: int) -> None:
    taken: list[SourceFile | SkippedFile] = []

    def feed() -> Iterator[SourceFile | SkippedFile]:
        for entry in entries:
            taken.append(entry)
            yield entry

    for entry in chunk(feed(), ROOMY, files_per_run):
        if isinstance(entry, SkippedFile):
            assert taken[-1] is entry


@given(paths)
def test_every_name_can_be_turned_back(path: str) -> None:
    base = path.rpartition("/")[2]

    assert path_of(upload_name(path)) == base
    assert path_of(path_style_name(path)) == path
    assert not set(upload_name(path)) & set('\r\n\0"\\/')
    assert "/" not in path_style_name(path)


@given(names, names)
def test_two_files_never_share_an_upload_name_by_encoding(one: str, other: str) -> None:
    assert (upload_name(one) == upload_name(other)) == (one == other)


def test_a_full_submission_comes_out_before_the_next_file_is_asked_for() -> None:
    plan = chunk(iter(files("a", "b")), ROOMY, 1)

    first = next(plan)

    assert isinstance(first, PlannedSubmission)
    assert [file.path for file in first.files] == ["a"]


def test_a_twin_is_uploaded_under_its_path() -> None:
    assert uploads("a/report.pdf", "b/report.pdf") == [["report.pdf", "b%2Freport.pdf"]]


def test_names_that_differ_in_case_or_composition_are_twins() -> None:
    assert uploads("a/É.txt", "b/é.txt", "c/e\u0301.TXT") == [["É.txt", "b%2Fé.txt", "c%2Fe\u0301.TXT"]]


def test_twins_that_a_path_cannot_tell_apart_are_kept_apart() -> None:
    assert uploads("A.txt", "a.txt") == [["A.txt"], ["a.txt"]]


def test_a_twin_whose_path_is_too_long_for_a_name_starts_the_next_submission() -> None:
    folder = "/".join(["f" * 100] * 3)

    assert uploads("a/x.txt", f"{folder}/x.txt") == [["x.txt"], ["x.txt"]]
    assert len(path_style_name(f"{folder}/x.txt")) > LONGEST_NAME_BYTES


def test_a_name_that_is_not_utf_8_is_percent_encoded() -> None:
    assert upload_name(os.fsdecode(b"x/caf\xe9 100%.txt")) == "caf%E9 100%25.txt"


def test_a_name_that_looks_encoded_is_encoded_so_that_it_is_not_mistaken() -> None:
    assert upload_name("b%2Freport.pdf") == "b%252Freport.pdf"
    assert upload_name("100%.pdf") == "100%.pdf"


def test_control_characters_and_quotes_do_not_reach_a_header() -> None:
    assert upload_name('a"\r\n\\b\x85.txt') == "a%22%0D%0A%5Cb%C2%85.txt"


def test_a_file_of_exactly_the_limit_fits_and_one_byte_more_does_not() -> None:
    entries = [SourceFile("exact", 250, 1), SourceFile("more", 251, 1)]

    plan = list(chunk(entries, SizeLimits(files=300, file_bytes=250), 300))

    assert [file.path for file in files_of(plan)] == ["exact"]
    assert SkippedFile("more", SkipReason.TOO_LARGE, 251, 1) in plan


@pytest.mark.parametrize(("limit", "sizes"), [(20, [2, 1]), (19, [1, 1, 1]), (30, [3]), (29, [2, 1])])
def test_a_submission_is_filled_up_to_its_last_byte_and_no_further(limit: int, sizes: list[int]) -> None:
    limits = SizeLimits(files=300, file_bytes=10, submission_bytes=limit)

    assert [len(names) for names in uploads("a", "b", "c", limit=limits)] == sizes


def test_a_submission_of_no_files_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(chunk(files("a"), ROOMY, 0))


def paths_of(entry: PlannedSubmission | SkippedFile) -> list[str]:
    """Return the paths an entry of a plan stands for."""
    return [entry.path] if isinstance(entry, SkippedFile) else [file.path for file in entry.files]


class Scales:
    """Weighs a file as its size says, with bounds of its own; notes what is read."""

    def __init__(self, *, tight: bool, empty_bytes: int = 7, broken: frozenset[str] = frozenset()) -> None:
        self.empty_bytes = empty_bytes
        self.read: list[str] = []
        self._tight = tight
        self._broken = broken

    def at_most(self, file: SourceFile, name: str) -> int:
        return (file.size_bytes if self._tight else 4 * file.size_bytes) + len(name)

    def exactly(self, file: SourceFile, name: str) -> int | None:
        self.read.append(file.path)
        return None if file.path in self._broken else file.size_bytes + len(name)


@given(listings(), limits, st.integers(1, 9), st.integers(0, 20))
def test_bounds_save_reading_and_change_no_cut(
    entries: list[SourceFile | SkippedFile], limit: SizeLimits, files_per_run: int, empty_bytes: int
) -> None:
    exact, bounded = (Scales(tight=tight, empty_bytes=empty_bytes) for tight in (True, False))
    plan = list(chunk(entries, limit, files_per_run, scale=bounded))
    assert plan == list(chunk(entries, limit, files_per_run, scale=exact))
    for entry in plan:
        if isinstance(entry, PlannedSubmission):
            weight = empty_bytes + sum(file.size_bytes + len(file.upload_name) for file in entry.files)
            assert limit.submission_bytes is None or weight <= limit.submission_bytes
    own = [file.size_bytes + len(upload_name(file.path)) for file in entries if isinstance(file, SourceFile)]
    most = limit.file_bytes
    if limit.submission_bytes is not None:
        most = min(most, limit.submission_bytes - empty_bytes)
    refused = [one for one in plan if isinstance(one, SkippedFile) and one.reason is SkipReason.TOO_LARGE]
    assert len(refused) == sum(weight > most for weight in own)


@given(listings(), limits, st.integers(1, 9))
def test_planning_by_weight_taken_up_behind_any_submission_gives_the_same_ones(
    entries: list[SourceFile | SkippedFile], limit: SizeLimits, files_per_run: int
) -> None:
    plan = list(chunk(entries, limit, files_per_run, scale=Scales(tight=False)))
    greatest: list[str] = []
    for place, entry in enumerate(plan):
        paths = [file.path for file in entry.files] if isinstance(entry, PlannedSubmission) else [entry.path]
        greatest = max([greatest, *[path.split("/") for path in paths]])
        if isinstance(entry, PlannedSubmission):
            rest = [one for one in entries if one.path.split("/") > greatest]
            again = chunk(rest, limit, files_per_run, entry.index + 1, Scales(tight=False))
            assert list(again) == plan[place + 1 :]


def test_small_files_are_planned_by_weight_without_being_read() -> None:
    scale = Scales(tight=False)
    (only,) = chunk(files("a", "b", "c"), SizeLimits(300, 1000, 130), 300, scale=scale)
    assert isinstance(only, PlannedSubmission)
    assert len(only.files) == 3
    assert scale.read == []


def test_each_file_is_read_at_most_once_where_it_has_to_be() -> None:
    scale = Scales(tight=False)
    names = [f"{n:02d}" for n in range(40)]
    plan = list(chunk(files(*names), SizeLimits(300, 1000, 7 + 12 * 5), 300, scale=scale))
    assert [len(one.files) for one in plan if isinstance(one, PlannedSubmission)] == [5] * 8
    assert len(scale.read) == len(set(scale.read))


def test_a_file_that_cannot_be_weighed_is_left_out_and_the_others_are_not() -> None:
    scale = Scales(tight=False, broken=frozenset({"b"}))
    plan = list(chunk(files("a", "b", "c"), SizeLimits(300, 1000, 45), 300, scale=scale))
    assert [one for one in plan if isinstance(one, SkippedFile)] == [SkippedFile("b", SkipReason.UNREADABLE, 10, 1)]
    assert [file.path for file in files_of(plan)] == ["a", "c"]
