"""Planning a batch into the ledger by several commands: whoever gets the manifest goes on from what is registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError

from paceline.errors import SinkError
from paceline.manifest import ManifestBusy, ManifestWriter, read_manifest
from paceline.model import BatchSpec, SizeLimits, submission_id
from paceline.scripts import Scripts
from paceline.views import BatchView
from producers.enqueue import enqueue, open_batch
from producers.sources import resolve_source
from tests.support.seam import SeamScripts
from tests.support.trees import put
from tests.support.world import World

LIMITS = SizeLimits(files=1, file_bytes=1000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source of three files."""
    for name in "abc":
        put(tmp_path / "source" / name, b"hello")
    return tmp_path / "source"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Where the batches' common manifest is to be."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "manifest.jsonl"


def opened(world: World, root: Path, manifest: Path, agent: str = "7") -> BatchView:
    """Register a batch."""
    spec = BatchSpec(
        source=str(root),
        account="fake",
        provider="fake",
        agent=agent,
        to=(str(manifest.parent),),
        files_per_run=1,
        name="",
    )
    return open_batch(world.ledger, world.views, spec, str(manifest))[0]


def plan(world: World, batch: BatchView, root: Path, *, stop_after: int | None = None) -> bool:
    """Plan as a command does that saw the batch like this."""
    asked = iter(range(1000))
    return enqueue(
        world.ledger,
        world.views,
        batch,
        resolve_source(str(root)),
        LIMITS,
        lambda follows: world.send(list(follows)),
        stopped=lambda: next(asked) + 1 == stop_after,
    )


def in_ledger(world: World, batch: str) -> list[str]:
    """Return the path of each submission's file, in order."""
    total = world.views.batch(batch).total
    return [world.views.files(submission_id(batch, index))[0].path for index in range(1, total + 1)]


def in_manifest(manifest: Path) -> list[str]:
    """Return the paths in the manifest, in order."""
    return [row.path for row in read_manifest(str(manifest))]


def test_a_second_batch_with_the_same_output_leaves_the_firsts_manifest(root: Path, manifest: Path) -> None:
    world = World()
    first, second = opened(world, root, manifest, "7"), opened(world, root, manifest, "8")
    plan(world, first, root)
    before = manifest.read_bytes()

    with pytest.raises(SinkError, match=r"another --to"):
        plan(world, second, root)

    assert manifest.read_bytes() == before
    assert world.views.batch(second.id).total == 0


def test_what_was_planned_while_another_held_the_manifest_is_not_planned_again(root: Path, manifest: Path) -> None:
    world = World()
    seen_before = opened(world, root, manifest)
    plan(world, seen_before, root)
    before = manifest.read_bytes()
    put(root / "aa", b"a new file")

    assert plan(world, seen_before, root)

    assert manifest.read_bytes() == before
    assert in_ledger(world, seen_before.id) == in_manifest(manifest) == ["a", "b", "c"]


def test_planning_goes_on_behind_what_another_registered_in_the_meantime(root: Path, manifest: Path) -> None:
    world = World()
    seen_before = opened(world, root, manifest)
    assert not plan(world, seen_before, root, stop_after=2)
    put(root / "aa", b"before what is planned: not part of the batch any more")

    assert plan(world, seen_before, root)

    assert in_ledger(world, seen_before.id) == in_manifest(manifest) == ["a", "b", "c"]
    assert json.loads(manifest.read_bytes().splitlines()[-1])["submission"] == submission_id(seen_before.id, 3)


def test_a_manifest_that_is_being_written_is_left_alone(root: Path, manifest: Path) -> None:
    world = World()
    batch = opened(world, root, manifest)

    with ManifestWriter(str(manifest), batch.id), pytest.raises(ManifestBusy):
        plan(world, batch, root)


def test_work_starts_before_the_listing_ends(root: Path, manifest: Path) -> None:
    world = World()
    batch = opened(world, root, manifest)
    woken: list[tuple[int, bool]] = []

    def send(follows: object) -> None:
        now = world.views.batch(batch.id)
        if list(follows):  # type: ignore[call-overload]  # an iterable
            woken.append((now.total, now.listed))

    assert enqueue(world.ledger, world.views, batch, resolve_source(str(root)), LIMITS, send)
    assert woken[0] == (1, False)
    assert world.views.batch(batch.id).total == 3


def test_a_connection_that_breaks_within_a_round_trip_leaves_the_first_so_many_registered(
    tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, root = World(), tmp_path / "many"
    for number in range(120):
        put(root / f"{number:03d}", b"hello")
    batch = opened(world, root, manifest)
    whole = world.ledger.plan_all

    def broken(name: str, planned: Any) -> Any:
        room = 30 - world.views.batch(name).total
        moves = whole(name, planned[:room])
        if room < len(planned):
            raise NoConnection
        return moves

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "plan_all", broken)
        with pytest.raises(NoConnection):
            plan(world, batch, root)
    assert world.views.batch(batch.id).total == 30

    assert plan(world, batch, root)

    assert in_ledger(world, batch.id) == in_manifest(manifest) == [f"{number:03d}" for number in range(120)]
    assert len(list(world.views.submissions(batch.id))) == 120


def test_a_refusal_within_a_round_trip_leaves_no_gap(
    root: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is out of memory, or busy, refuses one script and may run the next."""
    world = World()
    batch = opened(world, root, manifest)
    run_many = Scripts.run_many

    def refused(scripts: SeamScripts, name: str, calls: list[Any]) -> list[Any]:
        keys, args = calls[1]
        wrong = [keys[0], "pl:test:clock", *keys[2:]]  # no hash: that script is refused before it writes anything
        return run_many(scripts, name, [calls[0], (wrong, args), *calls[2:]])

    with monkeypatch.context() as patch:
        patch.setattr(SeamScripts, "run_many", refused)
        patch.setattr("producers.enqueue.FLUSH_S", 60.0)
        patch.setattr("producers.enqueue.time.monotonic", lambda: 1.0)  # all three in one round trip
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            plan(world, batch, root)
    assert plan(world, world.views.batch(batch.id), root)

    planned = [world.views.files(submission_id(batch.id, index))[0].path for index in (1, 2, 3)]
    assert planned == ["a", "b", "c"]
    assert world.views.batch(batch.id).total == 3
