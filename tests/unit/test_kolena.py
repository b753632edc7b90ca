"""Kolena's adapter: which answers are a run, which runs are ours, and when a list proves something."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    Ambiguous,
    AnswerTooLarge,
    ConfigError,
    Throttled,
    Unavailable,
)
from paceline.model import EndpointClass, Outcome, Rate, RunView, SizeLimits
from paceline.providers.base import AgentInfo, Provider, SubmitRequest, Upload
from paceline.providers.kolena import Kolena
from tests.support.raw_server import Peer, RawServer, answer, answering

KEY = "kolena-canary-01"
EXTERNAL = "b4xk.b4xk-000001"


def run(run_id: object = 500, **more: object) -> dict[str, Any]:
    """Write a run with every key, as the service does."""
    return {
        "agent_id": 7,
        "run_id": run_id,
        "user_defined_id": EXTERNAL,
        "created": "2026-11-01T12:00:00",
        "updated": "2026-11-01T12:00:00+00:00",
        "completed": None,
        "files": ["a.txt"],
        "run_url": "https://agents.example/runs/500",
        "order": [],
        "data": {},
        "status": "running",
        "usage": None,
        **more,
    }


def page(*runs: object, number: object = 0, pages: object = 1, **more: object) -> dict[str, Any]:
    return {"runs": list(runs), "total_pages": pages, "page_number": number, "page_size": 1000, **more}


def nested(levels: int) -> bytes:
    """Write a run with a value so deep: the parser takes it, what stores it may not."""
    return json.dumps(run(data={"prompt": {"value": "?"}})).encode().replace(b'"?"', b"[" * levels + b"]" * levels)


class Service:
    """A server that gives these answers in turn, the last one again and again, and keeps the requests' targets."""

    def __init__(self, *answers: bytes | Any) -> None:
        replies = [reply if isinstance(reply, bytes) else answer(200, reply) for reply in answers]
        self.server = RawServer(answering(*replies))

    def __enter__(self) -> Service:
        self.server.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.__exit__(None, None, None)

    def kolena(self, **options: Any) -> Kolena:
        return Kolena(self.server.url, KEY, **options)

    @property
    def targets(self) -> list[str]:
        return [found.decode() for found in re.findall(rb"(?m)^(?:GET|DELETE|POST) (\S+) HTTP", self.server.received)]

    @property
    def queries(self) -> list[list[tuple[str, str]]]:
        return [parse_qsl(target.partition("?")[2]) for target in self.targets]


def request(agent: str = "7", *, due: datetime | None = None, files: int = 1) -> SubmitRequest:
    uploads = [Upload(f"{n}.txt", f"{n}.txt", 5, lambda: io.BytesIO(b"hello")) for n in range(files)]
    return SubmitRequest(agent, EXTERNAL, uploads, deadline_s=1.0, gate=lambda: None, due=due)


def test_it_is_a_provider() -> None:
    provider: Provider = Kolena("https://x.example", KEY)
    assert provider.capabilities.asks_after_many == 300
    assert provider.size_limits == SizeLimits(300, 250_000_000)
    assert set(provider.rates) == set(EndpointClass)


def test_limits_can_be_set_and_the_others_keep_their_defaults() -> None:
    kolena = Kolena("https://x.example", KEY, rates={EndpointClass.ADD: Rate(40, 60)}, size_limits=SizeLimits(2, 3))
    assert kolena.rates[EndpointClass.ADD] == Rate(40, 60)
    assert kolena.rates[EndpointClass.LIST] == Rate(1200, 60)
    assert kolena.size_limits == SizeLimits(2, 3)


def test_a_key_is_not_sent_in_clear_over_a_network() -> None:
    with pytest.raises(ConfigError, match="https://"):
        Kolena("http://agents-api.kolena.com", KEY)
    assert KEY not in repr(Kolena("http://agents-api.kolena.com", KEY, allow_http=True))


