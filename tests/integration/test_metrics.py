"""The metrics say what the ledger says, whatever its size, and whether it can be read at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from config.schema import Settings
from monitor import metrics
from monitor.catalog import CATALOG, OPEN_BATCHES, Kind, Metric, WaitsFor, by_series
from monitor.measuring import waits_for
from monitor.metrics import Reader, buckets, install
from monitor.reading import read_ledger
from paceline import redis_keys as keys
from paceline.limiter import Limiter, PacePolicy
from paceline.model import EndpointClass, Outcome, Rate, State, submission_id
from paceline.schedules.beats import note_beat
from paceline.schedules.night import NightState
from paceline.schedules.nights import Nights
from paceline.scripts import Scripts
from paceline.tallies import BOUNDS_S, Lengths
from tests.support.monitoring import rules
from tests.support.promql import Evaluator, Series
from tests.support.scrape import labels_of, one, scrape, settings_for, url_of
from tests.support.server import free_port
from tests.support.world import World

DAY_MS = 86_400_000

NIGHTLY = {
    f"PACELINE_SCHEDULES__NIGHTLY__{name}": value
    for name, value in {"CRON": "0 2 * * *", "SOURCE": "in", "AGENT": "fake:7", "TO": "out/{date}"}.items()
}


class Counting:
    """A client that counts its round trips."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.trips = 0

    def pipeline(self, *, transaction: bool) -> Any:
        """Count one: what is in a pipeline goes together."""
        self.trips += 1
        return self.client.pipeline(transaction=transaction)


@pytest.fixture
def settings(real_redis: Any, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, url_of(real_redis))


@pytest.fixture
def world(real_redis: Any) -> World:
    return World(real_redis)


def now_ms(client: Any) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def open_batch(client: Any, batch: str, moved_ms: int, **fields: object) -> None:
    """Write a batch's hash as the ledger has it, and its last transition."""
    facts: dict[str, object] = {
        "name": "n", "source": "/s", "account": "fake", "provider": "kolena", "agent": "7", "to": "[]",
        "files_per_run": 3, "manifest": "/m", "created_ms": 1, "total": 9, "files": 27, "listed": 1, **fields,
    }  # fmt: skip
    client.zadd(keys.BATCHES, {batch: 1})
    client.sadd(keys.ACCOUNTS, "fake")
    client.hset(keys.batch(batch), mapping=facts)
    client.xadd(keys.journal(batch), {"verb": "begin"}, id=f"{moved_ms}-0")


def nights_of(client: Any, *found: tuple[NightState, str, int], first_due_ms: int = 1000) -> None:
    """Note nights of `nightly`: their state, batch and deadline, the oldest first."""
    nights = Nights(client, Scripts(client))
    for number, (state, batch, deadline_ms) in enumerate(found):
        due_ms = first_due_ms + number
        nights.claim("nightly", due_ms, state, {"deadline_ms": deadline_ms}, decided_ms=None)
        if batch:
            client.hset(keys.night("nightly", due_ms), "batch", batch)


def test_the_metrics_agree_with_the_ledger(world: World, settings: Settings) -> None:
    world.provider.outcome = lambda external: Outcome.FAILED if int(external[-6:]) % 4 == 0 else Outcome.SUCCEEDED
    batch = world.plan(8)
    world.run()
    open_ = world.plan(5, name="open")

    found = scrape(settings)

    assert one(found, "paceline_up") == 1
    assert one(found, "paceline_submissions", state="exported") == 8
    assert one(found, "paceline_submissions", state="planned") == 5 == sum(world.states(open_).values())
    assert one(found, "paceline_batches", state="complete") == 1
    assert one(found, "paceline_files", outcome="succeeded") == 18
    assert one(found, "paceline_waiting_submissions", class_="add") == 5
    assert one(found, "paceline_outcomes_total", outcome="failed") == 2
    assert one(found, "paceline_transitions_total", verb="accepted") == 8
    assert one(found, "paceline_transitions_total", verb="hold") == 0  # there before the first, so that it can rise
    assert one(found, "paceline_duplicate_runs_total") == 0
    assert one(found, "paceline_credits_total") == world.views.batch(batch).credits
    assert one(found, "paceline_permits_granted_total", class_="add") == 8
    assert one(found, "paceline_permits_allowed", class_="add") == 40


def test_histograms_are_cumulative_and_complete(world: World, settings: Settings) -> None:
    world.provider.run_s = 45.0
    world.plan(6)
    world.run()

    found = scrape(settings)

    rows = [one(found, "paceline_run_duration_seconds_bucket", le=str(bound)) for bound in BOUNDS_S]
    assert rows == sorted(rows)
    assert rows[0] == 0
    assert one(found, "paceline_run_duration_seconds_bucket", le="+Inf") == 6
    assert one(found, "paceline_run_duration_seconds_count") == 6
    assert one(found, "paceline_run_duration_seconds_sum") == pytest.approx(world.views.tallies("fake").runs.sum_s)
    assert one(found, "paceline_export_delay_seconds_count") == 6


