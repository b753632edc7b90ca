"""What every provider's adapter must do, as `paceline.providers.base` promises it.

    class TestMine(ProviderContract):
        @pytest.fixture(scope="class")
        def bench(self) -> Iterator[Bench]: ...

The adapter speaks HTTP to a service that behaves, over a way on which things go wrong. What only one provider has is
tested elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    ConfigError,
    ProviderError,
    Unavailable,
)
from paceline.model import EndpointClass
from paceline.providers.base import Provider
from tests.contract.provider_reads import Reads
from tests.contract.provider_starts import Starts
from tests.support.bench import Bench
from tests.support.crooked import Crooked, rewritten, said


class ProviderContract(Starts, Reads):
    """Runs over one bench."""

    def test_it_says_what_it_is(self, bench: Bench, provider: Provider) -> None:
        can = provider.capabilities
        assert provider.name == bench.kind.name
        assert set(provider.rates) == set(EndpointClass)
        assert provider.size_limits == bench.kind.size_limits
        assert min(can.asks_after_many, can.finds_many, can.waits_s) >= 0
        for agent in (bench.agent, bench.unknown_agent, bench.kind.agent_example):
            assert re.fullmatch(bench.kind.agent_id, agent, re.ASCII)

    def test_opening_it_sends_nothing_and_shows_no_key(self, bench: Bench, way: Crooked) -> None:
        provider = bench.open(way.url)
        assert way.connections == 0
        assert bench.key not in repr(provider)

    def test_an_agent_is_looked_up_with_one_request(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        assert provider.describe_agent(bench.agent).agent == bench.agent
        assert way.methods() == ["GET"]
        with pytest.raises(AgentUnknown):
            provider.describe_agent(bench.unknown_agent)

    def test_settling_asks_nobody(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        agent = provider.describe_agent(bench.agent)
        asked = len(way.heads)
        settled = provider.settle(agent, {})
        assert all(isinstance(text, str) for pair in settled.items() for text in pair)
        with pytest.raises(ConfigError):
            provider.settle(agent, {"an input that no agent has": "x"})
        assert len(way.heads) == asked

    def test_a_refused_key_is_told(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        for status in (401, 403):
            with way.playing(said(status, {"error": f"key {bench.key} isn't welcome"})):
                for call in (lambda: provider.submit(bench.request()), lambda: provider.describe_agent(bench.agent)):
                    with pytest.raises(AccessDenied) as caught:
                        call()
                    assert no_trace(bench.key, caught.value)

    @pytest.mark.parametrize("status", [200, 400, 404, 409, 429, 500])
    def test_a_key_that_is_echoed_goes_nowhere(
        self, bench: Bench, provider: Provider, way: Crooked, status: int
    ) -> None:
        said_it = {"error": bench.key, "message": bench.key, "detail": f"your {bench.key}"}
        calls = [lambda: provider.submit(bench.request()), *self.reads(bench, provider, bench.unknown_run).values()]
        with way.playing(said(status, said_it)):
            for call in calls:
                assert no_trace(bench.key, outcome_of(call))

    def test_a_key_in_a_runs_result_is_hidden(self, bench: Bench, provider: Provider, way: Crooked) -> None:
        run_id = provider.submit(bench.request()).run.run_id
        with way.playing(rewritten(lambda run: {**run, "result": {"x": bench.key}, "data": {"x": bench.key}})):
            assert bench.key not in repr(provider.get(bench.agent, run_id))

    def test_the_key_is_asked_for_at_every_request(self, bench: Bench, way: Crooked) -> None:
        current = ""
        provider = bench.open(way.url, key=lambda: current)
        with way.playing(said(500)):
            for key in (bench.key, "another-key-0123456789"):
                current = key
                with pytest.raises(Unavailable):
                    provider.describe_agent(bench.agent)
                assert key.encode() in way.heads[-1]


def outcome_of(call: Callable[[], object]) -> object:
    """Return what a call returns, or the `ProviderError` it raises."""
    try:
        return call()
    except ProviderError as error:
        return error


def no_trace(key: str, outcome: object) -> bool:
    """Tell whether neither what a call came to names the key, nor, of an error, what that came from."""
    chain = (outcome, getattr(outcome, "__cause__", None), getattr(outcome, "__context__", None))
    return all(key not in f"{one} {one!r} {getattr(one, '__dict__', '')}" for one in chain)
