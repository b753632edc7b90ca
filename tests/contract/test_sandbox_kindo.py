"""The sandbox's Kindo is what API-CONTRACT §2 says it is."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from pathlib import Path

import httpx
import pytest

from sandbox.kindo_agents import KINDO_AGENTS
from tests.support.kindo_calls import (
    CANCELLED,
    FAILING,
    FILES,
    INVENTORY,
    LANGUAGE,
    ONE,
    SILENT,
    TRIGGERS,
    UUID,
    accepted,
    flat,
    inputs,
    payload,
    shown,
    trigger,
    triggered,
)
from tests.support.sandbox import Sandbox

UNKNOWN = "99999999-9999-4999-8999-999999999999"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


# The trigger


def test_a_trigger_is_answered_201_with_the_uuid_of_a_run(sandbox: Sandbox, http: httpx.Client) -> None:
    response = trigger(http)

    told = response.json()
    assert response.status_code == 201
    assert UUID.fullmatch(told["runId"])
    assert (told["agentId"], told["status"]) == (INVENTORY, "in_progress")
    assert shown(http, told["runId"])["createdAtUtc"] == told["createdAtUtc"]


def test_inputs_nobody_knows_are_dropped_without_a_word(sandbox: Sandbox, http: httpx.Client) -> None:
    values = inputs(documents=ONE, surplus="x", Documents="y")

    response = http.post("/v1/agents/runs", json={"agentId": INVENTORY, "inputs": values})

    assert response.status_code == 201
    assert payload(shown(http, response.json()["runId"]))["inputs"] == {}


def test_an_agent_gets_all_of_its_inputs(sandbox: Sandbox, http: httpx.Client) -> None:
    values = inputs(language="Română", documents=ONE)

    response = http.post("/v1/agents/runs", json={"agentId": LANGUAGE, "inputs": values})

    found = payload(shown(http, response.json()["runId"]))
    assert found["inputs"] == {"language": "Română"}
    assert found["totals"] == {"files": 1, "size_bytes": 8, "words": 2, "lines": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"agentId": INVENTORY, "inputs": []}, 422),
        ({"agentId": INVENTORY}, 422),
        ({"agentId": LANGUAGE, "inputs": inputs(documents=ONE)}, 422),
        ({"agentId": FILES, "inputs": inputs(documents=ONE)}, 422),
        ({"agentId": TRIGGERS, "inputs": inputs(documents=ONE)}, 422),
        ({"agentId": UNKNOWN, "inputs": inputs(documents=ONE)}, 404),
        ({"agentId": "inventory", "inputs": inputs(documents=ONE)}, 404),
        ({"agentId": 1, "inputs": inputs(documents=ONE)}, 400),
        ({"inputs": inputs(documents=ONE)}, 400),
        ({"agentId": INVENTORY, "inputs": {"documents": "x"}}, 400),
        ({"agentId": INVENTORY, "inputs": [{"name": "documents", "value": ONE}]}, 400),
        ({"agentId": INVENTORY, "inputs": [{"name": "documents", "content": "x"}]}, 400),
        ({"agentId": INVENTORY, "inputs": ["documents"]}, 400),
        ([], 400),
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b'"\xff"', 400),
        (b"", 400),
    ],
)
def test_a_trigger_that_makes_no_sense_is_refused(
    sandbox: Sandbox, http: httpx.Client, body: object, status: int
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    response = http.post("/v1/agents/runs", content=content, headers={"Content-Type": "application/json"})

    assert flat(response) == status
    assert accepted(sandbox) == 0
    assert sandbox.log(request_class="add")[-1]["run_id"] is None


def test_a_body_that_does_not_say_it_is_json_is_refused(sandbox: Sandbox, http: httpx.Client) -> None:
    body = json.dumps({"agentId": INVENTORY, "inputs": inputs(documents=ONE)})

    assert flat(http.post("/v1/agents/runs", content=body)) == 400
    assert accepted(sandbox) == 0


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with Sandbox("--max-body-bytes", "100000") as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.key}", "Content-Type": "application/json"}
        with httpx.Client(base_url=sandbox.url, headers=headers, trust_env=False) as http:
            empty = len(json.dumps({"agentId": INVENTORY, "inputs": inputs(documents="")}, separators=(",", ":")))
            largest = trigger(http, documents="x" * (100_000 - empty))
            received = sandbox.stats()["received_bytes"]
            too_large = trigger(http, documents="x" * (100_001 - empty))
            received_then = sandbox.stats()["received_bytes"]
            chunked = http.post("/v1/agents/runs", content=(bytes(10_000) for _ in range(11)))

        assert (largest.status_code, received) == (201, 100_000)
        assert (too_large.status_code, too_large.json().keys()) == (413, {"message"})
        assert received_then == received
        assert (chunked.status_code, chunked.json()) == (413, too_large.json())
        assert sandbox.stats()["kindo"]["accepted"] == 1


# Keys


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer GOOD"}, 200),
        ({"x-api-key": "GOOD"}, 200),
        ({"x-api-key": "GOOD", "Authorization": "Basic Og=="}, 200),
        ({"x-api-key": "GOOD", "Authorization": "Bearer bad"}, 401),
        ({"x-api-key": "bad", "Authorization": "Bearer GOOD"}, 200),
        ({"api-key": "GOOD"}, 401),
    ],
)
def test_a_key_is_a_bearer_or_an_x_api_key_and_bearer_wins(
    sandbox: Sandbox, headers: dict[str, str], status: int
) -> None:
    sandbox.keys(accept=[sandbox.key])
    sent = {name: value.replace("GOOD", sandbox.key) for name, value in headers.items()}

    for method, path in (("GET", "agents/list"), ("GET", f"agents/{INVENTORY}"), ("POST", "agents/runs")):
        response = httpx.request(method, f"{sandbox.url}/v1/{path}", headers=sent, trust_env=False)
        if status == 401:
            assert flat(response) == 401
        else:
            assert response.status_code != 401


def test_kolena_takes_no_x_api_key(sandbox: Sandbox) -> None:
    url = f"{sandbox.url}/api/v1/client/agents"

    assert httpx.get(url, headers={"x-api-key": sandbox.key}, trust_env=False).status_code == 401


# Runs


def test_a_run_is_in_progress_and_then_ends(sandbox: Sandbox, http: httpx.Client) -> None:
    sandbox.run_seconds("3600")
    run_id = triggered(http)
    before = shown(http, run_id)

    assert sandbox.finish([run_id]) == 1
    after = shown(http, run_id)

    assert (before["status"], before["endedAtUtc"], before["result"]) == ("in_progress", None, None)
    assert (after["status"], after["runId"], after["agentId"]) == ("success", run_id, INVENTORY)
    assert TIME.fullmatch(after["createdAtUtc"])
    assert TIME.fullmatch(after["endedAtUtc"])
    assert after["createdAtUtc"] <= after["endedAtUtc"]


@pytest.mark.parametrize(
    ("agent", "status"), [(SILENT, "success"), (FAILING, "failure"), (CANCELLED, "cancelled")], ids=str
)
def test_a_run_may_end_without_a_result_or_a_reason(
    sandbox: Sandbox, http: httpx.Client, agent: str, status: str
) -> None:
    run = shown(http, triggered(http, agent))

    assert (run["status"], run["result"]) == (status, None)
    assert run["endedAtUtc"] is not None
    keys = {"runId", "agentId", "createdAtUtc", "endedAtUtc", "result", "status"}
    assert set(run) - {"conversationId"} == keys


def test_some_runs_have_no_conversation(sandbox: Sandbox, http: httpx.Client) -> None:
    runs = [shown(http, triggered(http)) for _ in range(2)]

    assert ["conversationId" in run for run in runs] == [True, False]


@pytest.mark.parametrize(
    "path", [f"runs/{UNKNOWN}", "runs/7", "runs/..%2Fagents%2Flist", f"agents/{UNKNOWN}", "agents/runs", "agents/1"]
)
def test_what_is_unknown_is_not_found(sandbox: Sandbox, http: httpx.Client, path: str) -> None:
    assert flat(http.get(f"/v1/{path}")) == 404


def test_a_run_is_not_found_below_agents(sandbox: Sandbox, http: httpx.Client) -> None:
    run_id = triggered(http)

    assert flat(http.get(f"/v1/agents/runs/{run_id}")) == 404
    assert flat(http.get(f"/v1/agents/{INVENTORY}/runs/{run_id}")) == 404
    assert flat(http.delete(f"/v1/runs/{run_id}")) == 405


# What the agents do


def test_the_inventory_is_that_of_the_files(sandbox: Sandbox, http: httpx.Client, tmp_path: Path) -> None:
    contents = {"ü.txt": b"eins zwei\ndrei", "p.pdf": b"%PDF-1.7\xff", "empty": b"", "r.bin": bytes(range(256))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    documents = [
        {"name": "ü.txt", "content": contents["ü.txt"].decode()},
        {"name": "p.pdf", "content_base64": base64.b64encode(contents["p.pdf"]).decode()},
        {"name": "empty", "content": ""},
        {"name": "r.bin", "content_base64": base64.b64encode(contents["r.bin"]).decode()},
    ]

    found = payload(shown(http, triggered(http, documents=documents)))["inventory"]

    for entry in found:
        on_disk = (tmp_path / entry["name"]).read_bytes()
        assert (entry["size_bytes"], entry["sha256"]) == (len(on_disk), hashlib.sha256(on_disk).hexdigest())
    counted = [(entry["name"], entry["kind"], entry["words"], entry["lines"]) for entry in found]
    assert counted == [
        ("ü.txt", "text", 3, 2),
        ("p.pdf", "pdf", None, None),
        ("empty", "empty", None, None),
        ("r.bin", "binary", None, None),
    ]


def test_a_document_far_away_is_listed_and_not_fetched(sandbox: Sandbox, http: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.pdf"
        found = payload(shown(http, triggered(http, documents=[{"name": "a.pdf", "url": url}])))["inventory"]
        with pytest.raises(BlockingIOError):
            listener.accept()

    counts = dict.fromkeys(("size_bytes", "sha256", "words", "lines"))
    assert found == [{"name": "a.pdf", "url": url, "kind": "reference", **counts}]


@pytest.mark.parametrize(
    "document", [{"name": "a", "content_base64": "&"}, {"name": "a"}, {"name": "a", "content": 1}, {"content": "a"}, 7]
)
def test_a_document_that_cannot_be_read_is_named_as_such(
    sandbox: Sandbox, http: httpx.Client, document: object
) -> None:
    found = payload(shown(http, triggered(http, documents=[document, *ONE])))["inventory"]

    assert [(entry["kind"], "problem" in entry) for entry in found] == [("unreadable", True), ("text", False)]
    assert found[0]["sha256"] is None


@pytest.mark.parametrize("value", ["just words", '{"name": "a", "content": "b"}', "7"])
def test_a_value_that_is_no_list_of_documents_is_one_document(sandbox: Sandbox, http: httpx.Client, value: str) -> None:
    (entry,) = payload(shown(http, triggered(http, documents=value)))["inventory"]

    assert (entry["name"], entry["sha256"]) == ("documents", hashlib.sha256(value.encode()).hexdigest())


def test_an_agent_may_call_its_documents_otherwise(sandbox: Sandbox, http: httpx.Client) -> None:
    response = http.post("/v1/agents/runs", json={"agentId": FILES, "inputs": inputs(files=ONE)})

    assert payload(shown(http, response.json()["runId"]))["inventory"][0]["name"] == "a.txt"


# Agents


def test_agents_are_listed_on_one_page(http: httpx.Client) -> None:
    answer = http.get("/v1/agents/list").json()

    assert set(answer) == {"items", "total"}
    assert [item["agentId"] for item in answer["items"]] == list(KINDO_AGENTS)
    assert answer["total"] == len(KINDO_AGENTS)
    assert all(item["name"] for item in answer["items"])


def test_the_agents_have_ids_that_are_easy_to_type() -> None:
    assert INVENTORY == "11111111-1111-4111-8111-111111111111"
    assert CANCELLED == "77777777-7777-4777-8777-777777777777"
    assert all(UUID.fullmatch(id_) for id_ in KINDO_AGENTS)


@pytest.mark.parametrize(
    ("agent", "labels", "has_triggers"),
    [
        (INVENTORY, ["documents"], False),
        (LANGUAGE, ["documents", "language"], False),
        (FILES, ["files"], False),
        (TRIGGERS, ["documents"], True),
    ],
)
def test_an_agent_tells_its_inputs_and_whether_it_has_triggers(
    http: httpx.Client, agent: str, labels: list[str], has_triggers: bool
) -> None:
    told = http.get(f"/v1/agents/{agent}").json()

    assert (told["agentId"], told["inputs"], told["hasTriggers"]) == (agent, labels, has_triggers)
    assert told["name"]


def test_an_agent_names_its_last_runs_newest_first(sandbox: Sandbox, http: httpx.Client) -> None:
    assert http.get(f"/v1/agents/{INVENTORY}").json()["recentRunIds"] == []
    run_ids = [triggered(http) for _ in range(3)]
    triggered(http, SILENT)

    assert http.get(f"/v1/agents/{INVENTORY}").json()["recentRunIds"] == run_ids[::-1]
