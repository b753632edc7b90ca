"""Halves in a real folder: the output, what verify says of it, and a ledger that is made anew from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from paceline import redis_keys as keys
from paceline.halving import REASON, halves_of, parent_of, place
from paceline.lifecycle import Verb, allows
from paceline.manifest import read_manifest
from paceline.model import Outcome, State, index_of, submission_id
from paceline.summary import summarize
from paceline.verifying.findings import Kind
from tests.integration.test_verify import Verified, dump, edit, edit_row, tree
from tests.support.lost import Scene

BAD = {"002", "008", "009"}
"""Of twelve files, five a submission: 000 to 004, 005 to 009, 010 and 011."""


def poisoned(folder: Path, *, budget: int = 100, places: int = 1) -> Scene:
    """Plan the batch."""
    scene = Scene(folder, per_run=5, places=places, isolate=budget)
    scene.world.provider.poison = lambda names: bool(BAD & set(names))
    return scene


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def finish(scene: Scene) -> None:
    """Let everything go on to the end; see that each file has one record, in order, and each submission one run."""
    scene.plan()
    scene.world.run()
    assert scene.batch().state.value == "complete"
    assert set(Counter(run.external_id for run in scene.world.provider.runs.values()).values()) == {1}
    rows = lines(scene.out / "files.jsonl")
    assert [row["path"] for row in rows] == [row.path for row in read_manifest(str(scene.manifest))]
    assert {row["path"] for row in rows if row["outcome"] == "failed"} == BAD
    assert Verified(scene).differences == []
    for row in scene.world.views.journal(scene.id):
        assert allows(Verb(row["verb"]), State(row["from"]) if row["from"] else None, State(row["to"])), row


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The complete batch, in two folders."""
    made = poisoned(tmp_path_factory.mktemp("complete"), places=2)
    finish(made)
    return made


@pytest.fixture
def scene(complete: Scene) -> Iterator[Scene]:
    """The complete batch, made whole again afterwards: each test damages one thing."""
    state, files = dump(complete), tree(complete.folder)
    yield complete
    complete.world.redis.flushall()
    complete.world._tick(0)
    for name, value in state.items():
        complete.world.redis.restore(name, 0, value, replace=True)
    for path in [path for path in tree(complete.folder) if path not in files]:
        Path(path).unlink()
    for path, (content, _) in files.items():
        if not Path(path).is_dir():
            Path(path).write_bytes(content)


def test_records_stand_in_the_order_of_their_files_each_before_its_halves(scene: Scene) -> None:
    records = lines(scene.out / "results.jsonl")

    indexes = [index_of(record["submission"]) for record in records]
    assert indexes == sorted(indexes, key=place)
    assert set(indexes) == {index_of(item.id) for item in scene.world.views.submissions(scene.id)}
    for record in records:
        index = index_of(record["submission"])
        fails = bool(BAD & set(record["files"]))
        wanted = "completed" if not fails else "run_failed" if len(record["files"]) == 1 else REASON
        assert record["reason"] == wanted
        assert (submission_id(scene.id, halves_of(index)[0]) in {one["submission"] for one in records}) == (
            wanted == REASON
        )
    assert (scene.outs[1] / "results.jsonl").read_bytes() == (scene.out / "results.jsonl").read_bytes()
    failures = lines(scene.out / "failures.jsonl")
    assert failures == [record for record in records if record["outcome"] != "succeeded"]


def test_a_file_record_names_the_half_that_the_file_ended_in(scene: Scene) -> None:
    records = {record["submission"]: record for record in lines(scene.out / "results.jsonl")}

    for row in lines(scene.out / "files.jsonl"):
        if row["submission"] is not None:
            record = records[row["submission"]]
            assert row["path"] in record["files"]
            assert (row["outcome"], row["reason"]) == (record["outcome"], record["reason"])
            assert record["reason"] != REASON


