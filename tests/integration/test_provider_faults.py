"""What a provider can do wrong, one thing at a time: a real sandbox with a fault, the real adapter, real files.

Every test ends the same way: each submission accepted as often as it should be by the sandbox's own log, each file in
one record, each outcome the provider's. Only waiting is simulated, so an hour of it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paceline.model import EndpointClass
from paceline.steps.context import Waits
from tests.support.command import make_files
from tests.support.rehearsal import DEADLINE_S, Rehearsal
from tests.support.sandbox import Sandbox

FILES = 3


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    limits = [word for name in ("add", "get", "list") for word in ("--limit", f"{name}=off")]
    with Sandbox("--run-seconds", "0", "--agent", "7:Faults", *limits) as sandbox:
        yield sandbox


@pytest.fixture
def world(running: Sandbox, tmp_path: Path) -> Iterator[Rehearsal]:
    running.reset()
    made = Rehearsal(running, tmp_path)
    yield made
    made.kolena.close()


@pytest.fixture
def impatient(running: Sandbox, tmp_path: Path) -> Iterator[Rehearsal]:
    """A world that gives a run ten minutes."""
    running.reset()
    made = Rehearsal(running, tmp_path, waits=Waits(upload_base_s=DEADLINE_S, run_limit_s=600))
    yield made
    made.kolena.close()


def planned(world: Rehearsal, files: int = FILES) -> str:
    """Plan a batch of so many submissions, each of one file."""
    return world.plan_folder(make_files(world.folder / "files", files))


def check(world: Rehearsal, batch: str, *, files: int = FILES, failed: int = 0) -> None:
    """Hold the output against the sandbox's log: one payment each, one record each, the right outcome."""
    assert world.states(batch) == {"exported": files}
    assert (world.out / "_SUCCESS").exists()
    rows = world.file_records()
    assert set(rows) == {
        str(path.relative_to(world.folder / "files")) for path in (world.folder / "files").rglob("*.txt")
    }
    assert sum(row["outcome"] == "failed" for row in rows.values()) == failed
    assert len(world.records()) == files
    runs = {row["run_id"]: row["external_id"] for row in world.sandbox.log(request_class="add") if row["run_id"]}
    for record in world.records().values():
        if record["run_id"] is not None:
            assert runs[int(record["run_id"])] == record["external_id"]


@pytest.mark.parametrize(
    ("retry_after", "times", "least_s", "most_s"),
    [
        ("7", 3, 21, 30),
        ("date", 3, 0, 400),
        ("none", 3, 7, 20),  # 1, 2, 4
        ("-1", 3, 7, 20),
        ("1000000000", 1, 3600, 3660),  # no more than an hour is believed
        ("soon", 3, 7, 20),
    ],
)
def test_a_storm_of_429_costs_the_wait_it_asks_for_and_no_attempt(
    world: Rehearsal, retry_after: str, times: int, least_s: float, most_s: float
) -> None:
    world.sandbox.faults(f"status@add:code=429,retry_after={retry_after},count={times}")
    batch = planned(world, 1)
    began_at = world.clock
    waits: set[str | None] = set()
    item = world.items(batch)[0].id

    def look() -> bool:
        view = world.context.limiter.view("fake", EndpointClass.ADD, world.provider.rates[EndpointClass.ADD])
        waits.update({view.closed_why} - {None})
        return world.views.submission(item).run_id is not None

    world.run(until=look)
    assert least_s <= world.clock - began_at <= most_s
    world.run()
    check(world, batch, files=1)
    assert set(world.accepted().values()) == {1}
    assert waits == {"throttled"}  # which `run` and `status` show as: the provider asked to slow down (429)
    assert world.records()["sub/file-0000.txt"]["attempts"] == 1
    assert world.batch(batch).rejected_429 == times


ACCEPTED = [
    "accept_then_status@add:code=500",
    "accept_then_status@add:code=502",
    "accept_then_status@add:code=503,retry_after=7",
    "accept_then_status@add:code=408",
    "accept_then_status@add:code=409",
    "accept_then_drop@add",
    "accept_then_reset@add",
    "accept_then_hang@add",
    "accept_then_truncate@add",
    "accept_then_html@add",
    "accept_then_wrong_ids@add:what=agent_id",
    "accept_then_wrong_ids@add:what=external_id",
    "accept_then_wrong_ids@add:what=missing",
    "slow_loris@add:bytes=1,interval=0.05",
    "huge@add:bytes=200000000",
    "gzip_bomb@add:bytes=200000000",
]