class TestSubmit:
    def test_the_upload_carries_our_id_the_due_date_and_the_files(self) -> None:
        with Service(run()) as service:
            accepted = service.kolena().submit(request(due=datetime(2026, 12, 1, 8, tzinfo=UTC), files=2))
            received = service.server.received
        assert received.startswith(b"POST /api/v1/client/agents/7/runs HTTP/1.1\r\n")
        assert f'name="user_defined_id"\r\n\r\n{EXTERNAL}\r\n'.encode() in received
        assert b'name="due_date"\r\n\r\n2026-12-01T08:00:00+00:00\r\n' in received
        assert received.count(b'name="files"; filename=') == 2
        assert accepted.digests == (hashlib.sha256(b"hello").digest(),) * 2
        assert accepted.run == RunView("500", EXTERNAL, "running", None, "https://agents.example/runs/500")

    @pytest.mark.parametrize(
        "answered",
        [
            {"run_id": 500},
            {"run_id": "500"},
            {"run_id": 500, "user_defined_id": None, "agent_id": None, "status": None},
            run(status=["?"], data=[1], usage="?", order="?", run_url=5),
            run(agent_id="7"),
        ],
    )
    def test_a_run_needs_nothing_but_its_id(self, answered: Any) -> None:
        with Service(answered) as service:
            assert service.kolena().submit(request()).run.run_id == "500"

    @pytest.mark.parametrize("status", [201, 202])
    def test_other_successes_with_a_run_count(self, status: int) -> None:
        with Service(answer(status, run())) as service:
            assert service.kolena().submit(request()).run.run_id == "500"

    @pytest.mark.parametrize(
        "answered",
        [
            *[run(bad) for bad in (None, "", "abc", "1e3", -1, 1.5, 500.0, True, [500], {"id": 5}, "٣", "9" * 19)],
            {"status": "running"},
            {},
            [],
            "running",
            None,
            [run()],
            {"run": run()},
            run(user_defined_id="b4xk.b4xk-000002"),
            run(user_defined_id=""),
            run(user_defined_id=7),
            run(agent_id=8),
            run(agent_id="eight"),
        ],
    )
    def test_an_answer_that_is_not_surely_our_run_leaves_the_outcome_open(self, answered: Any) -> None:
        with Service(answered) as service, pytest.raises(Ambiguous) as caught:
            service.kolena().submit(request())
        assert caught.value.http_status == 200

    def test_a_success_before_the_upload_is_complete_leaves_the_outcome_open(self) -> None:
        def early(peer: Peer) -> None:
            peer.read_head()
            peer.send(answer(200, run()))

        big = Upload("a", "a", 8_000_000, lambda: io.BytesIO(bytes(8_000_000)))
        asked = SubmitRequest("7", EXTERNAL, [big], deadline_s=5.0, gate=lambda: None)
        with RawServer(early) as server, pytest.raises(Ambiguous):
            Kolena(server.url, KEY).submit(asked)

    @pytest.mark.parametrize("agent", ["", "seven", "7/runs", "../7", "7 ", "-7", "٧"])
    def test_what_cannot_be_an_agent_costs_no_request(self, agent: str) -> None:
        with Service(run()) as service:
            with pytest.raises(AgentUnknown):
                service.kolena().submit(request(agent))
            assert service.server.peers == []

    def test_a_run_nested_too_deeply_to_keep_leaves_the_outcome_open(self) -> None:
        with Service(answer(200, nested(500))) as service, pytest.raises(Ambiguous) as caught:
            service.kolena().submit(request())
        assert caught.value.body_sent


