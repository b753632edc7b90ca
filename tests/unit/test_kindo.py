"""Kindo's adapter: what is sent, which answers are a run, what a result says, which inputs fit an agent."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    Ambiguous,
    AnswerTooLarge,
    ConfigError,
    FileChanged,
    PermitExpired,
    Refused,
    Throttled,
    Unavailable,
)
from paceline.model import EndpointClass, Outcome, Rate, SizeLimits
from paceline.providers.base import AgentInfo, Provider, SubmitRequest, Upload
from paceline.providers.http import HttpPolicy
from paceline.providers.kinds import Opening, provider_kind
from tests.support.raw_server import Peer, RawServer, answer, answering

KEY = "kindo-canary-01"
AGENT = "3f0c1d2e-5a6b-4c7d-8e9f-0a1b2c3d4e5f"
RUN = "0b5a3a0e-52a4-4a0b-9d6f-7f1c0a9e8d7c"
OTHER = "ffffffff-52a4-4a0b-9d6f-7f1c0a9e8d7c"
KIND = provider_kind("kindo")


def opening(url: str, **options: str) -> Opening:
    return Opening(url, lambda: KEY, HttpPolicy(), KIND.size_limits, KIND.rates, options=options)


def kindo(url: str = "https://x.example", **options: str) -> Provider:
    return KIND.open(opening(url, **options))


class Service:
    """A server that gives these answers in turn, the last one again and again."""

    def __init__(self, *answers: bytes | Any) -> None:
        replies = [reply if isinstance(reply, bytes) else answer(200, reply) for reply in answers]
        self.server = RawServer(answering(*replies))

    def __enter__(self) -> Service:
        self.server.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.__exit__(None, None, None)

    def kindo(self, **options: str) -> Provider:
        return kindo(self.server.url, **options)

    @property
    def targets(self) -> list[str]:
        return [found.decode() for found in re.findall(rb"(?m)^(?:GET|DELETE|POST) (\S+) HTTP", self.server.received)]

    @property
    def sent(self) -> Any:
        """The JSON of the last request."""
        return json.loads(self.server.peers[-1].received.partition(b"\r\n\r\n")[2])


def upload(name: str, data: bytes) -> Upload:
    return Upload(name, name, len(data), lambda: io.BytesIO(data))


def request(*uploads: Upload, agent: str = AGENT, **more: Any) -> SubmitRequest:
    files = uploads or (upload("a.txt", b"hello"),)
    return SubmitRequest(agent, "b4xk.b4xk-000001", files, deadline_s=5.0, gate=more.pop("gate", lambda: None), **more)


def run(**more: Any) -> dict[str, Any]:
    """Write a run with every key, as the service does."""
    times = {"createdAtUtc": "2026-11-01T12:00:00Z", "endedAtUtc": None}
    return (
        {"runId": RUN, "agentId": AGENT, "conversationId": None, "result": None, "status": "in_progress"} | times | more
    )


def said(*texts: object) -> str:
    """Write a result as it was seen: a step's start, then text parts."""
    parts = [{"type": "step-start"}, *({"type": "text", "text": text} for text in texts)]
    return json.dumps({"role": "assistant", "parts": parts})


def test_it_is_a_provider_with_the_accounts_numbers() -> None:
    one = opening("https://x.example")
    provider = KIND.open(replace(one, rates={EndpointClass.ADD: Rate(5, 1.0)}, size_limits=SizeLimits(2, 3, 4)))
    assert provider.capabilities == KIND.capabilities
    assert provider.rates[EndpointClass.ADD] == Rate(5, 1.0)
    assert set(provider.rates) == set(EndpointClass)
    assert provider.size_limits == SizeLimits(2, 3, 4)
    assert KEY not in repr(provider)


