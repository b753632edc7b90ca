"""Kolena's reading calls: runs, agents and usage, with the faults a reading client must survive."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sandbox.agent import Agent, to_json
from sandbox.answers import GATEWAY_PAGE, HTML, Answer, detail
from sandbox.exchange import Exchange
from sandbox.fault_kinds import Stage
from sandbox.faults import Fault
from sandbox.invalid import Query, path_integer
from sandbox.reads import delivered, hidden
from sandbox.runs import FAILED, RUNNING, SUCCESS, Run

STATUSES = (RUNNING, SUCCESS, FAILED)
MAX_PAGE_SIZE = 1000
WORKSPACE_ID = 77
USER = "sandbox@paceline.invalid"
_SINCE = "2026-01-01T00:00:00+00:00"

T = TypeVar("T")


async def get_run(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Show one run."""
    agent_id, run_id = path_integer(parameters, "agent_id"), path_integer(parameters, "run_id")
    exchange.entry.asked_run_ids = (run_id,)
    run = exchange.world.runs.get(agent_id, run_id)
    if run is None or hidden(exchange, run_id):
        return detail(404, "Run not found")
    exchange.entry.run_id = run_id
    return delivered(exchange, _run_json(exchange, run))


async def list_runs(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """List an agent's runs, newest first; filters are and-ed, unknown ids are simply missing."""
    agent_id = path_integer(parameters, "agent_id")
    query = Query(exchange.scope["query_string"])
    page_number = query.integer("page_number", 0, 0)
    page_size = query.integer("page_size", 50, 0, MAX_PAGE_SIZE)
    run_ids, external_ids = query.integers("run_ids"), query.texts("user_defined_ids")
    status = query.choice("status", STATUSES)
    created_gte, created_lte = query.moment_us("created_gte"), query.moment_us("created_lte")
    exchange.entry.asked_run_ids = tuple(run_ids or ())
    exchange.entry.asked_external_ids = tuple(external_ids or ())
    world = exchange.world
    if agent_id not in world.agents:
        return detail(404, "Agent not found")
    now_s = world.clock.monotonic()
    if exchange.draws("list_ignore_filter"):
        run_ids = external_ids = status = created_gte = created_lte = None
    runs: Iterable[Run] = world.runs.select(agent_id, run_ids, external_ids)
    if status is not None:
        runs = (run for run in runs if run.status(now_s) == status)
    if created_gte is not None:
        runs = (run for run in runs if run.created_us >= created_gte)
    if created_lte is not None:
        runs = (run for run in runs if run.created_us <= created_lte)
    if exchange.draws("list_empty"):
        runs = ()
    if lag := exchange.draws("list_lag"):
        runs = (run for run in runs if now_s - run.created_s >= lag.parameters["seconds"])
    if cap := exchange.draws("list_page_cap"):
        page_size = min(page_size, cap.parameters["size"])
    page, total_pages = _page(list(runs), page_number, page_size)
    body = b'{"runs":[%b],"total_pages":%d,"page_number":%d,"page_size":%d}' % (
        b",".join(_run_json(exchange, run) for run in page),
        total_pages,
        page_number,
        page_size,
    )
    malformed = exchange.draws("list_malformed")
    return _malformed(body, malformed.parameters["how"]) if malformed else Answer(200, body)


async def get_agent(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Show one agent."""
    agent = exchange.world.agents.get(path_integer(parameters, "agent_id"))
    if agent is None:
        return detail(404, "Agent not found")
    return Answer(200, to_json(_agent_json(agent, exchange.world.runs.count(agent.id))))


async def list_agents(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """List the agents by id."""
    query = Query(exchange.scope["query_string"])
    page_number = query.integer("page_number", 0, 0)
    page_size = query.integer("page_size", 50, 0, MAX_PAGE_SIZE)
    agents = sorted(exchange.world.agents.values(), key=lambda agent: agent.id)
    page, total_pages = _page(agents, page_number, page_size)
    count = exchange.world.runs.count
    shown = [_agent_json(agent, count(agent.id)) for agent in page]
    form = {"agents": shown, "total_pages": total_pages, "page_number": page_number, "page_size": page_size}
    return Answer(200, to_json(form))


async def list_usage(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """List what runs cost so far, oldest first; runs without a finished prompt cost nothing yet."""
    query = Query(exchange.scope["query_string"])
    page_number = query.integer("page_number", 0, 0)
    page_size = query.integer("page_size", 50, 0, MAX_PAGE_SIZE)
    agent_id = query.integer("agent_id", -1, 0)
    workspace_id = query.integer("workspace_id", WORKSPACE_ID, 0)
    user = query.text("user") or USER
    created_gte, created_lte = query.moment_us("created_gte"), query.moment_us("created_lte")
    now_s = exchange.world.clock.monotonic()
    records = [
        {
            "type": "agent_run",
            "workspace_id": WORKSPACE_ID,
            "agent_id": run.agent_id,
            "run_id": run.run_id,
            "user": USER,
            "created": datetime.fromtimestamp(run.created_us / 1e6, UTC).isoformat(timespec="microseconds"),
            "credits_used": used,
            "validation_id": None,
        }
        for run in exchange.world.runs.all()
        if (used := run.credits_used(now_s)) is not None
        and agent_id in (-1, run.agent_id)
        and (workspace_id, user) == (WORKSPACE_ID, USER)
        and (created_gte is None or run.created_us >= created_gte)
        and (created_lte is None or run.created_us <= created_lte)
    ]
    page, total_pages = _page(records, page_number, page_size)
    form = {"records": page, "total_pages": total_pages, "page_number": page_number, "page_size": page_size}
    return Answer(200, to_json(form))


def _page(found: Sequence[T], number: int, size: int) -> tuple[Sequence[T], int]:
    total_pages = math.ceil(len(found) / size) if size else 0
    return found[number * size : (number + 1) * size], total_pages


def _run_json(exchange: Exchange, run: Run) -> bytes:
    body = run.to_json(exchange.world.clock.monotonic())
    fault = exchange.fault
    if fault is None or fault.stage is not Stage.READ:
        return body
    return _twisted(exchange, body, fault)


def _twisted(exchange: Exchange, body: bytes, fault: Fault) -> bytes:
    if fault.kind not in ("status_backwards", "unknown_status", "null_data", "null_completed"):
        return body
    exchange.strike()
    run: dict[str, Any] = json.loads(body)
    if fault.kind == "status_backwards":
        run |= {"status": RUNNING, "completed": None}
    elif fault.kind == "unknown_status":
        run["status"] = fault.parameters["word"]
    elif fault.kind == "null_data":
        run["data"] = None
    else:
        run["completed"] = None
    return to_json(run)


def _malformed(body: bytes, how: str) -> Answer:
    forms = {
        "truncated": Answer(200, body[: len(body) // 2]),
        "not_a_list": Answer(200, b'{"runs":{},"total_pages":"many"}'),
        "no_total": Answer(200, body[: body.rindex(b',"total_pages"')] + b"}"),
        "html": Answer(200, GATEWAY_PAGE % (200, b"OK", 200, b"OK"), HTML),
    }
    return forms.get(how, Answer(200, b""))


def _agent_json(agent: Agent, n_runs: int) -> dict[str, Any]:
    return {
        "id": agent.id,
        "workspace_id": WORKSPACE_ID,
        "name": agent.name,
        "objective": "Say what is in the files of a run, checkably.",
        "created": _SINCE,
        "updated": _SINCE,
        "created_by": USER,
        "agent_guidelines": None,
        "n_runs": n_runs,
        "prompts": [
            {
                "id": agent.id * 100 + index,
                "name": name,
                "created": _SINCE,
                "updated": _SINCE,
                "model": {"type": "default", "version": "sandbox"},
                "options": {},
                "documents": [],
                "input_prompt_ids": [],
                "last_updated_by": None,
            }
            for index, name in enumerate(agent.order)
        ],
        "output_templates": [],
        "metadata": {},
    }
