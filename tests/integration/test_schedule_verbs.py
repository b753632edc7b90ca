"""`paceline schedule …`, and whom a worker tells, in this process on a real server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit
from config.schedules import Schedule
from config.services import Services, open_services, worker_name
from config.settings import load_settings
from paceline.errors import SinkError
from paceline.schedules import telling
from paceline.schedules.beats import end_beat, live_beats, note_beat
from paceline.schedules.due import Cron, at_ms, ms_of
from paceline.schedules.night import Night, NightState
from paceline.schedules.telling import tell
from paceline.sinks.places import SECRET_ENV
from tests.support.command import wait_for
from tests.support.hook import SECRET, Hook
from tests.support.verbs import Verbs
from worker.schedules import judge

TABLE = """\
[schedules.nightly]
cron = "0 2 * * *"
zone = "Europe/Berlin"
source = "inbox"
agent = "kolena:42"
to = "out/{date}"
"""


NOW = datetime.now(UTC)
DUES = [ms_of(one) for one in Cron("0 2 * * *", "Europe/Berlin").between(NOW - timedelta(days=9), NOW, 5)]


@pytest.fixture
def verbs(server: Path, real_redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    (tmp_path / "paceline.toml").write_text(TABLE)
    monkeypatch.setenv("KOLENA_API_KEY", "canary-key")
    return Verbs(server, tmp_path, monkeypatch)


@pytest.fixture
def services(verbs: Verbs) -> Iterator[Services]:
    found = open_services(load_settings())
    yield found
    found.redis.close()


def due(days_ago: int) -> int:
    return DUES[-days_ago]


def note(services: Services, days_ago: int, state: NightState, **more: Any) -> int:
    asked = {"due": at_ms(due(days_ago)).isoformat(), "deadline_ms": None} | more.pop("asked", {})
    assert services.nights.claim("nightly", due(days_ago), state, asked, decided_ms=None, **more) == 1
    return due(days_ago)


# --- reading


def test_next_due_times_are_told_without_a_ledger(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PACELINE_REDIS_URL")
    said = verbs("schedule", "list", "--next", "3", "--json")
    assert said.code == Exit.DONE, said.stderr
    (row,) = said.json()
    assert (row["schedule"], row["last"], row["paused"], row["problem"]) == ("nightly", None, None, None)
    assert len(row["next"]) == 3
    assert all("T02:00+0" in one for one in row["next"])
    assert not verbs.home.exists()
    assert "T02:00" in verbs("schedule", "list").stdout


def test_a_redis_that_is_away_leaves_the_due_times(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACELINE_REDIS_URL", "unix:///nowhere.sock")
    said = verbs("schedule", "list")
    assert said.code == Exit.DONE
    assert "T02:00" in said.stdout
    assert "nothing is known of past nights" in said.stderr


def test_a_schedule_that_cannot_work_is_named_and_nothing_is_started(verbs: Verbs, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").write_text(TABLE.replace("out/{date}", "out"))
    said = verbs("schedule", "list")
    assert said.code == Exit.CONFIG
    assert "add {date} to it" in said.stdout
    for verb in ("beat", "up"):
        said = verbs(verb)
        assert said.code == Exit.CONFIG
        assert "add {date} to it" in said.stderr
    checks = {one["name"]: one for one in verbs("doctor", "--json").json()}
    assert checks["schedule nightly"]["ok"] is False


def test_without_schedules_the_verbs_say_how_to_make_one(verbs: Verbs, tmp_path: Path) -> None:
    (tmp_path / "paceline.toml").unlink()
    assert verbs("schedule", "list").code == Exit.NOTHING_TO_DO
    said = verbs("schedule", "show", "nightly")
    assert (said.code, "docs/schedules.md" in said.stderr) == (Exit.USAGE, True)


def test_a_misspelt_name_is_refused_with_the_right_one(verbs: Verbs) -> None:
    for verb in ("show", "run", "pause", "resume"):
        said = verbs("schedule", verb, "nightli")
        assert (said.code, "did you mean nightly?" in said.stderr) == (Exit.USAGE, True)


def test_show_tells_of_each_night_what_became_of_it_and_who_was_told(verbs: Verbs, services: Services) -> None:
    note(services, 3, NightState.SKIPPED, reason="missed")
    note(services, 2, NightState.FAILED, error="source 'inbox' doesn't exist")
    services.nights.note_told(Night("nightly", due(2), NightState.FAILED), "not_started", due(1))
    rows = verbs("schedule", "show", "nightly", "--json").json()
    assert [(row["state"], row["reason"], row["error"]) for row in rows] == [
        ("skipped", "missed", None),
        ("failed", None, "source 'inbox' doesn't exist"),
    ]
    assert list(rows[1]["told"]) == ["not_started"]
    text = verbs("schedule", "show", "nightly").stdout
    assert "missed" in text
    assert "doesn't exist" in text
    (listed,) = verbs("schedule", "list", "--json").json()
    assert listed["last"] == rows[1]


def test_schedules_without_a_beat_are_mentioned(verbs: Verbs, services: Services) -> None:
    now_ms = services.views.now_ms()
    for said in (verbs("status"), verbs("schedule", "list")):
        assert "no live beat" in said.stderr
    note_beat(services.redis, "here:1@x", now_ms, 60)
    note_beat(services.redis, "there:2@y", now_ms, -1)
    assert live_beats(services.redis, now_ms) == ["here:1@x"]
    for said in (verbs("status"), verbs("schedule", "list")):
        assert "no live beat" not in said.stderr
    checks = {one["name"]: one for one in verbs("doctor", "--json").json()}
    assert checks["schedules"]["ok"] is True
    end_beat(services.redis, "here:1@x")
    assert live_beats(services.redis, now_ms) == []


def test_ticks_that_go_by_other_settings_are_noticed(verbs: Verbs, services: Services) -> None:
    """Workers that weren't started anew, or a machine whose file differs: then no due time may ever be reached."""
    services.nights.see("nightly", "0 3 * * * UTC")
    assert verbs("schedule", "list").code == Exit.DONE  # nothing runs: it begins anew with these settings
    note_beat(services.redis, "here:1@x", services.views.now_ms(), 60)
    said = verbs("schedule", "list")
    assert said.code == Exit.CONFIG
    assert "workers go by 0 3 * * * UTC" in said.stdout
    services.nights.see("nightly", "0 2 * * * Europe/Berlin")
    assert verbs("schedule", "list").code == Exit.DONE


