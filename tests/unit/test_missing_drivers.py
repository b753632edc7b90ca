"""Destinations whose driver isn't installed say which extra brings it."""

from __future__ import annotations

import sys

import pytest

from paceline.errors import UsageError
from paceline.sinks.registry import open_sink


def test_postgresql_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("psycopg", "paceline.sinks.postgres")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    for _ in range(2):
        with pytest.raises(UsageError, match=r"pip install 'paceline\[postgres\]'"):
            open_sink("postgresql://host/db")
