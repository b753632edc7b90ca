"""deploy/kubernetes/paceline.yaml asks for nothing that isn't there: commands, variables, secrets, volumes, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.messages import Messenger, make_app
from config.queues import submit_queue
from config.schema import Settings
from config.settings import load_settings
from paceline.model import Follow, Step
from tests.deploy.compose import ROOT, entry_point, services
from tests.deploy.verbs import parse

FILE = ROOT / "deploy" / "kubernetes" / "paceline.yaml"
TEXT = FILE.read_text("utf-8")
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(TEXT))
WORKLOADS = {one["metadata"]["name"]: one for one in OBJECTS if "template" in one.get("spec", {})}
OURS = {name: one for name, one in WORKLOADS.items() if one["kind"] == "Deployment"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
VERBS = {"paceline-uploads": "worker", "paceline-rest": "worker", "paceline-beat": "beat", "paceline-flower": "flower"}


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    (only,) = pod(name)["containers"]
    found: dict[str, Any] = only
    return found


def secrets_made() -> dict[str, set[str]]:
    """Return what the commands at the top make: a secret's name → its keys."""
    commands = re.findall(r"create secret generic (\S+)((?: --from-file=\S+)+)", TEXT)
    return {name: set(re.findall(r"--from-file=(\S+)", keys)) for name, keys in commands}


def files_of_secrets(name: str) -> Iterator[tuple[str, str]]:
    """Yield the secret and key behind each path that a workload's variables, command or probes name."""
    volumes = {one["name"]: one["secret"]["secretName"] for one in pod(name)["volumes"] if "secret" in one}
    mounts = {one["mountPath"]: one["name"] for one in container(name)["volumeMounts"]}
    for path in re.findall(r"/run/secrets/[\w./]+", yaml.safe_dump(container(name))):
        folder, _, key = path.rpartition("/")
        if folder in mounts:
            yield volumes[mounts[folder]], key


def test_the_workloads_are_those_of_the_compose_file() -> None:
    assert set(VERBS) == set(OURS)
    assert {*VERBS.values(), "redis"} == set(services())
    assert len({(one["kind"], one["metadata"]["name"]) for one in OBJECTS}) == len(OBJECTS)
    assert {one["metadata"].get("namespace", "paceline") for one in OBJECTS} == {"paceline"}


@pytest.mark.parametrize("name", VERBS)
def test_every_command_and_probe_is_one_of_ours(name: str) -> None:
    assert "command" not in container(name)  # the image's own entry point
    assert parse([*entry_point(), *container(name)["args"]]) == (VERBS[name], [])
    for probe in PROBES:
        assert parse(container(name)[probe]["exec"]["command"]) == ("alive", [VERBS[name]])


@pytest.mark.parametrize("name", [name for name in VERBS if name != "paceline-flower"])
def test_a_redis_that_is_away_gets_no_upload_killed(name: str) -> None:
    assert "--redis-may-be-away" in container(name)["livenessProbe"]["exec"]["command"]
    assert "--redis-may-be-away" not in container(name)["readinessProbe"]["exec"]["command"]


def test_uploads_and_the_rest_are_read_by_somebody() -> None:
    roles = [container(name)["args"][-1] for name in VERBS if VERBS[name] == "worker"]

    assert sorted(roles) == ["rest", "upload"]


