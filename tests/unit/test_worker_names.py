"""What workers are called in Celery and Flower."""

from __future__ import annotations

import os
import socket

import pytest

from cli.worker import celery_name


def test_workers_of_two_machines_have_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)  # as in every container
    names = []
    for host in ("one", "other"):
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        names.append(celery_name("rest"))
    assert names == ["rest-7@one", "rest-7@other"]