def test_a_bucket_counts_what_is_in_those_below_it() -> None:
    counts = [0] * (len(BOUNDS_S) + 1)
    counts[0], counts[1], counts[-1] = 2, 3, 1
    rows = buckets(Lengths(tuple(counts), 1.0))
    assert rows[0] == ("0.5", 2)
    assert rows[1] == ("1.0", 5)
    assert rows[-2:] == [("21600.0", 5), ("+Inf", 6)]


@pytest.fixture
def everything(real_redis: Any, tmp_path: Path) -> dict[Series, float]:
    """Scrape a ledger in which each metric has something to say."""
    now = now_ms(real_redis)
    nights_of(real_redis, (NightState.STARTED, "b000000001", now + DAY_MS))
    note_beat(real_redis, "here:1@m", now, 60.0)
    open_batch(real_redis, "b000000001", now - 60_000, **{"n:running": 1, "n:uncertain": 1, "n:held": 1})
    open_batch(real_redis, "b000000002", now, paused="no_credit", **{"n:planned": 4})
    real_redis.hset(keys.account("other"), mapping={"paused": "access denied!", "t:verb:duplicate": 2})
    real_redis.sadd(keys.ACCOUNTS, "other")
    real_redis.hset(keys.account("third"), mapping={"down_until": now, "down_why": "no connection"})
    real_redis.sadd(keys.ACCOUNTS, "third")
    held, doubted = submission_id("b000000001", 1), submission_id("b000000001", 2)
    real_redis.zadd(keys.HELD, {held: now - 30_000})
    real_redis.zadd(keys.uncertain("fake", "7"), {doubted: now})
    real_redis.hset(keys.submission(doubted), "doubt_ms", now - 90_000)
    real_redis.zadd(keys.WORKERS, {"here:1@m": now + 60_000, "gone:2@m": now - 60_000})
    real_redis.set(keys.worker("here:1@m"), '{"worker":"here:1@m","queues":["submit.fake","control"]}', ex=60)
    real_redis.lpush("export", "a message")
    real_redis.expire("export", 60)
    limiter = Limiter(real_redis, Scripts(real_redis), PacePolicy(watch_clock=False))
    limiter.take("fake", EndpointClass.ADD, Rate(40, 60))
    limiter.close("fake", EndpointClass.ADD, Rate(40, 60), seconds=30, why="throttled")
    return scrape(settings_for(tmp_path, url_of(real_redis), **NIGHTLY))


def test_every_metric_is_given_with_the_labels_of_the_catalog(everything: dict[Series, float]) -> None:
    found = everything
    series = by_series()
    assert {name.removesuffix("_created") for name, _ in found} == set(series)
    for name, labels in found:
        own = ("le",) if name.endswith("_bucket") else ()
        assert {label for label, _ in labels} == {*series[name].labels, *own}, name


def test_what_stands_still_or_waits_for_somebody_is_told(everything: dict[Series, float]) -> None:
    found = everything
    assert one(found, "paceline_held_oldest_seconds", account="fake") >= 30
    assert one(found, "paceline_uncertain_oldest_seconds", account="fake") >= 90
    assert one(found, "paceline_uncertain_oldest_seconds", account="other") == 0
    assert one(found, "paceline_batch_idle_seconds", batch="b000000001", waits_for="provider") >= 60
    assert one(found, "paceline_batches_paused", account="fake", reason="no_credit") == 1
    assert (
        one(found, "paceline_waiting_submissions", account="fake", class_="add") == 0
    )  # a paused batch waits for something else
    assert one(found, "paceline_account_paused", account="other", reason="other") == 1  # no word of ours
    assert one(found, "paceline_circuit_open", account="third") == 1
    assert one(found, "paceline_duplicate_runs_total", account="other") == 2


def test_workers_and_queues_are_counted(everything: dict[Series, float]) -> None:
    found = everything
    assert one(found, "paceline_workers") == 1
    assert one(found, "paceline_queue_workers", queue="control") == 1
    assert one(found, "paceline_queue_workers", queue="export") == 0
    assert one(found, "paceline_queue_messages", queue="export") == 1


def test_the_pace_is_told_as_the_limiter_has_it(everything: dict[Series, float]) -> None:
    found = everything
    assert one(found, "paceline_permits_used", class_="add") == 1
    assert one(found, "paceline_permit_limit", class_="add") == 40
    assert one(found, "paceline_permit_window_seconds", class_="add") == 60
    assert one(found, "paceline_permit_limit_learned") == one(found, "paceline_permits_allowed", class_="add") == 20
    assert one(found, "paceline_permits_allowed", class_="get") == one(found, "paceline_permit_limit", class_="get")
    assert one(found, "paceline_requests_refused_total", class_="add") == 1
    assert 0 < one(found, "paceline_class_closed_seconds", class_="add") <= 30


