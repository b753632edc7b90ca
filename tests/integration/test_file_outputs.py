"""A batch whose outputs are single files: there is no folder, and every verb does what it does for folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import UsageError
from paceline.model import Outcome, Step, index_of, submission_id
from paceline.rebuilding import open_output
from paceline.reexporting import Origin, reexport
from paceline.removing import find_forgotten
from paceline.runner import Runner
from paceline.sinks.base import Closing, Part
from paceline.sinks.committed import stands
from paceline.sinks.registry import open_sink
from paceline.verifying.findings import Kind
from tests.integration.test_operators_verbs import finished
from tests.integration.test_verify import Verified
from tests.support.lost import Scene
from tests.support.verbs import Verbs

NAMES = ("x.jsonl", "x.csv", "x.files.csv")


def made(folder: Path, redis: Any = None) -> Scene:
    """Make a complete batch of six submissions, of which the fourth failed."""
    scene = Scene(folder, names=NAMES, redis=redis)
    scene.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    scene.plan()
    scene.world.run()
    assert scene.batch().closed
    return scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return made(tmp_path)


def outputs(scene: Scene) -> dict[str, bytes]:
    """Return the files' content."""
    return {out.name: out.read_bytes() for out in scene.outs}


def records(scene: Scene) -> list[dict[str, Any]]:
    """Return the lines of `x.jsonl`."""
    return [json.loads(line) for line in scene.outs[0].read_bytes().splitlines()]


def test_each_file_has_its_rows_and_state_is_in_the_home(scene: Scene) -> None:
    assert [row["submission"] for row in records(scene)] == [submission_id(scene.id, n + 1) for n in range(6)]
    answers = scene.outs[1].read_text().splitlines()
    assert len([line for line in answers if line.startswith(f"{scene.id},{submission_id(scene.id, 4)},")]) == 1
    assert len(scene.outs[2].read_bytes().splitlines()) == 1 + 13
    assert sorted(path.name for path in scene.out.iterdir()) == ["batch.json", "manifest.jsonl"]


# -- verify ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", [True, False])
def test_nothing_differs(scene: Scene, ledger: bool) -> None:
    found = Verified(scene, ledger=ledger)
    assert found.differences == []
    assert (found.verdict.open, found.verdict.ended, found.verdict.unread) == (0, True, ())
    assert found.findings.checked["records"] == 18
    assert found.findings.checked["file_records"] == 36


def test_digests_are_looked_at_without_a_folder(scene: Scene) -> None:
    whole = scene.part(2)
    raw = whole.read_bytes().replace(b'"sha256":null', b'"sha256":"' + b"0" * 64 + b'"', 1)
    whole.write_bytes(raw)
    assert Kind.DIGEST in Verified(scene, digests=True).kinds


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lambda scene: edit(scene.outs[1], b"succe", b"SUCCE"), {Kind.RECORD_DIFFERS}),
        (lambda scene: scene.outs[0].write_bytes(scene.outs[0].read_bytes()[:-1]), {Kind.RECORD_DIFFERS}),
        (lambda scene: scene.outs[0].write_bytes(scene.outs[0].read_bytes() + b"\n"), {Kind.RECORD_DIFFERS}),
        (lambda scene: scene.outs[2].unlink(), {Kind.NOT_COMMITTED}),
        (lambda scene: scene.part(3, 1).unlink(), {Kind.RECORD_MISSING}),
        (lambda scene: scene.part(3).write_bytes(b"{}"), {Kind.RECORD_DAMAGED, Kind.RECORD_MISSING}),
        (lambda scene: shutil.copy(scene.part(1), scene.part(7)), {Kind.RECORD_UNKNOWN}),
    ],
)
def test_each_damage_is_found(scene: Scene, damage: Callable[[Scene], object], kinds: set[Kind]) -> None:
    damage(scene)
    assert Verified(scene).kinds == kinds


def test_a_file_whose_parts_are_gone_is_named_as_not_read(scene: Scene) -> None:
    shutil.rmtree(scene.part(1, 1).parent)

    found = Verified(scene)

    assert found.differences == []
    assert found.verdict.unread == (str(scene.outs[1]),)