class TestSubmit:
    def test_files_travel_in_the_input_that_was_settled(self) -> None:
        with Service({"runId": RUN}) as service:
            files = [upload("a.txt", 'say "é"\n'.encode()), upload("b.bin", b"\xff\x00")]
            accepted = service.kindo(input="ignored").submit(
                request(*files, inputs={"language": "en\n"}, settled={"input": "papers", "send": "content"})
            )
            assert service.server.received.startswith(b"POST /v1/agents/runs HTTP/1.1\r\n")
            assert f"Authorization: Bearer {KEY}\r\n".encode() in service.server.received
            sent = service.sent
        assert sent["agentId"] == AGENT
        assert [one["name"] for one in sent["inputs"]] == ["language", "papers"]
        assert sent["inputs"][0]["value"] == "en\n"
        assert json.loads(sent["inputs"][1]["value"]) == [
            {"name": "a.txt", "content": 'say "é"\n'},
            {"name": "b.bin", "content_base64": "/wA="},
        ]
        assert accepted.run.run_id == RUN
        assert accepted.run.outcome is None
        assert accepted.digests == tuple(hashlib.sha256(data).digest() for data in ('say "é"\n'.encode(), b"\xff\x00"))

    def test_by_reference_only_addresses_travel(self) -> None:
        with Service({"runId": RUN}) as service:
            provider = service.kindo(send="reference", reference_url="https://files.example/x")
            accepted = provider.submit(request(Upload("a b", "sub/a b", 5, lambda: io.BytesIO(b"never"))))
            assert json.loads(service.sent["inputs"][0]["value"]) == [
                {"name": "a b", "url": "https://files.example/x/sub/a%20b"}
            ]
        assert accepted.digests == ()

    def test_how_files_travel_stays_as_it_was_settled(self) -> None:
        with Service({"runId": RUN}) as service:
            provider = service.kindo(send="reference", reference_url="https://files.example/x")
            provider.submit(request(settled={"input": "documents", "send": "content"}))
            assert json.loads(service.sent["inputs"][0]["value"]) == [{"name": "a.txt", "content": "hello"}]

    @pytest.mark.parametrize("status", [200, 201, 202])
    @pytest.mark.parametrize(
        "answered", [{"runId": RUN}, {"runId": RUN.upper(), "agentId": AGENT.upper()}, run(status=["?"], result=7)]
    )
    def test_any_success_that_names_a_run_is_one(self, status: int, answered: Any) -> None:
        with Service(answer(status, answered)) as service:
            assert service.kindo().submit(request()).run.run_id.lower() == RUN

    @pytest.mark.parametrize(
        "answered",
        [
            *({}, [], None, "ok", b"<html>", [{"runId": RUN}], {"id": RUN}),
            *({"runId": one} for one in (None, "7", 7, RUN + "0")),
            *({"runId": RUN, "agentId": one} for one in (OTHER, 7)),
        ],
    )
    def test_a_success_that_names_no_run_of_ours_leaves_the_outcome_open(self, answered: Any) -> None:
        with Service(answer(201, answered)) as service, pytest.raises(Ambiguous) as caught:
            service.kindo().submit(request())
        assert caught.value.http_status == 201

    def test_an_early_413_with_only_a_message_refuses_the_submission(self) -> None:
        def early(peer: Peer) -> None:
            peer.read_head()
            peer.send(answer(413, {"message": "Request body too large"}))
            peer.read_to_end()

        with RawServer(early) as server, pytest.raises(Refused, match=r"413.*Request body too large"):
            kindo(server.url).submit(request(upload("a", b"\n" * 8_000_000)))

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(400, Refused), (422, Refused), (401, AccessDenied), (404, AgentUnknown), (429, Throttled), (500, Ambiguous)],
    )
    def test_flat_errors_say_what_the_service_says(self, status: int, kind: type[Exception]) -> None:
        body = {"error": "Unprocessable Entity", "message": "Missing required inputs: language"}
        with Service(answer(status, body)) as service, pytest.raises(kind) as caught:
            service.kindo().submit(request())
        assert status == 429 or "Missing required inputs" in str(caught.value) or kind is Ambiguous

    @pytest.mark.parametrize("agent", ["", "7", AGENT + "/x", "../" + AGENT])
    def test_what_cannot_be_an_agent_costs_no_request(self, agent: str) -> None:
        with Service(run()) as service:
            with pytest.raises(AgentUnknown):
                service.kindo().submit(request(agent=agent))
            with pytest.raises(AgentUnknown):
                service.kindo().describe_agent(agent)
            assert service.server.peers == []

    def test_a_file_that_changes_on_the_way_leaves_no_whole_request(self) -> None:
        contents = [b"x" * 1000, b'"' * 1000]
        turning = Upload("a", "a", 1000, lambda: io.BytesIO(contents.pop(0)))
        with RawServer(lambda peer: peer.read_to_end()) as server, pytest.raises(FileChanged):
            kindo(server.url).submit(request(turning, upload("b", b"y" * 500_000)))

    def test_a_permit_too_old_after_weighing_stops_it(self) -> None:
        def too_old() -> None:
            raise PermitExpired("too old")

        with Service({"runId": RUN}) as service, pytest.raises(PermitExpired):
            service.kindo().submit(request(gate=too_old))