class TestAsk:
    def test_credits_past_any_number_hide_no_run(self) -> None:
        poison = run(1, usage={"credits_used": 10**400})
        with Service(page(poison, run(2, usage={"credits_used": 3}))) as service:
            found = service.kolena().ask("7", ["1", "2"])
        assert [found[one].credits for one in ("1", "2")] == [None, 3.0]

    def test_a_run_nested_too_deeply_to_keep_asks_for_fewer_at_once(self) -> None:
        text = b'{"runs": [%s], "total_pages": 1, "page_number": 0}' % nested(500)
        with Service(answer(200, text)) as service, pytest.raises(AnswerTooLarge):
            service.kolena().ask("7", ["500", "501"])

    def test_one_call_asks_after_many(self) -> None:
        ids = [str(500_000 + n) for n in range(300)]
        with Service(page(*[run(int(one)) for one in ids])) as service:
            found = service.kolena().ask("7", ids)
            assert len(service.targets) == 1
            assert len(service.targets[0]) < 8000
            assert service.queries[0] == [
                ("page_number", "0"),
                ("page_size", "1000"),
                *[("run_ids", one) for one in ids],
            ]
        assert sorted(found) == ids

    def test_nothing_to_ask_after_is_no_call(self) -> None:
        with Service(page(run())) as service:
            assert service.kolena().ask("7", []) == {}
            assert service.kolena().ask("7", ["abc", ""]) == {}
            assert service.kolena().find("7", []) == []
            assert service.server.peers == []

    def test_runs_nobody_asked_for_are_dropped(self) -> None:
        with Service(page(run(1), run(2), run(3, agent_id=8))) as service:
            assert list(service.kolena().ask("7", ["2", "3", "4"])) == ["2"]

    def test_an_entry_nobody_can_read_hides_no_other(self) -> None:
        with Service(page(None, {"run_id": None}, {"run_id": None}, [], run(2), {"run_id": 3})) as service:
            found = service.kolena().ask("7", ["2", "3"])
        assert sorted(found) == ["2", "3"]
        assert (found["3"].raw_status, found["3"].outcome) == ("", None)

    def test_an_agent_that_is_gone_is_told(self) -> None:
        with Service(answer(404, {"detail": "Agent not found"})) as service, pytest.raises(AgentUnknown):
            service.kolena().ask("7", ["1"])

    def test_a_gateways_404_proves_nothing(self) -> None:
        with Service(answer(404, b"<html>nginx</html>")) as service:
            for call in (service.kolena().ask, service.kolena().find):
                with pytest.raises(Unavailable):
                    call("7", ["1"])
            with pytest.raises(Unavailable):
                service.kolena().get("7", "1")
            with pytest.raises(Unavailable):
                service.kolena().describe_agent("7")

    def test_throttling_is_passed_on(self) -> None:
        with Service(answer(429, b"", {"Retry-After": "3"})) as service, pytest.raises(Throttled) as caught:
            service.kolena().ask("7", ["1"])
        assert caught.value.retry_after_s == 3.0


