"""What the parts of the contract of providers share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from paceline.providers.base import Provider
from tests.support.bench import Bench
from tests.support.crooked import Crooked

SOON_S = 1.0
"""The deadline of what is going to miss it."""

HTML = b"<html><h1>502 Bad Gateway</h1></html>"


class Basis:
    """A test leaves no trace of the key in logs, and none in a request's first line."""

    @pytest.fixture
    def way(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> Iterator[Crooked]:
        caplog.set_level(logging.DEBUG)
        with Crooked(bench.url) as way:
            yield way
        assert not any(bench.key in f"{record.getMessage()} {vars(record)}" for record in caplog.get_records("call"))
        assert not any(bench.key.encode() in head.partition(b"\r\n")[0] for head in way.heads)

    @pytest.fixture
    def provider(self, bench: Bench, way: Crooked) -> Provider:
        return bench.open(way.url)

    def reads(self, bench: Bench, provider: Provider, run_id: str) -> dict[str, Callable[[], object]]:
        """Return every question the provider can be asked about a run."""
        calls: dict[str, Callable[[], object]] = {
            "get": lambda: provider.get(bench.agent, run_id),
            "ask": lambda: provider.ask(bench.agent, [run_id]),
            "describe_agent": lambda: provider.describe_agent(bench.agent),
        }
        if provider.capabilities.finds_many:
            calls["find"] = lambda: provider.find(bench.agent, ["b00000000a.b00000000a-000001"])
        return calls
