"""The contract of providers, over every provider there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from paceline_rest import KIND as REST

from paceline.errors import Unavailable
from paceline.model import Outcome
from paceline.providers.base import Provider
from paceline.providers.kindo_kind import KIND as KINDO
from paceline.providers.kolena_kind import KIND as KOLENA
from tests.contract.provider_contract import ProviderContract
from tests.support.bench import Bench
from tests.support.crooked import Crooked, rewritten
from tests.support.rest_service import AGENT, RestService
from tests.support.sandbox import Sandbox

KEY = "canary-contract-5d1f0c9e"


@pytest.fixture(scope="module")
def kolena() -> Iterator[Bench]:
    with Sandbox("--run-seconds", "0") as sandbox:
        yield Bench(
            kind=KOLENA,
            url=sandbox.url,
            key=sandbox.key,
            agent="1",
            unknown_agent="404",
            unknown_run="999999999",
            runs=lambda: int(sandbox.stats()["runs"]["accepted"]),
            id_key="run_id",
            status_key="status",
            words={"success": Outcome.SUCCEEDED, "failed": Outcome.FAILED},
        )


def in_a_value(request: bytes, data: bytes) -> bool:
    """Tell whether a trigger of Kindo's holds a text file, within the JSON that is an input's value."""
    inputs = json.loads(request.partition(b"\r\n\r\n")[2])["inputs"]
    return data.decode() in [document["content"] for one in inputs for document in json.loads(one["value"])]


@pytest.fixture(scope="module")
def kindo() -> Iterator[Bench]:
    with Sandbox("--run-seconds", "0") as sandbox:
        yield Bench(
            kind=KINDO,
            url=sandbox.url,
            key=sandbox.key,
            agent="11111111-1111-4111-8111-111111111111",
            unknown_agent="99999999-9999-4999-8999-999999999999",
            unknown_run="00000000-0000-4000-8000-000000000000",
            runs=lambda: int(sandbox.stats()["kindo"]["accepted"]),
            id_key="runId",
            status_key="status",
            words={"success": Outcome.SUCCEEDED, "failure": Outcome.FAILED, "cancelled": Outcome.CANCELLED},
            mentions=in_a_value,
        )


@pytest.fixture(scope="module")
def rest() -> Iterator[Bench]:
    with RestService(KEY) as service:
        yield Bench(
            kind=REST,
            url=service.url,
            key=KEY,
            agent=AGENT,
            unknown_agent="8",
            unknown_run="r-0",
            runs=lambda: len(service.runs),
            id_key="id",
            status_key="status",
            words={"succeeded": Outcome.SUCCEEDED, "failed": Outcome.FAILED},
            options={"list_path": "/runs"},
        )


class TestKolena(ProviderContract):
    """Kolena, against the sandbox."""

    @pytest.fixture
    def bench(self, kolena: Bench) -> Bench:
        return kolena


class TestKindo(ProviderContract):
    """Kindo, against the sandbox."""

    @pytest.fixture
    def bench(self, kindo: Bench) -> Bench:
        return kindo


class TestRest(ProviderContract):
    """The example of a provider that another package brings, with a list of runs."""

    @pytest.fixture
    def bench(self, rest: Bench) -> Bench:
        return rest

    @pytest.mark.parametrize("odd", [{"total": 2}, {"total": None}, {"runs": [None]}, {"runs": [{}]}, {"runs": None}])
    def test_a_list_with_holes_proves_nothing(
        self, bench: Bench, provider: Provider, way: Crooked, odd: dict[str, object]
    ) -> None:
        request = bench.request()
        provider.submit(request)
        with way.playing(rewritten(lambda page: {**page, **odd})), pytest.raises(Unavailable):
            provider.find(bench.agent, [request.external_id])

    def test_without_a_list_nothing_can_be_found(self, bench: Bench) -> None:
        provider = replace(bench, options={}).open()
        assert provider.capabilities.finds_many == 0
        with pytest.raises(Unavailable):
            provider.find(bench.agent, ["b00000000a.b00000000a-000001"])