@pytest.mark.parametrize("name", VERBS)
def test_every_variable_is_one_of_ours(name: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:secret@paceline-redis:6379/0")
    (tmp_path / "paceline.toml").write_text(of_kind("ConfigMap")["paceline-settings"]["data"]["paceline.toml"])
    given = {one["name"]: one["value"] for one in container(name)["env"]}
    given = {key: value.replace("/run/secrets/redis", str(tmp_path)) for key, value in given.items()}

    settings = load_settings({**given, "PACELINE_CONFIG": str(tmp_path / "paceline.toml")}, tmp_path)

    assert settings.accounts["kolena"].key_env == "KOLENA_API_KEY"
    assert settings.log_format == "json"
    assert settings.redis_url is not None


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_secret_is_made_by_the_commands_at_the_top(name: str) -> None:
    used = list(files_of_secrets(name))

    assert used
    for secret, key in used:
        assert key in secrets_made()[secret]


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_mount_has_its_volume_and_every_volume_its_source(name: str) -> None:
    volumes = {one["name"]: one for one in pod(name)["volumes"]}
    own = {one["metadata"]["name"] for one in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])}

    assert {one["name"] for one in container(name)["volumeMounts"]} == set(volumes) | own
    for volume in volumes.values():
        if "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["claimName"] in of_kind("PersistentVolumeClaim")
        if "configMap" in volume:
            assert volume["configMap"]["name"] in of_kind("ConfigMap")


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_can_do_no_more_than_it_must(name: str) -> None:
    confined = container(name)["securityContext"]

    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["securityContext"]["runAsUser"] in (999, 1000)
    assert confined["readOnlyRootFilesystem"] is True
    assert confined["allowPrivilegeEscalation"] is False
    assert confined["capabilities"] == {"drop": ["ALL"]}
    assert pod(name)["automountServiceAccountToken"] is False
    assert container(name)["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_services_put_no_variables_into_pods(name: str) -> None:
    # PACELINE_REDIS_PORT=tcp://… would be taken for a misspelt setting, and nothing would start.
    assert pod(name)["enableServiceLinks"] is False


@pytest.mark.parametrize("name", WORKLOADS)
def test_selectors_find_their_pods(name: str) -> None:
    labels = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]

    assert WORKLOADS[name]["spec"]["selector"]["matchLabels"] == labels
    for service in of_kind("Service").values():
        if service["metadata"]["name"] == name:
            assert service["spec"]["selector"] == labels
            assert service["spec"]["ports"][0]["port"] == container(name)["ports"][0]["containerPort"]


def test_redis_is_started_as_in_the_compose_file_with_a_password() -> None:
    args = container("paceline-redis")["args"]

    assert args == [*services()["redis"].command, "--include", "/run/secrets/redis/redis.conf"]
    assert container("paceline-redis")["image"] == services()["redis"].raw["image"]
    assert WORKLOADS["paceline-redis"]["spec"]["replicas"] == 1


def test_uploads_have_as_long_to_end_as_in_a_container() -> None:
    assert pod("paceline-uploads")["terminationGracePeriodSeconds"] == 300
    assert services()["worker"].raw["stop_grace_period"] == "5m"


def test_the_scaler_looks_at_the_queue_that_uploads_wait_in() -> None:
    (scaled,) = of_kind("ScaledObject").values()
    (trigger,) = scaled["spec"]["triggers"]
    settings = Settings()

    assert trigger["metadata"]["listName"] == submit_queue("kolena")
    assert int(trigger["metadata"]["listLength"]) == settings.upload_threads
    assert scaled["spec"]["maxReplicaCount"] * settings.upload_threads == settings.feed_window
    assert scaled["spec"]["minReplicaCount"] >= 1
    assert scaled["spec"]["scaleTargetRef"]["name"] in OURS
    (reference,) = of_kind("TriggerAuthentication")[trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
    assert reference["key"] in secrets_made()[reference["name"]]
    host, _, port = trigger["metadata"]["address"].partition(":")
    assert host.split(".")[0] in of_kind("Service")
    assert port == "6379"


def test_a_submission_that_was_let_go_waits_in_a_list_of_that_name(real_redis: Any, server: Path) -> None:
    settings = load_settings({"PACELINE_REDIS_URL": f"unix://{server}", "KOLENA_API_KEY": "any"}, Path("/"))
    messenger = Messenger(make_app(settings), lambda batch: ("kolena", "42"))

    messenger.send([Follow(Step.SUBMIT, "b1-000001", 0.0)])

    assert real_redis.llen(submit_queue("kolena")) == 1
    real_redis.flushall()
