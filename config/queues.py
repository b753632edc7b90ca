"""Names the Celery queues and tells which role of worker reads which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Role = Literal["upload", "control", "export", "all"]

ROLES: tuple[str, ...] = get_args(Role)

CONTROL_QUEUE = "control"
"""Feeding, polling, reconciling, closing: short steps, never behind an upload."""

EXPORT_QUEUE = "export"


def submit_queue(account: str) -> str:
    """Name the queue of an account's uploads."""
    return f"submit.{account}"


def queue_names(accounts: Iterable[str], role: Role = "all") -> tuple[str, ...]:
    """List the queues a worker of this role reads, uploads first."""
    submits = tuple(submit_queue(account) for account in sorted(accounts))
    return {
        "upload": submits,
        "control": (CONTROL_QUEUE,),
        "export": (EXPORT_QUEUE,),
        "all": (*submits, CONTROL_QUEUE, EXPORT_QUEUE),
    }[role]
