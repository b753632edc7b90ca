"""A batch's records are written again elsewhere: the same to the byte, from whatever still has them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import Refused, SinkError, Unavailable
from paceline.model import Outcome, RunView, submission_id
from paceline.records import read_record
from paceline.reexporting import Origin, Reexported, find_record, reexport
from paceline.sinks.base import Part
from paceline.sinks.directory import DirectorySink
from paceline.sinks.part_files import PartFiles
from tests.support.fake_provider import fail_with
from tests.support.lost import Scene


def refuse(run_id: str) -> RunView | None:
    raise AssertionError(f"run {run_id} is asked for, which costs a request")


def with_prompts(scene: Scene) -> None:
    """Let the provider say what each part of a run cost, in another order than it gives the results."""
    provider = scene.world.provider
    plain = provider._view

    def view(run: Any) -> RunView:
        seen = plain(run)
        if seen.outcome is None:
            return seen
        data = {"total": {"status": "success", "value": float(run.run_id) / 3}, **seen.data}
        return replace(seen, data=data, credits_by={"names": 0.5, "total": 1.0})

    provider._view = view  # type: ignore[method-assign]  # the same, with more in it


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Make a complete batch of six submissions in two folders, of which the fourth failed."""
    made = Scene(tmp_path, places=2)
    made.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    with_prompts(made)
    made.plan()
    made.world.run()
    assert made.batch().closed
    return made


def again(scene: Scene, name: str = "more", ask: Any = refuse) -> Reexported:
    return reexport(
        scene.world.views,
        scene.batch(),
        [DirectorySink(str(scene.folder / name))],
        scene.world.results,
        ask,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "batch.json"
    }


def test_a_complete_batch_is_the_same_to_the_byte_and_twice(scene: Scene) -> None:
    shutil.rmtree(scene.spec.source)
    before = scene.world.redis.hgetall(f"pl:b:{scene.id}")
    for _ in range(2):
        found = again(scene)
        assert (found.complete, found.exported, found.origins) == (True, 6, {Origin.OUTPUT: 6})
        assert content(scene.folder / "more") == content(scene.outs[1])
    assert scene.world.redis.hgetall(f"pl:b:{scene.id}") == before


@pytest.mark.parametrize("damage", ["no parts", "no committed files", "first folder gone", "a torn part"])
def test_the_first_readable_output_is_taken(scene: Scene, damage: str) -> None:
    wanted = content(scene.outs[1])
    if damage == "no parts":
        for folder in scene.outs:
            shutil.rmtree(folder / "parts")
    elif damage == "no committed files":
        for folder in scene.outs:
            (folder / "_SUCCESS").unlink()
    elif damage == "first folder gone":
        shutil.rmtree(scene.out)
    else:
        for folder in scene.outs:
            part = folder / "parts" / f"{submission_id(scene.id, 2)}.json"
            part.write_bytes(part.read_bytes()[:-9])
        (scene.out / "results.jsonl").write_bytes(b"")
    assert again(scene).origins == {Origin.OUTPUT: 6}
    assert content(scene.folder / "more") == wanted


@pytest.mark.parametrize("kept", [True, False])
def test_without_outputs_backend_and_provider_give_the_same_results(scene: Scene, kept: bool) -> None:
    wanted = content(scene.outs[1])
    manifest = scene.manifest.read_bytes()
    for folder in scene.outs:
        shutil.rmtree(folder)
    scene.out.mkdir()
    scene.manifest.write_bytes(manifest)
    asked: list[str] = []

    def ask(run_id: str) -> RunView | None:
        asked.append(run_id)
        return scene.world.provider.get("7", run_id)

    if not kept:
        scene.world.results.records.clear()
    found = again(scene, ask=ask)
    assert found.complete
    assert found.origins == {Origin.RESULTS if kept else Origin.PROVIDER: 6}
    assert len(asked) == (0 if kept else 6)
    assert {name: text for name, text in content(scene.folder / "more").items() if name != "batch.json"} == wanted


