"""Kolena's stream of an agent's runs as server-sent events. Their data are runs, as the vendor's client reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice, takewhile

from starlette.routing import Route

from sandbox.answers import Answer, detail
from sandbox.exchange import Ended, Exchange
from sandbox.gate import Gate
from sandbox.invalid import Query, path_integer
from sandbox.kolena import PREFIX, checked
from sandbox.runs import Run
from sandbox.world import World

MAX_TAIL = 10
LEAST_TAIL = -1_000_000  # the vendor's schema has no bound, and its client sends -1
MAX_WAIT_S = 300

BREATH_S = 0.02
"""Between two looks, so that many changes at once cost one."""

SILENCE_S = 5.0
"""After so long without an event a comment is sent; a client that has left is noticed then at the latest."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nconnection: close\r\n\r\n"


async def follow_agent(exchange: Exchange, parameters: Mapping[str, str]) -> Answer:
    """Send the agent's ``tail`` newest runs, then each run that starts or ends, and close after ``wait`` seconds."""
    agent_id = path_integer(parameters, "agent_id")
    query = Query(exchange.scope["query_string"])
    tail = max(query.integer("tail", 0, LEAST_TAIL, MAX_TAIL), 0)
    wait_s = query.integer("wait", MAX_WAIT_S, 0, MAX_WAIT_S)
    world, connection = exchange.world, exchange.connection
    if agent_id not in world.agents:
        return detail(404, "Agent not found")
    clock = world.clock.monotonic
    until_s = clock() + wait_s
    runs = list(world.runs.select(agent_id, None, None))
    newest = max((run.run_id for run in runs), default=0)
    running = {run.run_id: run for run in runs if clock() < run.finish_s}
    await connection.write(_HEAD)
    for run in reversed(list(islice(runs, tail))):
        await connection.write(_event(run, clock()))
    while (now_s := clock()) < until_s and not connection.gone:
        next_s = min([until_s, now_s + SILENCE_S, *(run.finish_s for run in running.values())])
        await world.happened.wait(next_s - now_s)
        await asyncio.sleep(BREATH_S)
        started = _newer(world, agent_id, newest)
        newest = started[0].run_id if started else newest
        running |= {run.run_id: run for run in started}
        ended = [run for run in running.values() if clock() >= run.finish_s]
        for run in [*reversed(started), *(run for run in ended if run not in started)]:
            await connection.write(_event(run, clock()))
        for run in ended:
            del running[run.run_id]
        if clock() >= now_s + SILENCE_S:
            await connection.write(b": still here\n\n")
    if connection.gone:
        raise Ended("client_left")
    connection.hang_up()
    raise Ended("answered", 200)


def _newer(world: World, agent_id: int, run_id: int) -> list[Run]:
    """Give the runs after that one, newest first."""
    return list(takewhile(lambda run: run.run_id > run_id, world.runs.select(agent_id, None, None)))


def _event(run: Run, now_s: float) -> bytes:
    return b"event: run\nid: %d\ndata: %b\n\n" % (run.run_id, run.to_json(now_s))


def routes(world: World) -> list[Route]:
    """Give the endpoint."""
    gate = Gate(world, "other", checked(follow_agent))
    return [Route(f"{PREFIX}/agents/{{agent_id}}/stream", gate, methods=["GET"])]