class TestReading:
    def test_a_run_under_way_has_no_data(self) -> None:
        with Service(run()) as service:
            found = service.kindo().get(AGENT, RUN)
            assert service.targets == [f"/v1/runs/{RUN}"]
        assert found is not None
        assert (found.run_id, found.raw_status, found.outcome, found.data) == (RUN, "in_progress", None, {})
        assert found.external_id is None

    @pytest.mark.parametrize("status", ["queued", "", None, 5, "SUCCESS", "in_progress"])
    def test_a_word_nobody_knows_is_no_end(self, status: object) -> None:
        with Service(run(status=status)) as service:
            found = service.kindo().get(AGENT, RUN)
        assert found is not None
        assert found.outcome is None

    @pytest.mark.parametrize(
        ("result", "text", "value"),
        [
            (None, None, None),
            (said("first", '```json\n{"total": 5}\n```'), '{"total": 5}', {"total": 5}),
            (said('{"total": 5}', "", "  \n"), '{"total": 5}', {"total": 5}),
            (said("~~~~\n[1]\n~~~~\n"), "[1]", [1]),
            (said("Here it is:\n```json\n{}\n```"), "Here it is:\n```json\n{}\n```", None),
            (said("```a\n1\n```\nand\n```b\n2\n```"), "```a\n1\n```\nand\n```b\n2\n```", None),
            (said("```json\n{"), "```json\n{", None),
            (said("```"), "```", None),
            (said("```\n```"), "", None),
            (said("no JSON"), "no JSON", None),
            (said("[" * 500 + "]" * 500), "[" * 500 + "]" * 500, None),
            (said(), None, None),
            (said(7, None), None, None),
            ('{"parts": [7, {"type": "reasoning", "text": "hm"}, {"text": "ok"}]}', "ok", None),
            ("plain words", "plain words", None),
            ('{"total": 5}', '{"total": 5}', {"total": 5}),
            ('{"parts": "?"}', '{"parts": "?"}', {"parts": "?"}),
            ("", None, None),
            ("[NaN]", "[NaN]", [None]),
        ],
    )
    def test_what_a_result_says(self, result: str | None, text: str | None, value: object) -> None:
        with Service(run(status="success", result=result)) as service:
            found = service.kindo().get(AGENT, RUN)
        assert found is not None
        assert found.outcome is Outcome.SUCCEEDED
        assert found.data == {"text": text, "json": value, "result": result}

    def test_a_result_that_is_no_text_is_kept_as_one(self) -> None:
        message = {"role": "assistant", "parts": [{"type": "text", "text": "ok"}]}
        with Service(run(status="success", result=message)) as service:
            found = service.kindo().get(AGENT, RUN)
        assert found is not None
        assert found.data["text"] == "ok"
        assert json.loads(found.data["result"]) == message

    def test_a_failed_run_says_where_to_look_and_a_cancelled_one_is_no_failure(self) -> None:
        with Service(run(status="failure"), run(status="cancelled")) as service:
            provider = service.kindo()
            failed, cancelled = provider.get(AGENT, RUN), provider.get(AGENT, RUN)
        assert failed is not None
        assert failed.outcome is Outcome.FAILED
        assert RUN in (failed.error_message or "")
        assert cancelled is not None
        assert (cancelled.outcome, cancelled.error_message) == (Outcome.CANCELLED, None)

    def test_asking_leaves_out_what_is_not_there_or_of_another_agent(self) -> None:
        missing = answer(404, {"error": "Not Found", "message": "no such run"})
        with Service(missing, run(agentId=OTHER), run(agentId=None, status="success")) as service:
            provider = service.kindo()
            assert [set(provider.ask(AGENT, [RUN])) for _ in range(3)] == [set(), set(), {RUN}]

    def test_a_run_of_another_agent_is_never_shown_as_ours(self) -> None:
        with Service(run(agentId=OTHER, status="success")) as service, pytest.raises(Unavailable):
            service.kindo().get(AGENT, RUN)

    def test_a_404_of_something_in_between_proves_nothing(self) -> None:
        with Service(answer(404, b"<html>")) as service, pytest.raises(Unavailable):
            service.kindo().get(AGENT, RUN)

    @pytest.mark.parametrize("answered", [run(runId=OTHER), {}, [], {"status": "success"}, None])
    def test_another_run_or_none_is_no_answer(self, answered: Any) -> None:
        with Service(answered) as service, pytest.raises(Unavailable):
            service.kindo().ask(AGENT, [RUN])

    def test_ids_are_compared_as_uuids(self) -> None:
        with Service(run(runId=RUN.upper(), agentId=AGENT.upper())) as service:
            assert set(service.kindo().ask(AGENT, [RUN])) == {RUN}

    def test_an_answer_larger_than_three_copies_may_be_is_not_read(self) -> None:
        with Service(run(status="success", result="x" * 21_000_000)) as service, pytest.raises(AnswerTooLarge):
            service.kindo().get(AGENT, RUN)

    def test_what_the_service_cannot_do_is_said(self) -> None:
        provider = kindo()
        with pytest.raises(Unavailable):
            provider.find(AGENT, ["b.b-1"])
        with pytest.raises(Unavailable):
            provider.delete(AGENT, RUN)