def test_a_beat_is_alive_by_its_own_sign_alone(verbs: Verbs, services: Services) -> None:
    now_ms = services.views.now_ms()
    note_beat(services.redis, "elsewhere:1@x", now_ms, 60)
    assert verbs("alive", "beat").code == 1
    note_beat(services.redis, worker_name(), now_ms, 60)
    assert verbs("alive", "beat").code == 0
    assert verbs("alive", "worker").code == 1


# --- steering


def test_a_pause_is_shown_and_ends_with_resume(verbs: Verbs, services: Services) -> None:
    assert verbs("schedule", "resume", "nightly").code == Exit.NOTHING_TO_DO
    assert verbs("schedule", "pause", "nightly", "--reason", "moving the share").code == Exit.DONE
    assert "already" in verbs("schedule", "pause", "nightly", "--reason", "other").stderr
    (row,) = verbs("schedule", "list", "--json").json()
    assert row["paused"]["reason"] == "moving the share"
    assert services.nights.see("nightly", "x").paused
    assert "its next night" in verbs("schedule", "resume", "nightly").stderr
    assert not services.nights.see("nightly", "x").paused


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2020-01-01T03:00", "the one before was 2020-01-01T02:00+01:00"),
        ("soon", "no time"),
        ("2999-01-01T02:00", "to come"),
    ],
)
def test_only_a_due_time_that_has_passed_can_be_run(verbs: Verbs, text: str, hint: str) -> None:
    said = verbs("schedule", "run", "nightly", "--due", text)
    assert said.code == Exit.USAGE
    assert hint in said.stderr


def test_a_missing_source_is_said_before_anything_is_noted(verbs: Verbs, services: Services) -> None:
    said = verbs("schedule", "run", "nightly")
    assert said.code == Exit.USAGE
    assert "inbox" in said.stderr
    assert services.nights.last("nightly") == []


def test_a_night_that_is_started_is_not_run_again(verbs: Verbs, services: Services) -> None:
    day = note(services, 2, NightState.STARTED)
    said = verbs("schedule", "run", "nightly", "--due", at_ms(day).isoformat())
    assert (said.code, "is started already" in said.stderr) == (Exit.DONE, True)


def test_who_interrupts_is_told_that_a_tick_goes_on(verbs: Verbs, services: Services) -> None:
    (verbs.home.parent / "inbox").mkdir()
    (verbs.home.parent / "inbox/a.txt").write_text("a")

    def interrupted(services: Services, night: Night, holder: str, _: object) -> None:
        assert services.nights.keep(night.schedule, night.due_ms, holder, 60, "bngwcnc7x3")
        assert services.nights.put_back(night.schedule, night.due_ms, holder)

    verbs.patch.setattr("cli.nights_run.carry", interrupted)
    said = verbs("schedule", "run", "nightly", "--due", at_ms(due(1)).isoformat())
    assert said.code == Exit.DETACHED
    assert "the next tick goes on with it" in said.stderr
    assert "paceline cancel bngwcnc7x3" in said.stderr


def test_a_night_that_was_started_in_between_is_found_by_its_moment(verbs: Verbs, services: Services) -> None:
    """`Detached: …` and the remedy of a lost ledger name it so."""
    moment = at_ms(due(2) + 5_000)
    text = moment.isoformat()
    assert "is no due time" in verbs("schedule", "run", "nightly", "--due", text).stderr
    assert services.nights.claim("nightly", ms_of(moment), NightState.STARTED, {"due": text}, decided_ms=None) == 1
    said = verbs("schedule", "run", "nightly", "--due", text)
    assert (said.code, "is started already" in said.stderr) == (Exit.DONE, True)


