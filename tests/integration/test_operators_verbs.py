"""What an operator types beside `run`: export, gc, retry, pause, list, show, in this process."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fakeredis import FakeRedis

from cli.run import refuse_lost_ledger
from cli.target import excluded
from paceline.errors import UsageError
from paceline.model import Outcome, submission_id
from paceline.rebuilding import rebuild
from paceline.removing import find_forgotten
from paceline.sinks.places import written_places
from tests.support.fake_provider import lost_answer
from tests.support.lost import Scene
from tests.support.verbs import Verbs

if TYPE_CHECKING:
    from cli.target import Target
    from config.services import Services

DAY_MS = 86_400_000


@pytest.fixture
def verbs(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    return Verbs(server, tmp_path, monkeypatch)


@pytest.fixture
def scene(tmp_path: Path, real_redis: Any) -> Iterator[Scene]:
    """Make a batch that has been complete for 40 days, its fourth run failed."""
    made = Scene(tmp_path, redis=real_redis)
    made.world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("4") else Outcome.SUCCEEDED
    made.plan()
    made.world.run()
    finished(made, days=40)
    yield made
    real_redis.flushall()


@pytest.fixture
def under_way(tmp_path: Path, real_redis: Any) -> Iterator[Scene]:
    """Make a batch of which some submissions are exported."""
    made = Scene(tmp_path, redis=real_redis)
    made.plan()
    made.world.run(until=lambda: made.exported() >= 2)
    yield made
    real_redis.flushall()


def finished(scene: Scene, *, days: float) -> None:
    """Set back when a batch was finished: the worlds' clock isn't the server's."""
    seconds, _ = scene.world.redis.time()
    scene.world.redis.hset(f"pl:b:{scene.id}", "finished_ms", int(seconds * 1000 - days * DAY_MS))


# -- export ----------------------------------------------------------------------------------------------------------


def test_a_complete_batch_is_exported_to_several_folders(scene: Scene, verbs: Verbs, tmp_path: Path) -> None:
    shutil.rmtree(scene.spec.source)
    result = verbs("export", scene.id, "--to", "one", "--to", str(tmp_path / "two"), "--json")
    assert result.code == 0, result.stderr
    assert result.json() == {
        "batch": scene.id,
        "to": [str(tmp_path / "one"), str(tmp_path / "two")],
        "complete": True,
        "submissions": {"total": 6, "exported": 6},
        "from": {"output": 6, "results": 0, "provider": 0, "ledger": 0},
        "lost": [],
    }
    for name in ("results.jsonl", "files.jsonl", "failures.jsonl", "manifest.jsonl", "summary.json", "_SUCCESS"):
        wanted = (scene.out / name).read_bytes()
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() == wanted
    assert scene.batch().to == (str(scene.out),)


def test_an_output_that_was_deleted_is_made_again(scene: Scene, verbs: Verbs) -> None:
    wanted = (scene.out / "results.jsonl").read_bytes()
    assert verbs("export", scene.id, "--to", "copy").code == 0
    (scene.out / "results.jsonl").unlink()
    (scene.out / "_SUCCESS").unlink()
    assert verbs("export", scene.id, "--to", str(scene.out)).code == 0
    assert (scene.out / "results.jsonl").read_bytes() == wanted
    assert (scene.out / "_SUCCESS").exists()


def test_of_a_batch_under_way_the_code_says_that_more_will_come(under_way: Scene, verbs: Verbs, tmp_path: Path) -> None:
    result = verbs("export", under_way.id, "--to", "more")
    assert result.code == 3
    assert "export again" in result.stderr
    assert not (tmp_path / "more" / "_SUCCESS").exists()
    own = verbs("export", under_way.id, "--to", str(under_way.out))
    assert (own.code, "own output" in own.stderr) == (2, True)


