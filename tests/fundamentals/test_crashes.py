"""Crash enumeration, a seeded part of it: `make prove` runs the whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from config.embedded import EmbeddedServer
from tests.support.quick_redis import QuickRedis
from tests.support.schedules import (
    PUT_BACK,
    SCENARIOS,
    Scenario,
    Trial,
    crash_pairs,
    effects,
    mixed_pairs,
    put_backs,
    singles,
    some,
    violations,
)
from tests.support.seam import Mode

SEED = 20_270_115


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a server that writes nothing down: no schedule reads anything back, and a disk would be waited for."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        client = QuickRedis(server.socket_path)
        client.config_set("appendonly", "no")
        yield client
        client.hang_up()


def share_of(scenario: Scenario) -> int:
    """Return what part of the schedules is run: halves take five times the runs, and each schedule as much longer."""
    return 3 if scenario.isolates else 1


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_whatever_dies_every_submission_is_paid_for_once(quick: Any, scenario: Scenario) -> None:
    number = effects(quick, scenario)
    share = share_of(scenario)
    chosen = itertools.chain(
        some(singles(number), 40 // share, SEED),
        some(crash_pairs(number), 20 // share, SEED),
        some(mixed_pairs(number), 20 // share, SEED),
    )
    found = [line for schedule in chosen for line in violations(quick, scenario, schedule)]
    assert found == []


@pytest.mark.parametrize("scenario", PUT_BACK, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_a_redis_put_back_to_an_older_state_costs_no_second_payment(quick: Any, scenario: Scenario) -> None:
    number = effects(quick, scenario)
    chosen = some(put_backs(number), 60 // share_of(scenario), SEED)
    found = [line for one in chosen for line in violations(quick, scenario, one)]
    assert found == []


def test_every_kind_of_effect_is_a_place_to_crash(quick: Any) -> None:
    trial = Trial(quick, SCENARIOS[0], {})
    assert trial.run() == []
    wanted = {"begin", "accepted", "finish", "exported", "send", "spool.begun", "spool.keep", "provider.submit"}
    wanted |= {"provider.reads", "provider.answers", "provider.ask", "results.put", "sink.write", "sink.commit"}
    assert wanted <= set(trial.seam.names)


def test_a_crash_really_ends_the_process_and_a_stall_really_takes_time(quick: Any) -> None:
    names = _names(quick)
    crashed = Trial(quick, SCENARIOS[0], {names.index("provider.answers"): Mode.CRASH_BEFORE})
    assert crashed.run() == []
    assert crashed.world.crashes == 1
    verbs = [row["verb"] for row in crashed.world.views.journal(crashed.batch)]
    assert "uncertain" in verbs  # the answer died with its process, and the run was found by asking

    stalled = Trial(quick, SCENARIOS[0], {names.index("provider.submit"): Mode.STALL})
    assert stalled.run() == []
    late = [row for row in stalled.world.views.journal(stalled.batch) if row["verb"] == "absent"]
    assert late  # somebody else took over meanwhile, and the one who slept sent nothing


def _names(quick: Any) -> list[str]:
    trial = Trial(quick, SCENARIOS[0], {})
    trial.run()
    return trial.seam.names