def test_nothing_differs_with_or_without_a_ledger(scene: Scene) -> None:
    found = Verified(scene, digests=False)

    assert found.differences == []
    assert found.findings.checked["submissions"] == scene.batch().total == found.findings.checked["runs"]
    assert found.findings.checked["files"] == 12
    assert found.findings.checked["file_records"] == 26
    assert Verified(scene, ledger=False).differences == []


def test_a_folder_whose_parts_were_deleted_is_verified_without_a_ledger(scene: Scene) -> None:
    for out in scene.outs:
        for part in (out / "parts").iterdir():
            part.unlink()

    assert Verified(scene, ledger=False).differences == []


def test_what_is_under_way_between_halves_is_open_not_different(tmp_path: Path) -> None:
    scene = poisoned(tmp_path)
    scene.plan()
    for exported in (1, 3, 5):
        scene.world.run(until=lambda wanted=exported: scene.exported() >= wanted)  # type: ignore[misc]  # a lambda
        assert Verified(scene).differences == []
        assert Verified(scene).verdict.open > 0


def row_of(scene: Scene, name: str, path: str) -> int:
    """Find the line about a file."""
    return next(n for n, row in enumerate(lines(scene.out / name)) if row.get("path") == path)


def record_of(scene: Scene, reason: str) -> int:
    """Find a half's record."""
    rows = lines(scene.out / "results.jsonl")
    return next(n for n, row in enumerate(rows) if row["reason"] == reason and index_of(row["submission"]) > 10**9)


def without(number: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda rows: [*rows[:number], *rows[number + 1 :]]


def drop_file_row(scene: Scene) -> None:
    edit(scene.out / "files.jsonl", without(row_of(scene, "files.jsonl", "002")))


def drop_record(scene: Scene) -> None:
    edit(scene.out / "results.jsonl", without(record_of(scene, "completed")))


def repeat_record(scene: Scene) -> None:
    number = record_of(scene, "completed")
    edit(scene.out / "results.jsonl", lambda rows: [*rows[: number + 1], *rows[number:]])


def give_to_the_whole(scene: Scene) -> None:
    number = row_of(scene, "files.jsonl", "002")
    edit_row(scene.out / "files.jsonl", number, submission=submission_id(scene.id, 1))


def forget_half(scene: Scene) -> None:
    name = next(item.id for item in scene.world.views.submissions(scene.id) if parent_of(index_of(item.id)))
    scene.world.redis.delete(keys.submission(name))


def forget_all_halves(scene: Scene) -> None:
    scene.world.redis.delete(keys.halves(scene.id))


def pay_twice(scene: Scene) -> None:
    half = next(item for item in scene.world.views.submissions(scene.id) if parent_of(index_of(item.id)))
    run = scene.world.provider.start(half.external_id)
    scene.world.provider.runs[run.run_id] = run


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (drop_file_row, Kind.FILE_MISSING),
        (give_to_the_whole, Kind.FILE_DIFFERS),
        (drop_record, Kind.RECORD_MISSING),
        (repeat_record, Kind.RECORD_TWICE),
        (forget_half, Kind.NOT_IN_LEDGER),
        (forget_all_halves, Kind.COUNTER),
    ],
)
def test_what_is_damaged_about_a_half_is_found(scene: Scene, damage: Callable[[Scene], None], kind: Kind) -> None:
    damage(scene)

    assert kind in Verified(scene).kinds


@pytest.mark.parametrize("damage", [drop_file_row, give_to_the_whole])
def test_it_is_found_without_a_ledger_too(scene: Scene, damage: Callable[[Scene], None]) -> None:
    damage(scene)

    assert Verified(scene, ledger=False).kinds


def test_a_second_run_of_a_half_is_found(tmp_path: Path) -> None:
    scene = poisoned(tmp_path)
    finish(scene)

    pay_twice(scene)

    assert Verified(scene).kinds == {Kind.RUN_EXTRA}


