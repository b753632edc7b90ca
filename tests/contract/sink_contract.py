"""What every sink must do, as `paceline.sinks.base` promises it.

    class TestMine(SinkContract):
        shows = ("runs", "answers", "files", "citations")   # what `read` returns; see tests/support/sink_batch.py
        steps = ("Connection.execute", "Connection.commit")  # where its writer is killed

        def fresh(self) -> str: ...                     # a new, empty destination, as `places.canonical` writes it
        def read(self, place: str, batch: str) -> ...   # what a reader sees of that batch, None: nothing counts

`self.folder` is a folder of the test's own; add an autouse fixture for servers. The batch that is written, and what it
comes to, is `tests/support/sink_batch.py`. What only one sink has is tested elsewhere.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from paceline.errors import UsageError
from paceline.manifest import ManifestWriter
from paceline.model import PlannedFile, SkippedFile, SkipReason
from paceline.sinks.base import Closing, Part, Sink
from paceline.sinks.registry import open_sink
from tests.support.killed_sink import FILE_STEPS, count_steps, kill_at, work
from tests.support.sink_batch import (
    BATCH,
    MTIME_NS,
    NAMES,
    OTHER,
    closing,
    part,
    parts,
    second_attempt,
    submission_of,
    wanted,
    with_second_attempt,
)

Content = Mapping[str, Sequence[Any]]


class SinkContract:
    """Runs over one kind of destination."""

    shows: ClassVar[tuple[str, ...]]
    """Which of `records`, `file_records`, `runs`, `answers`, `files`, `citations` can be read back."""

    ordered: ClassVar[bool] = True
    """Whether a reader gets them in the manifest's order; else any order is right."""

    early: ClassVar[bool] = False
    """Whether a submission can be read before the commit: a database. Then each is there as a whole or not at all."""

    one_batch: ClassVar[bool] = True
    """Whether it holds one batch only; else two of them live side by side."""

    keeps_skipped: ClassVar[bool] = True
    """Whether files that are in no submission are shown, in `file_records` or `files`."""

    steps: ClassVar[tuple[str, ...]] = FILE_STEPS
    """Qualified names of the functions, C or Python, before whose calls its writer is killed."""

    most_kills: ClassVar[int] = 40
    """As many of its steps are tried, evenly chosen."""

    folder: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    # What a subclass says.

    def fresh(self) -> str:
        """Make a new destination, empty; give its canonical address."""
        raise NotImplementedError

    def read(self, place: str, batch: str) -> Mapping[str, list[Any]] | None:
        """Read back what stands there of a batch, by the names of `shows`; None where a reader takes nothing for it.

        Rows are tuples as `paceline.tables.rows_of` makes them, records as `Part` has them.
        """
        raise NotImplementedError

    def traces(self, place: str) -> object:
        """Return what must be the same however a batch was written: the bytes of its files, say. Optional."""
        return None

    # What it is held against.

    def wanted(self, kept: Sequence[Part], batch: str = BATCH) -> dict[str, list[Any]]:
        """Return what `read` has to return; a sink that shows something else overrides it."""
        whole = wanted(self.folder / "wanted", kept, batch)
        return {name: whole[name] for name in self.shows}

    def closing(self, batch: str = BATCH, **changes: Any) -> Closing:
        """Return what the last export knows."""
        return closing(self.folder / "state", batch, **changes)

    def same(self, found: Content | None, expected: Content) -> bool:
        """Tell whether a reader found this."""
        if found is None:
            return False
        return all(self._in_order(found[name]) == self._in_order(expected[name]) for name in self.shows)

    def _in_order(self, entries: Iterable[Any]) -> list[Any]:
        return list(entries) if self.ordered else sorted(entries, key=repr)

    def commit(self, sink: Sink, batch: str = BATCH, **changes: Any) -> None:
        """Commit as the last export does."""
        done = self.closing(batch, **changes)
        sink.take_manifest(batch, done.manifest)
        sink.commit(done)

    def made(self, kept: Sequence[Part] | None = None, batch: str = BATCH) -> str:
        """Write parts to a new destination and commit."""
        place = self.fresh()
        sink = open_sink(place)
        sink.check(batch)
        for one in parts(batch) if kept is None else kept:
            sink.write(one)
        self.commit(sink, batch)
        return place

    def assert_holds(self, place: str, kept: Sequence[Part], batch: str = BATCH) -> None:
        """Assert that a reader finds these parts and the skipped files, and nothing else."""
        found, expected = self.read(place, batch), self.wanted(kept, batch)
        assert found is not None
        for name in self.shows:
            assert self._in_order(found[name]) == self._in_order(expected[name]), name

    def assert_whole(self, found: Content | None, states: Sequence[Content]) -> None:
        """Assert that a reader sees nothing, or one of these states; of an early sink, one of them per submission."""
        if found is None or any(self.same(found, state) for state in states):
            return
        assert self.early, f"half a result was there: {found}"
        allowed = [_by_submission(state, self.shows) for state in states]
        for submission, entries in _by_submission(found, self.shows).items():
            if submission is not None:
                wholes = [repr(_sorted(state.get(submission, {}))) for state in allowed]
                assert repr(_sorted(entries)) in wholes, f"half of {submission} was there"

    # The contract.

    def test_everything_is_there_after_the_commit(self) -> None:
        place = self.made()

        self.assert_holds(place, parts())

    def test_nothing_counts_before_the_commit(self) -> None:
        place = self.fresh()
        sink = open_sink(place)
        for one in parts():
            sink.write(one)

        self.assert_whole(self.read(place, BATCH), [self.wanted(parts())] if self.early else [])

    def test_written_twice_and_in_any_order_is_written_once(self) -> None:
        once, place = self.made(), self.fresh()

        for one in [*reversed(parts()), *parts()]:
            open_sink(place).write(one)
        self.commit(open_sink(place))

        self.assert_holds(place, parts())
        assert self.traces(place) == self.traces(once)

    def test_a_second_attempt_replaces_the_first(self) -> None:
        place = self.fresh()
        sink = open_sink(place)

        for one in [*parts(), second_attempt()]:
            sink.write(one)
        self.commit(sink)

        self.assert_holds(place, with_second_attempt())

    def test_a_batch_that_is_opened_again_is_committed_anew(self) -> None:
        place = self.made()

        open_sink(place).write(second_attempt())
        self.assert_whole(self.read(place, BATCH), [self.wanted(parts()), self.wanted(with_second_attempt())])
        self.commit(open_sink(place))

        self.assert_holds(place, with_second_attempt())
        assert self.traces(place) == self.traces(self.made(with_second_attempt()))

    def test_a_submission_that_fails_again_loses_its_former_answers(self) -> None:
        place = self.made(with_second_attempt())

        open_sink(place).write(parts()[1])
        self.commit(open_sink(place))

        self.assert_holds(place, parts())

    def test_a_commit_again_changes_nothing(self) -> None:
        place = self.made()
        before = self.traces(place)

        self.commit(open_sink(place))

        self.assert_holds(place, parts())
        assert self.traces(place) == before

    def test_a_late_commit_of_a_closed_batch_does_nothing(self) -> None:
        place = self.fresh()
        for one in parts():
            open_sink(place).write(one)
        before = self.read(place, BATCH)
        self.commit(open_sink(place), still_open=lambda: False)
        assert self.read(place, BATCH) == before

        self.commit(open_sink(place))
        traces = self.traces(place)
        self.commit(open_sink(place), still_open=lambda: False, summary={"late": True})

        self.assert_holds(place, parts())
        assert self.traces(place) == traces

    def test_parts_may_be_written_from_many_threads(self) -> None:
        place = self.fresh()
        sink = open_sink(place)
        failed: list[BaseException] = []

        def write(one: Part) -> None:
            try:
                for _ in range(3):
                    sink.write(one)
            except BaseException as error:  # noqa: BLE001  # the test says which
                failed.append(error)

        threads = [threading.Thread(target=write, args=(one,)) for one in parts()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.commit(sink)

        assert failed == []
        self.assert_holds(place, parts())

    def test_a_batch_of_skipped_files_only_can_be_committed(self) -> None:
        manifest = self.folder / "skipped.jsonl"
        with ManifestWriter(str(manifest), BATCH) as writer:
            writer.write(SkippedFile(NAMES[0], SkipReason.EMPTY, 0, 0))
        place = self.fresh()

        sink = open_sink(place)
        sink.take_manifest(BATCH, str(manifest))
        sink.commit(Closing(BATCH, str(manifest), 0, {"batch": BATCH}))

        found = self.read(place, BATCH)
        assert found is not None
        skipped = {"file_records", "files"} if self.keeps_skipped else set()
        assert {name: len(found[name]) for name in self.shows} == {name: int(name in skipped) for name in self.shows}

    def test_an_answer_of_a_few_megabytes_is_kept_whole(self) -> None:
        kept = parts()
        kept[0] = part(
            1,
            [PlannedFile(name, n + 1, MTIME_NS + n * 10**9, f"upload {n}") for n, name in enumerate(NAMES)],
            data={"Long": {"status": "success", "value": "naïve 🧾\n" * 300_000, "error": None, "metadata": None}},
        )

        self.assert_holds(self.made(kept), kept)

    def test_its_own_batch_is_welcome_again(self) -> None:
        place = self.fresh()
        open_sink(place).check(BATCH)
        open_sink(place).check(BATCH)
        open_sink(place).write(parts()[0])
        open_sink(place).check(BATCH)

        for one in parts():
            open_sink(place).write(one)
        self.commit(open_sink(place))
        open_sink(place).check(BATCH)
        open_sink(place).check(None)

        self.assert_holds(place, parts())

    def test_another_batch_is_refused_or_stands_beside_it(self) -> None:
        place = self.fresh()
        open_sink(place).write(parts()[0])
        if self.one_batch:
            with pytest.raises(UsageError, match=BATCH):
                open_sink(place).check(OTHER)
            with pytest.raises(UsageError, match=f"{BATCH}.*--to"):
                open_sink(self.made()).check(OTHER)
            return

        for batch in (OTHER, BATCH):
            open_sink(place).check(batch)
            for one in parts(batch):
                open_sink(place).write(one)
            self.commit(open_sink(place), batch)

        self.assert_holds(place, parts())
        self.assert_holds(place, parts(OTHER), OTHER)

    @pytest.mark.timeout(240)
    def test_a_writer_killed_at_any_step_leaves_no_half_and_can_be_repeated(self) -> None:
        undisturbed = self.fresh()
        total = count_steps(undisturbed, self.folder / "state", self.steps)
        assert total >= 5  # else its steps are named wrongly
        self.assert_holds(undisturbed, with_second_attempt())
        chosen = sorted({number * total // self.most_kills for number in range(self.most_kills)} | {total - 1})
        killed = [(self.fresh(), number) for number in chosen if number < total]

        kill_at(killed, self.folder / "state", self.steps)

        states = [self.wanted(parts()), self.wanted(with_second_attempt())]
        for place, _ in killed:
            self.assert_whole(self.read(place, BATCH), states)
            work(place, self.folder / "state")
            self.assert_holds(place, with_second_attempt())
            assert self.traces(place) == self.traces(undisturbed)


def _by_submission(content: Content, names: Sequence[str]) -> dict[str | None, dict[str, list[Any]]]:
    found: defaultdict[str | None, dict[str, list[Any]]] = defaultdict(dict)
    for name in names:
        for entry in content[name]:
            found[submission_of(name, entry)].setdefault(name, []).append(entry)
    return found


def _sorted(entries: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: sorted(entries[name], key=repr) for name in sorted(entries)}
