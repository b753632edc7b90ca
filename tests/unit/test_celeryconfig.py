"""Celery is configured on purpose: hints as JSON, nothing secret, one fleet on one Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import NAMESPACES, flatten

from config.celeryconfig import celery_settings
from config.queues import ROLES, queue_names, submit_queue
from config.settings import load_settings

ACCOUNTS = '[accounts.kolena]\n[accounts.eu]\nprovider = "kolena"\n'


def configured(tmp_path: Path, **environ: str) -> Celery:
    (tmp_path / "paceline.toml").write_text(ACCOUNTS)
    app = Celery("test", set_as_current=False)
    app.conf.update(celery_settings(load_settings(environ, tmp_path)))
    return app


def test_every_name_is_one_celery_knows(tmp_path: Path) -> None:
    # Celery reads this one, but its own table of names has forgotten it.
    known = {entry[0] for entry in flatten(NAMESPACES)} | {"redis_backend_health_check_interval"}

    assert set(celery_settings(load_settings({}, tmp_path))) <= known


def test_only_json_is_spoken(tmp_path: Path) -> None:
    conf = configured(tmp_path).conf

    assert (conf.task_serializer, conf.result_serializer, conf.event_serializer) == ("json", "json", "json")
    assert conf.accept_content == ["json"]
    assert conf.result_accept_content == ["json"]


def test_a_message_is_acknowledged_after_its_step_and_returned_if_the_worker_dies(tmp_path: Path) -> None:
    conf = configured(tmp_path).conf

    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss


def test_broker_and_results_agree_on_the_visibility_timeout(tmp_path: Path) -> None:
    conf = configured(tmp_path, PACELINE_VISIBILITY_TIMEOUT_SECONDS="77").conf

    assert conf.broker_transport_options["visibility_timeout"] == 77
    assert conf.result_backend_transport_options["visibility_timeout"] == 77


def test_results_are_compressed_and_expire(tmp_path: Path) -> None:
    conf = configured(tmp_path, PACELINE_RESULTS_TTL_SECONDS="60").conf

    assert (conf.result_compression, conf.result_expires, conf.task_ignore_result) == ("gzip", 60, True)


@pytest.mark.parametrize(("wanted", "sent"), [("", False), ("true", True)])
def test_events_are_sent_only_when_asked_for(tmp_path: Path, wanted: str, sent: bool) -> None:
    conf = configured(tmp_path, PACELINE_EVENTS=wanted).conf

    assert (conf.worker_send_task_events, conf.task_send_sent_event) == (sent, sent)
    assert conf.worker_enable_remote_control


def test_there_is_a_queue_for_each_account_and_two_for_the_rest(tmp_path: Path) -> None:
    queues: Any = configured(tmp_path).amqp.queues

    assert list(queues) == ["submit.eu", "submit.kolena", "control", "export"]
    assert [queue.routing_key for queue in queues.values()] == list(queues)


def test_the_roles_together_read_every_queue_once() -> None:
    accounts = ["kolena", "eu"]

    single = [name for role in ("upload", "control", "export") for name in queue_names(accounts, role)]

    assert sorted(single) == sorted(queue_names(accounts))
    assert ROLES == ("upload", "control", "export", "all")
    assert submit_queue("eu") in queue_names(accounts, "upload")


def test_the_pool_has_a_connection_for_every_thread(tmp_path: Path) -> None:
    conf = configured(tmp_path, PACELINE_UPLOAD_THREADS="40").conf

    assert conf.worker_concurrency == 44
    assert conf.broker_transport_options["max_connections"] > 44


def test_an_answer_may_take_longer_than_kombu_waits_for_a_message(tmp_path: Path) -> None:
    options = configured(tmp_path).conf.broker_transport_options

    assert options["socket_timeout"] > options["polling_interval"] == 1
    with celery_connection(tmp_path, PACELINE_MESSAGE_WAIT_SECONDS="0.2") as connection:
        assert connection.transport.brpop_timeout == 0.2


def celery_connection(tmp_path: Path, **environ: str) -> Any:
    """Open what a worker reads messages with; it connects at its first use."""
    return configured(tmp_path, **environ).connection_for_read()


def test_no_key_is_in_the_configuration(tmp_path: Path) -> None:
    app = configured(tmp_path, KOLENA_API_KEY="sk-canary-5f2e9c", PACELINE_REDIS_URL="redis://:hush-hush@h/0")

    assert "sk-canary" not in str(dict(app.conf))
    assert "hush-hush" not in app.conf.humanize(with_defaults=False)
