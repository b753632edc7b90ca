"""Configures Celery, with every choice made on purpose.

A message is a wake-up hint: rescue restarts what a lost one should have started, and the ledger's scripts make a
repeated one harmless. So nothing here is about reliability of messages; it is about speed, privacy and staying
connected.
"""

from __future__ import annotations

from typing import Any

from kombu import Queue

from config.connections import IDLE_CHECK_SECONDS, celery_url
from config.queues import CONTROL_QUEUE, queue_names
from config.schema import Settings

SCHEDULE_TASK = "paceline.schedule"
"""The name of the task that looks at all schedules."""


def celery_settings(settings: Settings) -> dict[str, object]:
    """Return the configuration of the Celery application; `app.conf.update(celery_settings(settings))`."""
    parts = (_messages, _connection, _results, _worker, _beat)
    return {name: value for part in parts for name, value in part(settings).items()}


def _messages(settings: Settings) -> dict[str, object]:
    return {
        "task_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "timezone": "UTC",
        "task_queues": tuple(Queue(name, routing_key=name) for name in queue_names(settings.accounts)),
        "task_default_queue": CONTROL_QUEUE,
        # A control worker releases work of accounts that another machine's settings name.
        "task_create_missing_queues": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_send_sent_event": settings.events,
        # Publishing again is harmless; an outage longer than this second is left to rescue.
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5},
    }


def _connection(settings: Settings) -> dict[str, object]:
    threads = settings.upload_threads + settings.control_threads
    return {
        "broker_url": celery_url(settings),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker waits for its Redis as long as it takes
        "broker_channel_error_retry": True,  # also for one that refuses: no memory, read-only, a disk that is full
        "broker_pool_limit": threads,
        "broker_transport_options": {
            # What a worker holds isn't noted in Redis: one that is killed loses hints, and rescue finds what they were
            # about long before kombu would. It would be eight commands for each message, four of them writes.
            "ack_emulation": False,
            "visibility_timeout": settings.visibility_timeout_seconds,
            "polling_interval": settings.message_wait_seconds,  # kombu's timeout of BRPOP, which is 1 s otherwise
            "priority_steps": [0],  # one list per queue instead of four; the feeder orders by priority
            "max_connections": threads + 10,  # kombu's ten are fewer than our threads
            "health_check_interval": IDLE_CHECK_SECONDS,
            "socket_timeout": settings.redis_answer_seconds,  # stays above the timeout of BRPOP
            "socket_connect_timeout": settings.redis_connect_seconds,
            "socket_keepalive": True,
        },
    }


def _results(settings: Settings) -> dict[str, object]:
    url = celery_url(settings)
    keepalive: dict[str, Any] = {} if url.startswith("redis+socket") else {"redis_socket_keepalive": True}
    return {
        "result_backend": url,
        "result_serializer": "json",
        "result_accept_content": ["json"],
        "result_compression": "gzip",
        "result_expires": int(settings.results_ttl_seconds),
        "result_extended": False,  # would store the arguments beside the result
        "result_backend_transport_options": {"visibility_timeout": settings.visibility_timeout_seconds},
        "redis_socket_timeout": settings.redis_answer_seconds,
        "redis_socket_connect_timeout": settings.redis_connect_seconds,
        "redis_retry_on_timeout": False,
        "redis_backend_health_check_interval": IDLE_CHECK_SECONDS,
        **keepalive,
    }


def _worker(settings: Settings) -> dict[str, object]:
    return {
        "worker_pool": "threads",  # the work is waiting for sockets
        "worker_concurrency": settings.upload_threads + settings.control_threads,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": settings.events,
        "worker_enable_remote_control": True,  # Flower and `celery inspect` need it
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # An upload goes on when only the broker's connection broke: stopping it would make it uncertain.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_disable_rate_limits": True,  # ours is in the ledger; Celery's counts per worker
    }


def _beat(settings: Settings) -> dict[str, object]:
    """One static entry: what is due is decided by whoever takes the tick, so beat itself remembers nothing."""
    tick_s = settings.schedule_tick_seconds
    # Ticks that nobody took are worth nothing a minute later; shorter, and clocks that differ would lose all of them.
    options = {"queue": CONTROL_QUEUE, "expires": max(3 * tick_s, 60.0), "ignore_result": True}
    entry = {"task": SCHEDULE_TASK, "schedule": tick_s, "options": options}
    return {
        "beat_schedule": {"paceline.schedule": entry} if settings.schedules else {},
        "beat_scheduler": "worker.beat:Ticks",
        "beat_max_loop_interval": min(tick_s, 5.0),
    }