@pytest.mark.parametrize("fault", ACCEPTED)
def test_a_run_whose_answer_is_lost_is_found_and_not_paid_again(world: Rehearsal, fault: str) -> None:
    world.sandbox.faults(f"{fault}{',' if ':' in fault else ':'}count=1")
    batch = planned(world)
    world.run()
    check(world, batch)
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)
    (doubted,) = [item for item in world.items(batch) if "uncertain" in world.verbs(item.id)]
    assert world.verbs(doubted.id) == ["plan", "begin", "uncertain", "accepted", "finish", "exported"]
    assert {record["attempts"] for record in world.records().values()} == {1}


NEVER_ACCEPTED = [
    "status@add:code=500",
    "status@add:code=502,body=html",
    "status@add:code=503,retry_after=7",
    "status@add:code=504,body=empty",
    "status@add:code=408",
    "status@add:code=409",
    "drop_before@add",
    "hang_before@add",
    "reset_at@add:bytes=0",
    "reset_at@add:fraction=0.5",
    "reset_at@add:fraction=1.0",
]


@pytest.mark.parametrize("fault", NEVER_ACCEPTED)
def test_a_request_that_did_nothing_is_sent_again_only_after_proof(world: Rehearsal, fault: str) -> None:
    world.sandbox.faults(f"{fault}{',' if ':' in fault else ':'}count=1")
    batch = planned(world)
    began_at, looks = world.clock, []
    world.kolena.before_find = lambda _number: looks.append(world.clock)
    world.run(until=lambda: len(world.accepted()) == FILES)
    world.kolena.before_find = lambda _number: None  # what the closing audit asks proves nothing here
    world.run()
    check(world, batch)
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)
    (doubted,) = [item for item in world.items(batch) if "uncertain" in world.verbs(item.id)]
    story = ["plan", "begin", "uncertain", "absent", "begin", "accepted", "finish", "exported"]
    assert world.verbs(doubted.id) == story
    assert sum(at_s >= began_at + 120 for at_s in looks) >= 2  # the settling time
    assert sorted(record["attempts"] for record in world.records().values()) == [1, 1, 2]


def test_an_answer_that_names_another_run_costs_no_second_one_and_the_audit_names_the_right_one(
    impatient: Rehearsal,
) -> None:
    world = impatient
    world.sandbox.faults("accept_then_wrong_ids@add:what=run_id,count=1")
    batch = planned(world)
    world.run()
    assert world.states(batch) == {"exported": FILES}
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)
    (record,) = [record for record in world.records().values() if record["outcome"] == "failed"]
    (real,) = [
        row["run_id"]
        for row in world.sandbox.log(request_class="add")
        if row["external_id"] == record["external_id"] and row["run_id"]
    ]
    assert record["reason"] == "timed_out"
    assert world.batch(batch).duplicates == {str(real): record["submission"]}


def test_a_submission_refused_before_its_last_byte_fails_alone_and_says_why(world: Rehearsal) -> None:
    world.sandbox.faults("early_413@add:count=1")
    batch = planned(world)
    world.run()
    check(world, batch, failed=1)
    assert sorted(world.accepted().values()) == [1, 1]
    (record,) = [record for record in world.records().values() if record["outcome"] == "failed"]
    assert record["reason"] == "rejected"
    assert record["error"]["http_status"] == 413
    assert record["run_id"] is None


@pytest.mark.parametrize("code", [0, 502])
def test_a_run_accepted_long_after_we_gave_up_is_found_before_anything_is_sent(world: Rehearsal, code: int) -> None:
    world.sandbox.faults(f"accept_late@add:seconds=0.3,code={code},count=1")
    batch = planned(world)
    world.kolena.before_find = lambda number: world.sandbox.wait("accepted", count=FILES) if number == 4 else None
    world.run()
    check(world, batch)
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)
    assert world.kolena.finds >= 4


READS = [
    "list_lag@list:seconds=3600,count=3",
    "list_empty@list:count=1",
    "list_page_cap@list:size=1",
    "list_ignore_filter@list",
    "list_malformed@list:how=truncated,count=3",
    "list_malformed@list:how=not_a_list,count=3",
    "list_malformed@list:how=no_total,count=3",
    "list_malformed@list:how=html,count=3",
    "list_malformed@list:how=empty,count=3",
    "status@list:code=500,count=3",
    "status@list:code=429,retry_after=7,count=3",
    "status@list:code=404,body=html,count=3",
    "drop_before@list:count=3",
    "hang_before@list:count=1",
    "redirect@list:location=http%3A//127.0.0.1%3A1/x,count=3",
    "slow_loris@list:bytes=1,interval=0.05,count=1",
    "status_backwards@list:count=3",
    "unknown_status@list:word=archiving,count=3",
    "null_completed@list",
]


