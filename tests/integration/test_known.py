"""What was answered is known afterwards: exactly that, whatever died on the way, and at the price that was promised."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from paceline.known import AT_ONCE, KnownFiles, Scope
from paceline.model import BatchSpec, Outcome, SkippedFile, SkipReason, SourceFile, Step, submission_id
from paceline.redis_keys import KNOWN_SCOPES
from paceline.scripts import Scripts
from producers.known import Sieve
from tests.support.incremental import Folder, shown
from tests.support.seam import Mode
from tests.support.trees import put

ABC = {"a": b"first", "b": b"second", "c": b"third"}
SPEC = BatchSpec("/docs", "acme", "kolena", "42", ("/out",), 300, "", address="https://api.example")


def known_in(folder: Folder, *names: str, content: bool = False) -> list[bool]:
    """Tell which files of the folder a batch with --skip-unchanged (--checksum) would leave out."""
    sieve = folder.sieve(folder.spec(skip="content" if content else "unchanged"))
    stats = {name: (folder.source / name).stat() for name in names}
    files = [SourceFile(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]
    return [isinstance(entry, SkippedFile) for entry in sieve.sift(files)]


# -- the marks in Redis ---------------------------------------------------------------------------------------------


def test_what_was_noted_is_found_in_order_and_nothing_else(real_redis: Any) -> None:
    known, scope = KnownFiles(real_redis, Scripts(real_redis)), Scope(SPEC)
    marks = [scope.file(f"/docs/{n}", n, n) for n in range(2 * AT_ONCE + 7)]
    known.note(scope, marks[::3], batch="b1", at_ms=5)
    before = real_redis.dbsize()
    known.note(scope, marks[::3], batch="b2", at_ms=6)
    assert real_redis.dbsize() == before
    assert known.find(scope, marks) == [n % 3 == 0 for n in range(len(marks))]
    assert known.find(scope, []) == []
    found = known.scope(scope)
    assert found is not None
    assert (found.batch, found.at_ms, found.facts["agent"]) == ("b2", 6, "42")


def test_marks_are_packed_eight_bytes_each(real_redis: Any) -> None:
    """At 20 million marks a set has 76 on average; one that isn't packed would take five times as much."""
    known, scope = KnownFiles(real_redis, Scripts(real_redis)), Scope(SPEC)
    members = [scope.file(f"/docs/{n}", n, n)[1] for n in range(400)]
    known.note(scope, [(9, member) for member in members], batch="b1", at_ms=5)
    (key,) = real_redis.keys("pl:known:*")
    assert real_redis.object("encoding", key) == b"intset"
    assert real_redis.memory_usage(key) < 400 * 8 * 1.3 + 200


def test_forgetting_one_scope_leaves_the_others(real_redis: Any) -> None:
    known = KnownFiles(real_redis, Scripts(real_redis))
    scopes = [Scope(SPEC), Scope(BatchSpec("/docs", "acme", "kolena", "43", ("/out",), 300, ""))]
    marks = [[scope.content(bytes([n]) * 32) for n in range(200)] for scope in scopes]
    for scope, some in zip(scopes, marks, strict=True):
        known.note(scope, some, batch="b1", at_ms=5)
    known.forget(scopes[0].name)
    assert not any(known.find(scopes[0], marks[0]))
    assert all(known.find(scopes[1], marks[1]))
    assert [one.name for one in known.scopes()] == [scopes[1].name]
    assert not list(real_redis.scan_iter(f"{KNOWN_SCOPES}:{scopes[0].name}:*"))


def test_many_at_once_note_the_same(real_redis: Any) -> None:
    known, scope = KnownFiles(real_redis, Scripts(real_redis)), Scope(SPEC)
    marks = [scope.file(f"/docs/{n}", n, n) for n in range(3000)]
    threads = [
        threading.Thread(target=known.note, args=(scope, marks[n * 500 :]), kwargs={"batch": "b1", "at_ms": n})
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(known.find(scope, marks))
    assert sum(real_redis.scard(key) for key in real_redis.scan_iter(f"{KNOWN_SCOPES}:*", count=10_000)) == 3000


# -- batches one after the other ------------------------------------------------------------------------------------


def test_only_what_is_new_changed_or_failed_is_sent_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC | {"failing": b"fourth", "empty": b""})
    folder.world.provider.poison = lambda names: "failing" in names
    assert len(folder.run(per_run=1)) == 4
    put(folder.source / "new", b"fifth")
    put(folder.source / "b", b"second, longer")
    assert folder.run(per_run=1, skip="unchanged") == [("b",), ("failing",), ("new",)]
    assert folder.left_out() == {"empty": 1, "unchanged": 2}
    folder.world.provider.poison = lambda _names: False
    assert folder.run(per_run=1, skip="unchanged") == [("failing",)]
    assert folder.run(per_run=1, skip="unchanged") == []
    assert folder.world.views.batch(folder.batch.id).closed
    assert folder.left_out() == {"empty": 1, "unchanged": 5}


