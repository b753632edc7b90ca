"""Starting a night: what stops it for good, what is tried again, and what is left when its process dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli import patience, preflight
from cli.carrying import LostNight, carry, target_of
from cli.follow import Interrupted
from config.pinning import pin
from config.services import Services, open_provider, open_services
from config.settings import load_settings
from paceline.batch_file import record_batch
from paceline.errors import LedgerLost, NothingToDo, ProviderError, UsageError
from paceline.model import external_id, submission_id
from paceline.schedules.due import ms_of
from paceline.schedules.night import Night, NightState
from tests.support.raw_server import refused_url
from tests.support.sandbox import Sandbox

DUE = datetime(2026, 11, 22, 1, tzinfo=UTC)
TABLE = """\
[schedules.nightly]
cron = "0 1 * * *"
source = "inbox"
agent = "kolena:1"
to = "out/{date}"
"""


@pytest.fixture
def services(server: Path, real_redis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Settings with one schedule, whose provider can't be reached."""
    (tmp_path / "paceline.toml").write_text(TABLE)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox/a.txt").write_text("a")
    for module in (patience, preflight):
        monkeypatch.setattr(module, "PAUSE_S", 0.01)
    environ = {"KOLENA_API_KEY": "k", "KOLENA_API_URL": refused_url(), "PACELINE_REDIS_URL": f"unix://{server}"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = open_services(load_settings(environ, tmp_path))
    yield found
    found.redis.close()


def taken(services: Services) -> Night:
    asked = pin(services.settings.schedules["nightly"], DUE)
    claim = services.nights.claim
    assert claim("nightly", ms_of(DUE), NightState.STARTING, asked, holder="w", lease_s=60, decided_ms=None) == 1
    return now(services)


def now(services: Services) -> Night:
    found = services.nights.find("nightly", ms_of(DUE))
    assert found is not None
    return found


def test_a_provider_that_is_away_is_tried_again_later(services: Services) -> None:
    error = carry(services, taken(services), "w", Interrupted())
    assert isinstance(error, ProviderError)
    night = now(services)
    assert (night.state, night.holder, night.batch) == (NightState.STARTING, "", None)
    assert "can't be asked now" in night.error
    assert (night.lease_ms or 0) > services.views.now_ms() + 30_000
    assert services.nights.take("nightly", night.due_ms, "v", 60) == 0


def test_an_empty_source_leaves_the_night_out(services: Services, tmp_path: Path) -> None:
    (tmp_path / "inbox/a.txt").unlink()
    assert isinstance(carry(services, taken(services), "w", Interrupted()), NothingToDo)
    assert (now(services).state, now(services).reason) == (NightState.SKIPPED, "nothing_to_do")


def test_a_missing_source_ends_the_night_and_nothing_of_it_is_settled(services: Services, tmp_path: Path) -> None:
    (tmp_path / "inbox").rename(tmp_path / "moved")
    assert isinstance(carry(services, taken(services), "w", Interrupted()), UsageError)
    assert (now(services).state, now(services).batch) == (NightState.FAILED, None)
    assert "inbox" in now(services).error


def test_who_has_lost_the_night_stops_before_anything_is_begun(services: Services, tmp_path: Path) -> None:
    night = taken(services)
    assert services.nights.put_back("nightly", night.due_ms, "w")
    assert services.nights.take("nightly", night.due_ms, "v", 60) == 2
    with pytest.raises(LostNight):
        carry(services, night, "w", Interrupted())
    assert (now(services).state, now(services).holder) == (NightState.STARTING, "v")
    assert not (tmp_path / "out").exists()


def test_a_death_between_record_and_ledger_does_not_look_like_a_lost_ledger(services: Services) -> None:
    """`batch.json` is written first; without a manifest beside it, nothing was ever registered."""
    night = taken(services)
    target = target_of(services.settings, night.asked)
    record_batch(target.manifest, target.spec)
    assert isinstance(carry(services, night, "w", Interrupted()), ProviderError)


def test_what_was_paid_for_and_is_forgotten_is_not_begun_again(services: Services) -> None:
    night = taken(services)
    batch = target_of(services.settings, night.asked).spec.batch_id()
    known = '{"to": [], "summary": {"state": "complete", "finished_at": null}, "tolerated": false}'
    services.redis.hset("pl:forgotten", batch, known)
    assert carry(services, night, "w", Interrupted()) is None
    assert (now(services).state, now(services).batch) == (NightState.STARTED, batch)


def test_what_the_provider_has_of_a_lost_ledger_is_not_paid_for_again(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine had planned and sent it: nothing of that is in this home."""
    with Sandbox() as sandbox:
        monkeypatch.setenv("KOLENA_API_URL", sandbox.url)
        here = open_services(load_settings(os.environ, tmp_path))
        night = taken(here)
        target = target_of(here.settings, night.asked)
        batch = target.spec.batch_id()
        provider = open_provider(target.account, here.settings, here.limiter)
        assert list(provider.find("1", [external_id(submission_id(batch, 2))])) == []
        sandbox.create_runs(agent=1, external_id=external_id(submission_id(batch, 2)))
        assert isinstance(carry(here, night, "w", Interrupted()), LedgerLost)
        here.redis.close()
    assert (now(services).state, now(services).batch) == (NightState.FAILED, None)
    assert "paceline rebuild" in now(services).error
    assert services.views.find_batch(batch) is None