class Away:
    """The parts in a store that doesn't answer."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, submission: str) -> Part | None:
        self.asked += 1
        raise SinkError(f"s3://b can't be reached for {submission}")

    def names(self, batch: str) -> Iterator[str]:
        raise SinkError(f"s3://b can't be reached for {batch}")


def test_a_store_that_is_away_is_done_without_where_another_output_has_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, folder = Away(), PartFiles(str(scene.outs[1] / "parts"))
    monkeypatch.setattr("paceline.reexporting.kept_parts", lambda place: store if place == str(scene.out) else folder)
    one = submission_id(scene.id, 2)
    views = scene.world.views
    item = views.find_submission(one)
    assert item is not None

    assert again(scene).origins == {Origin.OUTPUT: 6}
    assert store.asked == 1
    scene.world.results.records.clear()
    assert find_record(scene.batch(), item, views.files(one), scene.world.results) is not None
    for place in scene.outs:
        (place / "_SUCCESS").unlink()
        (place / "parts" / f"{one}.json").unlink()
    with pytest.raises(SinkError, match="can't be reached"):
        again(scene, "third")


def test_what_nobody_has_any_more_is_named(scene: Scene) -> None:
    for folder in scene.outs:
        shutil.rmtree(folder / "parts")
    rows = (scene.out / "results.jsonl").read_bytes().splitlines(keepends=True)
    for folder in scene.outs:
        (folder / "results.jsonl").write_bytes(b"".join(rows[:4] + rows[5:]))
    scene.world.results.records.clear()
    found = again(scene, ask=lambda _run: None)
    assert found.lost == [submission_id(scene.id, 5)]
    record = json.loads((scene.folder / "more" / "results.jsonl").read_bytes().splitlines()[4])
    assert (record["outcome"], record["data"], record["error"]["phase"]) == ("succeeded", {}, "export")


def test_a_manifest_that_is_gone_is_made_anew_unless_files_were_left_out(scene: Scene, tmp_path: Path) -> None:
    for folder in scene.outs:
        shutil.rmtree(folder)
    with pytest.raises(SinkError, match="1 files that were left out"):
        again(scene)
    assert not (tmp_path / "more").exists()
    (tmp_path / "other").mkdir()
    whole = Scene(tmp_path / "other")
    Path(whole.spec.source, "empty").unlink()
    whole.plan()
    whole.world.run()
    wanted = content(whole.out)
    shutil.rmtree(whole.out)
    assert again(whole).complete
    assert content(whole.folder / "more") == wanted


def test_a_provider_that_is_away_stops_it_before_anything_is_committed(scene: Scene) -> None:
    for folder in scene.outs:
        shutil.rmtree(folder / "parts")
        (folder / "_SUCCESS").unlink()
    scene.world.results.records.clear()

    def away(_run: str) -> RunView | None:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        again(scene, ask=away)
    assert not (scene.folder / "more" / "_SUCCESS").exists()


def test_of_a_batch_under_way_only_what_is_exported_is_there(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.plan()
    scene.world.run(until=lambda: scene.exported() >= 2)
    done = scene.world.states(scene.id)["exported"]
    found = again(scene)
    assert (found.complete, found.exported, found.total) == (False, done, 6)
    assert set(content(tmp_path / "more")) == {f"parts/{submission_id(scene.id, n + 1)}.json" for n in range(done)}
    scene.world.run()
    assert again(scene).complete
    assert content(tmp_path / "more") == content(scene.out)


def test_an_earlier_attempts_record_is_never_taken_for_the_last_ones(scene: Scene) -> None:
    views, ledger = scene.world.views, scene.world.ledger
    name = submission_id(scene.id, 4)
    former = scene.part(4).read_bytes()
    kept = dict(scene.world.results.records[name])
    scene.world.provider.outcome = lambda _external: Outcome.SUCCEEDED
    item = views.submission(name)
    ledger.retry(name, item.generation, reason="by_person")
    scene.world.run()
    wanted = content(scene.outs[1])
    for place in range(2):
        scene.part(4, place).write_bytes(former)
        (scene.outs[place] / "_SUCCESS").unlink()
    scene.world.results.records[name] = kept  # as if the later one had been dropped
    found = again(scene, ask=lambda run_id: scene.world.provider.get("7", run_id))
    assert found.origins == {Origin.OUTPUT: 5, Origin.PROVIDER: 1}
    more = content(scene.folder / "more")
    assert more[f"parts/{name}.json"] == wanted[f"parts/{name}.json"]


def test_an_attempt_that_is_refused_has_no_results_of_an_earlier_one(scene: Scene) -> None:
    name = submission_id(scene.id, 4)
    scene.world.provider.on_submit = fail_with(Refused("no", http_status=400))
    scene.world.ledger.retry(name, scene.world.views.submission(name).generation, reason="by_person")
    scene.world.run()
    record = json.loads((scene.out / "results.jsonl").read_bytes().splitlines()[3])
    assert (record["outcome"], record["run_id"], record["data"], record["usage"]) == ("failed", None, {}, None)


def test_credits_by_prompt_stand_in_the_order_of_the_results(scene: Scene) -> None:
    record = json.loads((scene.out / "results.jsonl").read_bytes().splitlines()[0])
    assert record["usage"] == {"credits": 1.5, "by": {"total": 1.0, "names": 0.5}}
    assert list(record["usage"]["by"]) == list(record["data"]) == ["total", "names"]
    assert read_record(record).credits == 1.5


def test_where_nothing_is_known_usage_is_as_it_was(tmp_path: Path) -> None:
    scene = Scene(tmp_path, files=2)
    scene.plan()
    scene.world.run()
    assert json.loads((scene.out / "results.jsonl").read_bytes())["usage"] == {"credits": 1.5}
