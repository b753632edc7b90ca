"""Planning by way of a file on disk: killed anywhere it goes on to the same runs, and no group is paid for twice."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pytest

from paceline.errors import SinkError
from paceline.manifest import ManifestWriter, read_manifest
from paceline.model import BatchSpec, PlannedSubmission, SizeLimits, SkippedFile, SkipReason, SourceFile, submission_id
from paceline.rebuilding import rebuild
from paceline.runner import Runner
from paceline.sinks.registry import open_sink
from producers import filling
from producers.enqueue import enqueue, open_batch
from producers.grouping import Grouping
from producers.planning import Cut, plan_entries, resume_from
from producers.sources import Source, resolve_source
from producers.staging import PART, Stage, remove_stage
from tests.support.grouped import Entry, Handed, handed
from tests.support.notes import Notes
from tests.support.trees import put
from tests.support.world import World

LIMITS = SizeLimits(files=5, file_bytes=100, submission_bytes=150)
BATCH = "b123456789"
BY_FOLDER = Grouping("directory")
WAYS = {
    "a list": Cut(replace(LIMITS, submission_bytes=None), 5),
    "a list by bytes": Cut(LIMITS, 5),
    "groups": Cut(LIMITS, 5, grouping=Grouping("directory")),
    "groups, cut": Cut(LIMITS, 5, grouping=Grouping("directory", cut=True)),
    "groups, packed": Cut(LIMITS, 5, grouping=Grouping("directory", pack=True)),
    "groups, both": Cut(LIMITS, 5, grouping=Grouping("directory", cut=True, pack=True)),
}


def rows(number: int = 150) -> list[Entry]:
    """Make files of folders of one to twelve, some that can't be sent, in no order."""
    dice = random.Random(7)
    found: list[Entry] = []
    for n in range(number):
        path = f"d{min(dice.randrange(70), dice.randrange(70)):02d}/{n:04d}"
        size = dice.choice((1, 20, 40, 60, 60)) if n % 50 else 120
        odd = dice.randrange(60)
        if odd < 2:
            found.append(SkippedFile(path, (SkipReason.EMPTY, SkipReason.UNREADABLE)[odd], size, 1))
        else:
            found.append(SourceFile(path, size, 1, priority=dice.choice((0, 0, 0, 1))))
    return found


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short look-ahead, so that small sets have several windows."""
    monkeypatch.setattr(filling, "AHEAD", 4)


class Killed(Exception):
    """The process ends here."""


def write(path: Path, source: Source, cut: Cut, registered: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Plan behind the last registered `(length, submissions)`; return all that was registered."""
    offset, submissions = registered[-1] if registered else (0, 0)
    known = list(registered)
    with ManifestWriter(str(path), BATCH, offset) as manifest:
        resume = resume_from(source, cut, str(path), offset, submissions)
        for entry in plan_entries(source, cut, resume=resume):
            manifest.write(entry)
            if isinstance(entry, PlannedSubmission):
                known.append((manifest.flush(), entry.index))
        manifest.flush()
    return known