# --- telling


def schedule(*to: str, **more: Any) -> Schedule:
    return load_settings().schedules["nightly"].model_copy(update={"tell": to, **more})


def turn(services: Services, one: Schedule) -> None:
    judge(services, one, services.views.now_ms())


def told(services: Services, days_ago: int) -> dict[str, str]:
    found = services.nights.find("nightly", due(days_ago))
    assert found is not None
    return dict(found.told)


def test_a_receiver_hears_of_each_event_once_signed_and_under_the_same_id(
    verbs: Verbs, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_ENV, SECRET)
    monkeypatch.setenv("PACELINE_SCHEDULE_RETRY_SECONDS", "1")
    quick = open_services(load_settings())
    note(services, 2, NightState.FAILED, error="no such folder")
    note(services, 1, NightState.WAITING, asked={"deadline_ms": due(1) + 1})
    with Hook(busy=1) as hook:
        one = schedule(hook.url + "/nights")

        def heard() -> bool:
            turn(quick, one)
            return len(hook.deliveries) >= 2 and bool(told(services, 2)) and bool(told(services, 1))

        wait_for(heard, "two deliveries")
        for _ in range(3):
            turn(quick, one)
        events = sorted(hook.events("/nights"), key=lambda body: str(body["event"]))
        assert [body["event"] for body in events] == ["deadline_missed", "not_started"]
        assert events[1]["text"].endswith("couldn't be started: no such folder")
        assert (events[0]["schedule"], events[0]["summary"], hook.refused) == ("nightly", None, 0)
        assert {one.id for one in hook.deliveries} == {
            f"nightly_{due(1)}_deadline_missed",
            f"nightly_{due(2)}_not_started",
        }
    quick.redis.close()
    assert services.nights.last("nightly")[0].settled == "failed"
    assert services.nights.last("nightly")[1].settled == ""  # it waits on


def test_without_a_secret_deliveries_bear_no_signature(verbs: Verbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_ENV, raising=False)
    with Hook(signed=False) as hook:
        tell([hook.url], "id", {"event": "x"}, folder="/", secrets=())
    assert [one.body for one in hook.deliveries] == [{"event": "x"}]


def test_a_command_gets_the_event_on_stdin_and_no_key(
    verbs: Verbs, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOLENA_WEBHOOK_SECRET", "canary-secret")
    monkeypatch.setenv("PACELINE_FLOWER_LOGIN", "ana:canary-login")
    note(services, 1, NightState.SKIPPED, reason="overlap")
    program = (
        "import json, os, sys; json.dump({'said': json.load(sys.stdin), 'env': dict(os.environ)}, open('heard', 'w'))"
    )
    turn(services, schedule(sys.executable, "-c", program))
    wait_for(lambda: told(services, 1), "the note that it was told")
    heard = json.loads((tmp_path / "heard").read_text())
    assert heard["said"]["event"] == "skipped"
    assert heard["env"]["SCHEDULE_EVENT_ID"] == f"nightly_{due(1)}_skipped"
    assert not {"canary-key", "canary-secret"} & set(heard["env"].values())
    assert not {"PACELINE_REDIS_URL", "PACELINE_FLOWER_LOGIN"} & heard["env"].keys()


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (("/nonexistent/notify",), "can't be started (No such file or directory)"),
        ((sys.executable, "-c", "import sys; sys.exit(3)"), "ended with 3"),
        ((sys.executable, "-c", "import time; time.sleep(600)"), "took longer than"),
    ],
)
def test_a_command_that_fails_is_told_of_as_such(
    command: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "COMMAND_S", 1.0 if "sleep" in command[-1] else 60.0)
    with pytest.raises(SinkError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        tell(command, "id", {}, folder="/", secrets=())


def test_a_command_that_does_not_read_is_fine() -> None:
    tell([sys.executable, "-c", "pass"], "id", {"x": "y" * 1_000_000}, folder="/", secrets=())


def test_a_receiver_that_is_slow_holds_nothing_up(verbs: Verbs, services: Services, tmp_path: Path) -> None:
    note(services, 1, NightState.FAILED, error="x")
    waits = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)"
    turn(services, schedule(sys.executable, "-c", waits))
    assert told(services, 1) == {}
    (tmp_path / "go").touch()
    wait_for(lambda: told(services, 1), "the note that it was told")


def test_with_nobody_to_tell_a_night_is_settled_in_silence(verbs: Verbs, services: Services) -> None:
    note(services, 1, NightState.FAILED, error="x")
    turn(services, schedule())
    (night,) = services.nights.last("nightly")
    assert (night.settled, night.told) == ("failed", {})
