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

from paceline import redis_keys as keys
from paceline.errors import ConfigError
from paceline.formats import check_format, note_format
from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server
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
