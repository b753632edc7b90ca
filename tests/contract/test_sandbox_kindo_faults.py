"""The sandbox's faults do to a client of Kindo's what they say."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import httpx
import pytest

from tests.support.kindo_calls import (
    INVENTORY,
    LANGUAGE,
    ONE,
    UUID,
    accepted,
    flat,
    inputs,
    shown,
    trigger,
    triggered,
)
from tests.support.sandbox import Sandbox


@pytest.mark.parametrize(
    ("spec", "status"),
    [("status:code=503", 503), ("status:code=429,retry_after=7", 429), ("status@add+get+other:code=403", 403)],
)
def test_a_refusal_is_in_kindos_form(sandbox: Sandbox, http: httpx.Client, spec: str, status: int) -> None:
    run_id = triggered(http)
    sandbox.faults(spec)

    for response in (trigger(http), http.get(f"/v1/runs/{run_id}"), http.get("/v1/agents/list")):
        assert flat(response) == status
        assert response.headers.get("retry-after") == ("7" if status == 429 else None)
    assert accepted(sandbox) == 1


def test_an_early_413_has_only_a_message(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("early_413")

    response = trigger(http, documents="x" * 1_000_000)

    assert (response.status_code, response.json().keys()) == (413, {"message"})
    assert sandbox.stats()["received_bytes"] == 0


@pytest.mark.parametrize(
    ("spec", "end"),
    [("drop_before", "dropped"), ("reset_at:fraction=0.5", "reset"), ("reset_at:fraction=1", "reset")],
)
def test_a_connection_that_breaks_before_acceptance_leaves_no_run(
    sandbox: Sandbox, http: httpx.Client, spec: str, end: str
) -> None:
    sandbox.faults(spec)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        trigger(http, documents="x" * 4_000_000)

    sandbox.wait("answered")
    assert (sandbox.log()[0]["end"], accepted(sandbox)) == (end, 0)


def test_a_stalled_trigger_goes_on_when_the_fault_ends(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("stall_at:fraction=0.5")
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(trigger(http, documents="x" * 4_000_000).status_code))
    thread.start()
    sandbox.wait("body", bytes=2_000_000)
    assert accepted(sandbox) == 0

    sandbox.clear_faults()
    thread.join(20)

    assert (statuses, accepted(sandbox)) == ([201], 1)


@pytest.mark.parametrize(
    ("spec", "error", "end"),
    [
        ("accept_then_drop", httpx.RemoteProtocolError, "dropped"),
        ("accept_then_reset", httpx.ReadError, "reset"),
        ("accept_then_hang:seconds=0.1", httpx.RemoteProtocolError, "dropped"),
        ("accept_then_truncate", httpx.RemoteProtocolError, "truncated"),
    ],
)
def test_an_accepted_run_may_never_be_heard_of(
    sandbox: Sandbox, http: httpx.Client, spec: str, error: type[Exception], end: str
) -> None:
    sandbox.faults(spec)

    with pytest.raises(error):
        trigger(http)

    sandbox.wait("answered")
    (entry,) = sandbox.log()
    assert (entry["end"], entry["fault"], accepted(sandbox)) == (end, spec.partition(":")[0], 1)
    assert shown(http, entry["run_id"])["status"] == "success"


def test_an_accepted_run_may_be_answered_with_an_error(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("accept_then_html:count=1", "accept_then_status:code=504,count=1", "accept_then_status:body=json")

    page, gateway, plain = (trigger(http) for _ in range(3))

    assert (page.status_code, gateway.status_code, flat(plain)) == (200, 504, 502)
    assert page.headers["content-type"] == gateway.headers["content-type"] == "text/html; charset=utf-8"
    assert accepted(sandbox) == 3


@pytest.mark.parametrize(
    ("what", "told"), [("run_id", UUID), ("agent_id", UUID), ("text", re.compile("../agents/list")), ("missing", None)]
)
def test_an_accepted_run_may_be_called_another(
    sandbox: Sandbox, http: httpx.Client, what: str, told: re.Pattern[str] | None
) -> None:
    sandbox.faults(f"accept_then_wrong_ids:what={what}")

    answer = trigger(http).json()

    true = sandbox.log()[-1]["run_id"]
    assert (answer.get("runId") == true) == (what == "agent_id")
    assert (answer["agentId"] == INVENTORY) == (what != "agent_id")
    assert ("runId" in answer) == (told is not None)
    assert told is None or told.fullmatch(answer["runId"])


def test_an_accepted_run_may_be_told_with_another_code_and_nothing_but_its_id(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    sandbox.faults("accept_then_terse:code=202")

    response = trigger(http)

    assert (response.status_code, response.json().keys()) == (202, {"runId"})
    assert shown(http, response.json()["runId"])["status"] == "success"


def test_a_run_may_appear_long_after_the_client_was_dropped(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("accept_late:seconds=0.5,count=1", "accept_late:seconds=0.1,code=504")

    with pytest.raises(httpx.RemoteProtocolError):
        trigger(http)
    assert accepted(sandbox) == 0
    assert trigger(http).status_code == 504
    sandbox.wait("accepted", count=2)

    assert UUID.fullmatch(sandbox.log()[0]["run_id"])
    assert sandbox.stats()["classes"]["add"]["accepted"] == 2


def test_each_run_may_be_unknown_to_its_first_gets(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults("unknown_at_first:gets=2")
    run_ids = [triggered(http) for _ in range(2)]

    statuses = [[http.get(f"/v1/runs/{run_id}").status_code for run_id in run_ids] for _ in range(4)]

    assert statuses == [[404, 404], [404, 404], [200, 200], [200, 200]]
    assert [entry["fault"] for entry in sandbox.log(request_class="get")] == ["unknown_at_first"] * 4 + [None] * 4


def test_a_run_may_be_wrongly_unknown(sandbox: Sandbox, http: httpx.Client) -> None:
    run_id = triggered(http)
    sandbox.faults("get_404:count=1")

    assert flat(http.get(f"/v1/runs/{run_id}")) == 404
    assert shown(http, run_id)["status"] == "success"


def test_kolenas_runs_may_be_unknown_at_first_or_no_json_too(sandbox: Sandbox, http: httpx.Client) -> None:
    (run_id,) = sandbox.create_runs()
    sandbox.faults("unknown_at_first:gets=1,count=1", "get_malformed:how=html,count=1")

    answers = [http.get(f"/api/v1/client/agents/1/runs/{run_id}") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [404, 200, 200]
    assert answers[1].content.startswith(b"<html>")
    assert answers[2].json()["run_id"] == run_id


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        ("status_backwards", {"status": "in_progress", "endedAtUtc": None, "result": None}),
        ("unknown_status:word=archiving", {"status": "archiving"}),
        ("null_data", {"result": None}),
        ("null_completed", {"endedAtUtc": None}),
        ("null_agent", {"agentId": None}),
    ],
)
def test_a_finished_run_may_be_shown_wrongly(
    sandbox: Sandbox, http: httpx.Client, spec: str, changed: dict[str, Any]
) -> None:
    run_id = triggered(http)
    true = shown(http, run_id)
    sandbox.faults(spec + (",count=1" if ":" in spec else ":count=1"))

    assert shown(http, run_id) == true | changed != true
    assert shown(http, run_id) == true


@pytest.mark.parametrize("how", ["bare", "prose", "broken", "no_parts"])
def test_a_result_may_have_another_form(sandbox: Sandbox, http: httpx.Client, how: str) -> None:
    run_id = triggered(http)
    sandbox.faults(f"odd_result:how={how}")

    parts = json.loads(shown(http, run_id)["result"])["parts"]

    texts = [part["text"] for part in parts if part["type"] == "text"]
    assert len(texts) == (how != "no_parts")
    assert [text.startswith("```json") for text in texts] == [how == "broken"] * len(texts)
    assert ["sha256" in text for text in texts] == [how != "prose"] * len(texts)
    if how == "bare":
        assert json.loads(texts[0])["totals"]["files"] == 1
    elif how == "broken":
        assert not texts[0].endswith("}\n```")


def test_a_result_may_be_no_json_text(sandbox: Sandbox, http: httpx.Client) -> None:
    run_id = triggered(http)
    sandbox.faults("odd_result:how=object,count=1", "odd_result:how=not_json")

    in_place, broken = (shown(http, run_id)["result"] for _ in range(2))

    assert set(in_place) == {"role", "parts"}
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)


@pytest.mark.parametrize("how", ["truncated", "not_an_object", "html", "empty"])
def test_a_run_may_be_no_run(sandbox: Sandbox, http: httpx.Client, how: str) -> None:
    run_id = triggered(http)
    sandbox.faults(f"get_malformed:how={how}")

    response = http.get(f"/v1/runs/{run_id}")

    assert response.status_code == 200
    try:
        assert isinstance(response.json(), list)
    except json.JSONDecodeError:
        assert how != "not_an_object"


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ("fail_runs", "failure"),
        ("fail_runs:status=cancelled", "cancelled"),
        ("fail_runs:status=success", "success"),
        ("fail_runs:status=archiving", "archiving"),
        ("never_finish", "in_progress"),
        ("slow_runs:seconds=3600", "in_progress"),
    ],
)
def test_runs_may_end_otherwise_or_not_at_all(sandbox: Sandbox, http: httpx.Client, spec: str, status: str) -> None:
    sandbox.faults(spec)

    run = shown(http, triggered(http))

    assert (run["status"], run["result"]) == (status, None)
    assert (run["endedAtUtc"] is None) == (status == "in_progress")


def test_a_fault_can_be_kept_to_one_agent(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.faults(f"fail_runs:agent={LANGUAGE}", {"kind": "get_404", "agent": INVENTORY}, "null_agent:agent=2")
    values = inputs(documents=ONE, language="de")

    other = http.post("/v1/agents/runs", json={"agentId": LANGUAGE, "inputs": values}).json()["runId"]

    assert shown(http, other)["status"] == "failure"
    assert http.get(f"/v1/runs/{triggered(http)}").status_code == 404


@pytest.mark.parametrize(
    "spec", ["slow_loris:bytes=200,interval=0.01", "huge:bytes=1000000", "gzip_bomb:bytes=1000000"]
)
def test_an_answer_may_come_strangely_and_be_right(sandbox: Sandbox, http: httpx.Client, spec: str) -> None:
    run_id = triggered(http)
    true = shown(http, run_id)
    sandbox.faults(spec + ",count=2")

    assert shown(http, run_id) == true
    assert shown(http, trigger(http).json()["runId"])["status"] == "success"
