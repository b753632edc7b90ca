"""A batch is verified: nothing differs, until one thing is damaged, which is then found and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paceline import redis_keys as keys
from paceline.files import SourceRoot
from paceline.model import Outcome, RunView, external_id, submission_id
from paceline.verifying.findings import Difference, Findings, Kind
from paceline.verifying.streams import side_by_side
from paceline.verifying.whole import Subject, Verdict, verify
from tests.support.lost import Scene


class Verified:
    """What verifying a scene came to."""

    def __init__(self, scene: Scene, *, ledger: bool = True, digests: bool = False) -> None:
        self.differences: list[Difference] = []
        self.findings = Findings(self.differences.append)
        self.verdict: Verdict = verify(
            subject(scene, ledger, digests), scene.world.views if ledger else None, self.findings
        )

    @property
    def kinds(self) -> set[Kind]:
        return {one.kind for one in self.differences}

    def of(self, kind: Kind) -> Difference:
        (one,) = [one for one in self.differences if one.kind is kind]
        return one


def subject(scene: Scene, ledger: bool, digests: bool) -> Subject:
    view = scene.batch() if ledger else None

    def find(external_ids: Sequence[str]) -> Sequence[RunView]:
        assert len(external_ids) <= 4
        return scene.world.provider.find("7", external_ids)

    return Subject(
        batch=scene.id,
        manifest=str(scene.manifest),
        to=scene.spec.to,
        manifest_bytes=view.manifest_bytes if view else None,
        listed=view.listed if view else True,
        view=view,
        find=find,
        step=4,
        settle_s=120.0,
        root=SourceRoot(scene.spec.source) if digests else None,
    )


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A complete batch of six submissions, of which the fourth failed, in two folders."""
    made = Scene(tmp_path_factory.mktemp("complete"), places=2)
    made.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    made.plan()
    made.world.run()
    assert made.batch().closed
    return made


@pytest.fixture
def scene(complete: Scene) -> Iterator[Scene]:
    """The complete batch, made whole again afterwards: each test damages one thing."""
    state, files, runs = dump(complete), tree(complete.folder), complete.world.provider.runs
    complete.world.provider.runs = {name: replace(run) for name, run in runs.items()}
    yield complete
    complete.world.provider.runs = runs
    complete.world.redis.flushall()
    complete.world._tick(0)
    for name, value in state.items():
        complete.world.redis.restore(name, 0, value, replace=True)
    for path in [path for path in tree(complete.folder) if path not in files]:
        Path(path).unlink()
    for path, (content, _) in files.items():
        if not Path(path).is_dir():
            Path(path).write_bytes(content)


@pytest.fixture
def under_way(tmp_path: Path) -> Scene:
    """A batch of which some submissions are exported, some running, some planned."""
    made = Scene(tmp_path)
    made.world.drop = lambda follow: follow.step.value == "submit" and int(follow.key[-6:]) > 4
    made.plan()
    made.world.run(until=lambda: made.exported() >= 3)
    return made


def dump(scene: Scene) -> dict[bytes, bytes]:
    """Return everything in Redis but the pace."""
    names = [name for name in scene.world.redis.keys("*") if b":pace:" not in name]
    return {name: scene.world.redis.dump(name) for name in names}


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file beneath a folder with its time."""
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns) for path in folder.rglob("*")
    }


def edit(path: Path, change: Callable[[list[bytes]], list[bytes] | None]) -> None:
    """Change a file's lines."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines) or lines))


def edit_row(path: Path, number: int, **facts: Any) -> None:
    """Change one JSON line."""

    def change(lines: list[bytes]) -> None:
        lines[number] = json.dumps(json.loads(lines[number]) | facts, separators=(",", ":")).encode() + b"\n"

    edit(path, change)


def test_nothing_differs_in_a_complete_batch(scene: Scene) -> None:
    found = Verified(scene)

    assert found.differences == []
    assert found.verdict == Verdict(0, 0, ended=True)
    assert found.findings.checked == {
        "manifest_rows": 13,
        "skipped": 1,
        "submissions": 6,
        "files": 12,
        "runs": 6,
        "records": 12,
        "file_records": 26,
        "open": 0,
    }


