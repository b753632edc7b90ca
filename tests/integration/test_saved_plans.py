"""Plans kept in a file: nothing but what was saved is ever run, in whatever pieces."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest

from paceline.errors import UsageError
from paceline.manifest import ManifestWriter, read_manifest
from paceline.model import BatchSpec, PlannedSubmission, SizeLimits, SkippedFile, SkipReason
from paceline.views import BatchView
from producers.enqueue import enqueue, open_batch
from producers.filters import Rules
from producers.grouping import Grouping
from producers.planning import Cut, Resume, Tally, plan_entries, resume_from
from producers.saved import Header, Saved, facts_of, fingerprint, looks_saved, read_plan, save_plan
from producers.sources import Source, SourceKind, resolve_sources
from tests.support.trees import ODD_NAMES, put, put_raw
from tests.support.world import World

LIMITS = SizeLimits(files=3, file_bytes=1000, submission_bytes=2500)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of odd files: some left out, twins, names that aren't text."""
    folder = tmp_path / "source"
    dice = random.Random(3)
    for number in range(40):
        put(folder / f"d{number % 7}" / f"{number % 11}.txt", b"x" * dice.choice((0, 5, 900, 2000)))
    for name in ODD_NAMES:
        put_raw(folder, name)
    return folder


def spec_for(root: Path, out: Path) -> BatchSpec:
    return BatchSpec(
        source=str(root),
        account="fake",
        provider="fake",
        agent="7",
        to=(str(out),),
        files_per_run=3,
        name="café",
        options={"group_by": "directory"},
        address="http://here",
        choices={"max_runs": "7"},
    )


def saved_plan(root: Path, tmp_path: Path, grouping: Grouping | None = None) -> Saved:
    """Plan a folder as `paceline plan` does, and read the plan back."""
    spec = spec_for(root, tmp_path / "out")
    tally = Tally()
    with ManifestWriter(str(tmp_path / "planned.jsonl"), spec.batch_id()) as writer:
        source = resolve_sources([str(root)], Rules(), tmp_path)
        for entry in plan_entries(source, Cut(LIMITS, 3, grouping=grouping)):
            writer.write(entry)
            tally.add(entry)
        writer.flush()
    header = Header(spec, LIMITS, fingerprint({}), 0, facts_of(tally), 1_700_000_000_000, "0.1")
    save_plan(str(tmp_path / "x.plan"), header, str(tmp_path / "planned.jsonl"))
    return read_plan(str(tmp_path / "x.plan"))


def source_of(saved: Saved) -> Source:
    return Source(saved.header.spec.source, SourceKind.PLAN, saved, saved=saved)


def test_a_plan_comes_back_as_it_was_saved(root: Path, tmp_path: Path) -> None:
    saved = saved_plan(root, tmp_path)

    assert saved.header.spec == spec_for(root, tmp_path / "out")
    assert saved.header.limits == LIMITS
    assert (saved.header.made_ms, saved.header.version) == (1_700_000_000_000, "0.1")
    assert saved.header.facts.skipped > 0
    assert [row.path for row in read_manifest(str(tmp_path / "planned.jsonl"))] == [
        entry.path for entry in saved.entries()
    ]
    assert (tmp_path / "x.plan").read_bytes()[saved.start :] == (tmp_path / "planned.jsonl").read_bytes()
    assert (tmp_path / "x.plan").stat().st_mode & 0o777 == 0o600


