"""Two fleets, each on a Redis of its own: neither sees the other, and an account can be kept to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.connections import belongs_here, check_belongs
from config.embedded import EmbeddedServer
from config.pinning import is_ours
from config.redis_address import ledger_of
from config.settings import load_settings
from paceline.errors import ConfigError
from paceline.limiter import Limiter, PacePolicy
from paceline.model import EndpointClass, Outcome, Rate
from paceline.scripts import Scripts
from tests.support.lost import Scene
from tests.support.verbs import Verbs
from worker import schedules

KEY = "a-key-for-no-one-0123456789"
THERE = "redis://other.internal:6379/0"


@pytest.fixture
def verbs(server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    return Verbs(server, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def other_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a client of a second server."""
    with EmbeddedServer(tmp_path_factory.mktemp("other")) as other:
        client = redis.Redis(unix_socket_path=str(other.socket_path))
        client.config_set("appendfsync", "everysec")
        yield client
        client.close()


def socket_of(client: Any) -> Path:
    """Name a client's server."""
    return Path(client.connection_pool.connection_kwargs["path"])


def test_a_fleet_sees_only_what_is_in_its_own_redis(
    verbs: Verbs, real_redis: Any, other_redis: Any, tmp_path: Path
) -> None:
    one, two = Scene(tmp_path / "one", redis=real_redis), Scene(tmp_path / "two", files=4, redis=other_redis)
    for scene in (one, two):
        scene.plan()
    one.world.run()

    seen = {}
    for name, client in (("one", real_redis), ("two", other_redis)):
        verbs.patch.setenv("PACELINE_REDIS_URL", f"unix://{socket_of(client)}")
        verbs.patch.setenv("PACELINE_HOME", str(tmp_path / name / "home"))
        seen[name] = {row["batch"]: row["state"] for row in verbs("list", "--json").json()}
    assert list(seen["one"]) == [one.id]
    assert list(seen["two"]) == [two.id]
    assert seen["one"][one.id] == "complete" != seen["two"][two.id]
    assert verbs("status", one.id).code == 2  # asked of the second fleet

    assert verbs("cancel", two.id, "--yes").code == 0
    two.world.run()
    assert one.batch().outcomes[Outcome.SUCCEEDED] == 6
    assert (len(one.world.provider.runs), len(two.world.provider.runs)) == (6, 0)
    for client in (real_redis, other_redis):
        client.flushall()  # the message that `cancel` sends is Celery's to take


def test_two_ledgers_let_through_an_accounts_limit_twice(real_redis: Any, other_redis: Any) -> None:
    """Why an account belongs to one Redis: neither knows of the other's permits, and only refusals teach."""
    rate = Rate(40, 60.0)
    policy = PacePolicy(durable=True, watch_clock=False)
    limiters = [Limiter(client, Scripts(client), policy) for client in (real_redis, other_redis)]

    granted = [sum(one.take("kolena", EndpointClass.ADD, rate) == 0 for _ in range(50)) for one in limiters]
    assert granted == [40, 40]

    limiters[0].close("kolena", EndpointClass.ADD, rate, seconds=2.0, why="throttled")
    learned = [one.view("kolena", EndpointClass.ADD, rate).learned for one in limiters]
    assert learned == [36, None]


@pytest.fixture
def pinned(verbs: Verbs, tmp_path: Path) -> Verbs:
    """Make a settings file that two fleets share: `here` belongs to this Redis, `there` to another one."""
    (tmp_path / "paceline.toml").write_text(
        f"""
[accounts.here]
provider = "kolena"
redis = "{verbs_url(verbs)}"
[accounts.there]
provider = "kolena"
redis = "{THERE}"
[accounts.any]
provider = "kolena"
[schedules.nightly]
cron = "0 2 * * *"
agent = "there:7"
source = "/files"
to = "/out/{{date}}"
[schedules.weekly]
cron = "0 2 * * 1"
agent = "here:7"
source = "/files"
to = "/weekly/{{date}}"
"""
    )
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("text")
    for name in ("HERE", "THERE", "ANY"):
        verbs.patch.setenv(f"{name}_API_KEY", KEY)
    return verbs


def verbs_url(verbs: Verbs) -> str:
    """Return the address of the Redis in use."""
    return load_settings().redis_url.get_secret_value()  # type: ignore[union-attr]  # the fixture sets it


def test_an_account_of_another_fleet_is_refused_before_anything_is_looked_at(pinned: Verbs) -> None:
    for verb in ("plan", "run", "submit"):
        to = [] if verb == "plan" else ["--to", "out"]
        refused = pinned(verb, "files", "--agent", "there:7", *to)
        assert refused.code == 6
        assert f"account there belongs to the fleet on {THERE}" in refused.stderr
    assert not (pinned.home / "batches").exists()
    assert pinned("plan", "files", "--agent", "here:7").code == 0
    assert pinned("plan", "files", "--agent", "any:7").code == 0


def test_a_saved_plan_is_begun_by_the_fleet_of_its_account(pinned: Verbs, tmp_path: Path) -> None:
    pinned.patch.setenv("PACELINE_ACCOUNTS__ANY__REDIS", "")
    assert pinned("plan", "files", "--agent", "any:7", "--to", "out", "--save", "saved.plan").code == 0
    pinned.patch.setenv("PACELINE_ACCOUNTS__ANY__REDIS", THERE)
    refused = pinned("run", "saved.plan")
    assert (refused.code, "belongs to the fleet on" in refused.stderr) == (6, True)


def test_a_fleet_leaves_the_nights_of_another_ones_accounts_alone(
    pinned: Verbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings()
    assert {name: is_ours(settings, one) for name, one in settings.schedules.items()} == {
        "nightly": False,
        "weekly": True,
    }
    taken: list[str] = []
    monkeypatch.setattr(schedules, "take_turn", lambda _services, schedule: taken.append(schedule.name))
    services = type("Services", (), {"settings": settings})
    monkeypatch.setattr(schedules, "runtime", lambda: type("Runtime", (), {"services": services}))
    schedules.look()
    assert taken == ["weekly"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("redis://host", "redis://host:6379/0"),
        ("rediss://me:secret@HOST:6380/2?ssl_cert_reqs=none", "redis://host:6380/2"),
        ("redis://[::1]:6379", "redis://[::1]:6379/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://:secret@/run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        ("unix:///run/with%20space.sock?db=0", "unix:///run/with space.sock"),
    ],
)
def test_two_addresses_of_one_database_are_told_as_one(address: str, told: str) -> None:
    assert ledger_of(address) == told


def test_the_address_of_an_accounts_redis_has_no_password(pinned: Verbs) -> None:
    pinned.patch.setenv("PACELINE_ACCOUNTS__ANY__REDIS", "redis://me:secret@host")
    with pytest.raises(ConfigError, match="without user name and password") as refused:
        load_settings()
    assert "secret" not in str(refused.value)


def test_whoever_has_a_password_in_the_address_is_at_the_same_redis(pinned: Verbs) -> None:
    pinned.patch.setenv("PACELINE_REDIS_URL", "redis://me:secret@OTHER.internal")
    settings = load_settings()
    assert belongs_here(settings, settings.accounts["there"])
    with pytest.raises(ConfigError, match="account here belongs") as refused:
        check_belongs(settings, settings.accounts["here"])
    assert "secret" not in str(refused.value)
