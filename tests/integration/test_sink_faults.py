"""Destinations that fail: full at any byte, read-only, their writer killed at the worst moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from paceline.batch_view import BatchView
from paceline.errors import SinkError
from paceline.model import Step
from paceline.sinks.base import Closing, Part
from paceline.sinks.registry import open_sink
from producers.enqueue import open_batch
from tests.contract.test_directory_sink import PARTS, closing, content, disk_with_room_for
from tests.integration.test_enqueue import opened, plan
from tests.support.trees import as_another_user, put
from tests.support.world import MemorySink, World

ROOT = Path(__file__).resolve().parents[2]


def steps(out: Path, folder: Path) -> list[Callable[[], object]]:
    """Everything that is written for a small batch, in order."""
    sink = open_sink(str(out))
    return [*(partial(sink.write, part) for part in PARTS), partial(sink.commit, closing(folder))]


def whole_output(folder: Path) -> dict[str, bytes]:
    """Make the output as it is when nothing goes wrong."""
    for act in steps(folder / "whole", folder):
        act()
    return content(folder / "whole")


def failures(acts: list[Callable[[], object]]) -> list[str]:
    """Do each step whatever becomes of the others; return what they say that failed."""
    found = []
    for act in acts:
        try:
            act()
        except SinkError as error:
            found.append(str(error))
    return found


def test_a_disk_full_at_byte_n_leaves_no_half_file_and_can_be_mended(tmp_path: Path) -> None:
    wanted = whole_output(tmp_path)
    lengths = {len(data) for data in wanted.values()}
    rooms = {0, 1} | {length + more for length in lengths for more in (-1, 0)} | set(range(0, max(lengths), 150))

    for room in sorted(rooms):
        out = tmp_path / str(room)
        acts = steps(out, tmp_path)
        with disk_with_room_for(room):
            said = failures(acts)
        left = content(out)
        assert all(wanted[name] == data for name, data in left.items())
        assert bool(said) == (room < max(lengths))
        assert ("_SUCCESS" in left) == (not said)
        assert not said or any("no room to write" in text and str(out) in text for text in said)
        assert failures(acts) == []
        assert content(out) == wanted


def test_a_full_disk_stops_exports_only_and_says_so_until_there_is_room(tmp_path: Path) -> None:
    for number in range(6):
        put(tmp_path / "source" / f"{number}.txt", b"hello")
    (tmp_path / "out").mkdir()
    world = World()
    world.runner.context = replace(world.context, sink=open_sink)
    batch = opened(world, tmp_path / "source", tmp_path / "out" / "manifest.jsonl")
    plan(world, batch, tmp_path / "source")

    with disk_with_room_for(100):
        world.run(120)
    assert world.states(batch.id) == {"finished": 6}  # every run is followed to its end all the same
    assert "no room to write" in (world.views.batch(batch.id).trouble or "")  # what the panel and `status` show
    assert not (tmp_path / "out" / "_SUCCESS").exists()

    world.run()
    assert world.states(batch.id) == {"exported": 6}
    assert not world.views.batch(batch.id).trouble
    assert len(world.provider.arrivals) == 6
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 6
    assert (tmp_path / "out" / "_SUCCESS").exists()


class Places:
    """Destinations that note what is written to them; those in `broken` fail."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.broken: set[str] = set()
        self.meanwhile: Callable[[str], None] = lambda _submission: None
        self.commits = 0

    def open(self, place: str) -> Any:
        """Return the sink of a destination."""
        sink = MemorySink()

        def write(part: Part) -> None:
            self.meanwhile(part.submission)
            if place in self.broken:
                raise SinkError(f"{place} is away")
            self.written.append((place, part.submission))

        def commit(closing: Closing) -> None:
            self.commits += 1
            raise SinkError(f"{place} is away, and {closing.batch} waits")

        sink.on_write = write
        sink.commit = commit  # type: ignore[method-assign]
        return sink


def finished(world: World, folder: Path, places: Places, to: tuple[str, ...]) -> BatchView:
    """Run three files to their end, one a run, while a destination is away."""
    for number in range(3):
        put(folder / "source" / f"{number}.txt", b"hello")
    world.runner.context = replace(world.context, sink=places.open)
    first = opened(world, folder / "source", folder / "out" / "manifest.jsonl")
    batch, _ = open_batch(world.ledger, world.views, replace(first.spec, to=to, name="two"), first.manifest)
    plan(world, batch, folder / "source")
    world.run(120)
    assert world.states(batch.id) == {"finished": 3}
    return batch