class TestFind:
    def test_every_run_under_our_ids_is_found_and_no_other(self) -> None:
        other = run(3, user_defined_id="someone-elses")
        with Service(page(run(1), run(2), other, run(4, user_defined_id=None))) as service:
            found = service.kolena().find("7", [EXTERNAL, "b4xk.b4xk-000009"])
            expected = [("user_defined_ids", EXTERNAL), ("user_defined_ids", "b4xk.b4xk-000009")]
            assert service.queries[0][2:] == expected
        assert [view.run_id for view in found] == ["1", "2"]

    @pytest.mark.parametrize("pages", [0, 1])
    def test_an_empty_list_is_a_list(self, pages: int) -> None:
        with Service(page(pages=pages)) as service:
            assert service.kolena().find("7", [EXTERNAL]) == []

    def test_all_pages_are_read(self) -> None:
        pages = [page(run(n), number=n, pages=3) for n in range(3)]
        further: list[EndpointClass] = []
        with Service(*pages) as service:
            found = service.kolena(before_further_request=further.append).find("7", [EXTERNAL])
            assert [dict(query)["page_number"] for query in service.queries] == ["0", "1", "2"]
        assert [view.run_id for view in found] == ["0", "1", "2"]
        assert further == [EndpointClass.LIST] * 2

    @pytest.mark.parametrize(
        "answers",
        [
            [[]],
            [{}],
            [None],
            ["runs"],
            [{"runs": []}],
            [page(runs=None)],
            [page(runs={})],
            [page(pages=None)],
            [page(pages="many")],
            [page(pages=-1)],
            [page(pages=True)],
            [page(number=1)],
            [page(number=None)],
            [page(run(), pages=0)],
            [page(run(), run())],
            [page(run(), pages=201)],
            [page(None)],
            [page({})],
            [page(run(None))],
            [page(run(user_defined_id=5))],
            [page(run(agent_id=8))],
            [page(run(1), pages=2), page(run(2), number=1, pages=3)],
            [page(run(1), pages=2), page(run(2), number=0, pages=2)],
            [page(run(1), pages=2), page(run(1), number=1, pages=2)],
            [page(run(1), pages=2), answer(500)],
            [page(run(1), pages=2), answer(200, b'{"runs": [')],
            [answer(200)],
        ],
        ids=lambda answers: str(answers)[:40],
    )
    def test_a_list_that_may_be_incomplete_proves_nothing(self, answers: Sequence[Any]) -> None:
        with Service(*answers) as service, pytest.raises(Unavailable):
            service.kolena().find("7", [EXTERNAL])

    def test_ids_too_long_for_one_address_are_asked_for_in_several(self) -> None:
        ids = [f"{n:03d}-" + "é" * 40 for n in range(100)]
        further: list[EndpointClass] = []
        with Service(page()) as service:
            service.kolena(before_further_request=further.append).find("7", ids)
            assert max(len(target) for target in service.targets) < 8000
            asked = [value for query in service.queries for name, value in query if name == "user_defined_ids"]
            assert all(any(name == "user_defined_ids" for name, _ in query) for query in service.queries)
            assert len(service.targets) == len(further) + 1 > 1
        assert sorted(asked) == sorted(ids)


class TestOthers:
    def test_one_run_can_be_looked_up(self) -> None:
        with Service(run(5, status="success")) as service:
            view = service.kolena().get("7", "5")
            assert service.targets == ["/api/v1/client/agents/7/runs/5"]
        assert view is not None
        assert view.outcome is Outcome.SUCCEEDED

    def test_a_run_the_service_does_not_have_is_none(self) -> None:
        with Service(answer(404, {"detail": "Run not found"})) as service:
            assert service.kolena().get("7", "5") is None

    def test_another_run_than_the_one_asked_for_is_no_answer(self) -> None:
        with Service(run(6)) as service, pytest.raises(Unavailable):
            service.kolena().get("7", "5")

    def test_an_agent_is_described(self) -> None:
        with Service({"agent_id": 7, "name": "Invoices\x1b[31m"}, {"name": None}) as service:
            kolena = service.kolena()
            assert kolena.describe_agent("7") == AgentInfo("7", "Invoices")
            assert kolena.describe_agent("7") == AgentInfo("7", None)

    def test_an_unknown_agent_and_a_refused_key_are_told_apart(self) -> None:
        with Service(answer(404, {"detail": "no"})) as service, pytest.raises(AgentUnknown):
            service.kolena().describe_agent("7")
        with Service(answer(403, {"detail": "no"})) as service, pytest.raises(AccessDenied):
            service.kolena().describe_agent("7")

    @pytest.mark.parametrize("reply", [b"HTTP/1.1 204 No Content\r\n\r\n", answer(404, {"detail": "no"})])
    def test_deleting_what_is_gone_is_success(self, reply: bytes) -> None:
        with Service(reply) as service:
            service.kolena().delete("7", "5")
            assert service.server.received.startswith(b"DELETE /api/v1/client/agents/7/runs/5 HTTP")

    def test_a_delete_that_failed_is_told(self) -> None:
        with Service(answer(500)) as service, pytest.raises(Unavailable):
            service.kolena().delete("7", "5")


