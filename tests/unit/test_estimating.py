"""What a plan is expected to take: requests, time, credits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.model import EndpointClass, PlannedFile, PlannedSubmission, Rate, SkippedFile, SkipReason
from paceline.providers.kindo_kind import CAPABILITIES as KINDO
from paceline.providers.kolena_kind import CAPABILITIES as KOLENA
from producers.estimating import (
    CLOSING_S,
    FAST_BYTES_PER_S,
    LONGEST_RUN_S,
    SHORTEST_RUN_S,
    Bind,
    Experience,
    Pace,
    RunLength,
    RunSeen,
    Work,
    credits_needed,
    requests_needed,
    run_length,
    time_needed,
)
from producers.rehearsal import EXAMPLES, Rehearsal

PACE = Pace(Rate(40, 60.0), 61.1)
RUN = RunLength(3.0, 9.0, 5.0, 100)


def seen(*runs: RunSeen, batches: int = 1) -> Experience:
    return Experience(batches, runs)


def test_the_low_end_is_the_sliding_window_alone_and_the_shortest_run() -> None:
    span = time_needed(Work(81, 81, 81), PACE, RUN, 1e6)

    assert span.lowest.seconds == pytest.approx(2 * 61.1 + 3.0)
    assert span.lowest.binds is Bind.PACE
    assert span.highest.seconds == pytest.approx(2 * 61.1 + 9.0 + CLOSING_S)


def test_nothing_to_do_takes_no_time() -> None:
    span = time_needed(Work(0, 0, 0), PACE, RUN, 1e6)

    assert (span.lowest.seconds, span.highest.seconds) == (0, 0)


def test_the_high_end_goes_by_the_learned_limit_and_lets_other_batches_go_first() -> None:
    pace = Pace(Rate(40, 60.0), 60.0, learned=10, closed_s=30.0, ahead=5)

    span = time_needed(Work(36, 36, 36), pace, RUN, 1e6)

    assert span.lowest.seconds == pytest.approx(0 + 3.0 + 30.0)
    assert span.highest.seconds == pytest.approx(4 * 60.0 + 9.0 + 30.0 + CLOSING_S)


def test_the_line_binds_where_there_is_much_to_send() -> None:
    work = Work(10, 10, 10_000_000_000)

    span = time_needed(work, PACE, RUN, 1e6)

    assert span.lowest.upload_s == pytest.approx(10_000_000_000 / FAST_BYTES_PER_S)
    assert span.highest.upload_s == pytest.approx(10_000)
    assert span.lowest.binds is span.highest.binds is Bind.UPLOAD


@pytest.mark.parametrize(("reached", "highest_s"), [(None, 10.0), (500_000.0, 10.0), (2e6, 5.0), (1e9, 0.01)])
def test_what_an_earlier_batch_reached_counts_where_it_is_more_than_is_assumed(
    reached: float | None, highest_s: float
) -> None:
    span = time_needed(Work(1, 1, 10_000_000), PACE, RUN, 1e6, reached)

    assert span.highest.upload_s == pytest.approx(highest_s)
    assert span.lowest.upload_s <= span.highest.upload_s


def test_calls_that_wait_for_their_runs_keep_later_ones_waiting() -> None:
    pace = Pace(Rate(40, 60.0), 61.1, wait_s=60.0, slots=8)

    span = time_needed(Work(17, 17, 17), pace, RUN, 1e6)

    assert (span.lowest.busy_s, span.highest.busy_s) == (2 * 3.0, 2 * 9.0)
    assert span.highest.binds is Bind.RUNS


@given(
    st.integers(1, 5000),
    st.integers(0, 10**12),
    st.integers(1, 400),
    st.none() | st.integers(1, 400),
    st.integers(0, 500),
    st.sampled_from([0.0, 60.0]),
)
def test_the_low_end_is_never_above_the_high_one(
    submissions: int, size_bytes: int, limit: int, learned: int | None, ahead: int, wait_s: float
) -> None:
    pace = Pace(Rate(limit, 60.0), 61.1, learned, 0.0, ahead, wait_s)

    span = time_needed(Work(submissions, submissions, size_bytes), pace, RunLength(), 1e6)

    assert span.lowest.seconds <= span.highest.seconds


def test_without_earlier_runs_their_length_is_an_assumption_and_says_so() -> None:
    found = run_length(Experience(), 300)

    assert (found.shortest_s, found.longest_s, found.runs) == (SHORTEST_RUN_S, LONGEST_RUN_S, 0)


def test_runs_are_taken_to_last_as_long_as_those_before_but_for_a_stray_one() -> None:
    runs = [RunSeen(10, 4.0 + n / 100) for n in range(200)] + [RunSeen(10, 9_999.0)]

    found = run_length(seen(*runs), 10)

    assert (found.shortest_s, found.runs) == (4.0, 201)
    assert found.longest_s == pytest.approx(5.98)
    assert found.typical_s == 5.0


def test_a_run_with_more_files_than_any_before_may_take_longer_in_proportion() -> None:
    found = run_length(seen(RunSeen(10, 4.0), RunSeen(20, 6.0)), 60)

    assert (found.shortest_s, found.longest_s) == (4.0, 18.0)


def test_runs_without_a_known_length_teach_nothing_about_it() -> None:
    assert run_length(seen(RunSeen(10, None, 5.0)), 10).runs == 0


def test_following_kolena_costs_lists_and_one_look_at_the_agent() -> None:
    add, get = Rate(40, 60.0), Rate(300, 60.0)

    found = requests_needed(120, KOLENA, EndpointClass.ADD, add, get, 122.2, 60.0)

    assert found == {EndpointClass.ADD: 120, EndpointClass.LIST: math.ceil(182.2 / 5) + 2, EndpointClass.GET: 1}


def test_following_kindo_costs_a_question_for_each_run_in_flight() -> None:
    found = requests_needed(10, KINDO, EndpointClass.ADD, Rate(60, 60.0), Rate(300, 60.0), 0.0, 60.0)

    assert found == {EndpointClass.ADD: 10, EndpointClass.LIST: 0, EndpointClass.GET: 1 + 10 * 12}


def test_calls_that_wait_need_no_following() -> None:
    found = requests_needed(3, KOLENA, EndpointClass.WAIT, Rate(10, 60.0), Rate(300, 60.0), 0.0, 60.0)

    assert found == {EndpointClass.WAIT: 3, EndpointClass.LIST: 1, EndpointClass.GET: 1}


def test_without_a_priced_run_nothing_is_said_about_credits() -> None:
    assert credits_needed(Work(10, 100, 1), Experience()) is None
    assert credits_needed(Work(10, 100, 1), seen(RunSeen(10, 5.0, None))) is None
    assert credits_needed(Work(0, 0, 0), seen(RunSeen(10, 5.0, 3.0))) is None


def test_credits_go_by_files_where_files_explain_what_runs_cost() -> None:
    found = credits_needed(Work(10, 95, 1), seen(RunSeen(10, None, 40.0), RunSeen(5, None, 20.0), batches=2))

    assert found is not None
    assert (found.per, found.expected, found.mean, found.spread) == ("file", 380.0, 4.0, 0.0)
    assert (found.runs, found.batches) == (2, 2)


def test_credits_go_by_runs_where_the_number_of_files_makes_no_difference() -> None:
    found = credits_needed(
        Work(10, 500, 1), seen(RunSeen(10, None, 7.0), RunSeen(300, None, 7.0), RunSeen(1, None, 7.0))
    )

    assert found is not None
    assert (found.per, found.expected, found.lowest, found.highest) == ("run", 70.0, 70.0, 70.0)


def test_the_range_is_twice_the_standard_error_of_the_sum() -> None:
    found = credits_needed(
        Work(100, 1000, 1), seen(*(RunSeen(10 + n % 3 * 40, None, 8.0 + n % 2 * 4) for n in range(4)))
    )

    assert found is not None
    assert found.per == "run"
    error = 2 * math.sqrt(100 * 16 / 3 + 100**2 * 16 / 3 / 4)
    assert found.lowest == pytest.approx(1000 - error)
    assert found.highest == pytest.approx(1000 + error)


def test_where_all_runs_were_alike_the_range_covers_both_ways_to_count() -> None:
    found = credits_needed(Work(10, 50, 1), seen(RunSeen(10, None, 40.0), RunSeen(10, None, 40.0)))

    assert found is not None
    assert (found.expected, found.lowest, found.highest) == (400.0, 200.0, 400.0)


def test_one_run_alone_gives_no_range() -> None:
    found = credits_needed(Work(10, 50, 1), seen(RunSeen(5, None, 40.0)))

    assert found is not None
    assert (found.expected, found.spread, found.lowest, found.highest) == (400.0, None, None, None)


def test_runs_that_cost_nothing_are_a_basis_too() -> None:
    found = credits_needed(Work(10, 50, 1), seen(RunSeen(5, None, 0.0), RunSeen(7, None, 0.0)))

    assert found is not None
    assert (found.expected, found.lowest, found.highest) == (0.0, 0.0, 0.0)


def submission(index: int, *groups: str) -> PlannedSubmission:
    return PlannedSubmission(index, tuple(PlannedFile(f"{n}", 2, 0, f"{n}", group) for n, group in enumerate(groups)))


def test_a_rehearsal_knows_how_many_files_runs_have() -> None:
    tally = Rehearsal()
    assert tally.files_per_run == (0, 0, 0)
    for index, size in enumerate((3, 1, 3, 2), 1):
        tally.add(submission(index, *[""] * size))

    assert tally.files_per_run == (1, 2, 3)
    assert (tally.work, tally.largest_bytes) == (Work(4, 9, 18, 3), 6)


def test_a_group_cut_into_several_runs_is_one_group() -> None:
    tally = Rehearsal()
    for index, groups in enumerate((("a", "a"), ("a", "b"), ("b",), ("c",), ("",)), 1):
        tally.add(submission(index, *groups))

    assert tally.groups == 3


def test_a_rehearsal_names_the_first_files_left_out_of_each_kind() -> None:
    tally = Rehearsal()
    for number in range(EXAMPLES + 2):
        tally.add(SkippedFile(f"{number}", SkipReason.EMPTY))
    tally.add(SkippedFile("big", SkipReason.TOO_LARGE))

    assert tally.examples == {SkipReason.EMPTY: ["0", "1", "2"], SkipReason.TOO_LARGE: ["big"]}
    assert tally.total == 6


def test_slow_answers_are_the_long_end_only() -> None:
    pace = replace(PACE, window_s=60.1, longest_window_s=61.1)
    span = time_needed(Work(81, 81, 81), pace, RUN, 1e6)
    assert span.lowest.pace_s == pytest.approx(span.highest.pace_s * 60.1 / 61.1)