def test_what_is_under_way_is_counted_not_reported(under_way: Scene) -> None:
    found = Verified(under_way)

    assert found.differences == []
    assert (found.verdict.open, found.verdict.held, found.verdict.ended) == (6 - under_way.exported(), 0, False)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_batch_still_being_planned_is_verified_as_far_as_it_is(tmp_path: Path, stop_after: int) -> None:
    scene = Scene(tmp_path)
    scene.plan(stop_after=stop_after)
    with open(scene.manifest, "ab") as manifest:
        manifest.write(b'{"path":"not registered yet')

    found = Verified(scene)

    assert found.differences == []
    assert found.findings.checked["submissions"] == scene.batch().total


def test_verifying_changes_nothing(scene: Scene) -> None:
    before, files = dump(scene), tree(scene.folder)

    Verified(scene, digests=True)

    assert dump(scene) == before
    assert tree(scene.folder) == files


def test_without_a_ledger_the_output_is_held_against_the_provider(scene: Scene) -> None:
    found = Verified(scene, ledger=False)

    assert found.differences == []
    assert found.verdict.ended
    scene.world.provider.start(external_id(submission_id(scene.id, 2)))
    del scene.world.provider.runs["1000"]
    assert Verified(scene, ledger=False).kinds == {Kind.RUN_EXTRA, Kind.RUN_MISSING}


def test_without_a_ledger_what_has_no_record_is_open(under_way: Scene) -> None:
    found = Verified(under_way, ledger=False)

    assert found.differences == []
    assert found.verdict.open == 6 - under_way.exported()


Damage = Callable[[Scene], Any]


def set_ledger(index: int, **facts: Any) -> Damage:
    return lambda scene: scene.world.redis.hset(keys.submission(submission_id(scene.id, index)), mapping=facts)


def set_batch(**facts: Any) -> Damage:
    return lambda scene: scene.world.redis.hset(keys.batch(scene.id), mapping=facts)


def forget(index: int) -> Damage:
    return lambda scene: scene.world.redis.delete(keys.submission(submission_id(scene.id, index)))


def other_files(scene: Scene) -> None:
    one, other = (keys.files(submission_id(scene.id, index)) for index in (1, 2))
    scene.world.redis.set(one, scene.world.redis.get(other))


def in_manifest(change: Callable[[list[bytes]], list[bytes] | None]) -> Damage:
    return lambda scene: edit(scene.manifest, change)


def in_file(name: str, change: Callable[[list[bytes]], list[bytes] | None], place: int = 0) -> Damage:
    return lambda scene: edit(scene.outs[place] / name, change)


def row_in(name: str, number: int, **facts: Any) -> Damage:
    return lambda scene: edit_row(scene.out / name, number, **facts)


def extra_run(scene: Scene) -> None:
    scene.world.provider.start(external_id(submission_id(scene.id, 5)))


def other_outcome(scene: Scene) -> None:
    scene.world.provider.runs["1001"].outcome = Outcome.CANCELLED


