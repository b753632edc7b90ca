"""The units in deploy/systemd start what there is, with variables that there are, and systemd understands them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import load_settings
from tests.deploy.compose import ROOT, services
from tests.deploy.verbs import parse

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
OURS = {
    "paceline-worker@.service": "worker",
    "paceline-beat.service": "beat",
    "paceline-flower.service": "flower",
}
PROGRAM = "/opt/paceline/.venv/bin/paceline"
PLACES = ("--dir", "--port", "--unixsocket", "--unixsocketperm")


def read(name: str) -> dict[str, list[str]]:
    """Return a unit's assignments: name → values, in order."""
    found: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def environment(name: str) -> dict[str, str]:
    pairs = (pair for value in read(name)["Environment"] for pair in shlex.split(value))
    return dict(pair.split("=", 1) for pair in pairs)


def test_there_is_a_unit_for_every_service_of_the_compose_file() -> None:
    assert sorted([*OURS, "paceline-redis.service"]) == UNITS
    assert set(OURS.values()) | {"redis"} == set(services())


@pytest.mark.parametrize("name", OURS)
def test_what_a_unit_starts_is_a_verb_with_its_options(name: str) -> None:
    (written,) = read(name)["ExecStart"]
    program, *rest = shlex.split(written.replace("%i", "1"))

    assert program == PROGRAM
    assert parse([program, *rest]) == (OURS[name], [])


@pytest.mark.parametrize("name", OURS)
def test_its_variables_are_settings_and_its_secrets_are_credentials(name: str, tmp_path: Path) -> None:
    given = environment(name)
    credentials = {value.partition(":")[0] for value in read(name)["LoadCredential"]}

    assert {value for key, value in given.items() if key.endswith("_FILE")} == {f"%d/{one}" for one in credentials}
    assert not [key for key in given if key.endswith(("KEY", "AUTH", "SECRET"))]
    (tmp_path / "paceline.toml").touch()
    settings = load_settings({**given, "PACELINE_CONFIG": str(tmp_path / "paceline.toml")}, tmp_path)
    assert settings.accounts["kolena"].key_env == "KOLENA_API_KEY"
    assert settings.home == Path("/var/lib/paceline")


def test_redis_keeps_what_the_one_in_the_compose_file_keeps() -> None:
    (written,) = read("paceline-redis.service")["ExecStart"]
    words = shlex.split(written)
    for option in PLACES:
        del words[words.index(option) : words.index(option) + 2]

    assert [words[0].rpartition("/")[2], *words[1:]] == list(services()["redis"].command)


def test_the_units_find_redis_where_it_listens() -> None:
    (written,) = read("paceline-redis.service")["ExecStart"]
    words = shlex.split(written)

    for name in OURS:
        assert environment(name)["PACELINE_REDIS_URL"] == f"unix://{words[words.index('--unixsocket') + 1]}"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_can_do_no_more_than_it_must(name: str) -> None:
    unit = read(name)

    assert unit["User"] == ["paceline"]
    assert unit["NoNewPrivileges"] == ["yes"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["UMask"] == ["0077"]
    assert unit["Restart"] == ["always"]


def test_a_worker_has_as_long_to_stop_as_in_a_container() -> None:
    unit = read("paceline-worker@.service")

    assert unit["KillMode"] == ["mixed"]
    assert unit["TimeoutStopSec"] == ["5min"]
    assert services()["worker"].raw["stop_grace_period"] == "5m"


def verified(folder: Path) -> str:
    """Return what systemd has to say of the units in a folder."""
    units = sorted(str(path) for path in folder.glob("*.service"))
    program = shutil.which("systemd-analyze") or ""
    done = subprocess.run([program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    return "\n".join(line for line in done.stderr.splitlines() if "paceline" in line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze isn't installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (FOLDER / name).read_text("utf-8")
        text = text.replace(PROGRAM, sys.executable).replace("/usr/bin/valkey-server", sys.executable)
        (tmp_path / name).write_text(text)
    assert verified(tmp_path) == ""

    broken = tmp_path / "paceline-beat.service"
    broken.write_text(broken.read_text().replace("TimeoutStopSec=30s", "TimeoutStopSec=soon"))
    assert "Failed to parse time value" in verified(tmp_path)
