"""Workers of the released version beside those of this one, on one ledger: crashes at any effect of either."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from config.embedded import EmbeddedServer
from tests.support import schedules
from tests.support.quick_redis import QuickRedis
from tests.support.schedules import SCENARIOS, Scenario, Trial, crash_pairs, singles, some
from tests.upgrade.mixed import MODULES, MixedWorld
from tests.upgrade.released import Released, load, unpack

SEED = 20_270_615


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """Load the released version."""
    return load(unpack(tmp_path_factory.mktemp("released")), MODULES)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a server that writes nothing down."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as server:
        client = QuickRedis(server.socket_path)
        client.config_set("appendonly", "no")
        yield client
        client.hang_up()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_two_versions_on_one_ledger_pay_once_whatever_dies(
    quick: Any, released: Released, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "World", MixedWorld)
    monkeypatch.setattr(MixedWorld, "released", released, raising=False)
    share = 3 if scenario.isolates else 1
    chosen = itertools.chain([{}] * 4, some(singles(60), 20 // share, SEED), some(crash_pairs(60), 6 // share, SEED))
    found, counts = [], {"new": 0, "old": 0}
    for number, schedule in enumerate(chosen):
        monkeypatch.setattr(MixedWorld, "seed", SEED + number)
        trial = Trial(quick, scenario, schedule)
        found += [f"{number} {schedule}: {problem}" for problem in trial.run()]
        for version in counts:
            counts[version] += trial.world.counts[version]  # type: ignore[attr-defined]  # it is a MixedWorld
    assert found == []
    assert min(counts.values()) > 0.3 * sum(counts.values())