def test_what_is_under_way_is_no_difference(tmp_path: Path) -> None:
    scene = Scene(tmp_path, names=NAMES)
    scene.plan()
    scene.world.drop = lambda follow: follow.step is Step.EXPORT and index_of(follow.key) > 2
    scene.world.run(until=lambda: scene.exported() >= 2)
    found = Verified(scene)
    assert found.differences == []
    assert found.verdict.open
    assert not found.verdict.ended


# -- rebuild ---------------------------------------------------------------------------------------------------------


def test_a_lost_ledger_is_made_anew_from_the_home(scene: Scene) -> None:
    before, runs = outputs(scene), scene.runs()
    scene.lose()

    found = scene.rebuild()

    assert (found.restored, found.in_doubt) == (6, 0)
    assert scene.batch().closed
    scene.plan()
    scene.world.run()
    assert (outputs(scene), scene.runs()) == (before, runs)


@pytest.mark.parametrize("exported", [1, 4])
def test_what_has_its_part_is_restored_and_the_rest_is_asked_for(tmp_path: Path, exported: int) -> None:
    scene = Scene(tmp_path, names=NAMES)
    scene.plan()
    scene.world.run(until=lambda: scene.exported() >= exported)
    scene.part(1, 1).unlink()  # missing at one destination: written there again
    scene.lose()

    found = scene.rebuild()
    scene.plan()
    scene.world.run()

    assert found.restored >= exported
    assert scene.batch().closed
    assert scene.runs() == dict.fromkeys(range(1, 7), 1)
    assert len(records(scene)) == 6
    assert Verified(scene).differences == []


def test_without_parts_everything_is_asked_for_and_nothing_paid_twice(scene: Scene) -> None:
    for out in scene.outs:
        shutil.rmtree(f"{out}.parts")
    for out in scene.outs:
        out.unlink()
    scene.lose()

    found = scene.rebuild()
    scene.plan()
    scene.world.run()

    assert (found.restored, found.in_doubt) == (0, 6)
    assert scene.runs() == dict.fromkeys(range(1, 7), 1)
    assert scene.batch().closed


class Elsewhere:
    """A destination that can be written and not read back."""

    def __init__(self) -> None:
        self.parts: dict[str, Part] = {}
        self.commits = 0

    def write(self, part: Part) -> None:
        """Keep a part."""
        self.parts[part.submission] = part

    def check(self, batch: str | None) -> None:
        """Find nothing wrong."""

    def take_manifest(self, batch: str, manifest: str) -> None:
        """Do nothing."""

    def commit(self, closing: Closing) -> None:
        """Count commits."""
        self.commits += 1


def test_what_cannot_be_read_back_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, there, url = Scene(tmp_path), Elsewhere(), "https://example.org/hook"
    scene.spec = replace(scene.spec, to=(*scene.spec.to, url))
    scene.id = scene.spec.batch_id()

    def opened(place: str) -> Any:
        return there if place == url else open_sink(place)

    monkeypatch.setattr("paceline.rebuilding.shared_sink", opened)
    monkeypatch.setattr("producers.enqueue.open_sink", opened)
    scene.world.context = replace(scene.world.context, sink=opened)
    scene.world.runner = Runner(scene.world.context)
    scene.plan()
    scene.world.run()
    found = Verified(scene)
    assert (found.differences, found.verdict.unread) == ([], (url,))
    there.parts.clear()
    scene.lose()

    scene.rebuild()
    scene.plan()
    scene.world.run()

    assert sorted(there.parts) == [submission_id(scene.id, n + 1) for n in range(6)]
    assert there.commits == 2  # whether it was committed there, nobody could tell
    assert scene.runs() == dict.fromkeys(range(1, 7), 1)


def test_a_folder_that_is_none_of_its_places_is_refused_with_where_to_look(scene: Scene) -> None:
    with pytest.raises(UsageError, match=r"PACELINE_HOME/batches"):
        open_output(str(scene.outs[0].parent))
    assert open_output(str(scene.out)).spec.batch_id() == scene.id


# -- export, gc, show ------------------------------------------------------------------------------------------------


def test_a_folder_is_made_from_the_parts_of_files(scene: Scene) -> None:
    def refuse(run_id: str) -> None:
        raise AssertionError(run_id)

    copy = scene.folder / "copy"
    found = reexport(scene.world.views, scene.batch(), [open_sink(str(copy))], scene.world.results, refuse)

    assert (found.complete, found.origins) == (True, {Origin.OUTPUT: 6})
    assert (copy / "results.jsonl").read_bytes() == scene.outs[0].read_bytes()
    assert len((copy / "files.jsonl").read_bytes().splitlines()) == 13


