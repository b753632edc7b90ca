"""Schedules with the shipped commands: beats, workers and carriers that are killed; one batch for each night."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from paceline import redis_keys as keys
from paceline.schedules.night import Night, NightState
from paceline.schedules.nights import Nights
from paceline.scripts import Scripts
from tests.acceptance.test_run import accepted
from tests.support.command import Paceline, make_files, read_lines, wait_for
from tests.support.hook import Hook
from tests.support.sandbox import Sandbox
from tests.support.server import redis_server

FILES, EACH = 60, 20


def write_schedule(folder: Path, hook: Hook, *, cron: str) -> None:
    (folder / "paceline.toml").write_text(
        f"""\
schedule_tick_seconds = 0.5
schedule_lease_seconds = 3

[schedules.nightly]
cron = "{cron}"
source = "inbox"
agent = "kolena:1"
to = "out/{{date}}/{{time}}"
files_per_run = {EACH}
deadline = "1s"
tell = "{hook.url}/nights"
tell_success = true
"""
    )


def nights(paceline: Paceline) -> list[dict[str, Any]]:
    result = paceline("schedule", "show", "nightly", "--json")
    assert result.code == 0, result.stderr
    found: list[dict[str, Any]] = result.json()
    return found


def carriers(home: Path) -> list[int]:
    return [int(path.read_text()) for path in (home / "run").glob("carry-*.pid")]


def begun(client: Any, night: Night) -> bool:
    return (
        night.state is NightState.STARTING and bool(night.batch) and bool(client.exists(keys.batch(night.batch or "")))
    )


def kill_a_carrier(home: Path, when: Callable[[], bool]) -> None:
    """Kill one at a certain moment; the moment may be short, and come again with the next night."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in carriers(home) if when() else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.005)
    raise AssertionError("no carrier was there at that moment")


def test_two_beats_and_carriers_that_are_killed_start_each_night_once(tmp_path: Path) -> None:
    make_files(tmp_path / "inbox", FILES)
    with (
        redis_server(tmp_path / "redis") as url,
        Sandbox("--run-seconds", "0") as sandbox,
        Hook(signed=False) as hook,
        Paceline(tmp_path, url=sandbox.url, redis_url=url, accounts__kolena__limits__add="400/60s") as paceline,
    ):
        write_schedule(tmp_path, hook, cron="*/4 * * * * *")
        client = redis.Redis.from_url(url)
        worker = paceline.start("worker", "--role", "all")
        beats = [paceline.start("beat") for _ in range(2)]
        wait_for(lambda: client.zcard(keys.BEATS) == 2, "two beats")

        ledger = Nights(client, Scripts(client))
        kill_a_carrier(paceline.home, lambda: True)  # mostly before the batch is begun
        kill_a_carrier(paceline.home, lambda: any(begun(client, night) for night in ledger.last("nightly")))
        wait_for(lambda: [one for one in ledger.last("nightly") if one.settled == "done"], "a night that is done")
        assert paceline("schedule", "pause", "nightly").code == 0
        wait_for(lambda: all(one.settled for one in ledger.last("nightly")), "the end of all")
        for process in (worker, *beats):
            process.terminate()
        assert {process.wait(60) for process in (worker, *beats)} == {0}
        assert client.zcard(keys.BEATS) == 0
        found = nights(paceline)
        assert client.zcard(keys.BATCHES) == sum(one["state"] == "done" for one in found)
        check(tmp_path, found, hook, sandbox)


def check(folder: Path, found: list[dict[str, Any]], hook: Hook, sandbox: Sandbox) -> None:
    done = [one for one in found if one["state"] == "done"]
    assert {one["state"] for one in found} <= {"done", "skipped"}
    assert len({one["due"] for one in found}) == len(found)
    outputs = [path.parent for path in (folder / "out").rglob("_SUCCESS")]
    assert len(outputs) == len(done)
    for output in outputs:
        assert len({row["path"] for row in read_lines(output / "files.jsonl")}) == FILES
    assert set(accepted(sandbox).values()) == {1}
    assert len(accepted(sandbox)) == len(done) * FILES // EACH
    events = hook.events("/nights")
    for event in ("deadline_missed", "succeeded"):  # each once, and each with its own id
        assert sorted(body["due"] for body in events if body["event"] == event) == sorted(one["due"] for one in done)
    assert {body["batch"] for body in events if body["event"] == "succeeded"} == {one["batch"] for one in done}
    summary = next(body["summary"] for body in events if body["event"] == "succeeded")
    assert summary["files"]["succeeded"] == FILES


def test_up_brings_a_beat_and_a_missed_night_can_be_run_by_hand_once(tmp_path: Path) -> None:
    make_files(tmp_path / "inbox", 4)
    with (
        Sandbox("--run-seconds", "0") as sandbox,
        Hook(signed=False) as hook,
        Paceline(tmp_path, url=sandbox.url) as paceline,
    ):
        write_schedule(tmp_path, hook, cron="0 3 * * *")
        up = paceline("up")
        assert up.code == 0, up.stderr
        assert ", beat (" in up.stderr
        assert len(paceline.pids("beat")) == 1
        by_hand = paceline("schedule", "run", "nightly")
        assert by_hand.code == 0, by_hand.stderr
        missed = ("schedule", "run", "nightly", "--due", "2026-01-02T03:00")
        first, second = paceline(*missed), paceline(*missed)
        assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
        assert first.stdout == second.stdout != by_hand.stdout
        assert "already" in second.stderr
        wait_for(lambda: len(list(tmp_path.rglob("_SUCCESS"))) == 2, "both nights")
        assert [one["state"] for one in nights(paceline)] == ["done", "done"]
        assert (tmp_path / "out/2026-01-02/0300/_SUCCESS").exists()
        assert "no live beat" not in paceline("schedule", "list").stderr
        assert (len(accepted(sandbox)), set(accepted(sandbox).values())) == (2, {1})
        # Another night's output lies in the source from now on, and is no part of it.
        config = (tmp_path / "paceline.toml").read_text().replace('source = "inbox"', 'source = "."')
        (tmp_path / "paceline.toml").write_text(config.replace("out/", "inbox/out/"))
        (tmp_path / "new").mkdir()
        third = paceline("schedule", "run", "nightly", "--due", "2026-01-03T03:00")
        assert third.code == 0, third.stderr
        manifest = read_lines(tmp_path / "inbox/out/2026-01-03/0300/manifest.jsonl")
        assert not [row for row in manifest if "out/" in json.dumps(row)]
        assert paceline("down").code == 0
        assert paceline.pids("beat") == []