@pytest.mark.parametrize("cut", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("stage", ["kept", "lost"])
def test_cutting_killed_anywhere_goes_on_to_the_same_manifest(tmp_path: Path, cut: Cut, stage: str) -> None:
    source = handed(rows())
    cut = replace(cut, stage=str(tmp_path / "staged" / "x"))
    whole = tmp_path / "whole"
    registered = write(whole, source, cut, [])
    listings = source.listing
    assert isinstance(listings, Handed)
    assert len(registered) > 12

    for place in range(0, len(registered), 4):
        broken = tmp_path / f"broken-{place}"
        broken.write_bytes(whole.read_bytes()[: registered[place][0]] + b'{"path":"half a line')
        if stage == "lost":
            remove_stage(str(cut.stage))
        listings.listed = 0
        write(broken, source, cut, registered[: place + 1])
        assert broken.read_bytes() == whole.read_bytes()
        assert listings.listed == (stage == "lost")


def test_a_listing_in_order_that_is_filled_by_bytes_goes_on_too(tmp_path: Path) -> None:
    source = handed(sorted(rows(), key=lambda row: row.path.split("/")), ordered=True)
    whole = tmp_path / "whole"
    registered = write(whole, source, WAYS["a list by bytes"], [])

    for place in range(0, len(registered), 3):
        broken = tmp_path / f"broken-{place}"
        broken.write_bytes(whole.read_bytes()[: registered[place][0]])
        write(broken, source, WAYS["a list by bytes"], registered[: place + 1])
        assert broken.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("after", [0, 1, 7, 149])
def test_filling_killed_anywhere_begins_anew(tmp_path: Path, after: int) -> None:
    source, path = handed(rows()), tmp_path / "staged" / "x"
    grouping = Grouping("directory")

    def cut_off() -> Iterator[Entry]:
        yield from islice(source.listing.entries(), after)
        raise Killed

    with pytest.raises(Killed), Stage(str(path)) as stage:
        stage.fill(cut_off(), grouping)
    with Stage(str(path)) as stage:
        assert not stage.complete
        stage.fill(source.listing.entries(), grouping)
        filled = list(stage.groups())
    with Stage(str(path)) as stage:
        assert stage.complete
        assert list(stage.groups()) == filled

    remove_stage(str(path))
    assert not list(path.parent.iterdir())


def test_what_was_staged_stays_the_set_whatever_comes_later(tmp_path: Path) -> None:
    source = handed([SourceFile("a/1", 1, 1), SourceFile("b/1", 1, 1)])
    cut = Cut(LIMITS, 5, grouping=Grouping("directory"), stage=str(tmp_path / "x"))
    first = next(iter(plan_entries(source, cut)))

    later = handed([SourceFile("a/0", 1, 1), SourceFile("c/1", 1, 1)])

    assert [first, *list(plan_entries(later, cut))[1:]] == list(plan_entries(source, cut))


def test_no_room_names_the_place(tmp_path: Path) -> None:
    many = (SourceFile(f"{n:06d}/x", 1, 1) for n in range(20_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SinkError, match=r"staged/x") as caught, Stage(str(tmp_path / "staged" / "x")) as stage:
            stage.fill(many, Grouping("directory"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "run the same command again" in str(caught.value)
    with Stage(str(tmp_path / "staged" / "x")) as stage:
        assert not stage.complete


def test_a_damaged_stage_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database" * 100)

    with pytest.raises(SinkError, match="/x"):
        list(plan_entries(handed(rows()), Cut(LIMITS, 5, grouping=Grouping("directory"), stage=str(tmp_path / "x"))))


def test_a_stage_is_private(tmp_path: Path) -> None:
    path = tmp_path / "staged" / "x"
    seen = []

    def entries() -> Iterator[Entry]:
        seen.append(Path(str(path) + PART).stat().st_mode & 0o777)
        yield SourceFile("a", 1, 1)

    with Stage(str(path)) as stage:
        stage.fill(entries(), None)

    assert [*seen, path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777] == [0o600, 0o600, 0o700]


@dataclass
class Scene:
    """A source with three folders of two, and a batch of it by folder that can be lost with its Redis."""

    folder: Path
    grouping: Grouping = BY_FOLDER
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        for name in ("a/1", "a/2", "b/1", "b/2", "c/1", "c/2"):
            put(self.root / name)
        self.world.context = replace(self.world.context, sink=open_sink)
        self.world.runner = Runner(self.world.context)

    @property
    def root(self) -> Path:
        return self.folder / "source"

    @property
    def manifest(self) -> Path:
        return self.folder / "out" / "manifest.jsonl"

    @property
    def stage(self) -> Path:
        return self.folder / "home" / "staged"

    def plan(self, *, stop_after: int | None = None) -> str:
        """Plan as the command does; return the batch."""
        out = (str(self.manifest.parent),)
        spec = BatchSpec(
            source=str(self.root), account="fake", provider="fake", agent="7", to=out, files_per_run=300, name=""
        )
        batch, _ = open_batch(self.world.ledger, self.world.views, spec, str(self.manifest))
        asked = iter(range(1000))
        enqueue(
            self.world.ledger,
            self.world.views,
            batch,
            resolve_source(str(self.root)),
            SizeLimits(300, 1000),
            lambda follows: self.world.send(list(follows)),
            stopped=lambda: next(asked) + 1 == stop_after,
            grouping=self.grouping,
            stage=str(self.stage),
        )
        return batch.id

    def planned(self, batch: str) -> list[list[str]]:
        """Return the paths in each submission of the ledger."""
        names = [submission_id(batch, n) for n in range(1, self.world.views.batch(batch).total + 1)]
        return [[file.path for file in self.world.views.files(name)] for name in names]

    def left_out(self) -> dict[str, str | None]:
        """Return the reasons that stand in the manifest."""
        return {row.path: row.reason for row in read_manifest(str(self.manifest)) if row.reason}


def test_what_was_staged_is_planned_on_and_the_stage_goes_with_the_last(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.plan(stop_after=1)
    assert scene.stage.exists()
    put(scene.root / "a" / "0")
    put(scene.root / "d" / "1")

    batch = scene.plan()

    assert scene.planned(batch) == [["a/1", "a/2"], ["b/1", "b/2"], ["c/1", "c/2"]]
    assert not list(scene.stage.parent.iterdir())
    scene.stage.touch()  # as one killed between its last word and the removal leaves it
    scene.plan()
    assert not scene.stage.exists()


@pytest.mark.parametrize("pack", [False, True])
def test_without_its_stage_no_group_gets_a_second_run(tmp_path: Path, pack: bool) -> None:
    scene = Scene(tmp_path, Grouping("directory", pack=pack))
    scene.plan(stop_after=1)
    scene.stage.unlink()
    put(scene.root / "a" / "0")
    put(scene.root / "b" / "0")
    put(scene.root / "d" / "1")

    batch = scene.plan()

    if pack:
        assert scene.planned(batch) == [["a/1", "a/2", "b/1", "b/2", "c/1", "c/2"], ["d/1"]]
        assert scene.left_out() == {"a/0": "group_closed", "b/0": "group_closed"}
    else:
        assert scene.planned(batch) == [["a/1", "a/2"], ["b/0", "b/1", "b/2"], ["c/1", "c/2"], ["d/1"]]
        assert scene.left_out() == {"a/0": "group_closed"}


def test_a_group_that_was_left_out_stays_left_out(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    (scene.root / "a" / "2").unlink()
    (scene.root / "a" / "2").symlink_to("nowhere")
    scene.plan(stop_after=3)  # two rows and the run of b
    scene.stage.unlink()
    (scene.root / "a" / "2").unlink()
    put(scene.root / "a" / "2")
    put(scene.root / "a" / "3")

    batch = scene.plan()

    assert scene.planned(batch) == [["b/1", "b/2"], ["c/1", "c/2"]]
    assert scene.left_out() == {"a/1": "group_incomplete", "a/2": "unreadable", "a/3": "group_closed"}


def test_of_a_group_that_may_be_cut_the_rest_is_a_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Grouping("directory", cut=True))
    scene.plan(stop_after=1)
    scene.stage.unlink()
    put(scene.root / "a" / "3")

    assert ["a/3"] in scene.planned(scene.plan())
    assert not scene.left_out()


def test_a_ledger_rebuilt_in_the_middle_of_planning_goes_on_by_group(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    batch = scene.plan(stop_after=2)
    scene.world.run(until=lambda: len(scene.world.provider.runs) == 2)
    scene.stage.unlink()
    put(scene.root / "b" / "3")
    scene.world.spool.notes = Notes()
    scene.world.lose_messages()
    scene.world.redis.flushall()
    scene.world._tick(0)
    rebuild(
        scene.world.ledger,
        scene.world.views,
        str(scene.manifest.parent),
        sending_s=lambda _size: 0.0,
        paused_message="being rebuilt",
        known=scene.world.known,
    )

    scene.plan()
    scene.world.run()

    assert scene.planned(batch) == [["a/1", "a/2"], ["b/1", "b/2"], ["c/1", "c/2"]]
    assert scene.left_out() == {"b/3": "group_closed"}
    assert len(scene.world.provider.runs) == 3