def view_of(answered: dict[str, Any]) -> RunView:
    with Service(answered) as service:
        view = service.kolena().get("7", "500")
    assert view is not None
    return view


class TestView:
    @pytest.mark.parametrize(
        ("word", "outcome"),
        [
            ("success", Outcome.SUCCEEDED),
            ("failed", Outcome.FAILED),
            ("running", None),
            ("archiving", None),
            ("Success", None),
            ("", None),
        ],
    )
    def test_only_known_words_end_a_run(self, word: str, outcome: Outcome | None) -> None:
        view = view_of(run(status=word))
        assert (view.raw_status, view.outcome) == (word, outcome)

    def test_results_keep_their_order_and_none_is_lost(self) -> None:
        one = {"status": "success", "value": 1, "error": None, "metadata": {"confidence": 0.5}, "start_time": "x"}
        view = view_of(run(order=["B", "missing", 5, "A"], data={"A": one, "C": None, "B": {"value": [1]}}))
        nothing = {"status": None, "value": None, "error": None, "metadata": None}
        assert list(view.data.items()) == [
            ("B", nothing | {"value": [1]}),
            ("A", {"status": "success", "value": 1, "error": None, "metadata": {"confidence": 0.5}}),
            ("C", nothing),
        ]

    @pytest.mark.parametrize("data", [None, [], "x", 5])
    def test_no_data_is_empty_data(self, data: object) -> None:
        assert view_of(run(status="success", data=data)).data == {}

    def test_a_failed_run_tells_its_prompts_errors(self) -> None:
        data = {"A": {"error": "no\x1b[31m pages"}, "B": {"error": None}, "C": {"error": "too long"}}
        assert view_of(run(status="failed", data=data)).error_message == "A: no pages; C: too long"
        assert view_of(run(status="success", data=data)).error_message is None
        assert view_of(run(status="failed", data={})).error_message is None

    @pytest.mark.parametrize(
        ("usage", "credits"),
        [
            ({"credits_used": 3}, 3.0),
            ({"credits_used": 2.5}, 2.5),
            ({"credits_used": 0}, 0.0),
            ({"credits_used": None}, None),
            ({"credits_used": "3"}, None),
            ({"credits_used": True}, None),
            ({}, None),
            (None, None),
            ([], None),
        ],
    )
    def test_credits_are_a_number_or_unknown(self, usage: object, credits: float | None) -> None:
        assert view_of(run(usage=usage)).credits == credits

    @pytest.mark.parametrize("url", [None, "javascript:alert(1)", "http://x\n.example", 5, ""])
    def test_only_web_addresses_are_shown(self, url: object) -> None:
        assert view_of(run(run_url=url)).run_url is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["runs", "total_pages", "page_number", *run()])


@pytest.fixture(scope="module")
def mirror() -> Any:
    """Start a server whose answer can be changed between requests."""
    current = [b"{}"]

    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(answer(200, current[0]))

    with RawServer(script) as server:
        yield Kolena(server.url, KEY), lambda value: current.__setitem__(0, json.dumps(value).encode())


@settings(deadline=None, max_examples=50)  # it goes through a socket, and other tests run beside it
@given(st.dictionaries(KEYS, JSON), st.lists(st.dictionaries(KEYS, JSON) | JSON, max_size=3))
def test_no_answer_raises_anything_but_unavailable(
    mirror: tuple[Kolena, Callable[[object], None]], body: dict[str, Any], runs: list[Any]
) -> None:
    kolena, say = mirror
    for value in (body, page(*runs), page(*runs, **body)):
        say(value)
        for call in (
            lambda: kolena.ask("7", ["5"]),
            lambda: kolena.find("7", [EXTERNAL]),
            lambda: kolena.get("7", "5"),
            lambda: kolena.describe_agent("7"),
        ):
            with contextlib.suppress(Unavailable):
                call()