def test_planning_goes_on_behind_the_manifest_however_many_halves_there_are(tmp_path: Path) -> None:
    scene = poisoned(tmp_path)
    scene.plan(stop_after=1)
    scene.world.run()
    assert scene.batch().extra > 0

    finish(scene)

    assert scene.batch().in_manifest == 3


def test_a_rebuilt_ledger_says_of_halves_what_the_lost_one_said(scene: Scene) -> None:
    before, items = scene.batch(), list(scene.world.views.submissions(scene.id))
    output = tree(scene.out)
    scene.lose()

    found = scene.rebuild()

    after = scene.batch()
    assert (found.restored, found.in_doubt, found.files) == (before.total, 0, 12)
    assert after.closed
    for name in ("total", "extra", "isolated", "files", "size_bytes", "by_state", "outcomes", "files_by_outcome"):
        assert getattr(after, name) == getattr(before, name), name
    assert (after.reasons, after.runs_accepted, after.credits) == (before.reasons, before.runs_accepted, before.credits)
    assert summarize(after, 0)["files"] == summarize(before, 0)["files"]
    again = list(scene.world.views.submissions(scene.id))
    assert [(one.id, one.run_id, one.reason) for one in again] == [(one.id, one.run_id, one.reason) for one in items]
    assert tree(scene.out) == output
    assert Verified(scene).differences == []


def test_it_is_rebuilt_from_its_committed_output_alone(scene: Scene) -> None:
    before = scene.batch()
    for out in scene.outs:
        for part in (out / "parts").iterdir():
            part.unlink()
    scene.lose()

    found = scene.rebuild()

    assert (found.restored, found.in_doubt, scene.batch().extra) == (before.total, 0, before.extra)


@pytest.mark.parametrize("spool", [True, False])
@pytest.mark.parametrize("exported", [1, 4, 7, 12])
def test_redis_lost_among_halves_costs_no_second_payment(tmp_path: Path, exported: int, spool: bool) -> None:
    scene = poisoned(tmp_path)
    scene.plan()
    scene.world.run(until=lambda: scene.exported() >= exported)
    scene.world.run(2)
    scene.lose(spool=spool)

    scene.rebuild()
    finish(scene)

    view = scene.batch()
    assert view.extra == view.isolated
    assert view.files_by_outcome[Outcome.FAILED] == 3


def test_halves_whose_whole_lost_its_record_are_asked_after(tmp_path: Path) -> None:
    """Redis is lost, and with it the one part that tells of halves which have been sent."""
    scene = poisoned(tmp_path)
    scene.plan()
    scene.world.run(until=lambda: scene.exported() >= 6)
    scene.world.run(5)
    paid = len(scene.world.provider.runs)
    assert paid > 3
    scene.part(1).unlink()
    scene.part(2).unlink()
    scene.lose()

    scene.rebuild()
    finish(scene)

    half = submission_id(scene.id, halves_of(1)[0])
    assert [row["verb"] for row in scene.world.views.journal(scene.id, half)][:2] == ["plan", "accepted"]


def test_a_batch_verified_while_it_is_split_shows_no_difference(tmp_path: Path) -> None:
    """The ledger moves on between its totals, its submissions and the records: none of that is a difference."""
    scene = poisoned(tmp_path)
    scene.plan()
    world, view = scene.world, scene.world.views
    real = view.with_files
    whole = submission_id(scene.id, 1)

    def stands(state: State) -> bool:
        return view.submission(whole).state is state

    world.run(60, until=lambda: stands(State.RUNNING))

    def then_split(submissions: Sequence[str]) -> Any:
        view.with_files = real  # type: ignore[method-assign]  # steps use it too
        world.drop = lambda follow: follow.step.value == "export"
        world.run(120, until=lambda: stands(State.FINISHED) or stands(State.EXPORTED))
        world.drop = lambda _follow: False
        found = real(submissions)
        world.run(120, until=lambda: stands(State.EXPORTED))
        return found

    view.with_files = then_split  # type: ignore[method-assign]  # the same, and something happens
    assert Verified(scene).differences == []
    assert view.submission(whole).reason == REASON
