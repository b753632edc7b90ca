"""What a report counts: intervals, durations, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paceline import redis_keys as keys
from paceline.model import Outcome, Rate, SkipReason, State, submission_id
from paceline.report import words
from paceline.report.collecting import Collector, Item, measure
from paceline.report.page import page
from paceline.report.timeline import MOST, ByItem, empty_timeline, interval_for, read_journal
from paceline.scripts import Scripts
from tests.support.told import SKIPPED, Told

BATCH = "b0000000aa"


@pytest.mark.parametrize("rate", [None, Rate(40, 60.0), Rate(20, 4.0), Rate(600, 61.5)])
@pytest.mark.parametrize("span_s", [0.0, 0.3, 61.0, 3600.0, 86_400.0, 5e6, 1e9])
def test_an_interval_is_whole_windows_and_there_are_never_too_many(rate: Rate | None, span_s: float) -> None:
    wide = interval_for(span_s, rate)
    assert span_s <= wide * MOST
    assert not rate or wide % rate.window_s == pytest.approx(0)
    line = empty_timeline(1_000_000, 1_000_000 + round(span_s * 1000), rate)
    assert 1 <= len(line.started) <= MOST
    assert line.allowed == (rate and pytest.approx(rate.limit * wide / rate.window_s))


def test_a_journal_is_counted_by_when_and_what(real_redis: Any) -> None:
    def note(at_ms: int, verb: str, **more: str) -> None:
        base = {"submission": "s", "verb": verb, "from": "", "to": "", "generation": "1", "attempt": "1"}
        real_redis.xadd(keys.journal(BATCH), {**base, **more}, id=f"{at_ms}-*")

    note(900, "accepted", run_id="early")  # before the first interval
    note(1000, "plan")
    note(1001, "begin", worker="w")
    note(1002, "put_back", reason="throttled")
    note(1003, "put_back", reason="not_sent")
    note(1999, "accepted", run_id="1")
    note(2000, "adopt", run_id="2")
    note(2500, "finish", outcome="failed", reason="run_failed")
    note(2501, "reject", outcome="failed", reason="rejected")
    note(2600, "cancel", outcome="cancelled", reason="cancelled")
    for n in range(4500):  # more than are read at once
        note(3006, "finish", outcome="succeeded", reason="completed") if n % 7 == 0 else note(3006, "exported")
    line = empty_timeline(1000, 3999, Rate(10, 1.0))

    read_journal(real_redis, Scripts(real_redis), BATCH, line)

    assert (line.started, line.refused) == ([1, 1, 0], [1, 0, 0])
    assert (line.succeeded[:2], line.failed, line.cancelled) == ([0, 0], [0, 2, 0], [0, 1, 0])
    real_redis.delete(keys.journal(BATCH))


def test_submissions_speak_for_themselves_where_the_journal_begins_later() -> None:
    line = empty_timeline(0, 2999, Rate(10, 1.0))
    line.started[0] = 1
    items = ByItem(line)
    for at in (100, 1100, 1200):
        items.add(at, at + 1000, "succeeded")
    items.add(None, 2900, "failed")
    items.fill_in()
    assert (line.started, line.succeeded, line.failed) == ([1, 2, 0], [0, 1, 2], [0, 0, 1])


def test_durations_are_counted_whole_whatever_they_are() -> None:
    for rows in ([0.0], [0.004, 0.005], [5.0] * 3, [1.0] * 1000 + [9000.0], [3600.0, 3700.0], list(range(1, 400))):
        lengths = measure(float(one) for one in rows)
        assert sum(number for _, _, number in lengths.bins) == len(rows) == lengths.runs
        assert lengths.bins[0][0] <= rows[0]
        assert lengths.bins[-1][1] >= rows[-1]
        assert 1 <= len(lengths.bins) <= 60
        assert all(low < high for low, high, _ in lengths.bins)
    lengths = measure(float(one) for one in range(1, 101))
    assert (lengths.median_s, lengths.p95_s, lengths.shortest_s, lengths.longest_s) == (51, 96, 1, 100)


def test_what_failed_is_kept_by_reason_with_few_texts_and_examples() -> None:
    collector = Collector()
    for n in range(1000):
        item = Item(f"s{n:04d}", "failed", "run_failed", 2, 0, 1000 * n, f"{n}", None, f"text {n % 300}" + "x" * 999)
        collector.add(item)
    collector.add(Item("odd", "cancelled", "cancelled", 1))
    first, second = collector.failures()
    assert (first.reason, first.submissions, first.files, second.reason) == ("run_failed", 1000, 2000, "cancelled")
    assert [some.submission for some in first.examples] == ["s0000", "s0001", "s0002"]
    assert len(first.messages) == 5
    assert sum(number for _, number in first.messages) + first.more_messages == 1000
    assert all(len(text) < 400 for text, _ in first.messages)
    assert [slow.seconds for slow in collector.slowest()] == [float(n) for n in range(999, 989, -1)]


def test_a_batch_is_told_as_it_went(tmp_path: Path) -> None:
    told = Told(tmp_path, 50)
    told.fail_every(10)
    told.world.run()
    report = told.report()

    batch = told.world.views.batch(told.id)
    line = report.timeline
    assert line is not None
    assert sum(line.started) == batch.runs_accepted == 50
    assert max(line.started) <= 40 == line.allowed
    assert (sum(line.succeeded), sum(line.failed)) == (45, 5)
    assert report.durations is not None
    assert report.durations.runs == 50
    [failure] = report.failures
    assert (failure.reason, failure.submissions, failure.files) == ("run_failed", 5, 40)
    assert failure.messages == [("a prompt failed", 5)]
    assert failure.examples[0].submission == submission_id(told.id, 10)
    assert len(failure.examples[0].files) == 3
    assert {one.reason: one.files for one in report.skipped} == SKIPPED
    assert all(one.examples for one in report.skipped)
    numbers = report.as_dict()
    assert numbers["summary"]["submissions"][State.EXPORTED] == 50
    assert numbers["timeline"]["started"] == line.started


def test_a_batch_without_anything_is_told_too(tmp_path: Path) -> None:
    told = Told(tmp_path, 0)
    told.world.run()
    report = told.report()
    assert (report.timeline, report.durations, list(report.failures)) == (None, None, [])
    assert "nothing to do" in words.sentence(report)
    assert "Complete" in page(report)
    assert "Not started yet" not in page(report)


def test_every_reason_has_words() -> None:
    assert set(SkipReason) <= set(words.SKIPS)
    assert {"run_failed", "timed_out", "rejected", "file_missing", "file_changed", "given_up"} <= set(words.FAILURES)


def test_a_restored_submission_counts_without_a_run() -> None:
    collector = Collector()
    collector.add(Item("one", Outcome.FAILED, None, 1))
    collector.add(Item("two", None, None, 1))
    assert [one.reason for one in collector.failures()] == ["unknown"]
    assert collector.durations() is None
