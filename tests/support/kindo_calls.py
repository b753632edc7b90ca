"""Calls a sandbox's Kindo as a client would."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from sandbox.kindo_agents import KINDO_AGENTS
from tests.support.sandbox import Sandbox

INVENTORY, LANGUAGE, FILES, TRIGGERS, SILENT, FAILING, CANCELLED = KINDO_AGENTS
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ONE = [{"name": "a.txt", "content": "one two\n"}]


def inputs(**values: object) -> list[dict[str, str]]:
    """Write inputs as a client does; what isn't text becomes JSON text."""
    return [
        {"name": name, "value": value if isinstance(value, str) else json.dumps(value)}
        for name, value in values.items()
    ]


def trigger(http: httpx.Client, agent: str = INVENTORY, documents: object = ONE, **options: Any) -> httpx.Response:
    return http.post("/v1/agents/runs", json={"agentId": agent, "inputs": inputs(documents=documents)}, **options)


def triggered(http: httpx.Client, agent: str = INVENTORY, documents: object = ONE) -> str:
    response = trigger(http, agent, documents)
    assert response.status_code == 201
    return str(response.json()["runId"])


def shown(http: httpx.Client, run_id: str) -> dict[str, Any]:
    response = http.get(f"/v1/runs/{run_id}")
    assert response.status_code == 200
    run: dict[str, Any] = response.json()
    return run


def payload(run: Mapping[str, Any]) -> dict[str, Any]:
    """Unwrap a result: JSON text, a step-start part, a text part, a fence, JSON."""
    assert isinstance(run["result"], str)
    message = json.loads(run["result"])
    assert message["role"] == "assistant"
    start, text = message["parts"]
    assert (start, text["type"]) == ({"type": "step-start"}, "text")
    fenced = re.fullmatch(r"```json\n(.*)\n```", text["text"], re.DOTALL)
    assert fenced is not None
    found: dict[str, Any] = json.loads(fenced[1])
    return found


def flat(response: httpx.Response) -> int:
    """Give the status of an error in Kindo's form."""
    error = response.json()
    assert set(error) == {"error", "message"}
    assert all(isinstance(text, str) and text for text in error.values())
    return response.status_code


def accepted(sandbox: Sandbox) -> int:
    return int(sandbox.stats()["kindo"]["accepted"])