def test_a_receiver_gets_each_record_once_however_long_a_database_is_away(tmp_path: Path) -> None:
    world, places = World(), Places()
    places.broken = {"postgresql://h/db"}
    batch = finished(world, tmp_path, places, ("https://h/hook", "postgresql://h/db"))
    assert places.written == []

    places.broken.clear()
    world.run(300)

    assert world.states(batch.id) == {"exported": 3}
    assert len(places.written) == 6
    assert len(set(places.written)) == 6


def test_a_destination_that_is_away_keeps_none_but_a_receiver_from_getting_records(tmp_path: Path) -> None:
    world, places = World(), Places()
    places.broken = {"/away"}
    finished(world, tmp_path, places, ("https://h/hook", "/away", "/here"))

    assert {place for place, _ in places.written} == {"/here"}
    assert len({submission for _, submission in places.written}) == 3


def test_one_export_at_a_time_waits_for_a_destination_that_is_away(tmp_path: Path) -> None:
    world, places = World(), Places()
    places.broken = {"/out"}
    batch = finished(world, tmp_path, places, ("/out",))
    tried: list[str] = []

    def meanwhile(submission: str) -> None:
        tried.append(submission)
        for other in world.views.ids(world.views.batch(batch.id)):
            if other != submission:
                assert world.runner.run(Step.EXPORT, other) == []

    places.meanwhile = meanwhile
    one = next(iter(world.views.ids(world.views.batch(batch.id))))
    assert world.runner.run(Step.EXPORT, one) == []

    assert tried == [one]
    assert world.states(batch.id) == {"finished": 3}


def test_a_commit_leaves_a_destination_that_is_away_to_whoever_tries_it(tmp_path: Path) -> None:
    world, places = World(), Places()
    places.broken = {"/out"}
    batch = finished(world, tmp_path, places, ("/out",))
    places.broken.clear()
    world.run(300)
    assert world.states(batch.id) == {"exported": 3}
    before = places.commits
    assert before

    with world.runner.context.turns.at("/out"):
        world.run(60)
    assert places.commits == before

    world.run(60)
    assert places.commits > before


READ_ONLY = """
from paceline.sinks.registry import check_writable, open_sink
from paceline.errors import PacelineError
from tests.contract.test_directory_sink import PARTS
#become
for act in (lambda: check_writable(sys.argv[1]), lambda: open_sink(sys.argv[1]).write(PARTS[0])):
    try: act()
    except PacelineError as error: print(type(error).__name__, error)
"""


def test_a_read_only_folder_is_refused_before_anything_is_paid_and_named_when_it_becomes_so_later(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    for folder in (out / "parts", out):
        folder.chmod(0o555)

    first, second = as_another_user(READ_ONLY, str(out)).splitlines()

    assert first.startswith("UsageError output")
    assert second.startswith("SinkError")
    assert all(f"not allowed to write {out}" in line and "another --to" in line for line in (first, second))
    assert content(out) == {}


KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
from paceline import durable
from tests.integration.test_sink_faults import steps

def work(step, out):
    calls = itertools.count()
    def counted(function):
        def call(*arguments):
            if next(calls) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)
        return call
    durable.Aside.seal = counted(durable.Aside.seal)
    durable.Aside.publish = counted(durable.Aside.publish)
    durable.sync_dir = counted(durable.sync_dir)
    Path.unlink = counted(Path.unlink)
    for act in steps(out, out.parent):
        act()

ended = []
while not ended or ended[-1]:
    out = Path(sys.argv[1]) / str(len(ended)) / "out"
    out.mkdir(parents=True)
    child = os.fork()
    if not child:
        work(len(ended), out)
        os._exit(0)
    ended.append(os.waitpid(child, 0)[1])
print(json.dumps(ended))
"""


def test_a_writer_killed_before_any_sync_rename_or_removal_leaves_whole_files_only(tmp_path: Path) -> None:
    wanted = whole_output(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ended = json.loads(done.stdout)
    assert len(ended) > 15  # so many moments to die at
    assert set(ended[:-1]) == {9}

    for number in range(len(ended)):
        out = tmp_path / str(number) / "out"
        left = {name: data for name, data in content(out).items() if not name.endswith(".aside")}
        assert all(wanted[name] == data for name, data in left.items())
        assert "_SUCCESS" not in left or set(left) == set(wanted)
        assert failures(steps(out, out.parent)) == []
        assert content(out) == wanted  # and nothing of what the dead one left aside