def test_a_paused_account_has_no_batch_that_stands_still(real_redis: Any, settings: Settings) -> None:
    open_batch(real_redis, "b000000001", 1, **{"n:planned": 4})
    assert len(labels_of(scrape(settings), "paceline_batch_idle_seconds")) == 1
    real_redis.hset(keys.account("fake"), "paused", "by_person")
    found = scrape(settings)
    assert labels_of(found, "paceline_batch_idle_seconds") == []
    assert one(found, "paceline_waiting_submissions", class_="add") == 0


def test_work_waits_for_permits_of_the_class_that_will_start_it(real_redis: Any, settings: Settings) -> None:
    open_batch(real_redis, "b000000001", 1, **{"n:planned": 4})
    open_batch(real_redis, "b000000002", 1, **{"n:planned": 7, "choice:wait": "30"})
    open_batch(real_redis, "b000000003", 1, **{"n:planned": 3, "choice:wait": "auto"})  # 9 in all: at once
    found = scrape(settings)
    assert one(found, "paceline_waiting_submissions", class_="add") == 4
    assert one(found, "paceline_waiting_submissions", class_="wait") == 10


def test_only_so_many_batches_have_series_of_their_own(real_redis: Any, settings: Settings) -> None:
    now = now_ms(real_redis)
    with real_redis.pipeline() as pipe:
        for number in range(OPEN_BATCHES + 30):
            open_batch(pipe, f"b{number:09d}", now - DAY_MS - number * 1000, **{"n:planned": 1})
        pipe.execute()

    found = scrape(settings)

    shown = {dict(labels)["batch"] for labels in labels_of(found, "paceline_batch_idle_seconds")}
    assert shown == {f"b{number:09d}" for number in range(30, OPEN_BATCHES + 30)}
    assert one(found, "paceline_batches", state="running") == OPEN_BATCHES + 30


def test_as_many_round_trips_are_made_for_many_batches_as_for_one(real_redis: Any, settings: Settings) -> None:
    trips = []
    for number in (1, 2, 300):
        with real_redis.pipeline() as pipe:
            for at in range(number):
                open_batch(pipe, f"b{at:09d}", 1 + number, **{"n:uncertain": 1, "agent": at})
            pipe.execute()
        counting = Counting(real_redis)
        read_ledger(counting, settings)
        trips.append(counting.trips)
    assert trips == [4, 4, 4]


def test_a_redis_that_is_out_of_reach_is_a_sample_and_no_error(tmp_path: Path) -> None:
    assert scrape(settings_for(tmp_path, f"redis://127.0.0.1:{free_port()}/0")) == {("paceline_up", ()): 0}


def test_a_damaged_batch_spoils_no_other_metric(real_redis: Any, settings: Settings) -> None:
    open_batch(real_redis, "b000000001", 1)
    open_batch(real_redis, "b000000002", 1)
    real_redis.hset(keys.batch("b000000001"), "total", "many")
    found = scrape(settings)
    assert one(found, "paceline_up") == 1
    assert one(found, "paceline_batches", account="fake", state="running") == 1


def test_a_ledger_of_another_version_is_not_read(real_redis: Any, settings: Settings) -> None:
    real_redis.hset(keys.META, "format", 99)
    assert scrape(settings) == {("paceline_up", ()): 0}


def test_scrapes_within_two_seconds_share_one_look(real_redis: Any, settings: Settings) -> None:
    clock = [100.0]
    reader = Reader(settings, clock=lambda: clock[0])
    first = reader.samples()
    clock[0] += metrics.CACHE_S - 0.1
    assert reader.samples() is first
    clock[0] += 0.2
    assert reader.samples() is not first


def test_installing_twice_changes_nothing(settings: Settings) -> None:
    registry = CollectorRegistry()
    install(settings, registry)
    install(settings, registry)
    assert sum(family.name == "paceline_up" for family in registry.collect()) == 1


