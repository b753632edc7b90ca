"""Servers for the tests of object stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.s3 import Bucket, S3Server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One server for a whole session; its address and keys are in the environment, as with a person."""
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    """A new bucket."""
    return s3.bucket()
