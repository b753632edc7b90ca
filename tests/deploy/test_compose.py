"""docker-compose.yml keeps to the specification, and asks for nothing that paceline doesn't have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.flower import check_reachable
from config.settings import load_settings
from paceline.errors import ConfigError
from tests.deploy.compose import FILE, ROOT, read, resolved, services
from tests.deploy.verbs import parse

SCHEMA = json.loads((Path(__file__).parent / "vendor" / "compose-spec.json").read_text("utf-8"))
OURS = ("worker", "beat", "flower")


def complaints(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


def test_the_file_keeps_to_the_compose_specification() -> None:
    assert complaints(read()) == []
    assert complaints(resolved(read(), {})) == []


@pytest.mark.parametrize(
    "change", [{"helthcheck": {}}, {"init": {}}, {"depends_on": {"redis": {"condition": "healthy"}}}, {"tmpfs": {}}]
)
def test_the_specification_would_notice_a_slip(change: dict[str, Any]) -> None:
    document = read()
    document["services"]["worker"] |= change

    assert complaints(document)


@pytest.mark.parametrize("name", OURS)
def test_every_command_and_health_check_is_one_of_ours(name: str) -> None:
    service = services()[name]

    assert parse(service.command) == (name, [])
    assert parse(service.healthcheck) == ("alive", [name])


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_of_ours(name: str, tmp_path: Path) -> None:
    environment = dict(services()[name].environment)
    environment["PACELINE_CONFIG"] = str(ROOT / "deploy" / "paceline.toml")

    settings = load_settings(environment, tmp_path)

    assert settings.accounts["kolena"].key_env == "KOLENA_API_KEY"
    assert settings.redis_url is not None


def test_every_line_of_the_settings_would_be_taken(tmp_path: Path) -> None:
    lines = (ROOT / "deploy" / "paceline.toml").read_text("utf-8").splitlines()
    (tmp_path / "paceline.toml").write_text("\n".join(line.removeprefix("#") for line in lines if "# " not in line[:2]))

    assert load_settings({}, tmp_path).accounts["kolena"].tier == "enterprise"


@pytest.mark.parametrize("name", ["redis", *OURS])
def test_nothing_runs_as_root_or_can_write_elsewhere_than_meant(name: str) -> None:
    raw = services()[name].raw

    assert raw["read_only"] is True
    assert raw["cap_drop"] == ["ALL"]
    assert raw["security_opt"] == ["no-new-privileges:true"]
    assert raw["init"] is True
    assert raw["restart"] == "unless-stopped"
    assert "privileged" not in raw
    assert raw.get("user", "image").split(":")[0] not in ("0", "root")


@pytest.mark.parametrize("name", OURS)
def test_each_secret_is_a_file_that_a_variable_names(name: str) -> None:
    written, raw = read(), services()[name].raw
    named = {value for key, value in services()[name].environment.items() if key.endswith("_FILE")}

    assert named == {f"/run/secrets/{secret}" for secret in raw["secrets"]}
    assert set(raw["secrets"]) <= set(written["secrets"])
    assert not any("KEY" in key and not key.endswith("_FILE") for key in services()[name].environment)


@pytest.mark.parametrize("name", OURS)
def test_everything_waits_for_a_healthy_redis_on_the_same_network(name: str) -> None:
    raw = services()[name].raw

    assert raw["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert set(services()["redis"].raw["networks"]) <= set(raw["networks"])
    assert read()["networks"]["redis"]["internal"] is True


def test_volumes_and_configs_that_are_used_are_declared() -> None:
    written = read()
    for service in services().values():
        for volume in service.raw["volumes"]:
            assert isinstance(volume, dict) or volume.partition(":")[0] in written["volumes"]
        for config in service.raw.get("configs", []):
            assert config["source"] in written["configs"]


def test_flower_is_published_to_this_host_alone_and_would_not_start_without_a_login() -> None:
    (published,) = services()["flower"].raw["ports"]
    command = services()["flower"].command

    assert published.startswith("127.0.0.1:")
    with pytest.raises(ConfigError):
        check_reachable(command[command.index("--address") + 1], password="")
    assert [name for name, service in services().items() if "ports" in service.raw] == ["flower"]


def test_a_worker_has_time_for_an_upload_and_flower_needs_none() -> None:
    assert services()["worker"].raw["stop_grace_period"] == "5m"
    assert services()["worker"].raw["init"] is True  # which passes SIGTERM on


def test_the_file_for_a_password_changes_nothing_else() -> None:
    overlay = read(ROOT / "deploy" / "compose.password.yml")

    assert complaints(overlay) == []
    assert overlay["services"]["redis"]["command"][:-2] == read()["services"]["redis"]["command"]
    assert set(overlay["services"]) == set(read()["services"])
    for name in OURS:
        environment = overlay["services"][name]["environment"]
        assert environment == {"PACELINE_REDIS_URL": "", "PACELINE_REDIS_URL_FILE": "/run/secrets/redis_url"}
        assert overlay["services"][name]["secrets"] == ["redis_url"]


def test_the_override_in_the_docs_keeps_to_the_specification() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text("utf-8")
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    document = yaml.safe_load(written)

    assert complaints(document) == []
    assert set(document["services"]) <= set(read()["services"])
    assert set(document["services"]["beat"]["secrets"]) == set(document["secrets"])


def test_the_commands_at_the_top_make_every_secret() -> None:
    text = FILE.read_text("utf-8")

    for secret in read()["secrets"].values():
        name = secret["file"].rpartition("/")[2]
        assert f"> secrets/{name}" in text
