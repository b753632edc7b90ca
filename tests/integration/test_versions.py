"""Two versions on one ledger: what a newer one adds is ignored, and what an older one can't know makes it leave."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from cli.follow import Interrupted
from cli.supervisor import supervise
from config.schema import Settings
from paceline import formats
from paceline import redis_keys as keys
from paceline.errors import ConfigError
from paceline.formats import OtherFormat, check_format, note_format
from paceline.scripts import _NAMES
from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server
from tests.support.verbs import Verbs
from tests.support.world import World


def test_fields_that_only_a_newer_version_knows_are_left_alone() -> None:
    world = World()
    batch = world.plan(5)
    strange = {"colour": "blue", "x:1": "{", "\udcff": "1"}
    names = [keys.batch(batch), keys.account("fake"), keys.META]
    names += [keys.submission(item.id) for item in world.views.submissions(batch)]
    for name in names:
        world.redis.hset(
            name, mapping={field.encode("utf-8", "surrogateescape"): text for field, text in strange.items()}
        )
    world.run()
    assert world.states(batch) == {"exported": 5}
    for name in names:
        assert world.redis.hget(name, "colour") == b"blue"


def test_a_ledger_without_a_version_is_ours_and_keeps_the_first_one_written() -> None:
    client: Any = fakeredis.FakeRedis()
    check_format(client)
    note_format(client)
    check_format(client)
    client.hset(keys.META, "format", "2")
    note_format(client)
    with pytest.raises(ConfigError, match=r"format 2, this paceline knows 1"):
        check_format(client)


ENTRANCES = (
    "run files --agent kolena:1 --to out",
    "submit files --agent kolena:1 --to out",
    "status",
    "list",
    "show b000000000-1",
    "limits",
    "doctor",
    "resolve b000000000-1 --fail",
    "collect b000000000",
    "retry b000000000",
    "verify b000000000",
    "export b000000000 --to elsewhere",
    "gc --yes",
    "pause b000000000",
    "resume b000000000",
    "cancel b000000000",
    "hooks --port 0",
    "flower --port 1",
)


@pytest.mark.parametrize("words", ENTRANCES, ids=lambda words: words.partition(" ")[0])
def test_every_entrance_refuses_a_newer_ledger_and_leaves_it_untouched(
    words: str, real_redis: Any, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(tmp_path / "files", 1)
    monkeypatch.setenv("KOLENA_API_KEY", "k")
    monkeypatch.setenv("KOLENA_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KOLENA_WEBHOOK_SECRET", "whsec_c2VjcmV0")
    world = World(real_redis)
    world.plan(3)
    real_redis.hset(keys.META, "format", "2")
    before = {name: real_redis.dump(name) for name in real_redis.keys("*")}

    said = Verbs(server, tmp_path, monkeypatch)(*words.split())

    assert said.code == 6, said
    assert "of format 2, this paceline knows 1" in said.stdout + said.stderr
    assert {name: real_redis.dump(name) for name in real_redis.keys("*")} == before


def test_the_supervisor_leaves_a_newer_ledger_alone_and_ends(real_redis: Any, server: Path, tmp_path: Path) -> None:
    real_redis.hset(keys.META, "format", "2")
    settings = Settings(redis_url=f"unix://{server}", home=tmp_path)
    with pytest.raises(OtherFormat, match="use the version that wrote it"):
        supervise(settings, Interrupted())
    assert [name for name in real_redis.keys("*") if not name.startswith(b"_kombu")] == [b"pl:meta"]


def test_a_ledger_taken_over_in_mid_flight_is_not_touched_by_any_script() -> None:
    world = World()
    world.plan(3)
    world.run(30.0)
    world.redis.hset(keys.META, "format", "2")
    world.seam.on = False
    quiet = {name: world.redis.dump(name) for name in world.redis.keys("pl:*")}
    for name in _NAMES:
        with pytest.raises(OtherFormat):
            world.ledger._scripts.run(name, ["pl:test:x"] * 20, ["1"] * 20)
    with pytest.raises(OtherFormat):
        world.ledger._scripts.run_many("wake_chain", [(["pl:chains"], ["x", 0])])
    assert {name: world.redis.dump(name) for name in world.redis.keys("pl:*")} == quiet


def test_what_a_provider_answered_after_a_takeover_waits_for_the_version_that_can_take_it() -> None:
    world = World()
    world.plan(1)
    world.provider.after_accept = lambda _request: world.redis.hset(keys.META, "format", "2")
    with pytest.raises(OtherFormat):
        world.run(30.0)
    (verdict,) = world.spool.waiting()
    assert verdict.facts["run_id"] in world.provider.runs
    world.redis.hset(keys.META, "format", "1")
    world.run()
    assert len(world.provider.runs) == 1
    assert world.spool.waiting() == []


def test_an_older_ledger_is_refused_with_another_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = fakeredis.FakeRedis()
    note_format(client)
    monkeypatch.setattr(formats, "FORMAT_VERSION", 2)
    with pytest.raises(OtherFormat, match=r"format 1, this paceline knows 2: finish its batches with the version"):
        check_format(client)


def test_a_worker_beside_a_newer_version_stops_and_says_so(tmp_path: Path) -> None:
    make_files(tmp_path / "files", 30)
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox("--run-seconds", "0.5", "--limit", "add=5/2s") as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=url, accounts__kolena__limits__add="5/2s") as paceline,
        (tmp_path / "worker.log").open("wb") as log,
    ):
        client = redis.Redis.from_url(url)
        worker = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "worker"], env=paceline.environment, cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            wait_for(lambda: list(client.scan_iter("pl:worker:*")), "a worker")
            paceline.start("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
            sandbox.wait("accepted", count=5, timeout=60)
            assert client.hget(keys.META, "format") == b"1"
            client.hset(keys.META, "format", "2")
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            worker.wait()
        assert "ledger.other_format" in (tmp_path / "worker.log").read_text()
        sent = len(sandbox.log(request_class="add"))
        refused = paceline("status")
        assert refused.code == 6
        assert "format 2" in refused.stderr
        again = paceline("worker")
        assert again.code == 6
        assert "format 2" in again.stderr
        assert len(sandbox.log(request_class="add")) == sent < 30
        assert Counter(accepted(sandbox).values()) == {1: sent}
