"""Kindo's reading calls: runs and agents, with the faults a reading client must survive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sandbox.agent import to_json
from sandbox.answers import Answer
from sandbox.dialects import flat
from sandbox.exchange import Exchange
from sandbox.kindo_agents import KindoAgent, fenced, message
from sandbox.kindo_runs import IN_PROGRESS, KindoRun
from sandbox.reads import delivered, hidden

RECENT_RUNS = 20
_SINCE = "2026-01-01T00:00:00.000Z"
_PERMITTED = {"userPermissions": ["view", "edit"]}


async def get_run(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Show one run."""
    run_id = parameters["run_id"]
    exchange.entry.asked_run_ids = (run_id,)
    run = exchange.world.kindo.get(run_id)
    if run is None or hidden(exchange, run.run_id):
        return flat(404, f"Run {run_id} not found.")
    exchange.entry.run_id = run.run_id
    form = run.to_dict(exchange.world.clock.monotonic())
    return delivered(exchange, to_json(_twisted(exchange, run, form)))


async def get_agent(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Show one agent."""
    agent = exchange.world.kindo_agents.get(parameters["agent_id"].lower())
    if agent is None:
        return flat(404, f"Agent {parameters['agent_id']} not found.")
    kindo = exchange.world.kindo
    recent = kindo.recent(agent.id, RECENT_RUNS)
    newest = kindo.get(recent[0]) if recent else None
    form = {
        "agentId": agent.id,
        "name": agent.name,
        "description": _description(agent),
        "inputs": list(agent.inputs),
        "hasTriggers": agent.has_triggers,
        "modelsInUse": ["sandbox"],
        "recentRunIds": recent,
        "lastRunAtUtc": None if newest is None else newest.to_dict(newest.created_s)["createdAtUtc"],
        "metadata": _PERMITTED,
    }
    return Answer(200, to_json(form))


async def list_agents(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """List the agents, all on one page."""
    items = [
        {
            "agentId": agent.id,
            "name": agent.name,
            "description": _description(agent),
            "createdAt": _SINCE,
            "creatorName": "sandbox",
            "metadata": _PERMITTED,
        }
        for agent in exchange.world.kindo_agents.values()
    ]
    return Answer(200, to_json({"items": items, "total": len(items)}))


def _description(agent: KindoAgent) -> str:
    return f"Says what is in its {agent.documents_input}, checkably."


def _twisted(exchange: Exchange, run: KindoRun, form: dict[str, Any]) -> dict[str, Any]:
    if exchange.draws("status_backwards"):
        return form | {"status": IN_PROGRESS, "endedAtUtc": None, "result": None}
    if fault := exchange.draws("unknown_status"):
        return form | {"status": fault.parameters["word"]}
    if exchange.draws("null_data"):
        return form | {"result": None}
    if exchange.draws("null_completed"):
        return form | {"endedAtUtc": None}
    if exchange.draws("null_agent"):
        return form | {"agentId": None}
    if form["result"] is not None and (fault := exchange.draws("odd_result")):
        return form | {"result": _odd(run.found, fault.parameters["how"])}
    return form


def _odd(found: str, how: str) -> Any:
    if how == "bare":
        return message(found)
    if how == "prose":
        return message("I have read everything. There is nothing to report.")
    if how == "broken":
        return message(fenced(found[: len(found) // 2]))
    if how == "no_parts":
        return json.dumps({"role": "assistant", "parts": []})
    if how == "object":
        return json.loads(message(fenced(found)))
    return found[: len(found) // 2]