def test_by_content_a_renamed_or_touched_file_costs_nothing_and_a_hidden_change_is_found(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC | {"d": b"fourth"})
    folder.run()
    (folder.source / "a").rename(folder.source / "renamed")
    folder.touch("b")
    folder.swap("c", b"drith")
    assert known_in(folder, "renamed", "b", "c", "d") == [False, False, True, True]
    assert folder.run(skip="content") == [("c",)]
    assert folder.left_out() == {"same_content": 2, "unchanged": 1}


def test_other_options_know_nothing_of_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC)
    folder.run()
    assert folder.run(per_run=2, skip="unchanged") == [("a", "b"), ("c",)]
    assert folder.run(skip="unchanged", **{"input:language": "de"}) == [("a", "b", "c")]
    assert folder.run(skip="unchanged") == []


def test_a_file_is_known_from_above_and_by_itself(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {"2024/a": b"first", "2025/b": b"second"})
    assert folder.run(source="2025") == [("b",)]
    assert folder.run(skip="unchanged") == [("2024/a",)]
    assert folder.run(source="2024/a", skip="unchanged") == []


def test_what_succeeds_at_the_second_attempt_is_known(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC)
    folder.world.provider.outcome = lambda _external: Outcome.FAILED
    folder.run()
    assert known_in(folder, "a") == [False]
    folder.world.provider.outcome = lambda _external: Outcome.SUCCEEDED
    item = folder.world.views.submission(submission_id(folder.batch.id, 1))
    moved = folder.world.ledger.retry(item.id, item.generation, reason="by_person")
    folder.world.send([moved.follow])  # type: ignore[union-attr, list-item]  # it can be
    folder.world.run()
    assert known_in(folder, "a", "b", content=True) == [True, True]


def test_the_good_files_of_a_run_that_was_halved_are_known(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC | {"d": b"fourth"})
    folder.world.provider.poison = lambda names: "c" in names
    folder.run(isolate=20)
    assert known_in(folder, "a", "b", "c", "d") == [True, True, False, True]


def test_where_the_digests_are_lost_a_file_is_known_by_name_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC)
    folder.digests_lost = True
    folder.run()
    assert known_in(folder, "a", "b") == [True, True]
    assert known_in(folder, "a", "b", content=True) == [False, False]


@pytest.mark.parametrize("mode", [Mode.CRASH_BEFORE, Mode.CRASH_AFTER, Mode.CUT_BEFORE, Mode.CUT_AFTER])
def test_whatever_dies_while_it_is_noted_it_is_known_in_the_end(tmp_path: Path, mode: Mode) -> None:
    folder = Folder(tmp_path, ABC)
    folder.run(per_run=1)
    at = [number for number, name in enumerate(folder.world.seam.names) if name == "know"]
    assert at
    for number in at:
        again = Folder(tmp_path / f"{mode}{number}", ABC)
        again.world.seam.plan = {number: mode}
        again.world.waits = folder.world.waits
        try:
            again.run(per_run=1)
        finally:
            again.world.seam.plan = {}
        again.real_root()
        again.world.run()
        assert again.world.views.batch(again.batch.id).closed
        assert len(again.sent) == 3
        assert again.run(per_run=1, skip="content") == []


def test_a_message_that_comes_ten_times_notes_nothing_more(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC)
    folder.world.copies = 10
    folder.run(per_run=1)
    sets = folder.world.redis.keys("pl:known:*")
    assert sum(folder.world.redis.scard(key) for key in sets) == 6
    folder.world.runner.run(Step.EXPORT, submission_id(folder.batch.id, 1))
    assert sorted(folder.world.redis.keys("pl:known:*")) == sorted(sets)


def test_planning_that_was_interrupted_goes_on_with_the_same_answer(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {f"{n:02d}": b"%d" % n for n in range(12)} | {"05e": b""})
    folder.run(per_run=1)
    for name in ("02", "05", "09"):
        folder.touch(name)
    folder.batch = folder.open(folder.spec(per_run=1, skip="unchanged"))
    before = len(folder.sent)
    for _ in range(20):
        folder.plan(folder.world.views.batch(folder.batch.id), stop_after=6)
        folder.world.run(300)
    assert sorted(folder.sent[before:]) == [("02",), ("05",), ("09",)]
    assert folder.left_out() == {"empty": 1, "unchanged": 9}


# -- groups ---------------------------------------------------------------------------------------------------------

GROUPED = {"x/1": b"1", "x/2": b"2", "y/1": b"3", "y/2": b"4", "z/1": b"5"}


def test_a_group_is_run_again_as_a_whole_when_anything_of_it_changed(tmp_path: Path) -> None:
    folder = Folder(tmp_path, GROUPED)
    assert len(folder.run(group_by="directory")) == 3
    assert folder.run(group_by="directory", skip="unchanged") == []
    folder.touch("x/1")
    assert folder.run(group_by="directory", skip="content") == []
    assert folder.left_out() == {"same_content": 2, "unchanged": 3}
    put(folder.source / "y/3", b"6")
    (folder.source / "x/2").unlink()
    assert folder.run(group_by="directory", skip="content") == [("x/1",), ("y/1", "y/2", "y/3")]


