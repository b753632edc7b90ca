"""What can happen to messages: repeated, reordered, lost, delivered while they are being worked on, forged, huge."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from paceline.model import Follow
from tests.acceptance.test_run import accepted, check_output
from tests.support.command import Paceline, make_files, wait_for
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[2]


def check(world: World, batch: str, submissions: int) -> None:
    """Every submission exported, and paid for once."""
    assert world.states(batch) == {"exported": submissions}
    assert Counter(external_id for _, external_id in world.provider.arrivals) == dict.fromkeys(
        (item.external_id for item in world.views.submissions(batch)), 1
    )
    assert len(world.sink.parts) == submissions
    assert len(world.sink.commits) == 1


def test_delivering_every_message_ten_times_changes_nothing() -> None:
    world = World()
    world.copies = 10
    batch = world.plan(60)
    world.run()
    check(world, batch, 60)
    asked = Counter(what for what, _ in world.provider.reads)
    assert asked["ask"] < 100  # no run is asked after more often for it
    assert world.delivered > 10 * 60


class ShufflingWorld(World):
    """Delays each message by up to a minute, and a third of them are delivered twice: no order is left."""

    dice = random.Random(41)

    def send(self, follows: Sequence[Follow]) -> None:
        for follow in follows:
            for _ in range(self.dice.choice((1, 1, 2))):
                super().send([replace(follow, countdown_s=follow.countdown_s + self.dice.uniform(0, 60))])


def test_messages_in_any_order_change_only_time() -> None:
    world = ShufflingWorld()
    batch = world.plan(60)
    world.run()
    check(world, batch, 60)


def test_losing_all_messages_again_and_again_changes_only_time() -> None:
    world = World()
    batch = world.plan(60)
    for _ in range(12):
        world.run(20)
        world.lose_messages()
    world.run()
    check(world, batch, 60)


@contextmanager
def worker_by_hand(paceline: Paceline, *command: str) -> Iterator[Path]:
    """Run a worker of a configured Redis; yield its log."""
    log = paceline.folder / "worker.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=paceline.environment, stdout=file, stderr=file)
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(60)


def test_a_visibility_timeout_shorter_than_uploads_and_countdowns_pays_nothing_twice(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 6)
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox("--run-seconds", "1.5", "--fault", "delay@add:seconds=1.5") as sandbox,
        Paceline(
            tmp_path, url=sandbox.url, redis_url=url, visibility_timeout_seconds="0.5", poll_first_seconds="1.5"
        ) as paceline,
        worker_by_hand(paceline, sys.executable, "-m", "celery", "-A", "tests.support.hasty_broker", "worker"),
    ):
        client = redis.Redis.from_url(url)
        wait_for(lambda: list(client.scan_iter("pl:worker:*")), "a worker")
        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 6)
        assert Counter(accepted(sandbox).values()) == {1: 6}
        (stats,) = (Celery("anybody", broker=url).control.inspect(timeout=10, limit=1).stats() or {}).values()
        assert stats["total"]["paceline.submit"] > 6  # else nothing was delivered again, and nothing was tried
        assert stats["total"]["paceline.poll"] > len(sandbox.log(request_class="list"))


CANARY = "forged-5f1c"
HUGE = CANARY * 100_000  # 1.1 MB
STEPS = ("submit", "export", "feed", "poll", "reconcile", "close")
UNKNOWN = ("b000000000-000001", "b000000000", "nobody", "nobody:1", f"kolena:{CANARY}")
NO_KEYS: tuple[Any, ...] = (f"../{CANARY}", HUGE, f"{CANARY}\x1b[2J\n", 7, None, True, [CANARY], {CANARY: CANARY}, "")
NO_KEYS += ("b000000000-000001\n",)


def forgeries() -> list[tuple[str, list[Any], dict[str, Any]]]:
    """Messages that nobody of ours has sent: task, arguments, keyword arguments."""
    found: list[tuple[str, list[Any], dict[str, Any]]] = []
    for step in STEPS:
        found += [(f"paceline.{step}", [key], {}) for key in (*UNKNOWN, *NO_KEYS)] + [(f"paceline.{step}", [], {})]
    found += [("paceline.submit", [CANARY] * 3, {}), ("paceline.submit", [], {"submission_id": HUGE, "x": HUGE})]
    # Celery itself says something about these, and cuts it short.
    foreign = "x" * 1_000_000
    found += [
        ("paceline.unheard_of", [foreign], {}),
        ("celery.backend_cleanup", [foreign], {}),
        ("os.system", [foreign], {}),
    ]
    return found


def test_unknown_and_forged_messages_of_any_size_do_nothing(tmp_path: Path) -> None:
    source = make_files(tmp_path / "files", 4)
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox("--run-seconds", "0.5") as sandbox,
        Paceline(tmp_path, url=sandbox.url, redis_url=url) as paceline,
        worker_by_hand(paceline, sys.executable, "-m", "cli.main", "worker") as log,
    ):
        client = redis.Redis.from_url(url)
        wait_for(lambda: list(client.scan_iter("pl:worker:*")), "a worker")
        forger = Celery("forger", broker=url)
        queues = ("control", "export", "submit.kolena")
        for number, (task, arguments, named) in enumerate(forgeries()):
            forger.send_task(task, arguments, named, queue=queues[number % 3], ignore_result=True)
        pickled = forger.amqp.as_task_v2("x", "paceline.submit", ("b000000000-000001",))
        with forger.connection_for_write() as connection:
            connection.Producer(serializer="pickle").publish(
                pickled.body, routing_key="control", headers=pickled.headers
            )
        wait_for(lambda: not any(client.llen(queue) for queue in queues), "that every forgery is taken")
        assert sandbox.log() == []
        assert list(client.scan_iter("pl:[absg]*")) == []

        result = paceline("run", "files", "--agent", "kolena:1", "--to", "out", "--files-per-run", "1")
        assert result.code == 0, result.stderr
        check_output(source, tmp_path / "out", 4)
        assert Counter(accepted(sandbox).values()) == {1: 4}
        said = log.read_text("utf-8", "replace")
        assert said.count("task.forged") >= len(STEPS) * (len(NO_KEYS) + 1) + 2
        assert CANARY not in said
        assert len(said) < 100_000