class TestAgents:
    @pytest.mark.parametrize(
        ("inputs", "names"),
        [
            (["documents", "language"], ("documents", "language")),
            ([{"name": "documents"}, {"label": "language"}, {"key": "x"}], ("documents", "language", "x")),
            ([], ()),
            (["a", "a"], ("a",)),
            (None, None),
            ("documents", None),
            ([7], None),
            ([{"title": "?"}], None),
        ],
    )
    def test_inputs_are_read_as_names(self, inputs: object, names: object) -> None:
        with Service({"agentId": AGENT, "name": "Inventory", "inputs": inputs, "hasTriggers": False}) as service:
            found = service.kindo().describe_agent(AGENT)
            assert service.targets == [f"/v1/agents/{AGENT}"]
        assert found == AgentInfo(AGENT, "Inventory", names, None)  # type: ignore[arg-type]  # names or None

    def test_an_agent_with_triggers_is_unfit_and_an_unknown_one_blocks(self) -> None:
        missing = answer(404, {"error": "Not Found", "message": "no"})
        with Service({"inputs": ["documents"], "hasTriggers": True}, missing) as service:
            provider = service.kindo()
            info = provider.describe_agent(AGENT)
            assert "triggers" in (info.unfit or "")
            with pytest.raises(ConfigError, match="triggers"):
                provider.settle(info, {})
            with pytest.raises(AgentUnknown):
                provider.describe_agent(AGENT)


def settled(names: tuple[str, ...] | None, inputs: Mapping[str, str] | None = None, **options: str) -> str:
    return kindo(**options).settle(AgentInfo(AGENT, None, names), inputs or {})["input"]


@pytest.mark.parametrize(
    ("names", "inputs", "wanted", "chosen"),
    [
        (("documents",), {}, "", "documents"),
        (("language", "documents"), {"language": "en"}, "", "documents"),
        (("files",), {}, "", "files"),
        (("files", "language"), {"language": "en"}, "", "files"),
        (("documents", "files"), {"documents": "none"}, "files", "files"),
        (None, {"any": "x"}, "files", "files"),
    ],
)
def test_which_input_takes_the_files(
    names: tuple[str, ...] | None, inputs: dict[str, str], wanted: str, chosen: str
) -> None:
    assert settled(names, inputs, input=wanted) == chosen


@pytest.mark.parametrize(
    ("names", "inputs", "wanted", "told"),
    [
        (("documents",), {"langauge": "en"}, "", "drop it without a word"),
        (("documents", "language"), {"langauge": "en"}, "", "did you mean 'language'"),
        (("documents", "language"), {}, "", "--input language="),
        (("documents",), {}, "document", "did you mean 'documents'"),
        (("documents",), {"documents": "x"}, "", "takes the files"),
        (("files", "language"), {}, "", "'files', 'language'"),
        (("files",), {"files": "x"}, "", "which input takes the files"),
        ((), {}, "", "it has none"),
        (None, {}, "", "set the account's `input`"),
        (("documents", "x"), {"x": "\udcff"}, "", "UTF-8"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_is_sent(
    names: tuple[str, ...] | None, inputs: dict[str, str], wanted: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        settled(names, inputs, input=wanted)


def test_what_is_settled_is_how_files_travel_for_the_whole_batch() -> None:
    assert kindo().settle(AgentInfo(AGENT, None, ("documents",)), {}) == {"input": "documents", "send": "content"}
    weights = KIND.weights({"input": "documents", "send": "content"})
    assert weights is not None
    assert weights.at_most("a", "a", 1000) > 4000
