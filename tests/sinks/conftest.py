"""Servers of these tests: one of each kind per process, ended with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.s3 import Bucket, S3Server


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


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """Run one S3 server; its address and keys are in the environment, as with a person."""
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    """Make a new bucket."""
    return s3.bucket()