def swap(lines: list[bytes]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def damaged_part(scene: Scene) -> None:
    scene.part(3).write_bytes(scene.part(3).read_bytes()[:-4])


def other_part(scene: Scene) -> None:
    scene.part(3).write_bytes(scene.part(3).read_bytes().replace(b'"credits":1.5', b'"credits":9.5'))


def without_parts(damage: Damage) -> Damage:
    """Damage what stands for a complete batch whose parts were deleted."""

    def both(scene: Scene) -> None:
        for index in range(1, 7):
            scene.part(index).unlink()
        damage(scene)

    return both


WRONG = {Kind.RECORD_DIFFERS, Kind.FILE_MISSING, Kind.FILE_UNKNOWN}
"""What follows where the manifest names another file than was sent."""

CASES: list[tuple[str, Damage, set[Kind]]] = [
    ("no manifest", lambda scene: scene.manifest.unlink(), {Kind.MANIFEST_MISSING}),
    (
        "a row of the manifest is gone",
        in_manifest(lambda lines: lines[:3] + lines[4:]),
        {Kind.MANIFEST_LENGTH, Kind.FILES, Kind.RECORD_DIFFERS, Kind.FILE_UNKNOWN},
    ),
    (
        "a skipped row is gone",
        in_manifest(lambda lines: [line for line in lines if b'"empty"' not in line]),
        {Kind.MANIFEST_LENGTH, Kind.COUNTER, Kind.FILE_UNKNOWN},
    ),
    (
        "a submission is gone from the manifest",
        in_manifest(lambda lines: [line for line in lines if b'-000003"' not in line]),
        {Kind.MANIFEST_LENGTH, Kind.NOT_IN_MANIFEST, Kind.FILE_UNKNOWN},
    ),
    (
        "a row that is none",
        in_manifest(lambda lines: [*lines[:3], b"x" * (len(lines[3]) - 1) + b"\n", *lines[4:]]),
        {Kind.MANIFEST_ROW, Kind.FILES, Kind.RECORD_DIFFERS, Kind.FILE_UNKNOWN},
    ),
    (
        "a row with neither submission nor reason",
        in_manifest(lambda lines: [line.replace(b'"reason":"empty"', b'"reason":null   ') for line in lines]),
        {Kind.MANIFEST_ROW, Kind.COUNTER, Kind.FILE_UNKNOWN},
    ),
    ("a row behind the end", in_manifest(lambda lines: [*lines, *lines[-1:]]), {Kind.MANIFEST_LENGTH}),
    (
        "a file stands twice",
        in_manifest(lambda lines: [line.replace(b'"path":"003"', b'"path":"002"') for line in lines]),
        {Kind.MANIFEST_ORDER, Kind.FILES, *WRONG},
    ),
    ("rows out of order", in_manifest(swap), {Kind.FILES, Kind.RECORD_DIFFERS}),
    (
        "a file is planned and left out",
        in_manifest(lambda lines: [line.replace(b'{"path":"empty"', b'{"path":"003"  ') for line in lines]),
        {Kind.MANIFEST_ORDER, Kind.FILE_MISSING, Kind.FILE_UNKNOWN},
    ),
    (
        "a submission is gone from the ledger",
        forget(2),
        {Kind.NOT_IN_LEDGER, Kind.COUNTER, Kind.RECORD_UNKNOWN, Kind.RUN_EXTRA},
    ),
    (
        "a submission more in the ledger",
        in_manifest(lambda lines: [line for line in lines if b'-000006"' not in line]),
        {Kind.MANIFEST_LENGTH, Kind.NOT_IN_MANIFEST, Kind.FILE_UNKNOWN},
    ),
    ("other files", other_files, {Kind.FILES, Kind.COUNTER}),
    ("a submission's count", set_ledger(1, files=3), {Kind.COUNTER}),
    ("a submission's bytes", set_ledger(1, bytes=30), {Kind.COUNTER}),
    ("a total", set_batch(**{"n:exported": 5, "n:held": 1}), {Kind.COUNTER}),
    ("an outcome's total", set_batch(**{"o:failed": 0}), {Kind.COUNTER}),
    ("the credits", set_batch(credits=1), {Kind.COUNTER}),
    ("the skipped", set_batch(files_skipped=2), {Kind.COUNTER}),
    ("a state", set_ledger(2, state="running"), {Kind.STATE, Kind.COUNTER, Kind.RECORD_UNKNOWN}),
    ("another run", set_ledger(2, run_id="4711"), {Kind.RUN_MISSING, Kind.RUN_EXTRA, Kind.RECORD_DIFFERS}),
    ("a run that is gone", lambda scene: scene.world.provider.runs.pop("1002"), {Kind.RUN_MISSING}),
    ("a run too many", extra_run, {Kind.RUN_EXTRA}),
    ("a run that ended otherwise", other_outcome, {Kind.RUN_OUTCOME}),
    ("no _SUCCESS", lambda scene: (scene.out / "_SUCCESS").unlink(), {Kind.NOT_COMMITTED}),
    ("a commit too early", set_batch(closed=0), {Kind.NOT_COMMITTED}),
    ("a record is gone", in_file("results.jsonl", lambda lines: lines[:2] + lines[3:]), {Kind.RECORD_MISSING}),
    (
        "a record is gone in the other folder",
        in_file("results.jsonl", lambda lines: lines[1:], 1),
        {Kind.RECORD_MISSING},
    ),
    ("a record twice", in_file("results.jsonl", lambda lines: lines[:2] + lines[1:]), {Kind.RECORD_TWICE}),
    (
        "a record of nothing",
        in_file("results.jsonl", lambda lines: [*lines, lines[0].replace(b"-000001", b"-000099")]),
        {Kind.RECORD_UNKNOWN},
    ),
    (
        "a record of another batch",
        in_file("results.jsonl", lambda lines: [lines[0].replace(b'"submission":"b', b'"submission":"c'), *lines]),
        {Kind.RECORD_UNKNOWN},
    ),
    (
        "a damaged record",
        in_file("results.jsonl", lambda lines: [*lines[:2], lines[2][:50] + b"\n", *lines[3:]]),
        {Kind.RECORD_DAMAGED, Kind.RECORD_MISSING},
    ),
    ("a record's run", without_parts(row_in("results.jsonl", 1, run_id="1")), {Kind.RECORD_DIFFERS}),
    ("a record's outcome", without_parts(row_in("results.jsonl", 3, outcome="cancelled")), {Kind.RECORD_DIFFERS}),
    ("a record's data", row_in("results.jsonl", 1, data={}), {Kind.RECORD_DIFFERS}),
    ("a failure is gone", in_file("failures.jsonl", lambda lines: lines[:0] or [b""]), {Kind.RECORD_DIFFERS}),
    ("a failure too many", in_file("failures.jsonl", lambda lines: lines * 2), {Kind.RECORD_UNKNOWN}),
    ("a damaged part", damaged_part, {Kind.RECORD_DAMAGED}),
    ("another part", other_part, {Kind.RECORD_DIFFERS}),
    ("a part of nothing", lambda scene: scene.part(9).write_bytes(b"{}"), {Kind.RECORD_UNKNOWN}),
    ("a file's record is gone", in_file("files.jsonl", lambda lines: lines[:4] + lines[5:]), {Kind.FILE_MISSING}),
    ("a left-out file's record is gone", in_file("files.jsonl", lambda lines: lines[:-1]), {Kind.FILE_MISSING}),
    ("a file's record twice", in_file("files.jsonl", lambda lines: lines[:4] + lines[3:]), {Kind.FILE_TWICE}),
    (
        "a record of no file",
        in_file("files.jsonl", lambda lines: [line.replace(b'"path":"004"', b'"path":"0049"') for line in lines]),
        {Kind.FILE_MISSING, Kind.FILE_UNKNOWN},
    ),
    ("a file's size", row_in("files.jsonl", 2, size_bytes=7), {Kind.FILE_DIFFERS}),
    ("a file's time", row_in("files.jsonl", 2, mtime="2001-01-01T00:00:00.000000Z"), {Kind.FILE_DIFFERS}),
    ("a file's outcome", row_in("files.jsonl", 2, outcome="failed"), {Kind.FILE_DIFFERS}),
    ("a file's digest", row_in("files.jsonl", 2, sha256="abc"), {Kind.FILE_DIFFERS}),
    ("a damaged line", in_file("files.jsonl", lambda lines: [b"{\n", *lines]), {Kind.FILE_DIFFERS}),
]


@pytest.mark.parametrize(("damage", "kinds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_damage_is_found_and_named(scene: Scene, damage: Damage, kinds: set[Kind]) -> None:
    damage(scene)

    assert Verified(scene).kinds == kinds


def test_every_kind_of_difference_is_planted_somewhere() -> None:
    planted = {kind for _, _, kinds in CASES for kind in kinds}

    assert planted | {Kind.LEDGER_MISSING, Kind.DIGEST} == set(Kind)


def test_an_extra_run_is_named_with_what_it_cost(scene: Scene) -> None:
    extra_run(scene)
    scene.world._tick(1000)

    one = Verified(scene).of(Kind.RUN_EXTRA)

    assert one.submission == submission_id(scene.id, 5)
    assert one.found == {"run_id": "1006", "status": "success", "credits": 1.5}
    assert one.as_dict()["kind"] == "run_extra"


def test_a_part_of_a_running_batch_is_held_against_ledger_and_manifest(under_way: Scene) -> None:
    done = next(index for index in range(1, 7) if under_way.part(index).exists())
    path = under_way.part(done)
    whole = path.read_bytes()

    path.write_bytes(whole.replace(b'"sha256":"0', b'"sha256":"X', 1))
    assert Verified(under_way).kinds == {Kind.FILE_DIFFERS}
    path.unlink()
    assert Verified(under_way).kinds == {Kind.RECORD_MISSING}
    under_way.part(6).write_bytes(whole.replace(b"-%06d" % done, b"-000006"))
    path.write_bytes(whole)
    assert Verified(under_way).kinds == {Kind.RECORD_UNKNOWN}


def test_what_begins_while_the_provider_is_asked_is_no_difference(under_way: Scene) -> None:
    provider, real = under_way.world.provider, under_way.world.provider.find

    def find(agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        provider.find = real  # type: ignore[method-assign]  # once
        under_way.world.drop = lambda _: False
        under_way.world.run()
        return real(agent, external_ids)

    provider.find = find  # type: ignore[method-assign]  # while the others go on

    assert Verified(under_way).differences == []


def test_the_second_run_of_an_unclear_submission_is_too_many(under_way: Scene) -> None:
    name = submission_id(under_way.id, 6)
    under_way.world.redis.hset(keys.submission(name), "state", "uncertain")
    under_way.world.redis.hincrby(keys.batch(under_way.id), "n:planned", -1)
    under_way.world.redis.hincrby(keys.batch(under_way.id), "n:uncertain", 1)
    under_way.world.provider.start(external_id(name))
    assert Verified(under_way).differences == []
    second = under_way.world.provider.start(external_id(name))

    assert Verified(under_way).of(Kind.RUN_EXTRA).found["run_id"] == second.run_id


def test_digests_tell_whether_the_source_is_what_was_sent(tmp_path: Path) -> None:
    import hashlib

    scene = Scene(tmp_path)
    scene.plan()
    scene.world.run()
    source, files = tmp_path / "source", scene.out / "files.jsonl"
    for number, line in enumerate(files.read_bytes().splitlines()):
        row = json.loads(line)
        if row["submission"]:
            edit_row(files, number, sha256=hashlib.sha256((source / row["path"]).read_bytes()).hexdigest())
    for index in range(1, 7):
        scene.part(index).unlink()
    found = Verified(scene, digests=True)
    assert found.differences == []
    assert found.findings.checked["digests"] == 12
    assert "digests" not in Verified(scene).findings.checked
    edit_row(files, 0, sha256="0" * 64)
    (source / "001").unlink()

    one, other = Verified(scene, digests=True).differences

    assert (one.kind, one.path, one.expected) == (Kind.DIGEST, "000", "0" * 64)
    assert (other.kind, other.path, other.found) == (Kind.DIGEST, "001", "file_missing")


def test_streams_are_joined_where_their_keys_meet() -> None:
    def keyed(text: str) -> Iterator[tuple[tuple[str], str]]:
        return (((letter,), letter) for letter in text)

    assert list(side_by_side(keyed("abde"), keyed("bccdf"))) == [
        ("a", None),
        ("b", "b"),
        (None, "c"),
        (None, "c"),
        ("d", "d"),
        ("e", None),
        (None, "f"),
    ]