@pytest.mark.parametrize("fault", READS)
def test_whatever_a_question_comes_back_with_no_run_is_lost_or_paid_again(world: Rehearsal, fault: str) -> None:
    world.sandbox.create_runs(agent=7, prefix="somebody-else-", count=60)
    world.sandbox.faults("accept_then_drop@add:skip=1,count=2", fault)
    batch = planned(world, 4)
    world.run()
    check(world, batch, files=4)
    assert {row["outcome"] for row in world.file_records().values()} == {"succeeded"}
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)
    assert world.batch(batch).duplicates == {}
    assert all(fault.split("@")[0] == row["fault"] for row in world.sandbox.log(request_class="list") if row["fault"])
    assert any(row["fault"] for row in world.sandbox.log(request_class="list"))


def test_lists_that_are_wrongly_empty_even_past_the_settling_time_prove_nothing(world: Rehearsal) -> None:
    world.sandbox.faults("accept_then_drop@add:skip=1,count=1")
    batch = planned(world)
    looks: list[float] = []

    def lie_for_a_while(_number: int) -> None:
        looks.append(world.clock)
        if len(looks) == 1:
            world.sandbox.faults("list_empty@list")
        elif looks[-1] - looks[0] > 300:
            world.sandbox.clear_faults("list_empty")

    world.kolena.before_find = lie_for_a_while
    world.run()
    check(world, batch)
    assert len(looks) > 8
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)


def test_of_two_runs_that_are_already_there_the_older_is_kept_and_the_other_reported(world: Rehearsal) -> None:
    world.sandbox.faults("status@add:code=503,count=1")
    batch = planned(world, 2)
    first = world.items(batch)[0]
    twins = world.sandbox.create_runs(agent=7, external_id=first.external_id, count=2)
    world.run()
    assert world.states(batch) == {"exported": 2}
    (record,) = [record for record in world.records().values() if record["submission"] == first.id]
    assert record["run_id"] == str(min(twins))
    assert record["attempts"] == 1
    assert set(world.accepted()) == {world.items(batch)[1].external_id}
    assert world.batch(batch).duplicates == {str(max(twins)): first.id}


def test_results_that_are_null_at_first_are_waited_for(world: Rehearsal) -> None:
    world.sandbox.faults("null_data@list:count=3")
    batch = planned(world)
    world.run()
    check(world, batch)
    assert all(record["data"] for record in world.records().values())


def test_results_that_stay_null_are_a_success_without_data_at_the_time_limit(world: Rehearsal) -> None:
    world.sandbox.faults("null_data")
    batch = planned(world)
    world.run()
    check(world, batch)
    assert [record["data"] for record in world.records().values()] == [{}] * FILES


def test_a_run_that_lists_and_looks_deny_for_a_while_is_waited_for(world: Rehearsal) -> None:
    world.sandbox.faults("list_empty@list:count=40", "get_404@get:count=5")
    batch = planned(world)
    world.run()
    check(world, batch)
    assert {row["outcome"] for row in world.file_records().values()} == {"succeeded"}
    assert any(row["fault"] == "get_404" for row in world.sandbox.log(request_class="get"))


def test_a_run_that_never_ends_is_given_up_after_its_time_limit_and_keeps_its_id(impatient: Rehearsal) -> None:
    world = impatient
    world.sandbox.faults("never_finish@add:count=1")
    batch = planned(world)
    world.run()
    check(world, batch, failed=1)
    (record,) = [record for record in world.records().values() if record["outcome"] == "failed"]
    assert record["reason"] == "timed_out"
    assert record["run_id"] is not None
    assert "may still finish" in record["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("status@add:code=401", "access_denied"),
        ("status@add:code=403", "access_denied"),
        ("status@add:code=402", "no_credit"),
        ("status@add:code=404", "agent_unknown"),
        ("redirect@add:location=http%3A//127.0.0.1%3A1/x", "blocked"),
        ("redirect@add:location=http%3A//127.0.0.1%3A1/x,code=308", "blocked"),
    ],
)
def test_what_stops_the_account_costs_one_request_and_goes_on_when_it_is_mended(
    world: Rehearsal, fault: str, reason: str
) -> None:
    world.sandbox.faults(f"{fault},skip=1")
    batch = planned(world, 6)
    world.run(600)
    assert world.views.account("fake").paused == reason
    assert world.states(batch) == {"exported": 1, "planned": 5}
    assert len(world.sandbox.log(request_class="add")) == 2

    world.sandbox.clear_faults()
    _, follow = world.ledger.resume("fake")
    world.send([follow] if follow else [])
    world.run()
    check(world, batch, files=6)
    assert world.accepted() == dict.fromkeys((item.external_id for item in world.items(batch)), 1)
    assert {record["attempts"] for record in world.records().values()} == {1}