def test_a_folder_of_another_batch_or_in_the_source_is_refused(scene: Scene, verbs: Verbs, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Scene(tmp_path / "other", redis=scene.world.redis)
    other.plan()
    registered = verbs("export", scene.id, "--to", str(other.out))
    (tmp_path / "left" / "parts").mkdir(parents=True)
    (tmp_path / "left" / "_SUCCESS").write_text("b000000000\n")
    left = verbs("export", scene.id, "--to", "left")
    inside = verbs("export", scene.id, "--to", f"{scene.spec.source}/deep/out")
    nothing = verbs("export", scene.id, "--to", "")
    for result, word in ((registered, other.id), (left, "b000000000"), (inside, "source"), (nothing, "--to")):
        assert result.code == 2, result
        assert word in result.stderr
    assert not Path(scene.spec.source, "deep").exists()


# -- gc --------------------------------------------------------------------------------------------------------------


def test_gc_asks_and_where_nobody_can_be_asked_it_wants_to_be_told(
    scene: Scene, verbs: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = verbs("gc", "--dry-run", "--json")
    assert (shown.code, [row["batch"] for row in shown.json()["batches"]]) == (0, [scene.id])
    refused = verbs("gc")
    assert (refused.code, "--yes" in refused.stderr) == (2, True)
    monkeypatch.setattr("cli.gc._on_terminal", lambda: True)
    assert verbs("gc", answer="n\n").code == 130
    assert scene.batch().closed
    assert verbs("gc", answer="y\n").code == 0
    assert find_forgotten(scene.world.redis, scene.id) is not None
    again = verbs("gc")
    assert (again.code, "Nothing to remove" in again.stderr) == (0, True)
    assert (scene.out / "_SUCCESS").exists()
    gone = verbs("status", scene.id)
    assert (gone.code, "no batch" in gone.stderr) == (2, True)


def test_gc_keeps_what_is_younger_than_the_setting_says(scene: Scene, verbs: Verbs) -> None:
    verbs.patch.setenv("PACELINE_KEEP_BATCHES_DAYS", "41")
    assert verbs("gc", "--yes").code == 0
    assert scene.batch().closed
    verbs.patch.setenv("PACELINE_KEEP_BATCHES_DAYS", "0")
    for_ever = verbs("gc", "--yes")
    assert (for_ever.code, "--older-than" in for_ever.stderr) == (2, True)
    assert verbs("gc", "--older-than", "39", "--yes").code == 0
    assert find_forgotten(scene.world.redis, scene.id) is not None


@pytest.mark.parametrize("arguments", [("--batch", ""), ("--batch", "x", "--older-than", "1"), ("--older-than", "-1")])
def test_gc_refuses_what_names_nothing(scene: Scene, verbs: Verbs, arguments: tuple[str, ...]) -> None:
    assert verbs("gc", "--yes", *arguments).code == 2
    assert scene.batch().closed


def test_gc_touches_nothing_that_is_not_complete(under_way: Scene, verbs: Verbs) -> None:
    assert verbs("gc", "--older-than", "0", "--yes").code == 0
    refused = verbs("gc", "--batch", under_way.id, "--yes")
    assert (refused.code, "not complete" in refused.stderr) == (2, True)
    assert not under_way.batch().closed
    assert under_way.world.views.files(submission_id(under_way.id, 6))


def test_gc_leaves_a_batch_alone_whose_output_was_moved_unless_it_is_named(scene: Scene, verbs: Verbs) -> None:
    scene.out.rename(scene.out.with_name("elsewhere"))
    kept = verbs("gc", "--yes")
    assert (kept.code, f"--batch {scene.id}" in kept.stderr) == (0, True)
    assert scene.batch().closed
    assert verbs("gc", "--batch", scene.id, "--yes").code == 0
    assert find_forgotten(scene.world.redis, scene.id) is not None


def test_gc_removes_old_plans(scene: Scene, verbs: Verbs) -> None:
    plans = verbs.home / "plans"
    plans.mkdir(parents=True)
    ages = {"b1.jsonl": 31, "b2.jsonl": 29, "b3.jsonl.part": 31, "b4.jsonl.part": 0, "mine.txt": 99}
    for name, days in ages.items():
        (plans / name).touch()
        os.utime(plans / name, (time.time() - days * 86_400 - 60,) * 2)
    assert verbs("gc", "--yes").code == 0
    assert sorted(path.name for path in plans.iterdir()) == ["b2.jsonl", "b4.jsonl.part", "mine.txt"]


def test_gc_removes_old_lists_but_none_that_may_still_be_read(scene: Scene, verbs: Verbs) -> None:
    lists = verbs.home / "lists"
    lists.mkdir(parents=True)
    for name, days in (("a" * 64, 40), ("b" * 64, 20), ("c" * 64, 0), (".list.5f.aside", 40)):
        (lists / name).touch()
        os.utime(lists / name, (time.time() - days * 86_400 - 60,) * 2)
    assert verbs("gc", "--yes", "--older-than", "30").code == 0
    assert sorted(path.name for path in lists.iterdir()) == ["b" * 64, "c" * 64]
    assert verbs("gc", "--yes", "--older-than", "0").code == 0
    assert [path.name for path in lists.iterdir()] == ["c" * 64]


def test_a_removed_batch_can_be_rebuilt_and_retried(scene: Scene, verbs: Verbs) -> None:
    assert verbs("gc", "--yes").code == 0
    world = scene.world
    world.restart()
    rebuild(
        world.ledger, world.views, str(scene.out), sending_s=lambda _size: 0.0, paused_message="x", known=world.known
    )
    assert scene.batch().closed
    assert verbs("export", scene.id, "--to", "more").code == 0


def test_a_run_into_an_output_that_the_ledger_no_longer_has_is_refused(scene: Scene, verbs: Verbs) -> None:
    assert verbs("gc", "--yes").code == 0
    services = cast("Services", scene.world)  # all that is looked at are its views
    for spec, words in ((scene.spec, "holds this batch"), (replace(scene.spec, name="other"), "paceline gc")):
        target = cast(
            "Target", SimpleNamespace(spec=spec, manifest=str(scene.manifest), source=SimpleNamespace(location="x"))
        )
        with pytest.raises(UsageError, match=words):
            refuse_lost_ledger(target, services)


def test_a_removed_batchs_output_is_part_of_no_other_file_set(scene: Scene, verbs: Verbs, tmp_path: Path) -> None:
    services = cast("Services", SimpleNamespace(views=scene.world.views, redis=scene.world.redis))
    source = SimpleNamespace(location=str(tmp_path))
    target = cast("Target", SimpleNamespace(source=source, exclude=("/home",)))
    before = excluded(target, services)
    assert str(scene.out) in before
    assert verbs("gc", "--yes").code == 0
    assert excluded(target, services) == before


@pytest.mark.parametrize("to", ["{}/link/out", "{}/deep/../files/x.csv", "sqlite:///{}/link/r.db"])
def test_an_output_is_part_of_no_file_set_whatever_it_was_named_by(to: str, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to("files")
    place = to.format(tmp_path)
    views = SimpleNamespace(batch_ids=lambda: ["b1"], find_batch=lambda _batch: SimpleNamespace(to=(place,)))
    services = cast("Services", SimpleNamespace(views=views, redis=FakeRedis()))
    source = SimpleNamespace(location=str(tmp_path / "files"))

    found = excluded(cast("Target", SimpleNamespace(source=source, exclude=())), services)

    assert found == tuple(sorted(written_places(place)))


# -- retry, pause, list, status, show --------------------------------------------------------------------------------


def test_a_reason_that_nothing_has_is_answered_with_those_there_are(scene: Scene, verbs: Verbs) -> None:
    result = verbs("retry", scene.id, "--reason", "rejected")
    assert (result.code, "run_failed (1)" in result.stderr) == (9, True)
    late = verbs("retry", scene.id, "--reason", "timed_out")
    assert (late.code, "paceline collect" in late.stderr) == (9, True)
    assert scene.batch().closed


@pytest.mark.parametrize("verb", ["retry", "collect", "status", "pause", "resume", "show"])
def test_no_verb_takes_nothing_for_a_batch(scene: Scene, verbs: Verbs, verb: str) -> None:
    assert verbs(verb, "").code == 2


def test_a_pause_shows_who_when_and_why(under_way: Scene, verbs: Verbs) -> None:
    verbs.patch.setenv("LOGNAME", "anna")
    assert verbs("pause", under_way.id, "--reason", "over budget").code == 0
    pause = verbs("status", under_way.id, "--json").json()["paused"]
    assert (pause["what"], pause["reason"], pause["by"].partition("@")[0]) == ("batch", "by_person", "anna")
    assert "over budget" in pause["message"]
    assert pause["since"].endswith("Z")
    assert verbs("list", "--json").json()[0]["paused"] == pause
    for shown in (verbs("status", under_way.id).stdout, verbs("list").stdout):
        assert "by anna@" in shown
        assert "over budget" in shown
    assert verbs("resume", under_way.id).code == 0
    assert verbs("list", "--json").json()[0]["paused"] is None
    assert "paused" not in verbs("status", under_way.id, "--json").json()
    assert not under_way.world.redis.hexists(f"pl:b:{under_way.id}", "paused_by")


def test_show_names_earlier_runs_credits_by_prompt_and_what_to_type(scene: Scene, verbs: Verbs) -> None:
    name = submission_id(scene.id, 4)
    item = scene.world.views.submission(name)
    scene.world.ledger.retry(name, item.generation, reason="by_person")
    provider = scene.world.provider
    plain = provider._view
    provider._view = lambda run: _replaced(plain(run))  # type: ignore[method-assign]  # with credits by prompt
    scene.world.run()
    found = verbs("show", name, "--json").json()
    assert (found["past_runs"], found["past_credits"]) == ([item.run_id], 1.5)
    assert found["credits_by"] == {"names": 1.5}
    assert [row["command"] for row in found["next"]] == [f"paceline retry {scene.id} --reason run_failed"]
    text = verbs("show", name)
    assert "1.5 for names" in text.stdout
    assert f"{item.run_id}, 1.5 credits" in text.stdout
    assert verbs("show", submission_id(scene.id, 1), "--json").json()["next"] == []


def _replaced(view: Any) -> Any:
    return replace(view, credits_by={"names": 1.5}) if view.outcome else view


def test_show_of_one_that_is_held_names_the_ways_out(tmp_path: Path, real_redis: Any, verbs: Verbs) -> None:
    scene = Scene(tmp_path, files=2, redis=real_redis)
    scene.world.provider.after_accept = lost_answer
    scene.plan()
    name = submission_id(scene.id, 1)
    scene.world.run(until=lambda: scene.world.states(scene.id) == {"uncertain": 1})
    item = scene.world.views.submission(name)
    scene.world.ledger.hold(name, item.generation, reason="no_proof")
    found = verbs("show", name)
    for words in ("--run-id R", "--resubmit", "--fail", item.external_id, "no_proof"):
        assert words in found.stdout + found.stderr
    verbs("pause", scene.id)
    scene.world.ledger.resubmit(name, scene.world.views.submission(name).generation, reason="by_hand")
    assert f"paceline resume {scene.id}" in verbs("show", name).stderr
    real_redis.flushall()


def test_usage_is_asked_for_one_batch(scene: Scene, verbs: Verbs) -> None:
    result = verbs("status", "--usage")
    assert (result.code, "one batch" in result.stderr) == (2, True)