def test_any_byte_that_is_changed_is_noticed(root: Path, tmp_path: Path) -> None:
    saved = saved_plan(root, tmp_path)
    content = (tmp_path / "x.plan").read_bytes()
    places = {*range(saved.start + 2), *range(saved.start, len(content), 97), len(content) - 1}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "y.plan").write_bytes(changed)
        with pytest.raises(UsageError, match="nothing was sent"):
            read_plan(str(tmp_path / "y.plan"))


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "lines swapped"])
def test_a_plan_that_lost_or_gained_something_is_noticed(root: Path, tmp_path: Path, change: str) -> None:
    saved = saved_plan(root, tmp_path)
    content = (tmp_path / "x.plan").read_bytes()
    head, *lines = content.splitlines(keepends=True)
    broken = {
        "cut": content[: len(content) // 2],
        "longer": content + lines[-1],
        "empty": b"",
        "lines swapped": b"".join([head, lines[1], lines[0], *lines[2:]]),
    }
    (tmp_path / "y.plan").write_bytes(broken[change])

    with pytest.raises(UsageError, match="nothing was sent"):
        read_plan(str(tmp_path / "y.plan"))
    assert saved.header.facts.files > 0


@pytest.mark.parametrize("format_", [0, 2, "new"])
def test_a_plan_of_another_format_is_refused_as_that(root: Path, tmp_path: Path, format_: object) -> None:
    saved_plan(root, tmp_path)
    head, *lines = (tmp_path / "x.plan").read_bytes().splitlines(keepends=True)
    value = json.loads(head) | {"paceline_plan": format_}
    del value["digest"]
    first = json.dumps(value, separators=(",", ":")).encode()[:-1]
    digest = hashlib.sha256(first + b"".join(lines)).hexdigest()
    (tmp_path / "y.plan").write_bytes(first + f',"digest":"{digest}"}}\n'.encode() + b"".join(lines))

    with pytest.raises(UsageError, match=r"another format.*version that made it"):
        read_plan(str(tmp_path / "y.plan"))


def test_a_plan_is_known_by_its_name_or_by_how_it_begins(root: Path, tmp_path: Path) -> None:
    saved_plan(root, tmp_path)
    (tmp_path / "renamed").write_bytes((tmp_path / "x.plan").read_bytes())
    (tmp_path / "spoilt.plan").write_bytes(b"X" + (tmp_path / "x.plan").read_bytes()[1:])
    (tmp_path / "folder.plan").mkdir()

    found = [name for name in ("x.plan", "renamed", "spoilt.plan", "gone.plan") if looks_saved(str(tmp_path / name))]

    assert found == ["x.plan", "renamed", "spoilt.plan", "gone.plan"]
    others = (str(root), str(tmp_path / "folder.plan"), "-", "s3://bucket/x.plan", "", "nul\0", str(root / "~"))
    assert not any(map(looks_saved, others))


@pytest.mark.parametrize("grouping", [None, Grouping("directory", cut=True)])
def test_running_a_plan_killed_anywhere_makes_the_same_manifest(
    root: Path, tmp_path: Path, grouping: Grouping | None
) -> None:
    saved = saved_plan(root, tmp_path, grouping)
    whole = (tmp_path / "planned.jsonl").read_bytes()
    batch = saved.header.spec.batch_id()
    assert write_manifest(tmp_path / "copy", saved, batch, [])[0] == whole

    registered = write_manifest(tmp_path / "again", saved, batch, [])[1]
    for place in range(len(registered)):
        broken = tmp_path / f"broken-{place}"
        broken.write_bytes(whole[: registered[place][0]] + b'{"path":"half a line')
        assert write_manifest(broken, saved, batch, registered[: place + 1])[0] == whole


def write_manifest(
    path: Path, saved: Saved, batch: str, registered: list[tuple[int, int]]
) -> tuple[bytes, list[tuple[int, int]]]:
    """Run the plan behind the last registered `(length, submissions)`; return the manifest and all registered."""
    offset, submissions = registered[-1] if registered else (0, 0)
    known = list(registered)
    cut, source = Cut(LIMITS, 3), source_of(saved)
    with ManifestWriter(str(path), batch, offset) as manifest:
        resume = resume_from(source, cut, str(path), offset, submissions)
        for entry in plan_entries(source, cut, resume=resume):
            manifest.write(entry)
            if isinstance(entry, PlannedSubmission):
                known.append((manifest.flush(), entry.index))
        manifest.flush()
    return path.read_bytes(), known


def opened(world: World, saved: Saved, tmp_path: Path) -> BatchView:
    """Register the plan's batch."""
    (tmp_path / "out").mkdir(exist_ok=True)
    return open_batch(world.ledger, world.views, saved.header.spec, str(tmp_path / "out" / "manifest.jsonl"))[0]


def register(world: World, saved: Saved, batch: BatchView, *, stop_after: int | None = None) -> bool:
    """Register what isn't registered yet, as a command does; killed after so many entries."""
    asked = iter(range(1000))
    stopped = lambda: next(asked) + 1 == stop_after  # noqa: E731 - a counter, not a function
    send = lambda follows: world.send(list(follows))  # noqa: E731
    return enqueue(world.ledger, world.views, batch, source_of(saved), LIMITS, send, stopped=stopped)


def test_a_plan_is_registered_in_pieces_and_nothing_is_listed(root: Path, tmp_path: Path) -> None:
    world, saved = World(), saved_plan(root, tmp_path)
    batch = opened(world, saved, tmp_path)
    put(root / "a-new-file")
    (root / "d0" / "0.txt").unlink()

    for stop_after in range(1, 100):  # ever later, for a stop among skipped files alone registers nothing
        if register(world, saved, world.views.batch(batch.id), stop_after=stop_after):
            break

    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == (tmp_path / "planned.jsonl").read_bytes()
    found = world.views.batch(batch.id)
    facts = saved.header.facts
    assert (found.total, found.files, found.files_skipped) == (facts.submissions, facts.files, facts.skipped)
    assert [name for item in world.views.submissions(batch.id) for name in world.views.files(item.id)] == [
        file for entry in saved.planned(Resume()) if isinstance(entry, PlannedSubmission) for file in entry.files
    ]
    assert register(world, saved, world.views.batch(batch.id))


def test_another_plan_of_a_batch_that_was_begun_is_refused(root: Path, tmp_path: Path) -> None:
    world, saved = World(), saved_plan(root, tmp_path)
    batch = opened(world, saved, tmp_path)
    assert not register(world, saved, batch, stop_after=saved.header.facts.skipped + 2)
    put(root / "-a-new-file-in-front")
    other = saved_plan(root, tmp_path)
    before = world.views.batch(batch.id).total

    with pytest.raises(UsageError, match="begun with another listing"):
        register(world, other, world.views.batch(batch.id))

    assert world.views.batch(batch.id).total == before > 0


def test_a_plan_that_says_more_than_a_complete_batch_is_refused(root: Path, tmp_path: Path) -> None:
    world, saved = World(), saved_plan(root, tmp_path)
    batch = opened(world, saved, tmp_path)
    assert register(world, saved, batch)
    planned = tmp_path / "planned.jsonl"
    with ManifestWriter(str(planned), batch.id, planned.stat().st_size) as writer:
        writer.write(SkippedFile("one more", SkipReason.EMPTY))
        writer.flush()
    save_plan(str(tmp_path / "y.plan"), saved.header, str(planned))
    longer = read_plan(str(tmp_path / "y.plan"))

    with pytest.raises(UsageError, match="begun with another listing"):
        register(world, longer, world.views.batch(batch.id))


def test_a_plan_changed_while_it_is_run_stops_there(root: Path, tmp_path: Path) -> None:
    saved = saved_plan(root, tmp_path)
    entries = saved.planned(Resume())
    assert isinstance(next(entries), PlannedSubmission | SkippedFile)
    os.utime(tmp_path / "x.plan", ns=(1, 1))

    with pytest.raises(UsageError, match="while it was run"):
        list(entries)
    with pytest.raises(UsageError, match="while it was run"):
        list(saved.planned(Resume()))
