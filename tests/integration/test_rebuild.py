"""Redis is lost, and the ledger is made anew from what the batch left: nothing is paid for twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paceline.batch_file import read_batch_file
from paceline.errors import LedgerLost, SinkError, UnknownBatch, UsageError
from paceline.known import Scope
from paceline.lifecycle import Verb, allows
from paceline.manifest import ManifestWriter, read_manifest
from paceline.model import (
    EndpointClass,
    ErrorNote,
    Outcome,
    PlannedFile,
    PlannedSubmission,
    RunView,
    SkippedFile,
    SkipReason,
    State,
    submission_id,
)
from paceline.planned import ManifestDamaged, PlanReader, mend_end, survey
from paceline.rebuilding import KnownBatch
from paceline.replies import Lost, Restored
from paceline.summary import summarize
from tests.support.fake_provider import CAPABILITIES
from tests.support.lost import Scene
from tests.support.world import World


def begin(scene: Scene, *, exported: int = 2) -> None:
    """Plan six submissions and carry them until so many are exported."""
    scene.plan()
    scene.world.run(until=lambda: scene.exported() >= exported)


def finish(scene: Scene, submissions: int = 6) -> None:
    """Let everything go on to the end, and see that each submission has one run and one record."""
    scene.plan()
    scene.world.run()
    assert scene.batch().state.value == "complete"
    assert scene.runs() == dict.fromkeys(range(1, submissions + 1), 1)
    records = [json.loads(line) for line in (scene.out / "results.jsonl").read_bytes().splitlines()]
    assert [record["submission"] for record in records] == [submission_id(scene.id, n + 1) for n in range(submissions)]
    paths = [json.loads(line)["path"] for line in (scene.out / "files.jsonl").read_bytes().splitlines()]
    assert sorted(paths) == sorted(path.name for path in (scene.folder / "source").iterdir())
    for row in scene.world.views.journal(scene.id):
        assert allows(Verb(row["verb"]), State(row["from"]) if row["from"] else None, State(row["to"])), row


def slow_start(scene: Scene, sent: int, done: int) -> None:
    """Send so many submissions, of which so many end and are exported; the others go on running."""
    provider = scene.world.provider
    real = provider.submit

    def submit(request: Any) -> Any:
        if len(provider.runs) >= sent:
            raise AssertionError("no more than that")
        provider.run_s = 20.0 if len(provider.runs) < done else 10_000.0
        return real(request)

    provider.submit = submit  # type: ignore[method-assign]  # the same, slower
    scene.world.drop = lambda follow: follow.step.value == "submit" and int(follow.key[-6:]) > sent
    scene.plan()
    scene.world.run(until=lambda: scene.exported() >= done)
    scene.world.run(10)
    assert scene.runs() == dict.fromkeys(range(1, sent + 1), 1)
    provider.submit = real  # type: ignore[method-assign]  # as it was
    scene.world.drop = lambda _follow: False


def end_all(scene: Scene) -> None:
    """Let the runs under way end soon."""
    for run in scene.world.provider.runs.values():
        run.ends_s = min(run.ends_s, scene.world.clock + 30)
    scene.world.provider.run_s = 20.0


def test_what_was_exported_is_restored_and_what_was_sent_is_found_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=4, done=2)
    scene.lose()

    found = scene.rebuild()

    assert (found.restored, found.in_doubt, found.files, found.listed) == (2, 4, 12, True)
    assert scene.world.states(scene.id) == {"exported": 2, "uncertain": 4}
    end_all(scene)
    finish(scene)
    verbs = [row["verb"] for row in scene.world.views.journal(scene.id, submission_id(scene.id, 3))]
    assert verbs == ["plan", "accepted", "finish", "exported"]
    verbs = [row["verb"] for row in scene.world.views.journal(scene.id, submission_id(scene.id, 6))]
    assert verbs == ["plan", "absent", "begin", "accepted", "finish", "exported"]
    assert scene.world.views.submission(submission_id(scene.id, 3)).attempt == 1


def test_a_rebuilt_ledger_says_what_the_lost_one_said(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    scene.plan()
    scene.world.run()
    before, items = scene.batch(), list(scene.world.views.submissions(scene.id))
    scene.lose()

    scene.rebuild()

    after = scene.batch()
    assert replace(
        after, created_ms=before.created_ms, requests=before.requests, mean_run_s=before.mean_run_s
    ) == replace(before, closing=after.closing, audit_at=None)
    assert after.requests[EndpointClass.ADD] == 6
    for item, former in zip(scene.world.views.submissions(scene.id), items, strict=True):
        assert item == replace(former, generation=1, begun_generation=0)
        assert scene.world.views.files(item.id)
    assert summarize(after, 0) == summarize(before, 0) | {"requests": summarize(after, 0)["requests"]}


@pytest.mark.parametrize("parts", [True, False])
def test_a_complete_batch_is_complete_again_with_or_without_its_parts(tmp_path: Path, parts: bool) -> None:
    scene = Scene(tmp_path)
    begin(scene, exported=6)
    scene.world.run()
    if not parts:
        for index in range(1, 7):
            scene.part(index).unlink()
    before = {path.name: path.read_bytes() for path in scene.out.iterdir() if path.is_file()}
    scene.lose()

    found = scene.rebuild()

    assert (found.restored, found.in_doubt) == (6, 0)
    assert scene.batch().closed
    scene.world.run()
    assert {path.name: path.read_bytes() for path in scene.out.iterdir() if path.is_file()} == before
    assert scene.exported() == (6 if parts else 0)


def test_a_damaged_line_of_a_committed_output_is_asked_for_and_everything_committed_anew(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    begin(scene, exported=6)
    scene.world.run()
    results = scene.out / "results.jsonl"
    for index in range(1, 7):
        scene.part(index).unlink()
    whole = results.read_bytes()
    lines = whole.splitlines(keepends=True)
    results.write_bytes(b"".join([*lines[:2], lines[2][:40] + b"\n", *lines[3:]]))
    scene.lose()

    assert scene.rebuild().in_doubt == 1
    finish(scene)

    again = [json.loads(line) for line in results.read_bytes().splitlines()]
    assert [row["run_id"] for row in again] == [json.loads(line)["run_id"] for line in lines]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"path":"000"', b'"path":"00x"')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"attempts":1', b'"attempts":-1')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"outcome":"succeeded"', b'"outcome":"great"')),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"agent":"7"', b'"agent":"8"')),
        lambda path: path.write_bytes(path.with_name(path.name.replace("1.json", "2.json")).read_bytes()),
    ],
)
def test_a_part_that_is_not_whole_is_not_believed(tmp_path: Path, damage: Any) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=6, done=2)
    damage(scene.part(1))
    scene.lose()

    assert scene.rebuild().restored == 1

    end_all(scene)
    finish(scene)


def test_a_part_that_only_one_destination_has_is_copied_to_the_others(tmp_path: Path) -> None:
    scene = Scene(tmp_path, places=2)
    slow_start(scene, sent=6, done=3)
    scene.part(1, place=1).unlink()
    scene.part(2, place=0).write_bytes(b"{")
    scene.lose()

    assert scene.rebuild().restored == 3

    for index in (1, 2, 3):
        assert scene.part(index, 0).read_bytes() == scene.part(index, 1).read_bytes()
    end_all(scene)
    finish(scene)


def test_where_the_provider_cannot_be_asked_a_person_decides(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=4, done=2)
    scene.lose()
    scene.world.provider.capabilities = replace(CAPABILITIES, finds_many=0)

    scene.rebuild()
    scene.world.run(100)

    assert scene.world.states(scene.id) == {"exported": 2, "held": 4}


def test_what_this_machines_spool_knows_needs_no_asking(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=4, done=2)
    scene.lose(spool=False)
    scene.world.provider.capabilities = replace(CAPABILITIES, finds_many=0)

    scene.rebuild()
    scene.world.run(100)

    assert scene.world.states(scene.id) == {"exported": 2, "running": 2, "held": 2}


def test_a_manifest_older_than_the_records_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    begin(scene, exported=6)
    scene.world.run()
    scene.lose()
    manifest = scene.out / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[: len(lines) // 2]))
    (scene.out / "_SUCCESS").unlink()
    batch_file = scene.out / "batch.json"
    batch_file.write_text(json.dumps(json.loads(batch_file.read_text()) | {"listed": None}))
    with pytest.raises(ManifestDamaged, match="older than the records"):
        scene.rebuild()
    assert scene.world.views.find_batch(scene.id) is None


def test_what_may_still_be_being_sent_does_not_settle_meanwhile(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=2, done=1)
    scene.lose()
    began = scene.world.clock

    scene.rebuild(sending_s=500)
    scene.world.run(until=lambda: scene.world.provider.arrivals[-1][0] > began)

    assert scene.world.provider.arrivals[-1][0] - began > 500 + scene.world.context.waits.settle_s
    end_all(scene)
    finish(scene)


class Killed(BaseException):
    """What ends the process."""


@contextmanager
def killed_at(scene: Scene, call: int) -> Iterator[None]:
    """Kill whoever runs the `call`-th script, after it has run."""
    scripts = scene.world.ledger._scripts
    real, left = scripts.run, [call]

    def run(*args: Any) -> Any:
        answer = real(*args)
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return answer

    scripts.run = run  # type: ignore[method-assign,assignment]  # for as long as the block lasts
    try:
        yield
    finally:
        scripts.run = real  # type: ignore[method-assign]  # as it was


def test_a_rebuild_killed_at_any_moment_is_finished_by_the_next(tmp_path: Path) -> None:
    for call in range(1, 11):
        scene = Scene(tmp_path / str(call))
        slow_start(scene, sent=4, done=2)
        scene.lose()
        with pytest.raises(Killed), killed_at(scene, call):
            scene.rebuild()
        if call < 10:  # the last one ends it
            assert scene.batch().paused == "rebuilding"
            with pytest.raises(LedgerLost, match="paceline rebuild"):
                scene.plan()
            scene.world.run(300)
            assert scene.runs() == dict.fromkeys(range(1, 5), 1)
            found = scene.rebuild()
            assert found.restored + found.in_doubt == 6
        else:
            with pytest.raises(KnownBatch):
                scene.rebuild()
        end_all(scene)
        finish(scene)


def test_a_batch_that_the_ledger_knows_is_not_rebuilt(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=4, done=2)
    before = scene.batch()

    with pytest.raises(KnownBatch):
        scene.rebuild()

    assert scene.batch() == before


def test_two_rebuilds_at_once_are_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=4, done=2)
    scene.lose()

    with ManifestWriter.locked(str(scene.manifest), scene.id), pytest.raises(SinkError, match="another process"):
        scene.rebuild()


def test_a_planner_that_lives_on_registers_nothing_in_a_lost_ledger(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.plan(stop_after=2)
    scene.lose()
    files = tuple(PlannedFile(f"{n}", 1, 1, f"{n}") for n in range(2))

    with pytest.raises(UnknownBatch):
        scene.world.ledger.plan(scene.id, PlannedSubmission(3, files), manifest_bytes=1)
    scene.world.ledger.listed(scene.id, skipped=0, manifest_bytes=1)

    assert scene.world.redis.keys("pl:[bsa]:*") == []


def test_counters_left_by_somebody_who_did_not_notice_are_not_taken_over(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    slow_start(scene, sent=4, done=2)
    scene.lose()
    scene.world.ledger.trouble(scene.id, "late")
    scene.world.redis.hincrby(f"pl:b:{scene.id}", "total", 5)

    scene.rebuild()

    assert (scene.batch().total, scene.batch().trouble) == (6, None)


def test_a_listing_that_had_not_ended_goes_on_behind_what_is_known(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.plan(stop_after=3)
    scene.world.run(until=lambda: len(scene.world.provider.runs) == 3)
    scene.lose()

    found = scene.rebuild()

    assert (found.in_doubt, found.listed) == (3, False)
    assert not scene.batch().listed
    finish(scene)
    assert read_batch_file(str(scene.out / "batch.json")).listed is not None


@pytest.mark.parametrize(("cut", "submissions"), [(1, 6), (5, 6), (60, 7), (130, 6)])
def test_a_torn_last_line_is_planned_again(tmp_path: Path, cut: int, submissions: int) -> None:
    scene = Scene(tmp_path)
    scene.plan(stop_after=2)
    scene.world.run(until=lambda: len(scene.world.provider.runs) == 2)
    with open(scene.manifest, "ab") as manifest:  # the third was being written when everything stopped
        for number in (4, 5):
            manifest.write(
                b'{"path":"%03d","size_bytes":%d,"mtime_ns":1,"submission":"%s-000003","name":"x","reason":null}\n'
                % (number, number + 1, scene.id.encode())
            )
    os.truncate(scene.manifest, scene.manifest.stat().st_size - cut)
    scene.lose()

    scene.rebuild()

    finish(scene, submissions)  # one more where it can't be seen that the line is of the same submission


def test_the_last_submission_of_a_killed_planner_was_perhaps_paid_for_and_is_asked_after(tmp_path: Path) -> None:
    scene = Scene(tmp_path, files=5)
    scene.plan()  # the third has one file only, and looks as if it were cut off
    scene.world.run(until=lambda: len(scene.world.provider.runs) == 3)
    path = scene.out / "batch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"listed": None}))
    with open(scene.manifest, "ab") as manifest:
        manifest.write(b'{"path":"torn')
    scene.lose()

    scene.rebuild()

    finish(scene, submissions=3)


def rows(path: Path) -> list[tuple[str, str | None]]:
    return [(row.path, row.submission and row.submission[-1]) for row in read_manifest(str(path))]


@pytest.mark.parametrize(("files", "kept"), [(("a", "c"), ["b"]), (("a", "c", "x"), ["b", "d"])])
def test_files_before_a_skipped_one_are_not_passed_over(
    tmp_path: Path, files: tuple[str, ...], kept: list[str]
) -> None:
    path = tmp_path / "manifest.jsonl"
    with ManifestWriter(str(path), "b123456789") as writer:
        writer.write(PlannedSubmission(1, (PlannedFile("0", 1, 1, "0"),)))
        for name in ("b", "d"):
            writer.write(SkippedFile(name, SkipReason.EMPTY, 0, 0))
        writer.write(PlannedSubmission(2, tuple(PlannedFile(name, 1, 1, name) for name in files)))
        writer.flush()
    extent = survey(str(path), "b123456789", None)
    assert extent.last is not None

    assert mend_end(str(path), extent.last, 4) is (kept == ["b"])

    assert rows(path) == [("0", "1"), *((name, None) for name in kept), *((name, "2") for name in files)]
    again = survey(str(path), "b123456789", None)
    assert again.last is not None
    assert (again.last.stop, again.skipped) == (path.stat().st_size, len(kept))
    assert not mend_end(str(path), again.last, 4)


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*lines[:1], b"{}\n", *lines[2:]],
        lambda lines: lines[2:],
        lambda lines: [*lines[:3], lines[3][:-9] + b"\n", *lines[4:]],
        lambda lines: [line.replace(b"-000002", b"-000007") for line in lines],
        lambda lines: [line.replace(b'"submission":"b', b'"submission":"c') for line in lines],
        lambda lines: lines[:-1],
        lambda lines: [line.replace(b'"submission":"', b'"submission":3,"was":"') for line in lines],
    ],
)
def test_a_damaged_manifest_is_refused_before_anything_is_done(tmp_path: Path, damage: Any) -> None:
    scene = Scene(tmp_path)
    scene.plan()
    scene.lose()
    scene.manifest.write_bytes(b"".join(damage(scene.manifest.read_bytes().splitlines(keepends=True))))

    with pytest.raises(ManifestDamaged, match="copy"):
        scene.rebuild()

    assert scene.world.views.batch_ids() == []


def move(scene: Scene) -> None:
    scene.out = scene.out.rename(scene.folder / "moved")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda scene: (scene.out / "batch.json").unlink(), "batch.json"),
        (lambda scene: scene.manifest.unlink(), "manifest.jsonl"),
        (lambda scene: (scene.out / "batch.json").write_bytes(b"{}"), "damaged"),
        (lambda scene: scene.out.rename(scene.folder / "moved"), "no folder"),
        (move, "move it back"),
    ],
)
def test_what_there_is_nothing_to_rebuild_from_is_named(tmp_path: Path, spoil: Any, word: str) -> None:
    scene = Scene(tmp_path)
    scene.plan()
    scene.lose()
    spoil(scene)

    with pytest.raises((UsageError, SinkError), match=word):
        scene.rebuild()

    assert scene.world.views.batch_ids() == []


def test_a_manifest_is_read_one_submission_at_a_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.plan()
    found = list(PlanReader(str(scene.manifest), scene.id, scene.manifest.stat().st_size))

    assert [len(one.submission.files) for one in found] == [2] * 6
    assert found[-1].stop + found[0].start <= scene.manifest.stat().st_size
    assert [one.stop for one in found[:-1]] == [one.start - one.gap for one in found[1:]]


ENDED = Restored(
    outcome=Outcome.FAILED,
    reason="run_failed",
    attempts=2,
    planned_ms=1_000,
    submitted_ms=2_000,
    finished_ms=5_000,
    run_id="77",
    run_url="http://x/77",
    error=ErrorNote("provider", "run", "no").as_dict(),
    raw_status="failed",
    credits=2.5,
)


def test_restoring_registers_a_submission_once_and_only_where_it_is_not_known(real_redis: Any) -> None:
    world = World(real_redis)
    batch = world.plan(2)
    new = PlannedSubmission(3, (PlannedFile("a", 10, 1, "a"), PlannedFile("b", 20, 1, "b")))
    known = PlannedSubmission(1, new.files)
    before = world.views.submission(submission_id(batch, 1))

    assert not world.ledger.restore(batch, known, ENDED, manifest_bytes=7)
    assert world.views.submission(before.id) == before
    assert world.ledger.restore(batch, new, ENDED, manifest_bytes=300, skipped=4)
    assert not world.ledger.restore(batch, new, ENDED, manifest_bytes=300, skipped=4)

    view, item = world.views.batch(batch), world.views.submission(submission_id(batch, 3))
    assert (item.state, item.generation, item.attempt, item.run_id) == (State.EXPORTED, 1, 2, "77")
    assert (item.outcome, item.reason, item.error, item.credits) == (Outcome.FAILED, "run_failed", ENDED.error, 2.5)
    assert (view.total, view.by_state[State.EXPORTED], view.files_by_outcome[Outcome.FAILED]) == (3, 1, 2)
    assert (view.reasons, view.runs_accepted, view.credits, view.files_skipped) == ({"run_failed": 1}, 1, 2.5, 4)
    assert (view.started_ms, view.manifest_bytes, view.mean_run_s) == (2_000, 300, 3.0)
    assert world.views.known_external_id("fake", "7") == item.external_id
    assert isinstance(world.ledger.plan(batch, new, manifest_bytes=1, in_doubt=True), Lost)


def test_no_verb_moves_a_restored_submission(real_redis: Any) -> None:
    world = World(real_redis)
    batch = world.plan(0)
    world.ledger.restore(batch, PlannedSubmission(1, (PlannedFile("a", 1, 1, "a"),)), ENDED, manifest_bytes=1)
    item = submission_id(batch, 1)
    before = world.views.submission(item)

    world.ledger.begin(item, 1, rate=world.provider.rates[EndpointClass.ADD], worker="w", lease_s=9)
    world.ledger.uncertain(item, 1, reason="x", first_look_s=1)
    world.ledger.hold(item, 1, reason="x")
    world.ledger.exported(item, 1)
    world.ledger.accepted(item, RunView("78", None, "", None), attempt=None, first_poll_s=1)

    assert world.views.submission(item) == before
    assert list(world.views.batch(batch).duplicates) == ["78"]


def test_a_lost_batch_is_nothing_to_restore_into(real_redis: Any) -> None:
    world = World(real_redis)
    batch = world.plan(1)
    real_redis.flushall()
    with pytest.raises(UnknownBatch):
        world.ledger.restore(batch, PlannedSubmission(1, ()), ENDED, manifest_bytes=1)
    assert real_redis.keys() == []


def test_what_a_rebuilt_batch_has_answered_is_known_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    scene.plan()
    scene.world.run()
    scope = Scope(scene.spec)
    files = [path for path in sorted((scene.folder / "source").iterdir()) if path.name != "empty"]
    marks = [scope.file(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    marks.append(scope.content(bytes(32)))  # what the fake provider says that it was sent
    before = scene.world.known.find(scope, marks)
    assert before == [True] * 6 + [False] * 2 + [True] * 5
    scene.lose()
    assert not any(scene.world.known.find(scope, marks))

    scene.rebuild()

    assert scene.world.known.find(scope, marks) == before
    assert scene.batch().left_out == {"empty": 1}
