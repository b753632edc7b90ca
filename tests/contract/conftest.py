"""The sandbox of a contract test: one per module, as freshly started for each test, with runs that end at once."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.sandbox import Sandbox


@pytest.fixture(scope="module")
def started() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: Sandbox) -> Sandbox:
    started.reset()
    started.run_seconds("0")
    return started


@pytest.fixture(scope="module")
def http(started: Sandbox) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {started.key}"}
    with httpx.Client(base_url=started.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client
