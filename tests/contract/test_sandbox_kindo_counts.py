"""What the sandbox logs, counts and limits of Kindo's requests."""

from __future__ import annotations

import base64
import hashlib
import json

import httpx
import pytest

from tests.support.kindo_calls import (
    FAILING,
    INVENTORY,
    ONE,
    flat,
    inputs,
    payload,
    shown,
    trigger,
    triggered,
)
from tests.support.sandbox import Sandbox


def test_the_log_tells_what_a_trigger_brought_and_which_run_was_asked_for(sandbox: Sandbox, http: httpx.Client) -> None:
    run_id = triggered(http, documents=[*ONE, {"name": "far.pdf", "url": "https://files.invalid/far.pdf"}])
    shown(http, run_id)
    http.get("/v1/agents/list")

    added, got, listed = sandbox.log()
    assert added["files"] == [
        {"name": "a.txt", "size_bytes": 8, "sha256": hashlib.sha256(b"one two\n").hexdigest()},
        {"name": "far.pdf", "size_bytes": None, "sha256": None},
    ]
    assert (added["class"], added["agent"], added["external_id"], added["run_id"]) == ("add", INVENTORY, None, run_id)
    assert (added["status"], added["upload"]) == (201, 1)
    assert (got["class"], got["agent"], got["run_id"], got["asked_run_ids"]) == ("get", INVENTORY, run_id, [run_id])
    assert (listed["class"], listed["agent"]) == ("other", None)


def test_stats_name_the_submissions_that_were_accepted_twice(sandbox: Sandbox, http: httpx.Client) -> None:
    two = [*ONE, {"name": "b", "url": "https://files.invalid/b"}]
    renamed = [{"name": "b.txt", "content": "one two\n"}]
    elsewhere = [*ONE, {"name": "b", "url": "https://files.invalid/c"}]
    same = [{"name": "a.txt", "content_base64": base64.b64encode(b"one two\n").decode()}]
    first, second, *_ = [triggered(http, documents=documents) for documents in (ONE, two, renamed, elsewhere)]
    again, reordered = triggered(http, documents=same), triggered(http, documents=two[::-1])
    triggered(http, FAILING)
    sandbox.run_seconds("3600")
    triggered(http, documents="running")

    stats = sandbox.stats()

    duplicates = stats["kindo"].pop("duplicates")
    assert [(entry["agent"], entry["run_ids"]) for entry in duplicates] == [
        (INVENTORY, [first, again]),
        (INVENTORY, [second, reordered]),
    ]
    assert stats["kindo"] == {
        "accepted": 8,
        "unique": 6,
        "statuses": {"success": 6, "failure": 1, "in_progress": 1},
    }
    assert stats["runs"] == {"accepted": 8, "deleted": 0, "running": 1, "success": 6, "failed": 1}
    assert stats["external_ids"] == {"unique": 0, "accepted": 0, "without": 0, "duplicates": []}
    assert stats["classes"]["add"]["accepted"] == 8


def test_both_providers_are_counted_beside_each_other(sandbox: Sandbox, http: httpx.Client) -> None:
    http.post("/api/v1/client/agents/1/runs", files={"files": ("a.txt", b"words")})
    triggered(http)

    stats = sandbox.stats()

    assert sandbox.wait("accepted", count=2) == 2
    assert (stats["runs"]["accepted"], stats["kindo"]["accepted"]) == (2, 1)
    assert stats["external_ids"]["without"] == 1
    sandbox.reset()
    assert sandbox.stats()["kindo"] == {"accepted": 0, "unique": 0, "statuses": {}, "duplicates": []}


@pytest.mark.parametrize("class_", ["add", "get", "other"])
def test_a_pace_over_the_limit_is_refused(sandbox: Sandbox, http: httpx.Client, class_: str) -> None:
    run_id = triggered(http)
    sandbox.limits(**{class_: "1/60s"})

    def call() -> httpx.Response:
        if class_ == "add":
            return trigger(http)
        return http.get(f"/v1/runs/{run_id}" if class_ == "get" else "/v1/agents/list")

    first, second = call(), call()

    assert first.is_success
    assert flat(second) == 429
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert sandbox.log()[-1]["refused"]


def test_a_body_of_50_mb_takes_little_memory() -> None:
    # A character outside the basic plane makes Python keep four bytes for each one of the text.
    documents = [{"name": f"{number}.txt", "content": f"{number} " + "🙂 wor" * 600_000} for number in range(10)]
    form = {"agentId": INVENTORY, "inputs": inputs(documents=json.dumps(documents, ensure_ascii=False))}
    content = json.dumps(form, ensure_ascii=False).encode()
    assert 48_000_000 < len(content) <= 50_000_000
    with Sandbox("--run-seconds", "0") as sandbox:
        before = sandbox.stats()["peak_rss_bytes"]
        headers = {"Authorization": f"Bearer {sandbox.key}", "Content-Type": "application/json"}
        with httpx.Client(base_url=sandbox.url, headers=headers, trust_env=False, timeout=60) as http:
            run_id = http.post("/v1/agents/runs", content=content).json()["runId"]
            found = payload(shown(http, run_id))["inventory"]
        grown = sandbox.stats()["peak_rss_bytes"] - before

    assert [entry["sha256"] for entry in found] == [
        hashlib.sha256(document["content"].encode()).hexdigest() for document in documents
    ]
    assert grown < 350_000_000