@pytest.mark.parametrize(
    ("numbers", "fields", "expected"),
    [
        ({State.SUBMITTING: 1, State.RUNNING: 3}, {}, WaitsFor.PACELINE),
        ({State.FINISHED: 1}, {}, WaitsFor.PACELINE),
        ({State.EXPORTED: 9}, {"closing": 1}, WaitsFor.PACELINE),
        ({State.RUNNING: 1, State.PLANNED: 3}, {}, WaitsFor.PROVIDER),
        ({State.UNCERTAIN: 1, State.HELD: 1}, {}, WaitsFor.PROVIDER),
        ({State.PLANNED: 1, State.HELD: 1}, {}, WaitsFor.TURN),
        ({State.EXPORTED: 3}, {"listed": 0}, WaitsFor.LISTING),
        ({State.HELD: 1, State.EXPORTED: 3}, {}, WaitsFor.PERSON),
    ],
)
def test_a_batch_waits_for_what_has_to_happen_next(
    real_redis: Any, settings: Settings, numbers: dict[State, int], fields: dict[str, int], expected: WaitsFor
) -> None:
    counts = {f"n:{state}": number for state, number in numbers.items()}
    open_batch(real_redis, "b000000001", 1, **counts, **fields)
    (batch,) = read_ledger(real_redis, settings).batches
    assert waits_for(batch) is expected


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("paceline_runs", Kind.COUNTER, ""),
        ("paceline_age", Kind.GAUGE, "seconds"),
        ("runs_total", Kind.COUNTER, ""),
    ],
)
def test_a_name_against_the_convention_is_refused(name: str, kind: Kind, unit: str) -> None:
    with pytest.raises(ValueError, match=name):
        Metric(name, kind, (), unit, "")


def test_names_are_unique() -> None:
    assert len(by_series()) == len({name for metric in CATALOG for name in metric.series})
    assert len({metric.name for metric in CATALOG}) == len(CATALOG)


def test_rules_fire_on_what_is_really_scraped(everything: dict[Series, float]) -> None:
    evaluate = Evaluator([(0.0, everything), (60.0, everything)])
    fired = {name for name, rule in rules().items() if evaluate(rule["expr"])}
    assert fired == {
        "PacelineHeld",
        "PacelineBatchPaused",
        "PacelineAccountPaused",
        "PacelineProviderDown",
        "PacelineQueueUnread",
    }


def test_no_rule_fires_on_a_batch_that_is_done_while_a_worker_lives(
    world: World, real_redis: Any, settings: Settings
) -> None:
    world.plan(3)
    world.run()
    real_redis.zadd(keys.WORKERS, {"here:1@m": now_ms(real_redis) + 60_000})
    real_redis.set(keys.worker("here:1@m"), "{}", ex=60)
    found = scrape(settings)
    evaluate = Evaluator([(0.0, found), (60.0, found)])
    assert [name for name, rule in rules().items() if evaluate(rule["expr"])] == []


def test_a_night_past_its_deadline_is_late_until_it_is_complete(real_redis: Any, tmp_path: Path) -> None:
    now = now_ms(real_redis)
    past, future = now - 60_000, now + 3_600_000
    open_batch(real_redis, "b000000001", now, **{"n:exported": 9, "closed": 1, "finished_ms": past - 1})  # in time
    open_batch(real_redis, "b000000002", now, **{"n:exported": 9, "closed": 1, "finished_ms": now})  # too late
    open_batch(real_redis, "b000000003", now, **{"n:running": 1})  # too late, and going on
    open_batch(real_redis, "b000000004", now, **{"n:running": 1})  # in time as yet
    nights_of(
        real_redis,
        (NightState.STARTED, "b000000001", past),
        (NightState.STARTED, "b000000002", past),
        (NightState.STARTED, "b000000003", past),
        (NightState.SKIPPED, "", past),
        (NightState.STARTED, "b00000gone", past),
        (NightState.WAITING, "", past),  # not even started
        (NightState.STARTED, "b000000004", future),
    )

    found = scrape(settings_for(tmp_path, url_of(real_redis), **NIGHTLY))

    assert one(found, "paceline_schedule_overdue_nights", schedule="nightly") == 2
    assert one(found, "paceline_schedule_missed_deadlines", schedule="nightly") == 3
    assert one(found, "paceline_schedule_last_night", state="started") == 1
    assert one(found, "paceline_schedule_last_night", state="failed") == 0
    assert abs(one(found, "paceline_schedule_last_start_timestamp_seconds") - now / 1000) < 60
    assert one(found, "paceline_schedule_paused") == one(found, "paceline_beats") == 0
    evaluate = Evaluator([(0.0, found)])
    assert evaluate(rules()["PacelineDeadlineMissed"]["expr"])
    assert evaluate(rules()["PacelineNoBeat"]["expr"])


def test_a_schedule_that_never_ran_has_zeros_and_no_start(real_redis: Any, tmp_path: Path) -> None:
    now = now_ms(real_redis)
    note_beat(real_redis, "here:1@m", now, 60.0)
    Nights(real_redis, Scripts(real_redis)).pause("nightly", now, "me", "a holiday")
    found = scrape(settings_for(tmp_path, url_of(real_redis), **NIGHTLY))
    assert one(found, "paceline_beats") == one(found, "paceline_schedule_paused") == 1
    assert labels_of(found, "paceline_schedule_last_start_timestamp_seconds") == []
    assert one(found, "paceline_schedule_overdue_nights") == 0
