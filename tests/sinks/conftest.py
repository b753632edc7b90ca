"""Servers of these tests: one of each kind per process, ended with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PASSWORD, PostgresServer


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[PostgresServer]:
    """Run one PostgreSQL for all tests of this process."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(running_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """Give the server, with the password where libpq looks for it."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return running_postgres