@pytest.fixture
def verbs(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    return Verbs(server, tmp_path, monkeypatch)


@pytest.fixture
def done(tmp_path: Path, real_redis: Any) -> Iterator[Scene]:
    scene = made(tmp_path, real_redis)
    finished(scene, days=40)
    yield scene
    real_redis.flushall()


def test_export_takes_every_kind_of_file(done: Scene, verbs: Verbs, tmp_path: Path) -> None:
    arguments = [word for name in ("later.jsonl", "later.csv", "later.files.csv", "out") for word in ("--to", name)]

    said = verbs("export", done.id, *arguments, "--json")

    assert said.code == 0, said
    assert said.json()["to"] == [str(tmp_path / word) for word in arguments[1::2]]
    for name in NAMES:
        assert (tmp_path / name.replace("x", "later")).read_bytes() == (tmp_path / name).read_bytes()
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == (tmp_path / "x.jsonl").read_bytes()
    assert verbs("export", done.id, *arguments).code == 0
    assert verbs("export", done.id, "--to", "x.csv").code == 0  # its own, complete


@pytest.mark.parametrize("place", ["theirs.csv", "source/x.csv", "ftp://x", "-", "http://"])
def test_export_refuses_a_place_that_is_not_free(done: Scene, verbs: Verbs, tmp_path: Path, place: str) -> None:
    (tmp_path / "theirs.csv").write_text("a,b\n")
    assert verbs("export", done.id, "--to", place).code == 2
    assert (tmp_path / "theirs.csv").read_text() == "a,b\n"


def test_gc_removes_a_batch_whose_files_stand_and_keeps_one_whose_file_is_gone(done: Scene, verbs: Verbs) -> None:
    done.outs[1].rename(done.folder / "moved")
    kept = verbs("gc", "--yes")
    assert (kept.code, f"--batch {done.id}" in kept.stderr, str(done.outs[1]) in kept.stderr) == (0, True, True)
    assert str(done.outs[0]) not in kept.stderr

    (done.folder / "moved").rename(done.outs[1])
    assert verbs("gc", "--yes").code == 0
    assert find_forgotten(done.world.redis, done.id) is not None


def test_gc_says_what_it_has_not_looked_at(done: Scene, verbs: Verbs) -> None:
    shutil.rmtree(f"{done.outs[1]}.parts")  # whose the file is, nobody knows now
    said = verbs("gc", "--dry-run")
    assert (said.code, str(done.outs[1]) in said.stderr, "Not looked at" in said.stderr) == (0, True, True)


def test_show_names_the_parts(done: Scene, verbs: Verbs) -> None:
    shown = verbs("show", submission_id(done.id, 4))
    assert all(str(done.part(4, place)) in shown.stdout for place in range(3))


# -- what changes afterwards -----------------------------------------------------------------------------------------


def test_a_submission_that_is_retried_is_in_the_file_afterwards(scene: Scene) -> None:
    name = submission_id(scene.id, 4)
    scene.world.provider.outcome = lambda external: Outcome.SUCCEEDED
    scene.world.ledger.retry(name, scene.world.views.submission(name).generation, reason="by_person")
    assert stands(str(scene.outs[0]), scene.id)  # the former one, until the next commit
    assert Kind.NOT_COMMITTED not in Verified(scene).kinds

    scene.world.run()

    assert {row["outcome"] for row in records(scene)} == {"succeeded"}
    assert records(scene)[3]["attempts"] == 2
    assert Verified(scene).differences == []


def test_a_file_in_the_way_stops_the_commit_and_says_so_until_it_is_moved(tmp_path: Path) -> None:
    scene = Scene(tmp_path, names=("x.csv",))
    scene.plan()
    scene.outs[0].write_text("mine")

    scene.world.run(120)
    assert "move it away" in (scene.batch().trouble or "")
    assert scene.outs[0].read_text() == "mine"

    scene.outs[0].unlink()
    scene.world.run()
    assert scene.batch().closed
    assert scene.outs[0].stat().st_size > 100