def test_files_answered_one_by_one_are_no_known_group(tmp_path: Path) -> None:
    folder = Folder(tmp_path, GROUPED)
    folder.run()
    assert len(folder.run(group_by="directory", skip="content")) == 3
    put(folder.source / "single", b"1")
    assert folder.run(skip="content") == []  # and the other way round it is a file like any other


def test_a_group_whose_run_failed_is_not_halved_and_is_sent_again_whole(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {f"x/{n}": b"%d" % n for n in range(4)})
    folder.world.provider.poison = lambda names: len(names) > 2
    assert folder.run(group_by="directory", isolate=20) == [("x/0", "x/1", "x/2", "x/3")]
    assert folder.run(group_by="directory", skip="unchanged") == [("x/0", "x/1", "x/2", "x/3")]


def test_a_group_that_was_cut_is_known_once_all_of_it_succeeded(tmp_path: Path) -> None:
    cut: dict[str, Any] = {"group_by": "directory", "groups": "cut", "per_run": 2}
    folder = Folder(tmp_path, {f"{name}/{n}": f"{name}{n}".encode() for name in "xyz" for n in range(5)})
    folder.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("05") else Outcome.SUCCEEDED
    assert len(folder.run(**cut)) == 9
    folder.world.provider.outcome = lambda _external: Outcome.SUCCEEDED
    assert folder.run(**cut, skip="content") == [("y/0", "y/1"), ("y/2", "y/3"), ("y/4",)]
    assert folder.run(**cut, skip="unchanged") == []


@pytest.mark.parametrize("at_once", [1, 3, 5, 100])
def test_a_cut_group_is_known_however_slowly_it_was_planned(tmp_path: Path, at_once: int) -> None:
    cut: dict[str, Any] = {"group_by": "directory", "groups": "cut", "per_run": 2}
    folder = Folder(tmp_path, {f"{name}/{n}": f"{name}{n}".encode() for name in "xyz" for n in range(5)})
    folder.batch = folder.open(folder.spec(**cut))
    for _ in range(12):
        folder.plan(folder.world.views.batch(folder.batch.id), stop_after=at_once)
        folder.world.run(400)
    assert len(folder.sent) == 9
    sets = folder.world.redis.keys("pl:known:*")
    assert sum(folder.world.redis.scard(key) for key in sets) == 6  # three groups and their contents, no part of any
    assert folder.run(**cut, skip="content") == []


# -- sifting --------------------------------------------------------------------------------------------------------


def test_entries_come_in_their_order_whatever_is_known(tmp_path: Path) -> None:
    folder = Folder(tmp_path, {f"{n:04d}": b"%d" % n for n in range(10)})
    folder.run()
    spec = folder.spec(skip="unchanged")
    stat = {name.name: name.stat() for name in folder.source.iterdir()}
    files = [SourceFile(name, one.st_size, one.st_mtime_ns) for name, one in sorted(stat.items())]
    strange = [SourceFile(f"{n:04d}", 1, 1) for n in range(10, 2500)]
    entries: list[SourceFile | SkippedFile] = [*strange, SkippedFile("gone", SkipReason.MISSING), *files, *strange]
    sieve = folder.sieve(spec)
    wanted = [(entry.path, "") for entry in strange]
    assert shown(list(sieve.sift(entries))) == [
        *wanted,
        ("gone", "missing"),
        *((file.path, "unchanged") for file in files),
        *wanted,
    ]
    assert (sieve.compared, sieve.left_out) == (4990, 10)


def test_no_more_than_a_thousand_files_are_taken_from_a_listing_ahead(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC)
    taken = 0

    def listing() -> Any:
        nonlocal taken
        for n in range(50_000):
            taken += 1
            yield SourceFile(f"{n}", 1, 1)

    for given, _ in enumerate(folder.sieve(folder.spec(skip="unchanged")).sift(listing())):
        assert taken - given <= AT_ONCE
        if given > 3000:
            break


def test_a_file_that_cannot_be_read_is_left_to_what_comes(tmp_path: Path) -> None:
    folder = Folder(tmp_path, ABC)
    folder.run()
    spec = folder.spec(skip="content")
    stats = {name: (folder.source / name).stat() for name in ABC}
    files = [SourceFile(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]
    (folder.source / "a").unlink()
    folder.touch("b")  # changed since it was listed
    assert shown(list(folder.sieve(spec).sift(files))) == [("a", ""), ("b", ""), ("c", "unchanged")]
    gone = Sieve(folder.world.known, folder.spec(skip="content", source="nowhere"), contents=True)
    assert shown(list(gone.sift(files[:1]))) == [("a", "")]
