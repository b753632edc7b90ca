"""The Kindo Agents API as far as it is public; see API-CONTRACT §2. Its agents are those of ``sandbox.kindo_agents``.

There is no upload, no list of runs, no cancel and no external id. All keys see all runs.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.routing import Route

from sandbox.agent import to_json
from sandbox.answers import Answer
from sandbox.delivery import accept_later
from sandbox.dialects import KINDO, flat
from sandbox.exchange import Exchange
from sandbox.gate import Gate
from sandbox.kindo_agents import KindoAgent, found
from sandbox.kindo_documents import Document, content_fingerprint, read_documents
from sandbox.kindo_reads import get_agent, get_run, list_agents
from sandbox.kindo_runs import KindoRun
from sandbox.world import World

PREFIX = "/v1"

# Reading a larger body takes so long that others would notice.
_ASIDE_BYTES = 1_000_000

Handler = Callable[[Exchange, Mapping[str, str]], Awaitable[Answer]]


class Refused(Exception):
    """The trigger is refused with ``status``."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Submission:
    """What a trigger asks for; ``inputs`` are those that don't hold the documents."""

    agent: KindoAgent
    documents: tuple[Document, ...]
    inputs: Mapping[str, str]


def routes(world: World) -> list[Route]:
    """Give the API's endpoints."""
    table: list[tuple[str, str, str, Handler]] = [
        ("POST", "/agents/runs", "add", Trigger(world)),
        ("GET", "/runs/{run_id}", "get", get_run),
        ("GET", "/agents/list", "other", list_agents),
        ("GET", "/agents/{agent_id}", "other", get_agent),
    ]
    return [
        Route(PREFIX + path, Gate(world, request_class, handler, KINDO), methods=[method])
        for method, path, request_class, handler in table
    ]


class Trigger:
    """Reads a submission, creates a run, and tells its id. One large body is taken apart at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._one_large = asyncio.Lock()

    async def __call__(self, exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
        try:
            submission = await self._read(exchange)
        except Refused as refused:
            return flat(refused.status, refused.text)
        exchange.entry.agent_id = submission.agent.id
        self._world.log.note_files(exchange.entry, submission.documents)
        if late := exchange.draws("accept_late"):
            return accept_later(exchange, late, lambda: self._accept(submission).run_id)
        run = self._accept(submission)
        shown = run.to_dict(self._world.clock.monotonic())
        told = {name: shown[name] for name in ("runId", "agentId", "createdAtUtc")}
        return Answer(201, to_json(told | {"status": "in_progress"}), run_id=run.run_id)

    async def _read(self, exchange: Exchange) -> Submission:
        most = self._world.options.max_body_bytes
        too_large = Refused(413, f"Request body too large. Maximum size is {most / 1e6:g} MB.")
        if (exchange.body_length or 0) > most:
            raise too_large
        body = bytearray()
        async for chunk in exchange.chunks():
            body += chunk
            if len(body) > most:
                raise too_large
        if not exchange.headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            raise Refused(400, "The body must be application/json")
        if len(body) < _ASIDE_BYTES:
            return understood(body, self._world.kindo_agents)
        async with self._one_large:
            return await asyncio.to_thread(understood, body, self._world.kindo_agents)

    def _accept(self, submission: Submission) -> KindoRun:
        world, agent = self._world, submission.agent
        course = world.course("add", agent.id, 1, [document.name for document in submission.documents])
        if not (course.failing_prompts or agent.has_result):
            course = replace(course, failing_prompts=1, status=agent.ends)
        run = KindoRun(
            agent_id=agent.id,
            # The vendor's pages say always, older ones don't have it: here every second run has one.
            conversation_id=None if world.kindo.accepted % 2 else f"c{world.kindo.accepted:024x}",
            course=course,
            created_s=world.clock.monotonic(),
            created_us=math.floor(world.clock.wall() * 1e6),
            fingerprint=content_fingerprint(agent.id, submission.documents),
            found=found(agent, submission.documents, submission.inputs),
        )
        world.kindo.add(run)
        world.happened.ring()
        return run


def understood(body: bytearray, agents: Mapping[str, KindoAgent]) -> Submission:
    """Read a trigger's body, emptying it, and its documents; raise Refused as the API would."""
    form = _parsed(body)
    if not isinstance(form, dict) or not isinstance(form.get("agentId"), str):
        raise Refused(400, "agentId: Required")
    agent = agents.get(form["agentId"].lower())
    if agent is None:
        raise Refused(404, f"Agent {form['agentId']} not found.")
    if agent.has_triggers:
        raise Refused(422, "Agents with triggers cannot be run via the API")
    values = _values(form.pop("inputs", []), agent)
    documents = read_documents(values, agent.documents_input)
    return Submission(agent, documents, values)


def _parsed(body: bytearray) -> Any:
    try:
        text = body.decode()
        body.clear()  # 50 MB are in memory often enough without it
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body is no JSON") from error


def _values(inputs: object, agent: KindoAgent) -> dict[str, str]:
    """Give the values by the agent's labels, emptying ``inputs``; names it doesn't know are dropped without a word."""
    if not isinstance(inputs, list):
        raise Refused(400, "inputs: Expected array")
    values: dict[str, str] = {}
    for number, entry in enumerate(inputs):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise Refused(400, f"inputs.{number}.name: Required")
        if not isinstance(entry.get("value"), str):
            raise Refused(400, f"inputs.{number}.value: Expected string")
        if entry["name"] in agent.inputs:
            values[entry["name"]] = entry["value"]
    inputs.clear()
    missing = [label for label in agent.inputs if label not in values]
    if missing:
        raise Refused(422, f"Missing required inputs: {', '.join(missing)}")
    return values
